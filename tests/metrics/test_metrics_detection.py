"""COCO scores: perfect, missing, shifted and false detections."""

import builtins
import json

import numpy as np
import pytest

from arcticdl import metrics
from arcticdl.errors import MissingExtraError

pytest.importorskip("pycocotools")


def squares(shift=0, size=100):
    instances = np.zeros((size, size), np.int32)
    instances[10:30, 10 + shift : 30 + shift] = 1
    instances[50:90, 50:90] = 2
    return instances


def truth():
    return {
        "images": [{"id": 7, "width": 100, "height": 100}],
        "categories": [{"id": 1, "name": "rts"}, {"id": 2, "name": "berg"}],
        "annotations": metrics.coco_annotations(squares(), 7, {1: 1, 2: 2}),
    }


def detections(instances=None, scores=(0.9, 0.8)):
    entries = metrics.coco_annotations(
        squares() if instances is None else instances, 7, {1: 1, 2: 2}
    )
    return [{**e, "score": s} for e, s in zip(entries, scores, strict=True)]


@pytest.mark.parametrize("iou_type", ["bbox", "segm"])
def test_perfect_detections(iou_type):
    got = metrics.coco_scores(truth(), detections(), iou_type=iou_type)
    assert [got[key] for key in ("ap", "ap50", "ar100")] == pytest.approx([1.0] * 3)
    assert got["ap_small"] == pytest.approx(1.0)
    assert got["ap_medium"] == pytest.approx(1.0)
    assert np.isnan(got["ap_large"])
    assert got["per_category"] == pytest.approx({"rts": 1.0, "berg": 1.0})


def test_a_shifted_box_counts_up_to_its_iou():
    # A shift of 5 of 20 px has IoU 15/25 = 0.6: right at 0.50, 0.55 and 0.60.
    got = metrics.coco_scores(truth(), detections(squares(shift=5)))
    assert got["per_category"]["rts"] == pytest.approx(0.3)
    assert got["per_category"]["berg"] == pytest.approx(1.0)
    assert got["ap"] == pytest.approx(0.65)


def test_a_surer_false_detection_halves_the_precision():
    false = metrics.coco_annotations(squares()[:, ::-1], 7, {1: 1, 2: 2})
    entries = [*detections(), {**false[0], "score": 0.99}]
    got = metrics.coco_scores(truth(), entries)
    assert got["per_category"]["rts"] == pytest.approx(0.5)


def test_no_detection_scores_zero_not_an_error():
    got = metrics.coco_scores(truth(), [])
    assert got["ap"] == 0.0
    assert got["per_category"] == {"rts": 0.0, "berg": 0.0}


def test_files_work_and_nothing_is_printed(tmp_path, capsys):
    for name, content in (("truth", truth()), ("found", detections())):
        (tmp_path / f"{name}.json").write_text(json.dumps(content))
    got = metrics.coco_scores(tmp_path / "truth.json", str(tmp_path / "found.json"))
    assert got["ap"] == pytest.approx(1.0)
    assert capsys.readouterr().out == ""


def test_mistakes_are_refused():
    with pytest.raises(ValueError, match="iou_type"):
        metrics.coco_scores(truth(), [], iou_type="mask")
    wrong = [{**entry, "image_id": 8} for entry in detections()]
    with pytest.raises(ValueError, match="image_id"):
        metrics.coco_scores(truth(), wrong)
    with pytest.raises(ValueError, match="instances"):
        metrics.coco_annotations(np.zeros((4, 4)), 1)


def test_the_missing_extra_is_named(monkeypatch):
    real = builtins.__import__

    def without(name, *args, **kwargs):
        if name.startswith("pycocotools"):
            raise ImportError(name)
        return real(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(MissingExtraError, match=r"arcticdl\[coco\]"):
        metrics.coco_scores({"images": [], "categories": [], "annotations": []}, [])
