"""The worst and the median scene are those, and their panels are what they say."""

import json

import numpy as np
import pytest
from fake_run import write_fake_run
from PIL import Image

from arcticdl.evaluation import (
    SegmentationEvaluation,
    ValueEvaluation,
    write_report,
)
from arcticdl.evaluation.pictures import paint_classes
from arcticdl.evaluation.scene_pictures import ScenePictures
from arcticdl.tasks import read_head

COLORS = ("#96c8ff", "#b46432")


def pixels_of(path):
    with Image.open(path) as found:
        return np.asarray(found)


def shown(scores, side=6, **options):
    pictures = ScenePictures(paint_classes(COLORS), **options)
    truth = np.zeros((side, side), int)
    truth[:2] = 255
    for name, score in scores.items():
        pred = np.ones_like(truth)
        image = np.random.default_rng(0).random((side, side, 1))
        pictures.add(name, score, image, truth, pred, truth == 0)
    return pictures


def test_the_worst_and_the_median_scene_are_written(tmp_path):
    pictures = shown({"a": 0.9, "b": 0.2, "c": 0.6, "d": 0.8, "e": 0.5})
    worst, median = pictures.write(tmp_path)
    assert (worst["kind"], worst["image_id"], worst["score"]) == ("worst", "b", 0.2)
    assert (median["kind"], median["image_id"], median["median"]) == (
        "median",
        "c",
        0.6,
    )
    assert json.loads((tmp_path / "scenes.json").read_text()) == [worst, median]
    panels = {name: pixels_of(tmp_path / f) for name, f in worst["files"].items()}
    assert list(panels) == ["image", "label", "prediction", "errors"]
    assert panels["label"][5, 5].tolist() == [0x96, 0xC8, 0xFF]
    assert panels["prediction"][5, 5].tolist() == [0xB4, 0x64, 0x32]
    assert len({tuple(panels[n][0, 0]) for n in ("label", "errors", "image")}) == 1
    pictures.write(tmp_path)
    assert len(list(tmp_path.glob("*.png"))) == 8


def test_a_lone_scene_is_the_worst_and_has_no_median_beside_it(tmp_path):
    (entry,) = shown({"a": 0.9}).write(tmp_path)
    assert (entry["kind"], entry["image_id"]) == ("worst", "a")


def test_memory_is_of_so_many_scenes_and_the_worst_is_among_them(tmp_path):
    rng = np.random.default_rng(5)
    scores = {f"s{n:03d}": float(s) for n, s in enumerate(rng.permutation(200) / 200)}
    pictures = shown(scores, room=9)
    worst, median = pictures.write(tmp_path)
    assert worst["score"] == 0.0
    assert median["median"] == pytest.approx(0.4975)
    assert len(pictures._kept) == 9


def test_large_scenes_are_thinned_and_say_so(tmp_path):
    (entry,) = shown({"a": 0.5}, side=50, max_side_px=20).write(tmp_path)
    assert entry["step"] == 3
    assert pixels_of(tmp_path / entry["files"]["label"]).shape == (17, 17, 3)


def test_the_report_shows_the_worst_of_all_folds_with_its_four_panels(tmp_path):
    run = tmp_path / "run"
    write_fake_run(run, num_images=4)
    listed = [
        entry
        for fold in (0, 1)
        for entry in json.loads((run / f"fold{fold}/pictures/scenes.json").read_text())
    ]
    worst = min((e for e in listed if e["kind"] == "worst"), key=lambda e: e["score"])
    page = write_report(run).read_text(encoding="utf-8")
    assert f"The worst scene: {worst['image_id']}" in page
    shown = page[page.index('id="scenes"') : page.index('id="tiles"')]
    assert shown.count("<img") == 8
    assert "The median scene" in shown
    (run / "fold0/pictures" / listed[0]["files"]["label"]).unlink()
    assert "is listed but not there" in write_report(run).read_text(encoding="utf-8")


def test_evaluations_show_scenes_by_their_own_score(tmp_path):
    rng = np.random.default_rng(0)
    evaluation = SegmentationEvaluation(["water", "ice"], colors=COLORS)
    values = ValueEvaluation(read_head("sic", {"task": "dense_regression"}))
    image, valid = rng.random((8, 8, 2)), np.ones((8, 8), bool)
    for name, error in (("good", 0.0), ("bad", 0.8), ("middling", 0.3)):
        truth = rng.integers(0, 2, (8, 8))
        prob = np.eye(2)[np.where(rng.random((8, 8)) < error, 1 - truth, truth)]
        evaluation.add(name, truth, prob)
        evaluation.show(name, truth, prob, image, valid)
        numbers = truth + error
        values.add(name, truth.astype(float), numbers[..., None])
        values.show(name, truth.astype(float), numbers[..., None], image, valid)
    for found in (evaluation, values):
        worst, median = found.write_scenes(tmp_path / type(found).__name__)
        assert (worst["image_id"], median["image_id"]) == ("bad", "middling")
    assert worst["limits"] == [0.0, 1.0] or worst["limits"] == (0.0, 1.0)
