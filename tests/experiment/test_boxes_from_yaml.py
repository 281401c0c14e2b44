"""Labels of boxes from a configuration: files, columns to split by, what is refused."""

import json
import shutil
from pathlib import Path

import geopandas as gpd
import numpy as np
import pytest
import yaml
from PIL import Image
from shapely import box

from arcticdl import boxes as bx
from arcticdl.config import load_config
from arcticdl.errors import ConfigError, LabelError, SplitError
from arcticdl.experiment import open_scenes, prepare
from arcticdl.experiment.scenes import open_configured
from arcticdl.experiment.split import choose_folds, refuse_leaks
from arcticdl.tiles import audit_folds, group_kfold

SEALS = {"classes": ["seal"], "file": "seals.json", "boxes": "horizontal"}


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    """Six images of two flights, two of each photo, with COCO annotations."""
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(0)
    images, annotations = [], []
    Path("images").mkdir()
    for number in range(6):
        name = f"tile_{number}.png"
        pixels = rng.integers(0, 255, (16, 24, 3), "uint8")
        Image.fromarray(pixels).save(f"images/{name}")
        images.append({
            "id": number, "file_name": name, "height": 16, "width": 24,
            "flight": f"F{number // 3}", "photo": f"{number // 2:04d}",
        })  # fmt: skip
        annotations.append({"id": number, "image_id": number, "category_id": 1,
                            "bbox": [2 + number, 4, 6, 5]})  # fmt: skip
    write(images, annotations)


def write(images, annotations):
    categories = [{"id": 1, "name": "seal"}]
    content = {"images": images, "annotations": annotations, "categories": categories}
    Path("seals.json").write_text(json.dumps(content))


def read():
    content = json.loads(Path("seals.json").read_text())
    return content["images"], content["annotations"]


def configure(label=None, folds=None, train=None, **data):
    tree = {
        "name": "tiny",
        "data": {
            "scenes": "images/*.png",
            "labels": {"seals": {**SEALS, **(label or {})}},
            **data,
        },
        "tiles": {"size_px": [16, 24]},
        "folds": {"n_splits": 2, **(folds or {})},
        **({"train": train} if train else {}),
    }
    Path("config.yaml").write_text(yaml.safe_dump(tree))
    return load_config("config.yaml")


COLUMNS = {"form": "horizontal", "columns": ["flight", "photo"]}


def test_boxes_come_into_the_store_with_the_columns_of_their_images():
    store = prepare(configure({"boxes": COLUMNS}))
    assert store.labels["seals"].target == "object"
    assert store.manifest["flight"].tolist() == ["F0"] * 3 + ["F1"] * 3
    held = store.read([2])["seals"][0]
    assert held.tolist() == [[7, 6.5, 6, 5, 0, 0]]
    assert store.manifest["seals:seal"].tolist() == [1] * 6


def test_folds_keep_flights_or_photos_apart_and_the_audit_tells_if_not():
    config = configure({"boxes": COLUMNS}, {"group": "flight"})
    store = prepare(config)
    splits = choose_folds(store, config)
    refuse_leaks(store, config, splits)
    for split in splits.values():
        flights = store.manifest["flight"].to_numpy()
        assert not set(flights[split.train]) & set(flights[split.test])
        assert split.leakage.folds[0].shared_groups == ()
    by_tile = group_kfold(store, n_splits=2, group="scene_id")
    shared = audit_folds(store, by_tile, group="photo").folds[0].shared_groups
    assert shared, "a split by tile shares photos"


def test_a_fold_without_an_object_is_refused():
    images, annotations = read()
    write(images, [a for a in annotations if a["image_id"] < 3])
    config = configure({"boxes": COLUMNS}, {"group": "flight"})
    store = prepare(config)
    with pytest.raises(SplitError, match="on 3 tiles without one of 'seals'"):
        choose_folds(store, config)


def test_annotations_of_absent_images_are_refused_unless_left_out():
    Path("images/tile_5.png").unlink()
    with pytest.raises(LabelError, match=r"1 of 6 that are none, such as \['tile_5"):
        prepare(configure())
    left = {"boxes": {"form": "horizontal", "absent_images": "leave_out"}}
    assert len(prepare(configure(left))) == 5


def test_annotations_of_images_that_are_not_listed_are_left_out_by_the_same_key():
    images, annotations = read()
    write(images, [*annotations, {**annotations[0], "id": 77, "image_id": 99}])
    with pytest.raises(ValueError, match=r"annotation 77 with image_id=99.*leave_out"):
        prepare(configure())
    left = {"boxes": {"form": "horizontal", "absent_images": "leave_out"}}
    assert len(prepare(configure(left))) == 6


def test_images_absent_from_the_annotations_are_refused():
    shutil.copy("images/tile_0.png", "images/other.png")
    with pytest.raises(ValueError, match=r"other\.png', which 0 of them match"):
        prepare(configure())


def test_folders_tell_images_of_one_name_apart():
    images, annotations = read()
    rows = ["path,scene_id"]
    for number, entry in enumerate(images):
        Path(f"images/{number}").mkdir()
        shutil.move(f"images/{entry['file_name']}", f"images/{number}/0001.png")
        # As tools on Windows and on others write it, from another machine's root.
        entry["file_name"] = ("photos\\{}\\0001.png", "photos/{}/0001.png")[
            number % 2
        ].format(number)
        rows.append(f"images/{number}/0001.png,photo{number}")
    write(images, annotations)
    Path("scenes.csv").write_text("\n".join(rows))
    store = prepare(configure(table="scenes.csv", scenes=None))
    left = [float(store.scene_boxes("seals", f"photo{n}")[0, 0]) for n in range(6)]
    assert left == [5, 6, 7, 8, 9, 10]  # bbox x = 2 + number, 6 px wide: its centre
    write([{**images[0], "file_name": "0001.png"}], annotations[:1])
    drawn = {"labels": {"seals": {"file": "seals.json", "classes": ["ice", "seal"]}}}
    for label in ({}, drawn):
        with pytest.raises(
            LabelError, match=r"'0001.png', whose name both images/0/00"
        ):
            prepare(configure(table="scenes.csv", scenes=None, **label))


def test_a_scene_of_an_empty_vector_file_holds_no_object():
    import rasterio
    from affine import Affine

    profile = {"driver": "GTiff", "height": 16, "width": 24, "count": 1}
    for number in range(2):
        place = Affine(10, 0, 500_000, 0, -10, 8_000_000 - 1000 * number)
        pixels = np.random.default_rng(number).integers(1, 99, (1, 16, 24), "uint8")
        with rasterio.open(f"images/{number}.tif", "w", **profile, dtype="uint8",
                           crs="EPSG:32633", transform=place) as file:  # fmt: skip
            file.write(pixels)
    area = box(500_020, 7_999_900, 500_080, 7_999_950)  # columns 2 to 8, rows 5 to 10
    marked = gpd.GeoDataFrame({"kind": ["seal"]}, geometry=[area], crs="EPSG:32633")
    marked.to_file("images/0.geojson")
    marked.iloc[:0].to_file("images/1.geojson")
    label = {"file": {"replace": {".tif": ".geojson"}}}
    label |= {"options": {"attribute": "kind"}}
    store = prepare(configure(label, scenes="images/*.tif"))
    assert np.allclose(
        store.scene_boxes("seals", "0"), [[5, 7.5, 6, 5, 0, 0]], atol=0.1
    )
    assert store.scene_boxes("seals", "1").shape == (0, 6)


def test_faults_of_boxes_are_refused_and_told():
    images, annotations = read()
    write(images, [*annotations, {**annotations[0], "id": 9, "bbox": [40, 0, 5, 5]}])
    with pytest.raises(LabelError, match="1 outside their image, such as"):
        prepare(configure())
    prepare(configure({"options": {"faulty": "drop"}}))


def test_yolo_files_lie_beside_their_images_and_may_be_optional():
    for number in range(5):
        Path(f"images/tile_{number}.txt").write_text("0 0.5 0.5 0.25 0.25")
    file = {"replace": {".png": ".txt"}}
    with pytest.raises(FileNotFoundError, match=r"tile_5\.txt"):
        prepare(configure({"file": file}))
    store = prepare(configure({"file": file, "optional": True}))
    held = store.read(range(6))["seals"][:, 0]
    assert held[0].tolist() == [12, 8, 6, 4, 0, 0]
    assert held[5].tolist() == [12, 8, 24, 16, 0, bx.IGNORE]


def test_boxes_of_vectors_follow_a_scene_to_a_grid_and_others_are_refused():
    import rasterio
    from rasterio.transform import from_origin

    profile = {"driver": "GTiff", "width": 24, "height": 16, "count": 1,
               "dtype": "uint8", "crs": "EPSG:3413",
               "transform": from_origin(0, 0, 10, 10)}  # fmt: skip
    for name in "ab":
        with rasterio.open(f"{name}.tif", "w", **profile) as file:
            file.write(np.random.default_rng(0).integers(1, 9, (1, 16, 24), "uint8"))
    table = gpd.GeoDataFrame(geometry=[box(40, -80, 120, -40)], crs="EPSG:3413")
    table.to_file("seals.gpkg")
    label = {"file": "seals.gpkg"}
    grid = {"scenes": "*.tif", "grid": {"resolution_m": 20}}
    scene = open_scenes(configure(label, **grid))[0]
    np.testing.assert_allclose(scene["seals"].values, [[4, 3, 4, 2, 0, 0]], atol=1e-4)
    with pytest.raises(ConfigError, match="resamples scenes"):
        open_scenes(configure({"boxes": {"absent_images": "leave_out"}}, **grid))


def test_a_scene_to_map_needs_no_boxes():
    from arcticdl.experiment.data.anchors import find_anchors

    config = configure()
    (anchor, *_) = find_anchors(config.data)
    scene = open_configured(config.data, anchor, with_labels=False)
    assert "seals" not in scene


@pytest.mark.parametrize(
    ("label", "more", "says"),
    [
        ({"classes": []}, {}, "`boxes` need a `file` and the `classes`"),
        ({"codes": {0: 0}}, {}, r"\['codes'\] are of maps"),
        ({"boxes": "round"}, {}, "horizontal"),
        ({"boxes": {"min_share": 2}}, {}, "min_share"),
        ({}, {"train": {"feed": "scenes"}}, "boxes are cut when tiles are"),
        ({}, {"train": {"sampler": "rarity"}}, "`objects` is for boxes"),
    ],
)
def test_what_does_not_go_with_boxes_is_refused(label, more, says):
    with pytest.raises(ConfigError, match=says):
        configure(label, **more)


def test_steps_that_boxes_cannot_follow_are_refused_before_any_work():
    steps = [{"name": "hflip"}, {"name": "elastic"}, {"name": "mixup"}]
    with pytest.raises(ConfigError, match=r"the steps \['elastic', 'mixup'\]"):
        prepare(configure(train={"augment": steps}))
