"""Superpixels, the graph that they make, and messages between its nodes."""

import keras
import numpy as np
import pytest
from keras import ops

from arcticdl.models import build_backbone, build_classifier, build_segmenter
from arcticdl.models.layers.messages import GraphAttention, GraphConvolution
from arcticdl.models.layers.superpixels import RegionGraph, Superpixels
from arcticdl.models.probe import coarsest_px

pytestmark = pytest.mark.backend


def to_numpy(x):
    return ops.convert_to_numpy(x)


@pytest.fixture(scope="module")
def image():
    """Two bands of three tones under noise, with a void corner ``(1, 28, 36, 2)``."""
    rng = np.random.default_rng(0)
    y, x = np.mgrid[:28, :36]
    tone = np.where(x + y < 25, -1.0, np.where(x > 24, 1.5, 0.3))
    found = np.stack([tone, -tone], -1) + rng.normal(0, 0.2, (28, 36, 2))
    found[:9, :7] = 0
    return found[None].astype("float32")


@pytest.fixture(scope="module")
def graph(image):
    index = Superpixels(8)(image)
    return to_numpy(index), *(to_numpy(x) for x in RegionGraph(8)([image, index]))


def slic(image, cell, num_steps, compactness):
    """The same superpixels, pixel by pixel; sizes are multiples of the cell."""
    seen = (image != 0).any(-1)
    height, width, bands = image.shape
    points = np.zeros((height, width, bands + 2))
    for y, x in np.ndindex(height, width):
        points[y, x, :bands] = image[y, x] / bands**0.5
        points[y, x, bands:] = np.array([y, x]) * compactness**0.5 / cell
    columns = width // cell
    home = np.add.outer(np.arange(height) // cell * columns, np.arange(width) // cell)
    index = home.copy()
    for _ in range(num_steps):
        centres = {
            node: points[(index == node) & seen].mean(0)
            for node in range(home.max() + 1)
            if ((index == node) & seen).any()
        }
        moved = home.copy()
        for y, x in np.argwhere(seen):
            row, column = y // cell, x // cell
            near = [
                ((points[y, x] - centres[node]) ** 2).sum()
                if 0 <= c < columns and (node := r * columns + c) in centres
                else np.inf
                for r in (row - 1, row, row + 1)
                for c in (column - 1, column, column + 1)
            ]
            best = int(np.argmin(near))
            moved[y, x] = (row + best // 3 - 1) * columns + column + best % 3 - 1
        index = moved
    return index


def test_superpixels_are_those_of_the_algorithm_pixel_by_pixel(image):
    cut = image[:, :24, :32]
    found = to_numpy(Superpixels(8, num_steps=3, compactness=0.3)(cut))
    expected = slic(cut[0].astype(float), 8, 3, 0.3)
    assert (found[0] == expected).mean() > 0.998  # a tie may fall either way


def test_superpixels_keep_to_an_edge_that_cells_do_not():
    x = np.mgrid[:32, :32][1]
    image = np.where(x < 13, -1.0, 1.0)[None, ..., None].astype("float32")
    index = to_numpy(Superpixels(8, compactness=0.1)(image))[0]
    left, right = set(index[:, :13].ravel()), set(index[:, 13:].ravel())
    assert not left & right
    squares = to_numpy(Superpixels(8, compactness=1e6)(image))[0]
    assert set(squares[:, 8:13].ravel()) & set(squares[:, 13:16].ravel())


def test_sizes_that_are_no_multiples_of_a_cell_keep_their_shape(image):
    index = to_numpy(Superpixels(8)(image))
    assert index.shape == (1, 28, 36) and index.min() >= 0 and index.max() < 4 * 5


def test_nodes_hold_means_deviations_and_sizes_of_what_is_not_void(image, graph):
    index, nodes, _, _ = graph
    seen = (image[0] != 0).any(-1)
    assert nodes.shape == (1, 20, 5)
    for node in range(20):
        pixels = image[0][(index[0] == node) & seen].astype(float)
        if not len(pixels):
            np.testing.assert_array_equal(nodes[0, node], 0)
            continue
        expected = [*pixels.mean(0), *pixels.std(0), np.log1p(len(pixels))]
        np.testing.assert_allclose(nodes[0, node], expected, rtol=1e-4, atol=1e-5)


def test_nodes_touch_where_two_of_their_pixels_are_neighbours(image, graph):
    index, _, neighbours, touching = graph
    seen = (image[0] != 0).any(-1)
    expected = set()
    for first, second in (
        (np.s_[:, :-1], np.s_[:, 1:]),
        (np.s_[:-1], np.s_[1:]),
    ):
        both = seen[first] & seen[second]
        a, b = index[0][first][both], index[0][second][both]
        expected |= {(int(i), int(j)) for i, j in zip(a, b, strict=True) if i != j}
    expected |= {(j, i) for i, j in expected}
    found = {
        (node, int(neighbours[0, node, k])) for node, k in np.argwhere(touching[0])
    }
    assert found == expected and len(found) > 30


def dense(neighbours, touching):
    """The matrix of neighbours ``(node, node)``."""
    count = neighbours.shape[0]
    matrix = np.zeros((count, count))
    for node, k in np.argwhere(touching):
        matrix[node, neighbours[node, k]] = 1
    return matrix


def test_graph_convolution_is_the_published_product_of_matrices(graph):
    _, nodes, neighbours, touching = graph
    layer = GraphConvolution(3)
    found = to_numpy(layer([nodes, neighbours, touching]))[0]
    matrix = dense(neighbours[0], touching[0]) + np.eye(20)
    root = np.diag(matrix.sum(1) ** -0.5)
    expected = root @ matrix @ root @ nodes[0] @ to_numpy(layer.kernel)
    np.testing.assert_allclose(found, expected, atol=1e-5)


def test_graph_attention_is_the_softmax_over_itself_and_its_neighbours(graph):
    _, nodes, neighbours, touching = graph
    layer = GraphAttention(4, num_heads=2)
    found = to_numpy(layer([nodes, neighbours, touching]))[0]
    sent = (nodes[0] @ to_numpy(layer.kernel)).reshape(20, 2, 2)
    hearing, telling = to_numpy(layer.hearing), to_numpy(layer.telling)
    matrix = dense(neighbours[0], touching[0]) + np.eye(20)
    for node in range(20):
        others = np.flatnonzero(matrix[node])
        for head in range(2):
            score = (
                sent[node, head] @ hearing[head] + sent[others, head] @ telling[head]
            )
            weight = np.exp(np.where(score > 0, score, 0.2 * score))
            expected = weight @ sent[others, head] / weight.sum()
            here = found[node, 2 * head : 2 * head + 2]
            np.testing.assert_allclose(here, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("layer", [GraphConvolution(6), GraphAttention(6, 3)])
def test_renumbered_nodes_give_renumbered_answers(layer, graph):
    _, nodes, neighbours, touching = graph
    order = np.random.default_rng(1).permutation(20)
    place = np.argsort(order)
    moved = [
        nodes[:, order],
        place[neighbours[:, order]].astype("int32"),
        touching[:, order],
    ]
    before = to_numpy(layer([nodes, neighbours, touching]))
    np.testing.assert_allclose(to_numpy(layer(moved)), before[:, order], atol=1e-5)


def test_news_travels_one_node_a_round(image, graph):
    index, _, neighbours, touching = graph
    matrix = dense(neighbours[0], touching[0]) + np.eye(20)
    # A brighter patch inside one superpixel, which keeps its pixels.
    node = int(index[0, 20, 20])
    one = np.argwhere(index[0] == node)
    shown = keras.Model(*_features("convolution", depth=2))
    other = image.copy()
    for y, x in one:
        other[0, y, x] *= 1.001
    (same, features), (again, changed) = (
        [to_numpy(x) for x in shown(i)] for i in (image, other)
    )
    np.testing.assert_array_equal(same, again)
    differs = {
        int(n) for n in np.unique(index) if not np.array_equal(
            features[index == n], changed[index == n]
        )
    }  # fmt: skip
    reached = set(np.flatnonzero(np.linalg.matrix_power(matrix, 2)[node]))
    assert node in differs and differs <= reached
    alone = keras.Model(*_features("none", depth=2))
    features, changed = (to_numpy(alone(i)[1]) for i in (image, other))
    np.testing.assert_array_equal(features[index != node], changed[index != node])


def _features(messages, depth):
    model = build_backbone("superpixel_graph", 2, width=4, depth=depth,
                           messages=messages)  # fmt: skip
    index = model.get_layer("superpixels").output
    return model.input, [index, model.output["P0"]]


def test_all_pixels_of_a_superpixel_get_one_answer(image):
    model = build_segmenter("superpixel_graph", "linear", num_bands=2, num_classes=3)
    logits = to_numpy(model(image))
    index = to_numpy(Superpixels(8)(np.pad(image, [(0, 0), (0, 4), (0, 4), (0, 0)])))
    for node in np.unique(index[0, :28, :36]):
        there = logits[0][index[0, :28, :36] == node]
        np.testing.assert_array_equal(there, there[:1].repeat(len(there), 0))


def test_a_scene_is_classified_by_the_mean_of_its_nodes(image):
    model = build_classifier("superpixel_graph", num_bands=2, num_classes=4)
    assert to_numpy(model(image)).shape == (1, 4)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"cell_px": 12}, "`cell_px` one of"),
        ({"depth": 0}, "`depth` must be at least 1"),
        ({"messages": "shout"}, "messages"),
        ({"num_steps": 0}, "`num_steps` at least 1"),
        ({"compactness": -1.0}, "`compactness` at least 0"),
    ],
)
def test_what_makes_no_graph_is_refused(options, said):
    with pytest.raises(ValueError, match=said):
        build_backbone("superpixel_graph", 2, **options)


def test_a_flat_picture_of_two_cells_is_looked_at_by_the_graph():
    model = build_segmenter(
        "superpixel_graph", "linear", num_bands=2, num_classes=3,
        backbone_options={"width": 4, "cell_px": 16},
    )  # fmt: skip
    assert coarsest_px(model) == 16
    answer = model(np.ones((1, 2 * coarsest_px(model), 16, 2), "float32"))
    assert tuple(answer.shape) == (1, 32, 16, 3)


def test_an_image_of_a_single_node_is_refused():
    with pytest.raises(ValueError, match="at least two cells"):
        Superpixels(8)(np.ones((1, 8, 8, 1), "float32"))


def test_heads_must_divide_the_channels():
    with pytest.raises(ValueError, match="multiple of `num_heads`"):
        GraphAttention(6, num_heads=4)
