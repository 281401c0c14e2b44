"""Classical methods against plain fits of scikit-learn, features against loops."""

import json

import numpy as np
import pytest
import xarray as xr
from sklearn import ensemble, linear_model
from sklearn.metrics import confusion_matrix
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from threadpoolctl import threadpool_limits

from arcticdl import tiles
from arcticdl.evaluation import classical_baselines, score_baselines
from arcticdl.evaluation.baselines import beside
from arcticdl.evaluation.baselines.features import neighbourhood_features
from arcticdl.tasks import read_head

NUM_SCENES, SIDE = 5, 24


@pytest.fixture(autouse=True)
def one_thread():
    """Threads that wait for each other on a busy machine take more than they give."""
    with threadpool_limits(1):
        yield


def scene(number):
    """Rough ice on smooth water, told by texture alone, with labels of every kind."""
    rng = np.random.default_rng(number)
    ice = np.zeros((SIDE, SIDE), np.uint8)
    ice[:, 4 + 3 * number % 12 :] = 1
    image = rng.normal(0, np.where(ice, 2.0, 0.3)).astype("float32")
    image[:2, :3] = np.nan
    ice[-1, :4] = 255
    known = ice != 255
    depth = np.where(known, image**2 + 3, np.nan).astype("float32")
    both = np.stack([ice, np.where(known, image > 0, 255)], axis=-1).astype(np.uint8)
    names = {"flag_values": [0, 1], "flag_meanings": "water ice"}
    return xr.Dataset(
        {
            "image": (("band", "y", "x"), image[None]),
            "ice": (("y", "x"), ice, names),
            "both": (("both_channel", "y", "x"), np.moveaxis(both, -1, 0), names),
            "depth": (("y", "x"), depth),
            "season": ((), np.uint8(number % 2), names),
            "sum": ((), np.float32(number)),
        },
        {"band": ["HH"], "y": np.arange(SIDE) + 0.5, "x": np.arange(SIDE) + 0.5},
        {"scene_id": f"s{number}", "georeferenced": False, "time": "", "sensor": ""},
    )


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    out = tmp_path_factory.mktemp("stores") / "a.tiles"
    scenes = [scene(number) for number in range(NUM_SCENES)]
    return tiles.prepare(scenes, out, tile_size_px=12, progress=False)


def split(store, *held_out):
    is_test = store.manifest["scene_id"].isin(held_out).to_numpy()
    return np.flatnonzero(~is_test), np.flatnonzero(is_test)


def by_loops(image, known, side):
    """Mean, deviation and gradient of one band, pixel by pixel."""
    height, width = image.shape
    half = side // 2
    mean, deviation = np.zeros((2, height, width))
    some = np.zeros((height, width), bool)
    for y in range(height):
        for x in range(width):
            window = np.s_[max(y - half, 0) : y + half + 1,
                           max(x - half, 0) : x + half + 1]  # fmt: skip
            values = image[window][known[window]].astype(float)
            if len(values):
                some[y, x] = True
                mean[y, x], deviation[y, x] = values.mean(), values.std()
    slope = np.zeros((height, width))
    for y in range(height):
        for x in range(width):
            for dy, dx in ((1, 0), (0, 1)):
                before, after = (y - dy, x - dx), (y + dy, x + dx)
                if min(before) < 0 or after[0] >= height or after[1] >= width:
                    continue
                if some[before] and some[after]:
                    slope[y, x] += ((mean[after] - mean[before]) / 2) ** 2
    return mean, deviation, np.sqrt(slope)


def test_neighbourhoods_are_of_known_pixels_alone():
    rng = np.random.default_rng(0)
    image = rng.normal(250, 5, (13, 11, 2)).astype("float32")  # as a temperature in K
    known = rng.random(image.shape) < 0.6
    known[:5, :5] = False
    image[~known] = np.nan
    found = neighbourhood_features(image, known, scales_px=(3, 5))
    assert found.shape == (13, 11, 2 * 7)
    np.testing.assert_array_equal(found[..., :2], np.where(known, image, 0))
    for number, side in enumerate((3, 5)):
        for band in range(2):
            wanted = by_loops(image[..., band], known[..., band], side)
            for part, value in enumerate(wanted):
                column = found[..., 2 + 6 * number + 2 * part + band]
                np.testing.assert_allclose(column, value, rtol=1e-4, atol=2e-4)


def test_a_side_without_a_middle_is_refused():
    with pytest.raises(ValueError, match="odd and at least 3"):
        neighbourhood_features(np.ones((4, 4, 1)), np.ones((4, 4, 1), bool),
                               scales_px=(3, 4))  # fmt: skip


def table(store, indices, name, normalizer):
    """Features and labels of all scored pixels, put together by hand."""
    features, labels = [], []
    for index in indices:
        read = store.read([int(index)], ["image", "valid", name])
        image = normalizer(read["image"], read["valid"])[0]
        known = read["valid"][0][..., None]
        found = neighbourhood_features(image, known)
        label = read[name][0]
        scored = np.isfinite(label) if label.dtype.kind == "f" else label != 255
        here = (scored if scored.ndim == 2 else scored.all(-1)) & known[..., 0]
        features.append(found[here])
        labels.append(label[here])
    return np.concatenate(features), np.concatenate(labels)


def scaling(store, indices):
    return tiles.Normalizer("zscore", store.bands, tiles.compute_stats(store, indices))


def test_classes_are_those_of_plain_fits_on_the_same_pixels(store):
    train, test = split(store, "s3", "s4")
    normalizer = scaling(store, train)
    head = read_head("ice", {"task": "segmentation", "classes": ["water", "ice"]})
    found = classical_baselines(
        store, train, test, store.labels["ice"], head, normalizer=normalizer
    )
    assert list(found) == ["logistic", "random_forest", "hist_gradient_boosting"]
    x, y = table(store, train, "ice", normalizer)
    x_test, y_test = table(store, test, "ice", normalizer)
    methods = {
        "logistic": make_pipeline(
            StandardScaler(), linear_model.LogisticRegression(max_iter=500)
        ),
        "hist_gradient_boosting": ensemble.HistGradientBoostingClassifier(
            max_iter=60, early_stopping=False
        ),
    }
    for name, method in methods.items():
        wanted = confusion_matrix(y_test, method.fit(x, y).predict(x_test))
        gap = np.abs(np.array(found[name]["confusion_matrix"]) - wanted).sum()
        assert gap <= 4, name  # the order of pixels moves a few near the border
    for result in found.values():
        assert result["num_pixels"] == len(y_test)
        assert result["num_images"] == 2
        assert result["scores"]["mean_iou"] > 0.75  # texture tells, which is
        assert "mean_iou" in result["intervals"]
    alone = score_baselines(store, train, test, store.labels["ice"], head)
    pixel = alone["per_pixel"]["scores"]["mean_iou"]
    assert pixel < found["logistic"]["scores"]["mean_iou"]  # not seen by one pixel


def test_values_are_those_of_a_plain_ridge(store):
    train, test = split(store, "s4")
    normalizer = scaling(store, train)
    head = read_head("depth", {"task": "dense_regression"})
    found = score_baselines(
        store, train, test, store.labels["depth"], head, normalizer=normalizer
    )
    names = ["constant", "ridge", "random_forest", "hist_gradient_boosting"]
    assert list(found) == [*names, "otsu", "textures"]  # since the band is radar
    x, y = table(store, train, "depth", normalizer)
    x_test, y_test = table(store, test, "depth", normalizer)
    plain = make_pipeline(StandardScaler(), linear_model.Ridge()).fit(x, y)
    wanted = np.sqrt(np.mean((plain.predict(x_test) - y_test) ** 2))
    assert found["ridge"]["scores"]["rmse"] == pytest.approx(wanted, rel=1e-4)
    # The value is a square of the band: trees see it, a line does not.
    forest = found["random_forest"]["scores"]["rmse"]
    assert forest < 0.5 * found["ridge"]["scores"]["rmse"]


def test_spreads_are_those_of_errors_that_no_fit_has_seen(store):
    train, test = split(store, "s4")
    info = store.labels["depth"]
    quantile = read_head("depth", {"task": "dense_quantile"})
    found = score_baselines(store, train, test, info, quantile)["random_forest"]
    shares = [entry["share"] for entry in found["coverage"]]
    np.testing.assert_allclose(shares, [0.1, 0.5, 0.9], atol=0.12)
    gaussian = read_head("depth", {"task": "dense_gaussian"})
    found = score_baselines(store, train, test, info, gaussian)["ridge"]
    assert [c["share"] for c in found["coverage"]] == sorted(
        c["share"] for c in found["coverage"]
    )


def test_labels_that_hold_together_have_a_method_each(store):
    train, test = split(store, "s4")
    normalizer = scaling(store, train)
    head = read_head("both", {"task": "dense_multilabel", "classes": ["water", "ice"]})
    found = classical_baselines(
        store, train, test, store.labels["both"], head, normalizer=normalizer
    )
    x, y = table(store, train, "both", normalizer)
    x_test, y_test = table(store, test, "both", normalizer)
    for k, name in enumerate(("water", "ice")):
        model = linear_model.LogisticRegression(max_iter=500)
        plain = make_pipeline(StandardScaler(), model).fit(x, y[:, k])
        said = plain.predict(x_test)
        wanted = (said & y_test[:, k]).sum() / (said | y_test[:, k]).sum()
        iou = found["logistic"]["scores"]["per_class"][name]["iou"]
        assert iou == pytest.approx(wanted, abs=0.01)


@pytest.mark.parametrize(
    ("label", "task", "first"),
    [("season", "classification", "logistic"), ("sum", "regression", "ridge")],
)
def test_whole_images_are_told_from_all_of_their_tiles(store, label, task, first):
    train, test = split(store, "s0")
    named = {"classes": ["water", "ice"]} if label == "season" else {}
    head = read_head(label, {"task": task, **named})
    found = score_baselines(store, train, test, store.labels[label], head)
    assert list(found) == ["constant"]  # four images are too few to learn from
    everything = np.arange(len(store))
    found = score_baselines(store, everything, test, store.labels[label], head)
    assert list(found)[1] == first
    assert all(result["num_pixels"] == 1 for result in found.values())


def test_results_are_kept_until_what_they_rest_on_changes(store, tmp_path, monkeypatch):
    train, test = split(store, "s4")
    head = read_head("depth", {"task": "dense_regression"})
    kept = tmp_path / "baselines.json"
    options = {"kept": kept, "normalizer": scaling(store, train)}
    first = score_baselines(store, train, test, store.labels["depth"], head, **options)
    assert json.loads(kept.read_text())["results"]["ridge"] == first["ridge"]
    calls = []
    monkeypatch.setattr(beside, "classical_baselines", lambda *a, **k: calls.append(1)
                        or {})  # fmt: skip
    again = score_baselines(store, train, test, store.labels["depth"], head, **options)
    assert again == first
    assert not calls
    score_baselines(store, train[1:], test, store.labels["depth"], head, **options)
    assert len(calls) == 1
    kept.write_text("torn")
    score_baselines(store, train, test, store.labels["depth"], head, **options)
    assert len(calls) == 2


def test_where_nothing_can_be_learnt_the_constant_stands_alone(store):
    train, test = split(store, "s4")
    head = read_head("ice", {"task": "segmentation", "classes": ["water", "ice"]})
    only_ice = [
        index for index in train
        if set(np.unique(store.read([int(index)], ["ice"])["ice"])) <= {1, 255}
    ]  # fmt: skip
    assert only_ice
    found = score_baselines(store, only_ice, test, store.labels["ice"], head)
    assert list(found) == ["constant"]
    with pytest.raises(ValueError, match="`max_samples` must be at least 5"):
        classical_baselines(
            store, train, test, store.labels["ice"], head,
            normalizer=scaling(store, train), max_samples=4,
        )  # fmt: skip
