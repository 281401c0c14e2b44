"""COCO annotations: masks by hand and beside pycocotools, order, crowds, refusals."""

import json
import pickle

import numpy as np
import pytest
import shapely
from PIL import Image

from arcticdl import open_scene
from arcticdl.errors import GridMismatchError, LabelError, SourceError
from arcticdl.sources import read_coco_boxes
from arcticdl.sources.formats.coco_masks import Runs, decode_counts, read_outline

SQUARE = [[2, 1, 6, 1, 6, 5, 2, 5]]  # columns 2 to 5, rows 1 to 4
SMALL = [[3, 2, 5, 2, 5, 4, 3, 4]]
CATEGORIES = [{"id": 7, "name": "melt pond"}, {"id": 3, "name": "floe"}]


def annotation(number, segmentation, category=3, image=1, **more):
    entry = {"id": number, "image_id": image, "category_id": category}
    return entry | {"segmentation": segmentation, "iscrowd": 0} | more


def write(path, annotations, images=None, categories=CATEGORIES):
    images = images or [
        {"id": 1, "file_name": "train/a.png", "height": 8, "width": 10},
        {"id": 2, "file_name": "train/b.png", "height": 5, "width": 4},
    ]
    content = {"info": {}, "images": images, "annotations": annotations,
               "categories": categories}  # fmt: skip
    path.write_text(json.dumps(content))
    return path


@pytest.fixture
def image(tmp_path):
    Image.fromarray(np.zeros((8, 10), "uint8")).save(tmp_path / "a.png")
    return tmp_path / "a.png"


def drawn(rows, cols, code=1, shape=(8, 10), under=0):
    mask = np.full(shape, under, "uint8")
    mask[rows, cols] = code
    return mask


def test_annotations_are_the_labels_of_their_image(tmp_path, image):
    path = write(tmp_path / "instances.json", [
        annotation(1, SQUARE), annotation(2, SMALL, category=7),
        annotation(3, [[0, 0, 4, 0, 4, 5, 0, 5]], image=2),
    ])  # fmt: skip
    scene = open_scene(image, labels={"surface": path})
    expected = drawn(slice(1, 5), slice(2, 6))
    expected[2:4, 3:5] = 2
    assert (scene["surface"].values == expected).all()
    assert scene["surface"].dtype == np.uint8
    attrs = scene["surface"].attrs
    assert attrs["flag_values"] == [0, 1, 2]
    assert attrs["flag_meanings"] == "background floe melt_pond"
    window = {"y": slice(2, 6), "x": slice(4, 9)}
    assert (scene["surface"].isel(window).values == expected[2:6, 4:9]).all()
    copied = pickle.loads(pickle.dumps(scene))
    assert (copied["surface"].values == expected).all()
    named = {"surface": (path, ("ice", "floe", "water"))}
    assert open_scene(image, labels=named)["surface"].attrs["flag_meanings"] == (
        "ice floe water"
    )
    other = open_scene(path, image=2)
    assert other["image"].shape == (1, 5, 4) and (other["image"].values == 1).all()
    assert other.attrs["scene_id"] == "b"


def test_categories_and_background_are_chosen(tmp_path, image):
    path = write(tmp_path / "c.json",
                 [annotation(1, SQUARE), annotation(2, SMALL, category=7)])  # fmt: skip
    options = {"categories": ["melt pond"], "background": None}
    scene = open_scene(image, labels={"pond": path}, label_options=options)
    assert (scene["pond"].values == drawn(slice(2, 4), slice(3, 5), 0, under=255)).all()
    assert scene["pond"].attrs["flag_meanings"] == "melt_pond"
    turned = open_scene(path, image="a.png", categories=["melt pond", "floe"])
    assert turned["image"].values[0, 2, 3] == 1 and turned["image"].values[0, 1, 2] == 2


def test_what_lies_on_top(tmp_path):
    path = write(tmp_path / "c.json",
                 [annotation(1, SMALL, category=7), annotation(2, SQUARE)])  # fmt: skip
    by_area = open_scene(path, image=1)["image"].values[0]
    by_file = open_scene(path, image=1, on_top="file")["image"].values[0]
    assert by_area[2, 3] == 2 and by_file[2, 3] == 1
    same = write(tmp_path / "s.json",
                 [annotation(1, SMALL), annotation(2, SMALL, category=7)])  # fmt: skip
    assert open_scene(same, image=1)["image"].values[0, 2, 3] == 2


def test_crowds_lie_below_and_may_be_void(tmp_path):
    crowd = {"size": [8, 10], "counts": [0, 80]}
    path = write(tmp_path / "c.json", [
        annotation(1, SQUARE, category=7),
        annotation(2, crowd, iscrowd=1),
    ])  # fmt: skip
    expected = drawn(slice(1, 5), slice(2, 6), 2, under=1)
    assert (
        open_scene(path, image=1, on_top="file")["image"].values[0] == expected
    ).all()
    void = open_scene(path, image=1, crowd="void")
    assert (void["image"].values[0] == np.where(expected == 1, 255, 2)).all()
    assert (void["valid"].values == (expected == 2)).all()


def test_runs_agree_with_pycocotools():
    masks = pytest.importorskip("pycocotools.mask")
    rng = np.random.default_rng(1)
    for _ in range(40):
        height, width = rng.integers(1, 40, 2)
        truth = rng.random((height, width)) < rng.choice([0.02, 0.5, 0.98, 0, 1])
        truth[: height // 2] |= truth[: height // 2, :1]
        encoded = masks.encode(np.asfortranarray(truth, "uint8"))
        text = encoded["counts"].decode()
        size = (int(height), int(width))
        runs = read_outline({"size": list(size), "counts": text}, size, "a test")
        assert (runs.mask(slice(0, height), slice(0, width)) == truth).all()
        assert runs.area() == masks.area(encoded)
        left, top, right, bottom = runs.box()
        assert (left, top, right - left, bottom - top) == tuple(masks.toBbox(encoded))
        plain = {"size": list(size), "counts": decode_counts(text)}
        again = read_outline(plain, size, "a test")
        assert isinstance(again, Runs) and (again.ends == runs.ends).all()
        rows, cols = (slice(n // 3, max(n // 2, n // 3 + 1)) for n in size)
        assert (runs.mask(rows, cols) == truth[rows, cols]).all()


def test_polygons_differ_from_pycocotools_on_outlines_only():
    masks = pytest.importorskip("pycocotools.mask")
    rng = np.random.default_rng(2)
    for _ in range(20):
        turn = np.sort(rng.uniform(0, 2 * np.pi, 9))
        far = rng.uniform(8, 28, 9)
        ring = np.stack([32 + far * np.cos(turn), 30 + far * np.sin(turn)], -1)
        flat = ring.ravel().tolist()
        (encoded,) = masks.frPyObjects([flat], 60, 64)
        runs = {"size": [60, 64], "counts": encoded["counts"].decode()}
        whole = slice(0, 60), slice(0, 64)
        theirs = read_outline(runs, (60, 64), "a test").mask(*whole)
        outline = read_outline([flat], (60, 64), "a test")
        ours = outline.mask(*whole)
        rows, cols = np.nonzero(ours ^ theirs)
        gap = shapely.distance(
            shapely.points(cols + 0.5, rows + 0.5), shapely.linearrings(ring)
        )
        assert (gap < 0.25).all()
        assert outline.area() == pytest.approx(ours.sum(), rel=0.1)
        part = outline.mask(slice(11, 40), slice(20, 50))
        assert (part == ours[11:40, 20:50]).all()


def test_parts_of_an_object_are_united(tmp_path):
    parts = [[0, 0, 3, 0, 3, 3, 0, 3], [5, 5, 9, 5, 9, 8, 5, 8]]
    scene = open_scene(write(tmp_path / "c.json", [annotation(1, parts)]), image=1)
    assert scene["image"].values.sum() == 9 + 12
    outside = [[-5, -5, 4, -5, 4, 2, -5, 2]]
    scene = open_scene(write(tmp_path / "o.json", [annotation(1, outside)]), image=1)
    assert (scene["image"].values[0] == drawn(slice(0, 2), slice(0, 4))).all()


def test_boxes(tmp_path):
    path = write(tmp_path / "c.json", [
        annotation(1, SQUARE, bbox=[2, 1, 4, 4]),
        annotation(2, {"size": [8, 10], "counts": [9, 2, 69]}, category=7, iscrowd=1),
        annotation(3, [], bbox=[0.5, 0, 1, 2]),
    ])  # fmt: skip
    found = read_coco_boxes(path, "a.png")
    expected = [[2, 1, 6, 5], [1, 1, 2, 3], [0.5, 0, 1.5, 2]]
    np.testing.assert_array_equal(found["boxes"], np.array(expected, "float32"))
    assert found["category"].tolist() == [0, 1, 0]
    assert found["categories"] == ("floe", "melt pond")
    assert found["is_crowd"].tolist() == [False, True, False]
    assert found["id"] == [1, 2, 3]
    assert read_coco_boxes(path, 2)["boxes"].shape == (0, 4)
    with pytest.raises(SourceError, match="read_coco_boxes"):
        open_scene(path, image=1)
    bad = write(tmp_path / "b.json", [annotation(1, [], bbox=[1, 2, -3, 4])])
    with pytest.raises(SourceError, match="must have a bbox"):
        read_coco_boxes(bad, 1)


@pytest.mark.parametrize(
    ("segmentation", "message"),
    [
        ([[1, 2, 3, 4]], "three points"),
        ([[1, 2, 3, 4, 5, 6, 7]], "three points"),
        ([[1, 2, 3, float("nan"), 5, 6]], "three points"),
        ([["a"] * 6], "three points"),
        ("mask.png", "polygons or a run-length"),
        ({"size": [10, 8], "counts": [80]}, "size of its image"),
        ({"size": [8, 10], "counts": [79]}, "add up"),
        ({"size": [8, 10], "counts": [90, -10]}, "add up"),
        ({"size": [8, 10], "counts": [0.5, 79.5]}, "add up"),
        ({"size": [8, 10], "counts": None}, "add up"),
        ({"size": [8, 10], "counts": "zz!!"}, "compressed runs"),
        ({"size": [8, 10], "counts": "P"}, "cut short"),
        ({"counts": [80]}, "size of its image"),
    ],
)
def test_malformed_outlines_are_named(tmp_path, segmentation, message):
    path = write(tmp_path / "c.json", [annotation(41, segmentation)])
    with pytest.raises(SourceError, match=message) as refused:
        open_scene(path, image=1)
    assert "annotation 41 of" in str(refused.value)


def test_malformed_files_are_named(tmp_path, image):
    good = [annotation(1, SQUARE)]
    cases = {
        "image_id": write(tmp_path / "a.json", [annotation(1, SQUARE, image=9)]),
        "category_id": write(tmp_path / "b.json", [annotation(1, SQUARE, category=9)]),
        "`height`": write(tmp_path / "c.json", good,
                          [{"id": 1, "file_name": "a.png", "height": 0, "width": 4}]),
        "an `id` of its own": write(tmp_path / "d.json", good, [
            {"id": 1, "file_name": "a", "height": 1, "width": 1}] * 2),
        "a `name`": write(tmp_path / "e.json", good,
                          categories=[{"id": 3, "name": "x"}, {"id": 4, "name": "x"}]),
        "Identifiers": write(tmp_path / "f.json", good,
                             categories=[{"id": [3], "name": "x"}]),
    }  # fmt: skip
    for message, path in cases.items():
        with pytest.raises(SourceError, match=message):
            open_scene(path, image=1)
    (tmp_path / "g.json").write_text('{"images": [], "annotations": 4}')
    with pytest.raises(SourceError, match=r"unusable: \['annotations', 'categories'\]"):
        open_scene(tmp_path / "g.json")
    (tmp_path / "h.json").write_text('{"images": [')
    with pytest.raises(SourceError, match="JSON"):
        open_scene(tmp_path / "h.json")
    (tmp_path / "i.json").write_text('{"type": "Topology"}')
    with pytest.raises(SourceError, match="of no kind"):
        open_scene(tmp_path / "i.json")
    path = write(tmp_path / "j.json", good)
    with pytest.raises(SourceError, match="file name or identifier"):
        open_scene(path)
    with pytest.raises(SourceError, match="file name or identifier"):
        read_coco_boxes(path, "z.png")
    with pytest.raises(LabelError, match="`categories` must"):
        open_scene(path, image=1, categories=["berg"])
    with pytest.raises(ValueError, match="`on_top` must"):
        open_scene(path, image=1, on_top="luck")
    with pytest.raises(ValueError, match="`crowd` must"):
        open_scene(path, image=1, crowd="gone")
    wide = [{"id": 1, "file_name": "a.png", "height": 8, "width": 11}]
    with pytest.raises((LabelError, GridMismatchError), match="shape"):
        open_scene(image, labels={"a": write(tmp_path / "k.json", good, wide)})
