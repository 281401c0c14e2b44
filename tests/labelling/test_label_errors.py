"""Doubtful labels: planted errors are found, at the top, where they are."""

import json
from pathlib import Path

import geopandas as gpd
import numpy as np
import pandas as pd
import pytest
import rasterio
from made_loop import NUM_SCENES, name_of, planted, truth_of

from arcticdl.cli import main
from arcticdl.labelling import Confidence, confident_class, find_suspects
from arcticdl.labelling.suspects import Answered
from arcticdl.tasks import read_head


def noisy(rng, num_classes=4, size=4000, wrong=0.15):
    """Labels with errors, and honest probabilities about what is true."""
    truth = rng.integers(0, num_classes, size)
    sure = rng.uniform(0.35, 0.95, size)[:, None]
    prob = sure * np.eye(num_classes)[truth] + (1 - sure) * rng.dirichlet(
        np.ones(num_classes), size
    )
    flipped = rng.random(size) < wrong
    other = (truth + rng.integers(1, num_classes, size)) % num_classes
    return np.where(flipped, other, truth), prob, flipped


def confidence_of(label, prob):
    found = Confidence(prob.shape[1])
    for part in np.array_split(np.arange(len(label)), 3):
        found.add(label[part], prob[part])
    for part in np.array_split(np.arange(len(label)), 5):
        found.join(label[part], prob[part])
    return found


def test_the_joint_is_that_of_the_formula_written_out():
    label, prob, _ = noisy(np.random.default_rng(0))
    limits = [prob[label == k, k].mean() for k in range(4)]
    joint = np.zeros((4, 4), int)
    for given, row in zip(label, prob, strict=True):
        sure = [k for k in range(4) if row[k] >= limits[k]]
        if sure:
            joint[given, max(sure, key=lambda k: row[k])] += 1
    found = confidence_of(label, prob)
    np.testing.assert_allclose(found.thresholds, limits)
    np.testing.assert_array_equal(found.joint, joint)


def test_the_joint_agrees_with_cleanlab():
    count = pytest.importorskip("cleanlab.count", reason="cleanlab is not installed")
    label, prob, _ = noisy(np.random.default_rng(1))
    limits = count.get_confident_thresholds(label, prob)
    joint = count.compute_confident_joint(label, prob, calibrate=False)
    found = confidence_of(label, prob)
    np.testing.assert_allclose(found.thresholds, limits)
    np.testing.assert_array_equal(found.joint, joint)


def test_a_class_that_no_label_names_is_never_confident():
    confidence = Confidence(3)
    prob = np.array([[0.1, 0.1, 0.8], [0.2, 0.7, 0.1]])
    confidence.add(np.array([0, 1]), prob)
    assert np.isinf(confidence.thresholds[2])
    assert confident_class(prob, confidence.thresholds)[0] == 0


@pytest.fixture(scope="module")
def listed(trained_loop, tmp_path_factory):
    """The folder that the command writes about the planted errors."""
    out = tmp_path_factory.mktemp("suspects") / "ice"
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(trained_loop)
        words = ["label-errors", "runs/loop", "-o", str(out), "--min-area-px", "20"]
        assert main(words) == 0
    return out


def drawn(table, number, shape=(96, 96)):
    """Which pixels of a scene the rows' polygons cover, by rasterio."""
    with rasterio.open(f"scenes/{name_of(number)}.tif") as file:
        transform = file.transform
    shapes = table.geometry[table["scene_id"] == name_of(number)]
    if not len(shapes):
        return np.zeros(shape, bool)
    return rasterio.features.geometry_mask(shapes, shape, transform, invert=True)


def test_the_top_of_the_list_is_planted_errors(listed, trained_loop, monkeypatch):
    monkeypatch.chdir(trained_loop)
    table = gpd.read_file(listed / "suspects.gpkg")
    wrong = {n: planted(truth_of(n), n)[1] for n in range(NUM_SCENES)}
    num_wrong = sum(mask.sum() for mask in wrong.values())
    share = num_wrong / (NUM_SCENES * 96 * 96)
    top = table.head(3 * NUM_SCENES)
    hits = {n: drawn(top, n) for n in wrong}
    listed_px = sum(mask.sum() for mask in hits.values())
    right_px = sum((hits[n] & wrong[n]).sum() for n in wrong)
    assert right_px / listed_px > 0.85  # of random pixels `share` would be wrong
    assert right_px / num_wrong > 0.6  # and of so many the same share found
    assert share < 0.07


def test_the_layer_is_in_the_crs_of_the_scenes_and_holds_true_areas(listed):
    table = gpd.read_file(listed / "suspects.gpkg")
    assert table.crs.to_epsg() == 3413
    plain = table.area / 1e4  # pixels of 100 m
    np.testing.assert_allclose(plain, table["area_px"], rtol=1e-9)
    assert (table.geom_type == "Polygon").all()
    assert set(table["origin"]) == {"model"}
    assert table["corrected"].isna().all()
    # Near 90 N, 45 W this projection draws areas by (1 + sin 70)^2 / 4 of their size.
    np.testing.assert_allclose(table["area_km2"] / (plain * 0.01), 1.063, atol=0.01)
    assert table["evidence"].is_monotonic_decreasing


def test_table_summary_and_sheet_say_the_same(listed):
    table = pd.read_csv(listed / "suspects.csv")
    summary = json.loads((listed / "summary.json").read_text())
    assert summary["num_suspects"] == len(table)
    assert summary["area_px"] == table["area_px"].sum()
    assert summary["folds"] == [0, 1]
    assert len(summary["scenes"]) == NUM_SCENES
    joint = np.array(summary["confident_joint"])
    assert np.trace(joint) > 0.8 * joint.sum()
    assert (listed / "suspects.png").stat().st_size > 10_000


def test_each_scene_is_answered_by_the_fold_that_held_it_out(listed, trained_loop):
    table = pd.read_csv(listed / "suspects.csv")
    for fold in (0, 1):
        split = json.loads(
            (trained_loop / f"runs/loop/fold{fold}/split.json").read_text()
        )
        assert set(table["scene_id"][table["fold"] == fold]) <= set(split["test"])


def test_a_model_that_has_learnt_a_scene_may_not_judge_it(loop, capsys):
    path = Path("runs/loop/fold0/split.json")
    split = json.loads(path.read_text())
    split["before"] = split["test"]  # as by a warm start
    path.write_text(json.dumps(split))
    assert main(["label-errors", "runs/loop"]) == 1
    assert "has learnt from" in capsys.readouterr().err
    assert not Path("runs/loop/label_errors").exists()


def test_what_somebody_filled_in_is_not_overwritten(loop, capsys):
    Path("runs/loop/label_errors/ice").mkdir(parents=True)
    assert main(["label-errors", "runs/loop"]) == 1
    assert "--overwrite" in capsys.readouterr().err
    assert main(["label-errors", "runs/loop", "--label", "snow"]) == 1
    assert "`label` must be" in capsys.readouterr().err


def test_values_are_doubtful_by_their_residuals(tmp_path):
    rng = np.random.default_rng(3)
    truth = rng.normal(size=(64, 64)).astype("float32")
    answer = (truth + rng.normal(0, 0.1, truth.shape)).astype("float32")
    label = truth.copy()
    label[10:20, 30:40] += 2.0
    label[0, :] = np.nan
    head = read_head("sic", {"task": "dense_regression"})
    images = [Answered("a", 0, label, answer[..., None])]
    found = find_suspects(images, head, tmp_path, min_area_px=50, least_deviation=5.0)
    (region,) = found.regions
    assert (region.rows, region.cols, region.area_px) == (
        slice(10, 20), slice(30, 40), 100,
    )  # fmt: skip
    assert found.summary["scale"] == pytest.approx(0.1, rel=0.1)
    assert region.confidence == pytest.approx(20, rel=0.1)
    assert region.given - region.suggested == pytest.approx(2, abs=0.05)


def test_whole_images_are_listed_one_by_one(tmp_path):
    rng = np.random.default_rng(4)
    label, prob, flipped = noisy(rng, size=200)
    images = [
        Answered(str(n), 0, np.array([[code]]), row[None, None])
        for n, (code, row) in enumerate(zip(label, prob, strict=True))
    ]
    head = read_head("ice", {"task": "classification", "num_classes": 4})
    found = find_suspects(images, head, tmp_path, min_area_px=1)
    top = [int(region.image_id) for region in found.regions][: flipped.sum() // 2]
    assert flipped[top].mean() > 0.95  # of random images 0.15


def test_heads_of_several_answers_are_refused(tmp_path):
    head = read_head("ice", {"task": "dense_multilabel", "num_classes": 3})
    with pytest.raises(ValueError, match="dense_multilabel"):
        find_suspects([], head, tmp_path)
