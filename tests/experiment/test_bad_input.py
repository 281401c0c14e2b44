"""Bad input of `arcticdl predict`: one clear error, and nothing torn."""

import json
import shutil
import zipfile
from pathlib import Path

import numpy as np
import pytest
import rasterio

from arcticdl.cli import main

SCENE = "data/demo/simulated_0_001.tif"


@pytest.fixture(autouse=True)
def here(run_folder, monkeypatch):
    monkeypatch.chdir(run_folder)


def variant(name, *, order=(0, 1, 2), named=True):
    with rasterio.open(SCENE) as file:
        pixels, profile = file.read(), file.profile
        bands, tags = file.descriptions, file.tags()
    with rasterio.open(name, "w", **profile) as file:
        file.write(pixels[list(order)])
        file.update_tags(**tags)
        for number, place in enumerate(order, 1):
            file.set_band_description(number, bands[place] if named else "")
    return name


def refused(capsys, *words):
    assert main(["predict", "runs/demo", *words]) == 1
    lines = capsys.readouterr().err.splitlines()
    return [line for line in lines if line.startswith("error: ")]


def test_bands_in_another_order_make_the_same_map():
    for name, path in (("a", SCENE), ("b", variant("order.tif", order=(2, 1, 0)))):
        assert main(["predict", "runs/demo", path, "-o", f"{name}.tif"]) == 0
    with rasterio.open("a.tif") as one, rasterio.open("b.tif") as other:
        np.testing.assert_array_equal(one.read(), other.read())


def test_bands_without_names_are_refused_with_the_file_and_the_way_out(capsys):
    (line,) = refused(capsys, variant("unnamed.tif", named=False), "-o", "c.tif")
    assert "does not name its bands" in line
    assert "unnamed.tif" in line


@pytest.mark.parametrize("out", ["notes/map.tif", "notes", "/proc/maps/map.tif"])
def test_an_output_that_cannot_be_written_is_refused_before_the_models_load(
    out, capsys
):
    Path("notes").write_text("a file")
    model = Path("runs/demo/fold0/model.keras")
    model.rename("away.keras")  # so that loading it would be another error
    model.touch()
    try:
        (line,) = refused(capsys, SCENE, "-o", out)
    finally:
        Path("away.keras").rename(model)
    assert "folder that can be written to" in line
    assert Path("notes").read_text() == "a file"


def test_a_model_that_is_cut_or_of_another_version_says_so(tmp_path, capsys):
    whole = Path("runs/demo/fold0/model.keras")
    kept = shutil.copy(whole, tmp_path / "kept.keras")
    try:
        whole.write_bytes(whole.read_bytes()[:5000])
        (line,) = refused(capsys, SCENE, "-o", "d.tif")
        assert "cut off or damaged" in line
        with zipfile.ZipFile(kept) as old, zipfile.ZipFile(whole, "w") as new:
            for name in old.namelist():
                content = old.read(name)
                if name == "metadata.json":
                    told = json.loads(content) | {"keras_version": "9.9.9"}
                    content = json.dumps(told).encode()
                if name == "config.json":
                    content = content.replace(b'"Conv2D"', b'"Conv9D"')
                new.writestr(name, content)
        (line,) = refused(capsys, SCENE, "-o", "d.tif")
        assert "written by Keras 9.9.9" in line
    finally:
        shutil.copy(kept, whole)
    assert not Path("d.tif").exists()


def test_a_picture_is_no_map_and_no_folder(capsys):
    (line,) = refused(capsys, SCENE, "-o", "map.png")
    assert "NAME.tif or NAME.nc" in line and "--products png" in line
    assert not Path("map.png").exists()


@pytest.mark.parametrize("fold", ["0", "all"])
def test_a_tested_scene_whose_file_is_gone_is_told_before_any_is_mapped(fold, capsys):
    split = Path("runs/demo/fold0/split.json")
    kept = split.read_text()
    told = json.loads(kept)
    try:
        split.write_text(json.dumps(told | {"test": [*told["test"], "lost"]}))
        (line,) = refused(capsys, "-o", "gone", "--fold", fold)
    finally:
        split.write_text(kept)
    assert f"1 of {len(told['test']) + 1} without a file: lost" in line
    assert not Path("gone").exists()


@pytest.mark.parametrize("out", ["data/demo", "data/demo/../demo/simulated_0_001.tif"])
@pytest.mark.parametrize("named", [[SCENE], []], ids=["named", "tested"])
def test_no_map_ever_replaces_its_scene(out, named, capsys):
    """The tested scenes lie in the same folder, and so would their maps."""
    if not named and out != "data/demo":
        named = ["--fold", "0"]
    before = {path: path.read_bytes() for path in Path("data/demo").iterdir()}
    for again in ("--overwrite", "--resume"):
        (line,) = refused(capsys, *named, "-o", out, again)
        assert "must not replace it" in line and "(--out)" in line
    assert {path: path.read_bytes() for path in Path("data/demo").iterdir()} == before


@pytest.mark.parametrize(
    ("changed", "told"),
    [
        ("data.use_bands=[HH]", "data.use_bands of ['HH'], and"),
        ("data.use_bands=[HV, HH]", "prepared with ['HH', 'HV']"),
        ("tiles.size_px=64", "tiles.size_px of [64, 64], and"),
        ("tiles.overlap_px=4", "tiles.overlap_px of 4, and"),
        ("tiles.edge=drop", "tiles.edge of drop, and"),
        ("data.labels.ice_type.classes=[a, b, c, d, e, f]", "'open_water'"),
        ("data.labels.ice_type.codes={0-4: 0, 5: 5}", "'5': 5}, and"),
        ("data.derive=[{formula: ratio, of: [HH, HV]}]", "prepared with nothing"),
    ],
)
def test_a_training_on_tiles_that_were_prepared_otherwise_is_refused(
    changed, told, project_root, tiny_words, capsys
):
    """It would learn from the old ones, and its run would tell of the new."""
    before = Path("runs/demo/config.yaml").read_text()
    config = str(project_root / "configs" / "demo.yaml")
    words = [*tiny_words, "--set", changed, "--overwrite"]
    assert main(["train", config, "--fold", "0", *words]) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert told in line and "arcticdl prepare CONFIG --overwrite" in line
    assert Path("runs/demo/config.yaml").read_text() == before
    assert Path("runs/demo/fold0/model.keras").is_file()
