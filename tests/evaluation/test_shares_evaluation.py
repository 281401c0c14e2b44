"""Maps scored by the shares of charted polygons, by hand."""

import json

import numpy as np
import pytest
import xarray as xr

from arcticdl import evaluation, tiles
from arcticdl.errors import TaskError
from arcticdl.evaluation.autoice.shares import SharesEvaluation
from arcticdl.evaluation.choose import evaluation_for
from arcticdl.evaluation.compare.comparison import compare_results
from arcticdl.evaluation.compare.counts import count_units
from arcticdl.models import build_multitask
from arcticdl.tasks import read_head

CLASSES = ("water", "young", "old")
HEAD = read_head("SOD", {"task": "dense_shares", "classes": CLASSES})
A, B = (0.5, 0.5, 0.0), (0.0, 0.2, 0.8)


def chart(*pixels):
    """One row of (polygon, shares), None for void."""
    rows = [(np.nan,) * 4 if p is None else (p[0], *p[1]) for p in pixels]
    return np.array(rows, "float32")[None]


def said(*codes):
    return np.eye(3, dtype="float32")[list(codes)][None] * 0.8 + 0.2 / 3


def scored():
    found = SharesEvaluation(HEAD)
    # Polygon 4 (A): 1 water, 3 young. Polygon 9 (B): 4 old in two tiles, one of whose
    # pixels an earlier tile has counted. A last pixel is void.
    first = chart((4, A), (4, A), (4, A), (4, A), (9, B), (9, B), None)
    found.add("x", first, said(0, 1, 1, 1, 2, 2, 0))
    second = chart((9, B), (9, B), (9, B))
    counted = np.array([[False, True, True]])
    found.add("x", second, said(0, 2, 2), counted=counted)
    found.add("y", chart((4, B), (4, B)), said(1, 1))  # another polygon, of scene y
    return found


def test_shares_are_compared_in_each_polygon_and_weighed_by_area():
    result = scored().result()
    assert result["scored_by"] == "shares" and result["num_polygons"] == 3
    assert result["num_pixels"] == 10 and result["num_void_pixels"] == 1
    # A: (0.25, 0.75, 0) for (0.5, 0.5, 0), 0.25. B: (0, 0, 1) for (0, 0.2, 0.8), 0.2.
    # In y B is all young: (0, 1, 0), 0.8.
    scores = result["scores"]
    assert scores["share_error"] == pytest.approx((4 * 0.25 + 4 * 0.2 + 2 * 0.8) / 10)
    # A has two commonest classes, of which the map has one; B has it in x, not in y.
    assert scores["commonest"] == pytest.approx(8 / 10)
    young = scores["per_class"]["young"]
    assert young["error"] == pytest.approx((4 * 0.25 + 4 * 0.2 + 2 * 0.8) / 10)
    assert young["charted"] == pytest.approx((4 * 0.5 + 6 * 0.2) / 10)
    assert young["mapped"] == pytest.approx((3 + 2) / 10)
    x, y = result["images"]
    assert x["share_error"] == pytest.approx((4 * 0.25 + 4 * 0.2) / 8)
    assert y["share_error"] == pytest.approx(0.8) and y["commonest"] == 0
    low, high = result["intervals"]["share_error"]
    assert low == pytest.approx(0.225) and high == pytest.approx(0.8)
    assert x["polygons"][0] == {
        "number": 4,
        "mapped": [1, 3, 0],
        "charted": [0.5, 0.5, 0],
    }


def test_which_pixel_of_a_polygon_has_which_class_is_of_no_account():
    one, other = SharesEvaluation(HEAD), SharesEvaluation(HEAD)
    label = chart((4, A), (4, A), (4, A), (4, A))
    one.add("x", label, said(0, 0, 1, 1))
    other.add("x", label, said(1, 0, 1, 0))
    assert one.result()["scores"] == other.result()["scores"]
    assert one.result()["scores"]["share_error"] == 0


def test_folds_are_pooled_by_their_polygons():
    result = json.loads(json.dumps(scored().result()))
    pooled = evaluation.pool_folds([result | {"fold": 0}])
    for name, scores in result["scores"]["per_class"].items():
        assert pooled["scores"]["per_class"][name] == pytest.approx(scores, abs=1e-6)
    assert pooled["folds"][0]["share_error"] == result["scores"]["share_error"]
    parts = SharesEvaluation(HEAD)
    for entry in result["images"]:
        alone = result | {"images": [entry], "num_void_pixels": 1}
        parts.merge(alone)
    again = parts.result()
    assert again["num_polygons"] == 3 and again["num_void_pixels"] == 2
    assert again["scores"]["share_error"] == pytest.approx(
        result["scores"]["share_error"]
    )


def test_runs_are_compared_by_the_sums_of_their_scenes():
    result = scored().result()
    found = count_units([result])
    assert found.units == ("x", "y") and found.num_pixels.tolist() == [8, 2]
    pooled = {k: v[0] for k, v in found.score(found.sums.sum(0)[None]).items()}
    assert pooled["share_error"] == pytest.approx(result["scores"]["share_error"])
    assert pooled["commonest"] == pytest.approx(result["scores"]["commonest"])
    np.testing.assert_allclose(found.truth[0], [2, 2 + 0.8, 3.2], atol=1e-6)


def test_scores_of_pixels_are_no_choice_of_runs_that_learnt_shares():
    results = {name: [scored().result()] for name in ("one", "two")}
    found = compare_results(results, scores=["commonest"])
    assert [row.score for row in found.rows] == ["commonest"]
    with pytest.raises(ValueError, match=r"one of \['commonest', 'share_error'\]"):
        compare_results(results, scores=["iou/young"])


def test_one_polygon_is_no_polygons():
    found = SharesEvaluation(HEAD)
    found.add("x", chart((4, A)), said(0))
    assert "in 1 charted polygon of 1 image" in found.result()["pooled"]


def test_pictures_show_the_error_of_whole_polygons(tmp_path):
    found = evaluation_for(HEAD, bands=("HH",))
    label = np.tile(chart((4, A), (4, A), (9, B), None), (4, 1, 1))
    prediction = np.tile(said(0, 1, 1, 2), (4, 1, 1))
    image, valid = np.zeros((4, 4, 1), "float32"), np.ones((4, 4), bool)
    found.add("x", label, prediction, image=image)
    found.show("x", label, prediction, image, valid)
    (entry,) = found.write_scenes(tmp_path)
    assert entry["score"] == pytest.approx(-(8 * 0 + 4 * 0.8) / 12)
    assert set(entry["files"]) == {"image", "label", "prediction", "errors"}
    assert found.write_pictures(tmp_path) == []


def pixel_store(folder, classes):
    """A store that knows the class of each pixel: that of the band."""
    image = np.random.default_rng(0).normal(size=(1, 16, 16)).astype("float32")
    codes = np.digitize(image[0], [-0.5, 0.5]).astype("uint8")
    attrs = {"flag_values": [0, 1, 2], "flag_meanings": " ".join(classes)}
    scene = xr.Dataset(
        {"image": (("band", "y", "x"), image), "SOD": (("y", "x"), codes, attrs)},
        {"band": ["HH"], "y": np.arange(16) + 0.5, "x": np.arange(16) + 0.5},
        {"scene_id": "s", "georeferenced": False},
    )
    return tiles.prepare([scene], folder / "s.tiles", tile_size_px=16, progress=False)


def test_maps_are_scored_by_pixels_where_these_are_known(tmp_path):
    store = pixel_store(tmp_path, CLASSES)
    normalizer = tiles.Normalizer("none", ["HH"])
    card = {"bands": ["HH"], "normalizer": normalizer.to_dict(), "tile_size_px": 16}
    model = build_multitask(
        "plain",
        "unet",
        bands=["HH"],
        heads={"SOD": {"task": "dense_shares", "classes": CLASSES}},
        card=card | {"heads": {"SOD": HEAD.to_card()}},
        backbone_options={"width": 4, "depth": 2},
        decoder_options={"channels": (4, 4)},
    )
    found = evaluation.evaluate_scenes(model, store, [0], progress=False)["SOD"]
    result = found.result()
    assert result["scored_by"] == "classes" and result["num_pixels"] == 256
    image = store.read([0])["image"]
    said = np.asarray(model(image))[0].argmax(-1)
    truth = store.read([0], ["SOD"])["SOD"][0]
    assert result["scores"]["accuracy"] == pytest.approx((said == truth).mean())
    other = pixel_store(tmp_path / "other", ("a", "b", "c"))
    with pytest.raises(TaskError, match="must fit its label"):
        evaluation.evaluate_scenes(model, other, [0], progress=False)


def test_what_is_no_label_of_shares_is_refused():
    found = SharesEvaluation(HEAD)
    with pytest.raises(ValueError, match=r"must be \(y, x, 1 \+ class\)"):
        found.add("x", np.zeros((1, 2), "uint8"), said(0, 1))
    found.add("x", chart((4, A)), said(0))
    with pytest.raises(ValueError, match="same shares at all of its pixels"):
        found.add("x", chart((4, B)), said(0))
    with pytest.raises(ValueError, match="No image was evaluated"):
        SharesEvaluation(HEAD).result()
