"""The whole chain, from files to maps, with tiny networks: every configuration runs."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import rasterio
import yaml
from scipy import ndimage

from arcticdl.cli import main

TINY = [
    "model={backbone: plain, options: {backbone_options: {width: 4, depth: 2}, "
    "decoder_options: {channels: [8, 4]}}}",
    "train.epochs=1",
    "train.repeats=1",
    "train.batch_size=4",
    "train.early_stopping=null",
    "folds.validation_groups=0",
]
SMALL_DEMO = ["tiles.size_px=64", "folds.n_splits=2", "predict.overlap_px=16"]


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    """Each test runs in a folder of its own."""
    monkeypatch.chdir(tmp_path)


def sets(*texts):
    return [word for text in texts for word in ("--set", text)]


def run(*words):
    """Runs a command that must succeed."""
    assert main([str(word) for word in words]) == 0


@pytest.fixture
def demo(project_root):
    """Two simulated scenes, the demo's configuration, and its small settings."""
    run("simulate", "data/demo", "--scenes", 2, "--size", 128)
    return project_root / "configs" / "demo.yaml", sets(*TINY, *SMALL_DEMO)


def test_every_configuration_is_tested(project_root):
    names = {path.stem for path in (project_root / "configs").glob("*.yaml")}
    here = {"calving_front", "demo", "meltpond", "modis_seaice"}
    here |= {"demo_search"}  # in test_search.py
    here |= {"draw"}  # in test_synthesis_run.py
    here |= {"floes"}  # in test_instances_run.py
    here |= {"slumps"}  # in test_slumps_run.py
    here |= {"icebergs"}  # in test_cfar_baseline.py
    here |= {"seals"}  # in test_experiment_objects.py
    here |= {"autoice_weak"}  # in test_shares_run.py
    here |= {"anomalies"}  # in test_anomalies_run.py
    here |= {"sea_ice_forecast", "extent"}  # in tests/forecasting
    here |= {f"autoice{end}" for end in ("", "_nrt", "_recipe", "_small", "_winner")}
    tasks = {"concentration", "forecast", "ice_chart", "ordinal", "thaw"}
    tasks |= {"diffusion", "gaps", "gaps_gan", "pretrain", "sharpen", "speckle"}
    assert names == here | tasks  # the latter in test_config_files.py


def test_demo_from_nothing_to_a_report(demo, tmp_path):
    config, settings = demo
    run("prepare", config, *settings)
    run("train", config, "--fold", 0, *settings)
    run("evaluate", "runs/demo")
    run("predict", "runs/demo")
    run("report", "runs/demo")
    summary = json.loads(Path("runs/demo/summary.json").read_text())
    split = json.loads(Path("runs/demo/fold0/split.json").read_text())
    assert len(split["train"]) == len(split["test"]) == 1
    assert summary["num_images"] == 1
    assert set(summary["baselines"]) > {"majority", "per_pixel", "random_forest"}
    (held_out,) = split["test"]
    with (
        rasterio.open(f"data/demo/{held_out}.tif") as source,
        rasterio.open(f"runs/demo/maps/{held_out}.tif") as written,
    ):
        assert (written.crs, written.transform) == (source.crs, source.transform)
        assert written.shape == source.shape
        assert written.crs.to_epsg() == 3413
    shutil.copytree("runs/demo/fold0", "runs/demo/fold1")
    scene = f"data/demo/{held_out}.tif"
    together = ("--fold", "all", "--tta", "none")
    run("predict", "runs/demo", scene, *together, "-o", "all.tif")
    with rasterio.open("all_spread.tif") as spread:
        assert np.nanmax(spread.read(1)) < 1e-5  # the same model twice
    assert main(["predict", "runs/demo", "--fold", "all", "-o", "one.tif"]) == 1
    assert not Path("one.tif").exists()
    step = "{name: sieve, options: {min_area_px: 40}}"
    mend = ("--set", f"predict.postprocess=[{step}]")
    run("predict", "runs/demo", scene, "-o", "mended.tif", *mend)
    with (
        rasterio.open(f"runs/demo/maps/{held_out}.tif") as raw,
        rasterio.open("mended.tif") as mended,
    ):
        codes, found = raw.read(1), mended.read(1)
        assert "sieve" in mended.tags()["postprocess"]
    np.testing.assert_array_equal(found == 255, codes == 255)
    assert (found != codes).any()
    for code in np.unique(found[found != 255]):
        sizes = np.bincount(ndimage.label(found == code)[0].ravel())[1:]
        assert sizes.min() >= 40  # no void lies between, in which one could be alone
    resumed = ["predict", "runs/demo", scene, "-o", "mended.tif", "--resume"]
    assert main(resumed) == 1  # made by other steps than this call's: none
    assert main([*resumed, *mend]) == 0
    for wrong in (
        "train.epochs=1",
        "predict.postprocess=[{name: sieve, options: {min: 3}}]",
        "predict.postprocess=[{name: majority, options: {size_px: three}}]",
    ):
        assert main(["predict", "runs/demo", scene, "--set", wrong]) == 1
    page = Path("runs/demo/report.html").read_text()
    assert "http-equiv" not in page
    assert 'src="http' not in page
    assert not [p for p in tmp_path.rglob("*") if ".part" in p.name]


@pytest.mark.real_data
def test_meltpond(real_data, project_root):
    config = project_root / "configs" / "meltpond.yaml"
    settings = sets(*TINY, "tiles.size_px=96", "predict.tile_size_px=96")
    settings += sets("tiles.overlap_px=0", "train.augment=[]")
    run("prepare", config, *settings)
    run("train", config, "--fold", 1, *settings)
    run("evaluate", "runs/meltpond")
    metrics = json.loads(Path("runs/meltpond/fold1/metrics.json").read_text())
    masks = np.load(real_data / "meltpond_tir" / "train_masks.npy")
    split = json.loads(Path("runs/meltpond/fold1/split.json").read_text())
    held_out = [int(name.rpartition("_")[2]) for name in split["test"]]
    # Every pixel of the held-out images is scored, and none of another image.
    counts = np.bincount(masks[held_out].ravel(), minlength=3)
    assert np.sum(metrics["confusion_matrix"], axis=1).tolist() == counts.tolist()
    assert not set(split["train"]) & set(split["test"])


@pytest.mark.real_data
@pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")
def test_calving_front(real_data, project_root):
    config = project_root / "configs" / "calving_front.yaml"
    settings = sets(*TINY, "train.augment=[]", "train.learning_rate=0.01")
    run("prepare", config, *settings)
    run("train", config, "--fold", 1, *settings)
    split = json.loads(Path("runs/calving_front/fold1/split.json").read_text())

    def path_rows(names):
        return {name.split("_")[2] for name in names}

    assert not path_rows(split["train"]) & path_rows(split["test"])
    name = split["test"][0]
    image = real_data / "calving_front" / "images" / f"{name}.png"
    run("predict", "runs/calving_front", image, "--fold", 1, "-o", "front.tif")
    with rasterio.open("front_line.tif") as line, rasterio.open("front.tif") as full:
        assert line.shape == full.shape == (300, 200)
        assert set(np.unique(line.read(1))) <= {0, 1}
    assert Path("front_line.gpkg").exists()


@pytest.mark.real_data
def test_modis_seaice(real_data, project_root):
    config = project_root / "configs" / "modis_seaice.yaml"
    settings = sets(*TINY, "tiles.size_px=96", "tiles.overlap_px=0")
    run("prepare", config, *settings)
    run("train", config, "--fold", 0, *settings)
    split = json.loads(Path("runs/modis_seaice/fold0/split.json").read_text())
    assert all(".aqua." in name for name in split["train"])
    assert all(".terra." in name for name in split["test"])
    days = [{name.split(".")[0] for name in split[part]} for part in ("train", "test")]
    assert not days[0] & days[1]
    (terra, *_) = (real_data / "modis_seaice").glob("bering*/*terra.truecolor.tiff")
    run("predict", "runs/modis_seaice", terra)
    mapped = f"runs/modis_seaice/maps/{terra.stem}.tif"
    with rasterio.open(terra) as source, rasterio.open(mapped) as written:
        assert (written.crs, written.transform) == (source.crs, source.transform)
        assert written.shape == source.shape


def fails(capsys, *words):
    """Runs a command that must fail with one line; returns the line."""
    capsys.readouterr()
    assert main([str(word) for word in words]) == 1
    error = capsys.readouterr().err.strip()
    assert error.startswith("error: ")
    return error


def rewritten(config, **data):
    """A copy of a configuration with other data settings."""
    tree = yaml.safe_load(config.read_text())
    tree["data"].update(data)
    path = Path("changed.yaml")
    path.write_text(yaml.safe_dump(tree))
    return path


def test_wrong_inputs_stop_before_training_and_leave_nothing(demo, capsys):
    config, settings = demo
    tree = yaml.safe_load(config.read_text())
    label = tree["data"]["labels"]["ice_type"]
    few = {"ice_type": {**label, "classes": ["water", "ice"], "colors": []}}
    cases = [
        ({"scenes": "data/absent/*.tif"}, "No file matches"),
        ({"use_bands": ["HH", "VV"]}, "VV"),
        ({"labels": few}, "ice_type"),
        ({"attributes": {"region": "x(y)z"}}, "finds nothing"),
    ]
    for data, message in cases:
        error = fails(capsys, "prepare", rewritten(config, **data), *settings)
        assert message in error
        assert not Path("data/demo.tiles").exists()
    too_large = [*settings, *sets("tiles.size_px=512")]
    error = fails(capsys, "prepare", config, *too_large)
    assert "512" in error
    assert "128" in error
    assert not list(Path("data").glob("demo.tiles*"))


def test_labels_of_another_shape_and_all_nodata_are_refused(demo, capsys):
    config, settings = demo
    first = sorted(Path("data/demo").glob("*0.tif"))[0]
    labels = first.with_name(f"{first.stem}_labels.tif")
    kept = labels.read_bytes()
    with rasterio.open(labels) as file:
        profile, codes = file.profile, file.read()
    profile |= {"height": 100}
    with rasterio.open(labels, "w", **profile) as file:
        file.write(codes[:, :100])
    assert "100" in fails(capsys, "prepare", config, *settings)
    labels.write_bytes(kept)
    with rasterio.open(first, "r+") as file:
        file.write(np.full(file.shape, np.nan, "float32")[None].repeat(3, 0))
    assert first.stem in fails(capsys, "prepare", config, *settings)
    assert not list(Path("data").glob("demo.tiles*"))


def test_a_run_that_exists_is_kept(demo, capsys):
    config, settings = demo
    run("prepare", config, *settings)
    assert "overwrite" in fails(capsys, "prepare", config, *settings)
    run("train", config, "--fold", 0, *settings)
    before = Path("runs/demo/fold0/model.keras").read_bytes()
    assert "is trained" in fails(capsys, "train", config, "--fold", 0, *settings)
    other = [*settings, *sets("train.learning_rate=0.5")]
    error = fails(capsys, "train", config, "--fold", 0, *other)
    assert "another configuration" in error
    run("train", config, "--fold", 0, "--resume", *settings)
    assert Path("runs/demo/fold0/model.keras").read_bytes() == before
    error = fails(capsys, "train", config, "--fold", 7, *settings)
    assert "a number from 0 to 1" in error


def test_wrong_choices_are_refused_before_the_run_folder(demo, capsys):
    config, settings = demo
    run("prepare", config, *settings)
    for setting, message in (
        ("model.backbone=resnet19", "resnet18"),
        ("loss.name=Dise", "Dice"),
        ("loss.options={gama: 2}", "gama"),
        ("train.normalizer=zscor", "zscore"),
        ("folds.group=glacier", "glacier"),
        ("folds.n_splits=9", "9"),
    ):
        words = ["train", config, "--fold", 0, *settings, *sets(setting)]
        assert message in fails(capsys, *words)
        assert not Path("runs").exists()


def test_the_full_model_learns_from_every_scene(demo, capsys):
    config, settings = demo
    run("prepare", config, *settings)
    run("train", config, "--fold", "full", *settings)
    split = json.loads(Path("runs/demo/full/split.json").read_text())
    assert len(split["train"]) == 2
    assert not split["test"]
    assert not list(Path("runs/demo").glob("fold*"))
    scene = "data/demo/simulated_0_000.tif"
    run("predict", "runs/demo", scene, "--fold", "full", "-o", "map.tif")
    assert Path("map.tif").exists()
    for command, message in (
        (["predict", "runs/demo", "--fold", "full"], "Name the scenes"),
        (["evaluate", "runs/demo", "--fold", "full"], "none is left to score"),
        (["export", "runs/demo", "--fold", "all"], "name a fold"),
        (["train", str(config), "--fold", "full", *settings], "--overwrite"),
    ):
        assert main(command) == 1
        assert message in capsys.readouterr().err
    run("train", config, "--fold", "full", "--resume", *settings)
    shutil.rmtree("runs/demo/full")
    assert main(["predict", "runs/demo", scene, "--fold", "full", "-o", "b.tif"]) == 1
    assert "holds no full model" in capsys.readouterr().err
