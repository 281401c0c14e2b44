"""Examples of tasks, from files to a report; scores are those of scikit-learn."""

import csv
import json
from pathlib import Path

import numpy as np
import pytest
import rasterio
from sklearn import metrics

import arcticdl
from arcticdl.cli import main
from arcticdl.config import load_config

PLAIN = (
    "model.options={backbone_options: {width: 8, depth: 2}, "
    "decoder_options: {channels: [16, 8]}}"
)
TINY = ["train.epochs=1", "train.repeats=1", "train.batch_size=4", "folds.n_splits=2"]


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def run(*words):
    assert main([str(word) for word in words]) == 0


def simulate(folder, schema, scenes, size, *further):
    run("simulate", folder, "--schema", schema, "--scenes", scenes, "--size", size,
        *further)  # fmt: skip


def run_through(project_root, name, *changes):
    """All steps of a configuration, in small; the result, test scenes and maps."""
    config = project_root / "configs" / f"{name}.yaml"
    settings = [word for text in (*TINY, *changes) for word in ("--set", text)]
    run("prepare", config, *settings)
    run("train", config, "--fold", 0, *settings)
    run("evaluate", f"runs/{name}")
    run("predict", f"runs/{name}")
    run("report", f"runs/{name}")
    folder = Path("runs") / name
    page = (folder / "report.html").read_text()
    assert "cannot be drawn" not in page
    result = json.loads((folder / "fold0" / "metrics.json").read_text())
    split = json.loads((folder / "fold0" / "split.json").read_text())
    assert split["train"] and not set(split["train"]) & set(split["test"])
    return result, split["test"], folder / "maps"


def read(path):
    with rasterio.open(path) as source:
        return source.read(1)


def pairs(test, maps, truth_of, void=255):
    """True and predicted codes, or numbers, of all scored pixels of the test scenes."""
    true, found = [], []
    for scene_id in test:
        label, map_ = truth_of(scene_id), read(maps / f"{scene_id}.tif")
        scored = np.isfinite(label) & (label != void)
        scored &= np.isfinite(map_) & (map_ != void)
        true.append(label[scored])
        found.append(map_[scored])
    return np.concatenate(true), np.concatenate(found)


def test_thaw_classifies_images(project_root):
    simulate("data/thaw/frozen", "optical", 4, 64, "--ponds", 0)
    simulate("data/thaw/thawed", "optical", 4, 64, "--ponds", 0.3, "--seed", 1)
    small = ("tiles.size_px=64", "model.options.backbone_options={width: 4, depth: 2}")
    result, test, maps = run_through(project_root, "thaw", *small)
    (table,) = maps.glob("*.csv")
    rows = list(csv.DictReader(table.read_text().splitlines()))
    found = {row["scene_id"]: row["class"] for row in rows}
    assert set(found) == set(test)
    # Seed 0 was frozen, seed 1 thawed.
    true = ["thawed" if "_1_" in scene_id else "frozen" for scene_id in test]
    predicted = [found[scene_id] for scene_id in test]
    assert result["scores"]["accuracy"] == metrics.accuracy_score(true, predicted)
    answers = {entry["image_id"]: entry for entry in result["images"]}
    assert [answers[scene_id]["true"] for scene_id in test] == true
    score = [answers[scene_id]["prob"][1] for scene_id in test]
    auc = metrics.roc_auc_score(np.array(true) == "thawed", score)
    assert result["ranking"]["thawed"]["roc_auc"] == pytest.approx(auc)


def check_regression(result, true, found):
    scores = result["scores"]
    assert result["num_pixels"] == len(true)
    error = found.astype("float64") - true
    assert scores["rmse"] == pytest.approx(
        metrics.root_mean_squared_error(true, found), rel=1e-4
    )
    assert scores["mae"] == pytest.approx(
        metrics.mean_absolute_error(true, found), rel=1e-4
    )
    assert scores["r2"] == pytest.approx(metrics.r2_score(true, found), rel=1e-3)
    assert scores["bias"] == pytest.approx(error.mean(), abs=1e-5)


def test_concentration_is_regressed(project_root):
    simulate("data/amsr2", "amsr2", 12, 64)  # two places
    result, test, maps = run_through(project_root, "concentration", PLAIN)
    true, found = pairs(test, maps, lambda name: read(f"data/amsr2/{name}_sic.tif"))
    check_regression(result, true, found)
    assert Path("runs/concentration/report.html").read_text().count("<h2>Truth and")


def test_a_forecast_is_of_the_day_after(project_root):
    simulate("data/amsr2", "amsr2", 12, 64)
    small = PLAIN[:-1] + ", series: {fusion: convlstm}}"
    result, test, maps = run_through(project_root, "forecast", small)

    def day_after(name):
        place, _, day = name.rpartition("_")
        return read(f"data/amsr2/{place}_{int(day) + 1:02d}_sic.tif")

    true, found = pairs(test, maps, day_after)
    check_regression(result, true, found)


def test_speckle_is_taken_from_both_bands(project_root):
    simulate("data/speckle", "speckle", 2, 64)
    small = "model.options={backbone_options: {width: 4, depth: 2}, "
    small += "decoder_options: {channels: [8, 4]}}"
    small = (small, "baselines=false", "train.batch_size=1")
    result, test, maps = run_through(project_root, "speckle", *small)
    assert result["outputs"] == ["HH", "HV"] and result["units"] == "dB"
    (scene_id,) = test
    with (
        rasterio.open(f"data/speckle/{scene_id}_clean.tif") as clean,
        rasterio.open(maps / f"{scene_id}.tif") as map_,
    ):
        assert clean.descriptions == ("HH", "HV")
        assert [name[-2:] for name in map_.descriptions] == ["HH", "HV"]
        true, found = clean.read(), map_.read()
    for name, one, other in zip(("HH", "HV"), true, found, strict=True):
        known = np.isfinite(one) & np.isfinite(other)
        error = np.sqrt(metrics.mean_squared_error(one[known], other[known]))
        score = result["scores"]["per_output"][name]["rmse"]
        assert score == pytest.approx(error, abs=1e-3)
    assert {"psnr_db", "ssim", "edges", "looks", "coarse_rmse"} <= set(result["extra"])


def test_a_coarse_channel_is_brought_to_a_finer_grid(project_root, monkeypatch):
    beside = "arcticdl.evaluation.baselines.beside.classical_baselines"
    monkeypatch.setattr(beside, lambda *given, **options: {})  # they take most time
    simulate("data/coarse", "coarse", 9, 64)
    first_days = "data.scenes=data/coarse/*_00.tif"  # of two places
    small = (PLAIN, "train.augment=[]", first_days)
    result, test, maps = run_through(project_root, "sharpen", *small)
    true, found = pairs(test, maps, lambda name: read(f"data/coarse/{name}_fine.tif"))
    check_regression(result, true, found)
    differences = []
    for name in test:
        given, answer = read(f"data/coarse/{name}.tif"), read(maps / f"{name}.tif")
        blocks = (answer - given).reshape(16, 4, 16, 4).mean((1, 3))
        differences.append(np.sqrt(np.mean(blocks**2)))
    coarse = result["extra"]["coarse_rmse"]["mean"]
    assert coarse == pytest.approx(np.mean(differences), abs=1e-3)
    given = result["baselines"]["given"]["extra"]
    # Nothing is added to the input: what it has measured, it keeps.
    assert given["coarse_rmse"]["mean"] == 0 and "looks" not in given
    better = result["baselines"]["cubic"]["scores"]["rmse"]
    assert better < result["baselines"]["given"]["scores"]["rmse"]


def test_an_ensemble_of_fine_images_is_drawn(project_root, monkeypatch):
    simulate("data/coarse", "coarse", 9, 64)
    small = (
        "data.scenes=data/coarse/*_00.tif",  # of two places
        "model.options={backbone_options: {width: 4, depth: 1}, "
        "decoder_options: {channels: [8]}}",
        "model.diffusion={steps: 50, sampling_steps: 3, members: 4}",
        "train.augment=[]",
        "predict.outputs=[value, std, members]",
    )
    result, test, maps = run_through(project_root, "diffusion", *small)
    (name,) = test
    with rasterio.open(maps / f"{name}_members.tif") as source:
        members = source.read().astype(float)
    true, found = pairs(test, maps, lambda name: read(f"data/coarse/{name}_fine.tif"))
    check_regression(result, true, found)
    assert members.shape == (4, 64, 64)
    np.testing.assert_allclose(members.mean(0), read(maps / f"{name}.tif"), atol=1e-2)
    spread = read(maps / f"{name}_std.tif")
    np.testing.assert_allclose(members.std(0, ddof=1), spread, atol=1e-2)
    # CRPS by its definition: distance to the truth less half of that of all pairs.
    truth = read(f"data/coarse/{name}_fine.tif").astype(float)
    apart = np.abs(members[:, None] - members[None]).mean((0, 1))
    crps = (np.abs(members - truth).mean(0) - apart / 2).mean()
    assert result["extra"]["crps"]["mean"] == pytest.approx(crps, rel=1e-3)
    assert {"spread", "spread_skill", "coarse_rmse"} <= set(result["extra"])
    card = arcticdl.models.get_card(
        arcticdl.inference.load_model("runs/diffusion/fold0/model.keras")
    )
    assert card["diffusion"]["std"] > 0


def test_ordered_classes(project_root):
    simulate("data/demo", "geotiff", 2, 128)
    small = (PLAIN, "tiles.size_px=64", "baselines=false")
    result, test, maps = run_through(project_root, "ordinal", *small)
    true, found = pairs(test, maps, lambda name: read(f"data/demo/{name}_labels.tif"))
    matrix = metrics.confusion_matrix(true, found, labels=range(6))
    np.testing.assert_array_equal(result["confusion_matrix"], matrix)


def test_ice_charts_are_labels(project_root):
    simulate("data/charts", "geotiff", 2, 128, "--charts")
    small = (PLAIN, "tiles.size_px=64", "baselines=false")
    result, test, maps = run_through(project_root, "ice_chart", *small)

    def drawn(name):
        path = Path("data/charts") / f"{name}.tif"
        chart = path.with_name(f"{name}_chart.gpkg")
        return arcticdl.open_scene(path, labels={"SOD": chart})["SOD"].values

    true, found = pairs(test, maps, drawn)
    matrix = metrics.confusion_matrix(true, found, labels=range(6))
    np.testing.assert_array_equal(result["confusion_matrix"], matrix)


def test_gaps_are_filled_and_all_else_stays(project_root):
    simulate("data/cloudy", "cloudy", 6, 64)  # two places
    result, test, maps = run_through(
        project_root, "gaps_gan", PLAIN, "tiles.size_px=32", "baselines=true"
    )
    for name in test:
        with (
            rasterio.open(f"data/cloudy/{name}.tif") as given,
            rasterio.open(maps / f"{name}.tif") as map_,
        ):
            before, after = given.read(), map_.read()
        gap = np.isnan(before)
        np.testing.assert_array_equal(after[~gap], before[~gap])
        np.testing.assert_array_equal(read(maps / f"{name}_filled.tif") == 0, ~gap[0])
    # A quarter of each scene is hidden, less what was a gap before.
    share = result["num_pixels"] / (2 * len(test) * 64 * 64)
    assert 0.1 < share < 0.25
    assert {"psnr_db", "ssim", "spectrum_db", "seam"} == set(result["extra"])
    beside = {"constant", "nearest", "harmonic", "biharmonic", "other_dates"}
    assert set(result["baselines"]) == beside
    history = Path("runs/gaps_gan/fold0/history.csv").read_text()
    assert "discriminator_loss" in history.splitlines()[0]
    model = arcticdl.inference.load_model("runs/gaps_gan/fold0/model.keras")
    assert not any("discriminator" in layer.name for layer in model.layers)
    assert "gap" in arcticdl.models.get_card(model)["starts"]["surface"]


def test_gaps_are_filled_alike_but_for_the_adversary(project_root):
    plain, judged = (
        load_config(project_root / "configs" / f"{name}.yaml", ()).model_dump()
        for name in ("gaps", "gaps_gan")
    )
    assert judged["model"].pop("adversarial") and not plain["model"].pop("adversarial")
    for tree in (plain, judged):
        for key in ("name", "description", "baselines"):
            del tree[key]
        del tree["train"]["epochs"]  # which of two networks take longer
    assert plain == judged


@pytest.mark.parametrize("further", [(), ("model.contrastive={reconstruct: 0.1}",)])
def test_a_network_learns_from_images_alone(project_root, further):
    simulate("data/demo", "geotiff", 4, 64)
    config = project_root / "configs" / "pretrain.yaml"
    words = (*TINY, PLAIN, "tiles.size_px=32", *further)
    settings = [word for text in words for word in ("--set", text)]
    run("prepare", config, *settings)
    run("train", config, "--fold", 0, *settings)
    history = Path("runs/pretrain/fold0/history.csv").read_text()
    assert ("told_apart" in history) == bool(further)
    assert ("compiled_loss" in history) == bool(further)
    model = arcticdl.inference.load_model("runs/pretrain/fold0/model.keras")
    assert model.output_shape[-1] == 2
