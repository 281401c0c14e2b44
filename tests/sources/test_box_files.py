"""Files of objects as boxes: COCO, YOLO, Pascal VOC, vectors; and what is refused."""

import json

import geopandas as gpd
import numpy as np
import pytest
import shapely
import xarray as xr
from affine import Affine
from odc.geo.geobox import GeoBox

from arcticdl import boxes as bx
from arcticdl.boxes import BoxRule
from arcticdl.errors import LabelError, SourceError
from arcticdl.scene import check_scene, grid_coords, pixel_coords
from arcticdl.sources import add_boxes, read_coco_boxes

TURNED = bx.box_corners([12, 10, 8, 4, 0.5])
"""Corners of one oriented box in an image of 20 rows and 40 columns."""
ORIENTED = BoxRule(oriented=True)


@pytest.fixture
def scene():
    image = np.zeros((1, 20, 40), "uint8")
    return xr.Dataset(
        {"image": (("band", "y", "x"), image)},
        {"band": ["grey"], **pixel_coords((20, 40))},
        {"scene_id": "a", "georeferenced": False},
    )


def coco(path, annotations, categories=("seal", "bird"), size=(20, 40)):
    images = [
        {"id": 1, "file_name": "a.jpg", "height": size[0], "width": size[1],
         "flight": "F1", "photo": "0001"},
        {"id": 2, "file_name": "b.jpg", "height": 5, "width": 5, "flight": "F2"},
    ]  # fmt: skip
    names = [{"id": n, "name": name} for n, name in enumerate(categories, 1)]
    entries = [
        {"id": n, "image_id": 1, "category_id": 1, **entry}
        for n, entry in enumerate(annotations, 1)
    ]
    content = {"images": images, "annotations": entries, "categories": names}
    path.write_text(json.dumps(content))
    return path


def held(scene, name="seals"):
    return check_scene(scene)[name].values


def test_boxes_of_coco(scene, tmp_path):
    path = coco(tmp_path / "a.json", [
        {"bbox": [4, 2, 8, 6]},
        {"bbox": [4, 2, 8, 6], "category_id": 2},
        {"bbox": [0, 0, 5, 5], "iscrowd": 1},
    ])  # fmt: skip
    added = add_boxes(scene, "seals", path, columns=["flight", "photo"])
    assert held(added).tolist() == [
        [8, 5, 8, 6, 0, 0], [8, 5, 8, 6, 0, 1], [2.5, 2.5, 5, 5, 0, bx.IGNORE]
    ]  # fmt: skip
    assert added["seals"].attrs["flag_meanings"] == "seal bird"
    assert added.attrs["columns"] == {"flight": "F1", "photo": "0001"}
    assert "seals" not in scene


def test_a_dot_in_a_name_is_no_ending(scene, tmp_path):
    """Scene `a.1` got the boxes of `a.jpg`, and `a.1.jpg` was found by no scene."""
    path = coco(tmp_path / "a.json", [{"bbox": [4, 2, 8, 6]}])
    dotted = scene.assign_attrs(scene_id="a.1")
    with pytest.raises(SourceError, match=r"image='a\.1', which 0"):
        add_boxes(dotted, "seals", path)
    content = json.loads(path.read_text())
    content["images"][1] |= {"file_name": "a.1.jpg", "height": 20, "width": 40}
    content["annotations"] += [
        {"id": 9, "image_id": 2, "category_id": 2, "bbox": [0, 0, 2, 2]}
    ]
    path.write_text(json.dumps(content))
    assert held(add_boxes(dotted, "seals", path)).tolist() == [[1, 1, 2, 2, 0, 1]]
    assert held(add_boxes(scene, "seals", path)).tolist() == [[8, 5, 8, 6, 0, 0]]
    told = add_boxes(scene, "seals", path, image="far/a.1.tif")
    assert held(told).tolist() == [[1, 1, 2, 2, 0, 1]]


def test_oriented_boxes_of_polygons_and_masks(scene, tmp_path):
    mask = np.zeros((20, 40), bool)
    mask[4:8, 10:20] = True
    runs = np.diff(np.flatnonzero(np.diff(np.r_[0, mask.T.ravel(), 0])), prepend=0)
    runs = [*runs.tolist(), 800 - int(runs.sum())]
    path = coco(tmp_path / "a.json", [
        {"bbox": [0, 0, 1, 1], "segmentation": [TURNED.ravel().tolist()]},
        {"bbox": [10, 4, 10, 4],
         "segmentation": {"size": [20, 40], "counts": runs}},
    ])  # fmt: skip
    boxes = held(add_boxes(scene, "seals", path, rule=ORIENTED))
    np.testing.assert_allclose(
        boxes, [[12, 10, 8, 4, 0.5, 0], [15, 6, 10, 4, 0, 0]], atol=1e-5
    )


def test_an_image_without_boxes_is_legal(scene, tmp_path):
    path = coco(tmp_path / "a.json", [])
    assert held(add_boxes(scene, "seals", path)).shape == (0, 6)
    (tmp_path / "a.txt").write_text("")
    added = add_boxes(scene, "seals", tmp_path / "a.txt", classes=["seal"])
    assert held(added).shape == (0, 6)


def test_boxes_and_oriented_boxes_of_yolo(scene, tmp_path):
    path = tmp_path / "a.txt"
    path.write_text("1 0.25 0.5 0.1 0.2\n\n0 0.5 0.5 0.2 0.1\n")
    boxes = held(add_boxes(scene, "seals", path, classes=["seal", "bird"]))
    np.testing.assert_allclose(
        boxes, [[10, 10, 4, 4, 0, 1], [20, 10, 8, 2, 0, 0]], rtol=1e-6
    )
    share = (TURNED / [40, 20]).ravel()
    path.write_text("0 " + " ".join(f"{v:.8f}" for v in share))
    boxes = held(add_boxes(scene, "seals", path, classes=["seal"], rule=ORIENTED))
    np.testing.assert_allclose(boxes, [[12, 10, 8, 4, 0.5, 0]], atol=1e-4)


VOC = """<annotation><size><width>40</width><height>20</height></size>
<object><name>seal</name><bndbox><xmin>1</xmin><ymin>1</ymin><xmax>40</xmax>
<ymax>20</ymax></bndbox></object>
<object><name>bird</name><difficult>1</difficult><robndbox><cx>12</cx><cy>10</cy>
<w>8</w><h>4</h><angle>0.5</angle></robndbox></object></annotation>"""


def test_boxes_of_pascal_voc(scene, tmp_path):
    (tmp_path / "a.xml").write_text(VOC)
    boxes = held(add_boxes(scene, "seals", tmp_path / "a.xml"))
    assert boxes[0].tolist() == [20, 10, 40, 20, 0, 1]  # bird, seal
    assert boxes[1, 5] == bx.IGNORE
    np.testing.assert_allclose(
        bx.box_edges(boxes[1]), bx.box_edges([12, 10, 8, 4, 0.5]), atol=1e-5
    )
    edges = add_boxes(scene, "seals", tmp_path / "a.xml", first_pixel=0)
    assert held(edges)[0].tolist() == [20.5, 10.5, 39, 19, 0, 1]


def test_boxes_of_vectors_lie_on_any_grid(tmp_path):
    geobox = GeoBox((20, 40), Affine(10, 0, 1000, 0, -10, 5000), "EPSG:3413")
    scene = xr.Dataset(
        {"image": (("band", "y", "x"), np.zeros((1, 20, 40), "uint8"))},
        {"band": ["grey"], **grid_coords(geobox)},
        {"scene_id": "a"},
    )
    on_map = shapely.Polygon([(1000 + 10 * x, 5000 - 10 * y) for x, y in TURNED])
    far = shapely.box(9000, 0, 9100, 100)
    table = gpd.GeoDataFrame(
        {"kind": ["berg", "berg"]}, geometry=[on_map, far], crs="EPSG:3413"
    )
    table.to_file(tmp_path / "bergs.gpkg")
    options = {"classes": ["berg"], "rule": ORIENTED}
    boxes = held(add_boxes(scene, "bergs", tmp_path / "bergs.gpkg", **options), "bergs")
    np.testing.assert_allclose(boxes, [[12, 10, 8, 4, 0.5, 0]], atol=1e-4)
    table.to_crs("EPSG:4326").to_file(tmp_path / "bergs.geojson")
    again = add_boxes(
        scene, "bergs", tmp_path / "bergs.geojson", attribute="kind", rule=ORIENTED
    )
    np.testing.assert_allclose(held(again, "bergs"), boxes, atol=0.05)
    points = table.set_geometry(table.centroid)
    points.to_file(tmp_path / "points.gpkg")
    with pytest.raises(LabelError, match="must be areas"):
        add_boxes(scene, "bergs", tmp_path / "points.gpkg", classes=["berg"])
    with pytest.raises(LabelError, match="`attribute` must name the column"):
        add_boxes(scene, "bergs", tmp_path / "bergs.gpkg", classes=["berg", "bit"])


def test_vectors_need_a_scene_with_a_grid(scene, tmp_path):
    table = gpd.GeoDataFrame(geometry=[shapely.box(0, 0, 1, 1)], crs="EPSG:3413")
    table.to_file(tmp_path / "a.gpkg")
    with pytest.raises(LabelError, match="need a scene with a regular grid"):
        add_boxes(scene, "bergs", tmp_path / "a.gpkg", classes=["berg"])


@pytest.mark.parametrize(
    ("entry", "options", "says"),
    [
        ({"bbox": [4, 2, 0, 6]}, {}, "1 without area, such as .*annotation 1"),
        ({"bbox": [50, 2, 4, 6]}, {}, "1 outside their image"),
        ({"bbox": [4, 2, 4, 6]}, {"classes": ["bird"]}, r"Received: \['seal'\]"),
        ({"bbox": [4, 2, 4, 6]}, {"rule": ORIENTED}, "Oriented boxes need outlines"),
        ({"bbox": [4, 2, 4, 6]}, {"columns": ["pilot"]}, "has .*'flight', 'photo'"),
        ({"bbox": [4, 2, 4, 6]}, {"image": "c.jpg"}, "which 0 of them match"),
        ({"bbox": [4, 2, 4, 6]}, {"image": "b.jpg"}, "5 x 5 px"),
        ({"bbox": [4, 2, 4]}, {}, "must have a bbox"),
        ({"bbox": [4, 2, 4, 6]}, {"ignore": "seal"}, "must list names"),
        ({"bbox": [4, 2, 4, 6]}, {"colour": 1}, "takes .*'columns'"),
        ({"bbox": [4, 2, 4, 6]}, {"format": "cvat"}, "`format` must be one of"),
        ({"bbox": [4, 2, 4, 6], "image_id": 9}, {}, "1 of 1 .* annotation 1 with im"),
    ],
)
def test_what_does_not_fit_is_refused(scene, tmp_path, entry, options, says):
    path = coco(tmp_path / "a.json", [entry])
    with pytest.raises(ValueError, match=says):
        add_boxes(scene, "seals", path, **options)


def test_annotations_of_images_that_are_not_listed_may_be_left_out(scene, tmp_path):
    entries = [{"bbox": [4, 2, 8, 6]}, {"bbox": [0, 0, 4, 4], "image_id": 9}]
    path = coco(tmp_path / "a.json", entries)
    ways = r"absent_images='leave_out'.*data\.labels\.NAME\.boxes\.absent_images: leave"
    with pytest.raises(ValueError, match=ways):
        add_boxes(scene, "seals", path)
    added = add_boxes(scene, "seals", path, absent_images="leave_out")
    assert held(added)[:, :4].tolist() == [[8, 5, 8, 6]]
    found = read_coco_boxes(path, 1, absent_images="leave_out")
    assert found["boxes"].tolist() == [[4, 2, 12, 8]]
    with pytest.raises(ValueError, match="`absent_images` must be one of"):
        add_boxes(scene, "seals", path, absent_images="drop")


def test_classes_may_be_ignored_or_left_out_and_faults_dropped(scene, tmp_path):
    path = coco(tmp_path / "a.json", [
        {"bbox": [4, 2, 4, 6]}, {"bbox": [9, 2, 4, 6], "category_id": 2},
        {"bbox": [9, 2, 0, 6]}, {"bbox": [-9, 2, 4, 6]},
    ])  # fmt: skip
    options = {"classes": ["seal"], "faulty": "drop"}
    ignored = held(add_boxes(scene, "seals", path, ignore=["bird"], **options))
    assert ignored[:, 5].tolist() == [0, bx.IGNORE]
    left = held(add_boxes(scene, "seals", path, leave_out=["bird"], **options))
    assert left[:, 5].tolist() == [0]


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("0 0.5 0.5 0.2", "must be a class and"),
        ("0 0.5 0.5 nan 0.2", "no|must be"),
        ("0 120 80 20 10", "shares of the image's sides"),
        ("3 0.5 0.5 0.2 0.1", "Received: 3 in line 1"),
    ],
)
def test_faulty_yolo_lines_are_refused(scene, tmp_path, text, says):
    (tmp_path / "a.txt").write_text(text)
    with pytest.raises((LabelError, SourceError), match=says):
        add_boxes(scene, "s", tmp_path / "a.txt", classes=["seal"], format="yolo")


def test_yolo_needs_names_and_voc_its_parts(scene, tmp_path):
    (tmp_path / "a.txt").write_text("0 0.5 0.5 0.2 0.1")
    with pytest.raises(LabelError, match="`classes` must name"):
        add_boxes(scene, "s", tmp_path / "a.txt")
    (tmp_path / "a.xml").write_text(VOC.replace("bndbox", "box"))
    with pytest.raises(SourceError, match="must have a `bndbox`"):
        add_boxes(scene, "s", tmp_path / "a.xml")
    (tmp_path / "a.xml").write_text(VOC.replace(">40<", ">0<"))
    with pytest.raises(SourceError, match=r"object 1, 'seal', with x from 1 to 0 and"):
        add_boxes(scene, "s", tmp_path / "a.xml")
    (tmp_path / "b.txt").write_text("seal 1 2 3")
    with pytest.raises(SourceError, match="one of the formats"):
        add_boxes(scene, "s", tmp_path / "b.txt")
    with pytest.raises(FileNotFoundError):
        add_boxes(scene, "s", tmp_path / "c.txt")
