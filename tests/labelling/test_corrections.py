"""Corrections: applied where they lie, kept in versions, and kept out of tests."""

import json
import shutil
from pathlib import Path

import geopandas as gpd
import numpy as np
import pandas as pd
import pytest
import rasterio
import yaml
from made_loop import CLASSES, CONFIG, name_of
from PIL import Image
from shapely import box

from arcticdl.cli import main
from arcticdl.config import load_config
from arcticdl.errors import ConfigError, LabelError
from arcticdl.experiment import evaluate, open_prepared, open_scenes
from arcticdl.inference.load import load_model
from arcticdl.labelling import apply_corrections, for_tests, read_corrections
from arcticdl.labelling.corrections import checked, decided, extend
from arcticdl.labelling.layer_files import read_layer, write_layer
from arcticdl.models import get_card
from arcticdl.sources import open_scene

LAYER = "data/ice_corrections.gpkg"


def configured(**changes):
    """The project's configuration with a layer of corrections."""
    tree = json.loads(json.dumps(CONFIG))
    tree["data"]["labels"]["ice"] |= {"corrections": LAYER, **changes}
    Path("loop.yaml").write_text(yaml.safe_dump(tree))
    return load_config("loop.yaml", ())


def square(number, row, col, side):
    """Pixels of a scene as a polygon on the ground (100 m a pixel)."""
    x, y = number * 100_000 + 100 * col, -100 * row
    return box(x, y - 100 * side, x + 100 * side, y)


def rows(*cells, crs="EPSG:3413"):
    """A reviewed table; each cell: scene, polygon, class, origin."""
    names = ("scene_id", "geometry", "corrected", "origin")
    table = pd.DataFrame(cells, columns=names)
    return gpd.GeoDataFrame(table, geometry="geometry", crs=crs)


def reviewed(*cells, crs="EPSG:3413"):
    return str(write_layer(rows(*cells, crs=crs), "reviewed.gpkg"))


def raw(number):
    with rasterio.open(f"scenes/{name_of(number)}_ice.tif") as file:
        return file.read(1)


def of_store(name, scene, store):
    """A label of a scene, put together from the tiles of the store."""
    found = np.full((96, 96), 99, "uint8")
    tiles = np.flatnonzero(store.manifest["scene_id"] == scene)
    read = store.read(tiles, [name])[name]
    for tile, pixels in zip(tiles, read, strict=True):
        row, col = store.manifest[["row", "col"]].iloc[tile]
        found[row : row + 32, col : col + 32] = pixels
    return found


BY_MODEL = (name_of(0), square(0, 10, 20, 8), "old ice", "model")
BY_PERSON = (name_of(1), square(1, 40, 30, 5), "void", None)


@pytest.fixture(scope="module")
def corrected(trained_loop, tmp_path_factory):
    """The project after one table of corrections: applied, prepared, trained."""
    folder = shutil.copytree(trained_loop, tmp_path_factory.mktemp("c") / "work")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        configured()
        table = reviewed(BY_MODEL, BY_PERSON)
        assert main(["labels", "apply", "loop.yaml", table, "--author", "A. B."]) == 0
        assert main(["prepare", "loop.yaml", "--overwrite"]) == 0
    return folder


def test_learnt_labels_are_the_raw_ones_with_polygons_drawn_on_them(
    corrected, monkeypatch
):
    monkeypatch.chdir(corrected)
    store = open_prepared(load_config("loop.yaml", ()))
    wanted = {n: raw(n) for n in range(4)}
    wanted[0][10:18, 20:28] = CLASSES.index("old ice")
    wanted[1][40:45, 30:35] = 255
    for number, label in wanted.items():
        found = of_store("ice", name_of(number), store)
        np.testing.assert_array_equal(found, label)


def test_tests_never_see_what_a_model_has_pointed_at(corrected, monkeypatch):
    monkeypatch.chdir(corrected)
    store = open_prepared(load_config("loop.yaml", ()))
    tested = for_tests(store)
    assert list(tested.labels) == ["ice"]
    assert tested.labels["ice"] == store.labels["ice"]
    np.testing.assert_array_equal(of_store("ice", name_of(0), tested), raw(0))
    person = raw(1)
    person[40:45, 30:35] = 255
    np.testing.assert_array_equal(of_store("ice", name_of(1), tested), person)
    tiles = np.arange(len(store))
    read = tested.read(tiles, ["ice"])["ice"]
    counts = np.array([np.bincount(t[t < 255], minlength=3) for t in read])
    np.testing.assert_array_equal(tested.class_counts("ice"), counts)
    assert (counts != store.class_counts("ice")).any()


def test_a_store_is_scored_on_labels_without_a_model_s_corrections(
    corrected, tmp_path, monkeypatch
):
    monkeypatch.chdir(shutil.copytree(corrected, tmp_path / "work"))
    split = json.loads(Path("runs/loop/fold0/split.json").read_text())
    fold = 0 if name_of(0) in split["test"] else 1
    tested = json.loads(Path(f"runs/loop/fold{fold}/split.json").read_text())["test"]
    after = np.array(evaluate("runs/loop", fold=fold)["confusion_matrix"])
    configured(corrections=None)
    assert main(["prepare", "loop.yaml", "--overwrite"]) == 0
    before = np.array(evaluate("runs/loop", fold=fold)["confusion_matrix"])
    # A person's 25 void pixels are gone; a model's 64 pixels are as they were.
    assert before.sum() - after.sum() == (25 if name_of(1) in tested else 0)
    if name_of(1) not in tested:
        np.testing.assert_array_equal(after, before)


def test_a_correction_that_was_taken_back_can_be_made_again():
    """Only what the layer still says of its ground is left out as known."""
    small, large = square(0, 10, 20, 8), square(0, 8, 18, 20)
    first = rows(("a", small, "old ice", None), ("b", small, "water", None))

    def add(layer, *cells):
        table = decided(rows(*cells) if cells else first, "t.gpkg")
        merged = extend(layer, table, author="me", time="2026-05-01T12:00:00Z")
        return checked(merged, CLASSES, "t.gpkg")

    layer = add(None)
    assert len(add(layer).table) == 2  # the same table again
    beside = add(layer, ("b", large, "old ice", None))
    assert len(add(beside, ("a", small, "old ice", None)).table) == 3
    over = add(layer, ("a", large, "water", None))
    again = add(over, ("a", small, "old ice", None))
    assert again.table["version"].tolist() == [1, 1, 2, 3]
    assert len(add(again, ("a", small, "old ice", None)).table) == 4
    assert len(add(over, ("b", small, "water", None)).table) == 3


def test_manifest_tells_version_and_changed_pixels(corrected, monkeypatch):
    monkeypatch.chdir(corrected)
    config = load_config("loop.yaml", ())
    store = open_prepared(config)
    layer = read_corrections(LAYER, CLASSES)
    table = store.manifest.drop_duplicates("scene_id").set_index("scene_id")
    assert set(table["ice_corrections"]) == {layer.signature}
    changed = int((raw(0)[10:18, 20:28] != 2).sum())
    wanted = {name_of(0): changed, name_of(1): 25, name_of(2): 0, name_of(3): 0}
    assert table["ice_corrected_px"].to_dict() == wanted


def test_a_card_tells_the_corrections_that_were_learnt(corrected, monkeypatch, capsys):
    monkeypatch.chdir(corrected)
    words = ["train", "loop.yaml", "--fold", "0", "--run-dir", "runs/again"]
    fast = ["--set", "train.epochs=1", "--set", "train.repeats=1"]
    warm = ["--set", "model.warm_start={run: runs/loop, fold: 0}"]
    assert main([*words, *fast, *warm]) == 0
    told = capsys.readouterr().out
    card = get_card(load_model("runs/again/fold0/model.keras"))["corrections"]["ice"]
    split = json.loads(Path("runs/again/fold0/split.json").read_text())
    changed = {name_of(0): int((raw(0)[10:18, 20:28] != 2).sum()), name_of(1): 25}
    learnt = {k: v for k, v in changed.items() if k in split["train"]}
    assert card["changed_px"] == sum(learnt.values())
    assert card["scenes"] == len(learnt)
    assert card["version"] == read_corrections(LAYER, CLASSES).signature
    assert f"training scenes corrected, version {card['version']}" in told


def test_a_store_of_another_version_is_refused(
    corrected, tmp_path, monkeypatch, capsys
):
    monkeypatch.chdir(shutil.copytree(corrected, tmp_path / "work"))
    more = reviewed((name_of(2), square(2, 5, 5, 9), "water", "person"))
    assert main(["labels", "apply", "loop.yaml", more, "--author", "C. D."]) == 0
    words = ["train", "loop.yaml", "--fold", "0", "--run-dir", "runs/new"]
    assert main(words) == 1
    assert "prepare CONFIG --overwrite" in capsys.readouterr().err
    assert not Path("runs/new").exists()


def test_a_layer_only_grows_and_the_later_correction_holds(loop, capsys):
    config = configured()
    first = reviewed(BY_MODEL)
    apply = ["labels", "apply", "loop.yaml"]
    assert main([*apply, first, "--author", "A. B."]) == 0
    once = Path(LAYER).read_bytes()
    assert main([*apply, first, "--author", "A. B."]) == 0
    assert "nothing new" in capsys.readouterr().out
    assert Path(LAYER).read_bytes() == once
    second = reviewed((name_of(0), square(0, 10, 20, 4), "thin_ice", "person"))
    assert main([*apply, second, "--author", "C. D."]) == 0
    layer = read_corrections(LAYER, CLASSES)
    assert layer.table["version"].tolist() == [1, 2]
    assert layer.table["author"].tolist() == ["A. B.", "C. D."]
    assert layer.table["time"].str.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ").all()
    wanted = raw(0)
    wanted[10:18, 20:28] = 2
    wanted[10:14, 20:24] = 1
    scene = next(s for s in open_scenes(config) if s.attrs["scene_id"] == name_of(0))
    np.testing.assert_array_equal(scene["ice"].values, wanted)
    unaided = raw(0)
    unaided[10:14, 20:24] = 1
    np.testing.assert_array_equal(scene["ice_unaided"].values, unaided)


def test_without_a_name_polygons_are_found_by_their_place_in_any_crs(loop):
    config = configured()
    table = rows((None, square(3, 20, 30, 6), "old ice", "person")).to_crs("EPSG:4326")
    write_layer(table, "reviewed.gpkg")
    words = ["labels", "apply", "loop.yaml", "reviewed.gpkg", "--author", "A"]
    assert main(words) == 0
    for number, scene in enumerate(open_scenes(config)):
        wanted = raw(int(scene.attrs["scene_id"][-1]))
        if scene.attrs["scene_id"] == name_of(3):
            wanted[20:26, 30:36] = 2
        np.testing.assert_array_equal(scene["ice"].values, wanted, str(number))


def test_pixels_of_plain_images_count_downwards(tmp_path):
    image = np.zeros((40, 50), "uint8")
    Image.fromarray(image).save(tmp_path / "plain.png")
    scene = open_scene(tmp_path / "plain.png").assign(ice=(("y", "x"), image))
    table = rows(("plain", box(10, -25, 13, -20), "ice", "person"), crs=None)
    table["author"], table["time"] = "A", "2026-05-01T00:00:00Z"
    path = write_layer(table, tmp_path / "layer.gpkg")
    assert read_layer(path).crs is None
    corrections = read_corrections(path, ("water", "ice"))
    found = apply_corrections(scene, "ice", corrections)
    image[20:25, 10:13] = 1
    np.testing.assert_array_equal(found.label.values, image)
    assert found.changed == 15


def test_numbers_of_quantities_and_void_are_set(tmp_path):
    values = np.arange(16, dtype="float32").reshape(4, 4)
    values[0, 0] = np.nan
    scene = open_scene_of(values, tmp_path)
    table = rows(
        ("s", box(0, -2, 2, 0), "0.5", "person"),
        ("s", box(3, -4, 4, -3), "void", "model"),
        crs=None,
    )
    table["author"], table["time"] = "A", "2026-05-01T00:00:00Z"
    path = write_layer(table, tmp_path / "layer.gpkg")
    found = apply_corrections(scene, "sic", read_corrections(path, ()))
    wanted = values.copy()
    wanted[:2, :2] = 0.5
    wanted[0, 0] = np.nan  # void stays void
    wanted[3, 3] = np.nan
    np.testing.assert_array_equal(found.label.values, wanted)
    assert found.changed == 4


def open_scene_of(values, folder):
    import xarray as xr

    return xr.Dataset(
        {"image": (("band", "y", "x"), values[None]), "sic": (("y", "x"), values)},
        {"band": ["a"], "y": np.arange(4) + 0.5, "x": np.arange(4) + 0.5},
        {"scene_id": "s", "georeferenced": False},
    )


@pytest.mark.parametrize(
    ("cells", "message"),
    [
        (
            (name_of(0), square(0, 1, 1, 5), "snow", "model"),
            "`corrected` must be one of",
        ),
        ((name_of(0), square(0, 1, 1, 5), "water", "robot"), "`origin` must be one of"),
        (("absent", square(0, 1, 1, 5), "water", "model"), "`scene_id` must name"),
        ((name_of(0), square(3, 1, 1, 5), "water", "model"), "must change a pixel"),
        ((name_of(0), square(0, 1, 1, 5), None, "model"), "filled in. Received: none"),
    ],
)
def test_what_cannot_be_applied_is_refused_and_nothing_written(
    loop, capsys, cells, message
):
    configured()
    words = ["labels", "apply", "loop.yaml", reviewed(cells), "--author", "A"]
    assert main(words) == 1
    assert message in capsys.readouterr().err
    assert not Path(LAYER).exists()


def test_nobody_s_corrections_are_refused(loop):
    config = configured()
    table = reviewed(BY_MODEL)
    assert main(["labels", "apply", "loop.yaml", table]) == 1
    write_layer(rows(BY_MODEL), Path("data") / "ice_corrections.gpkg")
    with pytest.raises(LabelError, match="must tell its author"):
        open_scenes(config)
    with pytest.raises(ConfigError, match="`corrections` are of"):
        configured(several=True, file=None, attribute="kinds")


def test_a_layer_that_is_not_there_is_named(loop, capsys):
    configured()
    assert main(["prepare", "loop.yaml", "--overwrite"]) == 1
    assert "No corrections at data/ice_corrections.gpkg" in capsys.readouterr().err
    assert Path("data/loop.tiles/store.json").exists()
