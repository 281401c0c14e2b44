"""Chips in the layout of the Cyber2A slumps: table, labels, training, COCO results."""

import json
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pytest
import rasterio
from PIL import Image

from arcticdl import evaluation, metrics, open_scene, tiles
from arcticdl.cli import main
from arcticdl.errors import SourceError
from arcticdl.sources import coco_table

TINY = [
    "model={backbone: plain, options: {backbone_options: {width: 4, depth: 2}, "
    "decoder_options: {channels: [8, 4]}}}",
    "train.epochs=2",
    "train.batch_size=2",
    "train.augment=[]",
    "train.ema=null",
    "predict.tta=none",
]
SETTINGS = [word for text in TINY for word in ("--set", text)]
RANGES = "height=112,128,146,156,180,250"
CHIPS = {
    "train_nitze_000": (289, 158, 2),
    "train_nitze_001": (291, 137, 1),
    "train_nitze_002": (283, 106, 0),  # no slump at all
    "train_yg_000": (286, 232, 3),
    "train_nitze_003": (150, 294, 1),
    "valtest_nitze_000": (292, 139, 2),
    "valtest_yg_000": (294, 195, 1),
}
"""Name -> width, height and number of slumps, as in the published files."""


def draw(width, height, count, rng):
    """Masks of slumps that do not touch, the first in two parts."""
    masks = []
    for place in range(count):
        mask = np.zeros((height, width), np.uint8)
        left = 20 + place * (width - 40) // count
        centre = (left + 12, height // 2)
        cv2.ellipse(mask, centre, (12, 9), int(rng.integers(180)), 0, 360, 1, -1)
        if place == 0:
            cv2.ellipse(mask, (left + 10, 12), (7, 5), 0, 0, 360, 1, -1)
        masks.append(mask.astype(bool))
    return masks


def trace(mask):
    """Outlines as the files have them: pixels of the edge, by OpenCV."""
    found, _ = cv2.findContours(
        mask.astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE
    )
    return [ring.ravel().tolist() for ring in found]


def write_chips(folder, chips=CHIPS):
    """JPEG chips and the two files of annotations; returns the masks by name."""
    (folder / "images").mkdir(parents=True)
    rng, masks = np.random.default_rng(3), {}
    for part in ("train", "valtest"):
        tree = {"info": {}, "licenses": [], "images": [], "annotations": []}
        tree["categories"] = [{"id": 1, "name": "rts"}]
        for name, (width, height, count) in chips.items():
            if not name.startswith(part):
                continue
            masks[name] = draw(width, height, count, rng)
            pixels = rng.normal(90, 8, (height, width, 3))
            pixels[np.any([np.zeros((height, width)), *masks[name]], axis=0)] += 80
            image = Image.fromarray(pixels.clip(0, 255).astype(np.uint8))
            image.save(folder / "images" / f"{name}.jpg", quality=95)
            number = len(tree["images"]) + 1
            sides = {"width": width, "height": height}
            entry = {"id": number, "file_name": f"{name}.jpg"} | sides
            tree["images"].append(entry)
            for mask in masks[name]:
                row, col = np.nonzero(mask)
                box = [int(v) for v in (col.min(), row.min(), np.ptp(col) + 1,
                                        np.ptp(row) + 1)]  # fmt: skip
                own = {"image_id": number, "category_id": 1, "iscrowd": 0}
                own |= {"bbox": box, "area": box[2] * box[3]}
                own |= {"segmentation": trace(mask)}
                own["id"] = len(tree["annotations"]) + 1
                tree["annotations"].append(own)
        (folder / f"coco_rts_{part}.json").write_text(json.dumps(tree))
    return masks


def files(folder):
    return [folder / f"coco_rts_{part}.json" for part in ("train", "valtest")]


@pytest.fixture(scope="module")
def slumps(tmp_path_factory, project_root):
    """A run of ``configs/slumps.yaml`` in small, and the masks that it should see."""
    folder = tmp_path_factory.mktemp("slumps")
    config = str(project_root / "configs" / "slumps.yaml")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setenv("ARCTICDL_SAMPLE_DATA", str(folder))
        masks = write_chips(folder / "slumps")
        words = [*map(str, files(folder / "slumps")), "--ranges", RANGES]
        words += ["--images", "slumps/images", "--out", "slumps/chips.csv"]
        assert main(["data", "coco", *words]) == 0
        assert main(["data", "coco", *words]) == 1  # it is there
        assert main(["prepare", config, *SETTINGS]) == 0
        assert main(["train", config, "--fold", "0", *SETTINGS]) == 0
        assert main(["evaluate", "runs/slumps"]) == 0
        assert main(["predict", "runs/slumps"]) == 0
        assert main(["report", "runs/slumps"]) == 0
    return folder, masks


def test_the_table_joins_both_files_and_tells_regions(slumps):
    table = pd.read_csv(slumps[0] / "slumps" / "chips.csv").set_index("path")
    assert len(table) == len(CHIPS)
    for name, (width, height, count) in CHIPS.items():
        row = table.loc[f"images/{name}.jpg"]
        assert row["part"] == name.partition("_")[0]
        assert row["annotations"] == f"coco_rts_{row['part']}.json"
        assert (row["width"], row["height"], row["num_objects"]) == (
            width, height, count,
        )  # fmt: skip
    assert table["height_range"].tolist() == [
        "156-179", "128-145", "below 112", "180-249", "from 250", "128-145", "180-249",
    ]  # fmt: skip


def test_labels_are_the_masks_that_were_traced(slumps):
    folder, masks = slumps
    store = tiles.open_store(folder / "data" / "slumps.tiles")
    assert set(store.scenes) == set(CHIPS)
    for name, own in masks.items():
        width, height, count = CHIPS[name]
        path = folder / "slumps" / "images" / f"{name}.jpg"
        json_file = files(folder / "slumps")[name.startswith("valtest")]
        given = {"vertices": "pixels", "draw": "number"}
        scene = open_scene(path, labels={"n": json_file}, label_options=given)
        numbers = scene["n"].values
        assert numbers.shape == (height, width) and numbers.max(initial=0) == count
        for number, mask in enumerate(own, start=1):
            np.testing.assert_array_equal(numbers == number, mask)
        short = open_scene(path, labels={"n": json_file})["n"].values
        assert (short > 0).sum() < (numbers > 0).sum() or count == 0
        # Of a tile that is larger than its chip the rest is void.
        rows = store.manifest.query("scene_id == @name")
        held = store.read(rows.index.tolist())["slumps"]
        assert (held == 1).sum() == sum(mask.sum() for mask in own)
        assert (held != 255).sum() == width * height


def test_what_is_held_out_is_scored_whole(slumps):
    folder, masks = slumps
    run = folder / "runs" / "slumps" / "fold0"
    split = json.loads((run / "split.json").read_text())
    table = pd.read_csv(folder / "slumps" / "chips.csv")
    region = {Path(p).stem: r for p, r in table[["path", "height_range"]].to_numpy()}
    assert not {region[n] for n in split["train"]} & {region[n] for n in split["test"]}
    result = json.loads((run / "metrics.json").read_text())
    there = [np.any(masks[n], axis=0).sum() if masks[n] else 0 for n in split["test"]]
    whole = [CHIPS[name][0] * CHIPS[name][1] for name in split["test"]]
    rows = np.sum(result["confusion_matrix"], axis=1)
    assert rows.tolist() == [sum(whole) - sum(there), sum(there)]
    apart = result["instances"]["methods"]["separated"]
    assert apart["num_truth"] == sum(len(masks[name]) for name in split["test"])
    assert "Object by object" in (run.parent / "report.html").read_text()


@pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")
@pytest.mark.filterwarnings("ignore::DeprecationWarning:pycocotools")
def test_mapped_objects_are_coco_results(slumps, capsys, monkeypatch):
    rle = pytest.importorskip("pycocotools.mask")
    folder, _ = slumps
    monkeypatch.chdir(folder)
    split = json.loads(Path("runs/slumps/fold0/split.json").read_text())
    for part, file in zip(("train", "valtest"), files(folder / "slumps"), strict=True):
        mapped = [name for name in split["test"] if name.startswith(part)]
        words = ["measure", "coco", "runs/slumps/maps", str(file), "-o", f"{part}.json"]
        assert main([*words, "--vertices", "pixels"]) == (0 if mapped else 1)
        if not mapped:
            continue
        told = capsys.readouterr().out
        assert f"of {len(mapped)} images" in told
        assert "are there, their points as pixels" in told
        assert main(words) == 1  # it is there
        results = json.loads(Path(f"{part}.json").read_text())
        ids = {e["id"]: e["file_name"] for e in json.loads(file.read_text())["images"]}
        for name in mapped:
            with rasterio.open(f"runs/slumps/maps/{name}_instances.tif") as source:
                numbers = source.read(1)
            own = [r for r in results if ids[r["image_id"]] == f"{name}.jpg"]
            assert len(own) == max(numbers.max(), 0)
            for number, one in enumerate(own, start=1):
                assert set(one) == {"image_id", "category_id", "segmentation", "score"}
                assert one["category_id"] == 1 and 0 <= one["score"] <= 1
                decoded = rle.decode(one["segmentation"])
                np.testing.assert_array_equal(decoded == 1, numbers == number)


def write_map(folder, name, numbers, scores):
    """A map of instances and its polygons, as the product writes them."""
    import geopandas
    from shapely.geometry import box

    profile = {"driver": "GTiff", "dtype": "int32", "count": 1, "nodata": -1}
    height, width = numbers.shape
    path = folder / f"{name}_instances.tif"
    with rasterio.open(path, "w", width=width, height=height, **profile) as file:
        file.write(numbers.astype(np.int32), 1)
    rows = {"number": np.arange(1, len(scores) + 1), "class": "slump", "score": scores}
    places = [box(0, 0, 1, 1)] * len(scores)
    frame = geopandas.GeoDataFrame(rows, geometry=places, crs=3413)
    frame.to_file(path.with_suffix(".gpkg"))


@pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")
def test_average_precision_of_masks_is_as_reckoned_by_hand(tmp_path):
    pytest.importorskip("pycocotools")
    square = np.zeros((40, 60), bool)
    square[10:20, 10:20] = True
    image = {"id": 4, "file_name": "a.jpg", "width": 60, "height": 40}
    object_ = {"id": 1, "image_id": 4, "category_id": 1, "segmentation": trace(square)}
    tree = {"images": [image], "annotations": [object_]}
    tree["categories"] = [{"id": 1, "name": "rts"}]
    file = tmp_path / "truth.json"
    file.write_text(json.dumps(tree))
    # 80 of 120 pixels shared: 0.67, right at 4 of the 10 overlaps from 0.50 to 0.95. A
    # surer object that is nothing halves the precision.
    numbers = np.zeros((40, 60), int)
    numbers[10:20, 12:22] = 2
    numbers[0:4, 0:4] = 1
    write_map(tmp_path, "a", numbers, [0.9, 0.5])
    truth = evaluation.coco_truth(file, vertices="pixels")
    assert truth["annotations"][0]["area"] == 100
    results = evaluation.coco_results(tmp_path, file)
    scores = metrics.coco_scores(truth, results)
    assert scores["ap"] == pytest.approx(0.4 / 2)
    assert scores["ap50"] == pytest.approx(0.5)
    with pytest.raises(ValueError, match="'pixels'"):
        evaluation.coco_truth(file, vertices="pixel")
    (surest,) = evaluation.coco_results(tmp_path, file, most=1)
    assert surest["score"] == 0.9
    table = tmp_path / "test_manifest.csv"
    table.write_text("image_id,file_name\n17,images/a.npz\n")
    assert {r["image_id"] for r in evaluation.coco_results(tmp_path, table)} == {17}
    assert evaluation.mapped_images(tmp_path, table) == [17]
    table.write_text("image,file_name\n17,a.npz\n")
    with pytest.raises(SourceError, match="columns"):
        evaluation.coco_results(tmp_path, table)
    table.write_text("image_id,file_name\n17,b.npz\n")
    with pytest.raises(SourceError, match="arcticdl predict"):
        evaluation.coco_results(tmp_path, table)


@pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")
def test_a_map_is_of_the_image_that_it_is_named_by_or_of_none(tmp_path):
    pytest.importorskip("pycocotools")
    numbers = np.zeros((8, 9), int)
    numbers[2:4, 2:5] = 1
    file = tmp_path / "truth.json"

    def listed(*names):
        images = [
            {"id": number, "file_name": name, "width": 9, "height": 8}
            for number, name in enumerate(names, start=1)
        ]
        categories = [{"id": 1, "name": "rts"}]
        tree = {"images": images, "annotations": [], "categories": categories}
        file.write_text(json.dumps(tree))
        return [one["image_id"] for one in evaluation.coco_results(tmp_path, file)]

    write_map(tmp_path, "chip_1_", numbers, [0.5])  # as `predict` names chip(1)
    with pytest.raises(SourceError, match=r"Received: \['chip_1_'\]"):
        listed("b.jpg")
    write_map(tmp_path, "a", numbers, [0.5])
    assert listed("a.jpg", "chip(1).jpg") == [1, 2]
    with pytest.raises(SourceError, match=r"a_instances\.tif, .* images \[1, 2\]"):
        listed("west/a.jpg", "east/a.jpg")
    (tmp_path / "a_instances.gpkg").unlink()
    with pytest.raises(SourceError, match=r"lie as a_instances\.gpkg"):
        listed("a.jpg")


def test_what_an_entry_says_gives_way_to_what_the_table_says(tmp_path):
    entries = [
        {"id": 1, "file_name": "a.png", "path": "/elsewhere/a.png", "gsd": 130},
        {"id": 2, "file_name": "b.png", "part": "none", "gsd": 145.0, "by": "drone"},
    ]
    for entry in entries:
        Image.new("RGB", (9, 8)).save(tmp_path / entry["file_name"])
    images = [entry | {"width": 9, "height": 8} for entry in entries]
    file = tmp_path / "chips_train.json"

    def table(images):
        tree = {"images": images, "annotations": [], "categories": []}
        file.write_text(json.dumps(tree))
        limits = {"gsd": [100, 146]}
        return coco_table([file], tmp_path, seen_from=tmp_path, ranges=limits)

    one, other = table(images)
    assert (one["path"], one["part"]) == ("a.png", "train")
    assert (other["path"], other["part"], other["by"]) == ("b.png", "train", "drone")
    assert one["gsd_range"] == other["gsd_range"] == "100-145"  # one group, not two
    parted = table([images[0], images[1] | {"gsd": 145.5}])
    assert [row["gsd_range"] for row in parted] == ["100-146"] * 2
    with pytest.raises(SourceError, match="'gsd', which is nan"):
        table([images[0] | {"gsd": float("nan")}])


def test_the_published_split_can_be_kept_and_its_leaks_are_told(slumps):
    store = tiles.open_store(slumps[0] / "data" / "slumps.tiles")
    (fold,) = tiles.SPLITTERS["given"]({"part": "valtest"}).split(store.manifest)
    held = store.manifest["part"].to_numpy()[fold[1]]
    assert set(held) == {"valtest"} and len(held) == 2
    report = tiles.audit_folds(store, [fold], group="height_range")
    (audit,) = report.folds
    assert set(audit.shared_groups) == {"128-145", "180-249"}


def test_files_that_contradict_their_images_are_refused(tmp_path):
    few = {k: CHIPS[k] for k in ("train_nitze_000", "train_yg_000", "valtest_yg_000")}
    write_chips(tmp_path, few)
    both, images = files(tmp_path), tmp_path / "images"
    assert len(coco_table(both, images)) == 3
    with pytest.raises(SourceError, match=r"listed once.*train_nitze_000\.jpg"):
        coco_table([both[0], both[0]], images)
    with pytest.raises(SourceError, match="'part', which is 'train'"):
        coco_table(both, images, ranges={"part": [1, 2]})
    with pytest.raises(SourceError, match="must rise"):
        coco_table(both, images, ranges={"height": [9, 2]})
    (images / "train_yg_000.jpg").unlink()
    with pytest.raises(SourceError, match=r"1 of 2.*'train_yg_000\.jpg'"):
        coco_table(both, images)
    words = ["data", "coco", str(both[0]), "--images", str(images), "-o", "t.csv"]
    assert main(words) == 1
    assert not Path("t.csv").exists()
    assert main([*words[:-2], "-o", "t.csv", "--ranges", "height"]) == 1
