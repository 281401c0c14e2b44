"""Pictures of tiles in training: what they show, for each kind of answer."""

import numpy as np
import pytest

from arcticdl.plots import show_answers
from arcticdl.tasks import read_head
from arcticdl.tiles import prepare
from arcticdl.training import TileFeed, TileImages
from arcticdl.training.reports import find_map_head, read_answer


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    import xarray as xr

    folder = tmp_path_factory.mktemp("store")
    rng = np.random.default_rng(0)
    ice = rng.integers(0, 2, (32, 16)).astype("uint8")
    ice[0, 0] = 255
    scene = xr.Dataset(
        {
            "image": (("band", "y", "x"), rng.normal(size=(2, 32, 16)).astype("f4")),
            "ice": (
                ("y", "x"),
                ice,
                {"flag_values": [0, 1], "flag_meanings": "water ice"},
            ),
        },
        {
            "band": ["HH", "HV"],
            "x": np.arange(16) + 0.5,
            "y": np.arange(32) + 0.5,
        },
        {"scene_id": "one", "georeferenced": False},
    )
    return prepare([scene], folder / "a.tiles", tile_size_px=8, progress=False)


def test_tiles_are_evenly_spaced_and_seen_as_the_network_sees_them(store, tmp_path):
    feed = TileFeed(store, np.arange(8), batch_size=2, shuffle=False)
    shown = TileImages(tmp_path, feed, num_tiles=3)
    assert shown.tiles.tolist() == [0, 4, 7]
    image, label = shown.feed[0]
    whole = [feed[number] for number in range(4)]
    np.testing.assert_array_equal(image[1], whole[2][0][0])
    np.testing.assert_array_equal(label[2], whole[3][1][1])


@pytest.mark.parametrize("option", ["every", "num_tiles"])
def test_no_epochs_and_no_tiles_are_refused(store, tmp_path, option):
    feed = TileFeed(store, np.arange(8))
    with pytest.raises(ValueError, match=f"`{option}` must be"):
        TileImages(tmp_path, feed, **{option: 0})


def test_the_first_head_of_pixels_is_drawn():
    heads = {
        "when": {"task": "classification", "classes": ["a", "b"]},
        "sic": {"task": "dense_regression"},
        "ice": {"task": "segmentation", "classes": ["a", "b"]},
    }
    assert find_map_head(heads)[0] == "sic"
    assert find_map_head(heads, "ice")[0] == "ice"
    for wanted in ("when", "ices"):
        with pytest.raises(ValueError, match=r"`head` must be .*\['sic', 'ice'\]"):
            find_map_head(heads, wanted)
    with pytest.raises(ValueError, match=r"of \[\]"):
        find_map_head({"when": heads["when"]})


def test_answers_are_the_likeliest_class_or_the_value():
    logits = np.array([[[[0.0, 2.0, 1.0]]]])
    ice = read_head("ice", {"task": "segmentation", "num_classes": 3})
    assert read_answer(ice, logits).tolist() == [[[[1]]]]
    gauss = read_head("sic", {"task": "dense_gaussian"})
    assert read_answer(gauss, np.array([[[[0.25, -3.0]]]])).tolist() == [[[[0.25]]]]


@pytest.mark.parametrize(
    ("entry", "label", "answer"),
    [
        ({"task": "segmentation", "classes": ["water", "ice"]}, "codes", (8, 8, 1)),
        ({"task": "dense_regression", "units": "m"}, "values", (8, 8, 1)),
        ({"task": "dense_multilabel", "num_classes": 3}, "several", (8, 8, 3)),
    ],
)
def test_each_kind_of_answer_has_its_rows(store, entry, label, answer):
    rng = np.random.default_rng(1)
    shape = (2, 8, 8, 3) if label == "several" else (2, 8, 8)
    truth = rng.integers(0, 2, shape).astype("uint8")
    if label == "values":
        truth = truth.astype("float32")
        truth[0, :2] = np.nan
    else:
        truth[0, :2] = 255
    found = rng.integers(0, 2, (2, *answer)).astype(
        "float32" if label == "values" else "uint8"
    )
    head = read_head("x", entry)
    figure = show_answers(store, [0, 5], truth, found, head=head)
    pictures = [ax.images[0].get_array() for ax in figure.axes if ax.images]
    assert len(pictures) >= 6
    figure.canvas.draw()
    if label == "several":
        np.testing.assert_array_equal(pictures[4], found[0].sum(-1))
    if label == "values":
        np.testing.assert_array_equal(pictures[5], found[1, ..., 0])
    if label == "codes":
        equal = (pictures[2] == pictures[4]).all(-1)
        np.testing.assert_array_equal(equal, truth[0] == found[0, ..., 0])
