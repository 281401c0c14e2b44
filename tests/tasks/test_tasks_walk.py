"""One tiny model a task walks through every step; NumPy knows the right answer."""

import json

import keras
import numpy as np
import pytest
import xarray as xr

import arcticdl
from arcticdl import evaluation, inference, losses, metrics, tiles
from arcticdl.errors import TaskError
from arcticdl.files import write_json
from arcticdl.inference.export import with_source_units
from arcticdl.models import build_multitask
from arcticdl.models.card import model_heads
from arcticdl.scene import share_attributes
from arcticdl.tasks import SCORES, TASKS
from arcticdl.training import TileFeed

SIZE, CLASSES = 16, ("water", "young", "old")
OPTIONS = {
    "quantiles": {"quantiles": (0.1, 0.5, 0.9)},
    "gaussian": {},
    "values": {},
}


def shares_of(image):
    """Number and shares of polygons of two columns, (1 + class, y, x)."""
    codes = np.digitize(image[0], [-0.5, 0.5])
    number = np.repeat(np.arange(SIZE // 2), 2)
    label = np.empty((4, SIZE, SIZE), "float32")
    for polygon in range(SIZE // 2):
        held = np.bincount(codes[:, number == polygon].ravel(), minlength=3)
        shares = held / held.sum()
        label[:, :, number == polygon] = np.array([polygon, *shares])[:, None, None]
    label[:, 0, 0] = np.nan
    return label


def label_of(task, image, number):
    """A label of the kind that the task learns, from the first band."""
    size = image.shape[-1]
    dims = ("y", "x")
    if task.label == "class":
        label = np.digitize(image[0], [-0.5, 0.5]).astype("uint8")
        label[0, 0] = 255
        label = label if task.dense else np.uint8(number % 3)
        attrs = {"flag_values": [0, 1, 2], "flag_meanings": " ".join(CLASSES)}
    elif task.label == "shares":
        # Polygons of two columns each, whose shares are those of the first band.
        label = shares_of(image)
        dims = ("truth_channel", *dims)
        attrs = share_attributes(CLASSES)
    elif task.label == "labels":
        label = np.stack([image[0] > 0, image[1] > 0]).astype("uint8")
        label[0, 0, :2] = 255
        label = label if task.dense else label[:, 3, 3]
        dims, attrs = ("channel", *dims), {"flag_meanings": "ridge melt"}
    else:
        label = (2 * image[0]).astype("float32")
        label[0, 0] = np.nan
        label = label if task.dense else label[3, 3]
        attrs = {"units": "K"}
    assert size == SIZE
    return xr.DataArray(label, dims=dims[: np.ndim(label)], attrs=attrs)


def scene_of(task, number):
    rng = np.random.default_rng(number)
    image = rng.normal(size=(2, SIZE, SIZE)).astype("float32")
    valid = np.ones((SIZE, SIZE), bool)
    valid[5, :3] = False
    data = {"image": (("band", "y", "x"), image), "valid": (("y", "x"), valid)}
    coords = {
        "band": ["HH", "HV"],
        "y": np.arange(SIZE) + 0.5,
        "x": np.arange(SIZE) + 0.5,
    }
    attrs = {"scene_id": f"s{number}", "georeferenced": False}
    return xr.Dataset(data, coords, attrs).assign(truth=label_of(task, image, number))


# Detectors answer with boxes; tests/experiment/test_experiment_objects.py walks one.
# Members are drawn around a network; tests/experiment/test_config_files.py does it.
BY_MAPS = [
    name for name in sorted(TASKS) if TASKS[name].kind not in ("boxes", "members")
]


@pytest.fixture(scope="module", params=BY_MAPS)
def walk(request, tmp_path_factory):
    """Task, store, feed and trained model."""
    task = TASKS[request.param]
    keras.utils.set_random_seed(0)
    folder = tmp_path_factory.mktemp(task.name)
    scenes = [scene_of(task, number) for number in range(4)]
    store = tiles.prepare(scenes, folder / "s.tiles", tile_size_px=SIZE, progress=False)
    feed = TileFeed(store, [0, 1, 2], batch_size=2, normalizer="zscore", prefetch=0)
    head = feed.card["heads"]["truth"] | {"task": task.name}
    head |= OPTIONS.get(task.kind, {})
    model = build_multitask(
        "plain",
        "unet" if task.dense else None,
        bands=list(store.bands),
        heads={"truth": head},
        card=feed.card,
        backbone_options={"width": 4, "depth": 2},
        decoder_options={"channels": (4, 4)} if task.dense else None,
    )
    size = model_heads(model)["truth"].size
    model.compile(
        keras.optimizers.Adam(0.01),
        losses.LOSSES[task.losses[0]](**task.loss_options(size)),
        metrics=[
            metrics.METRICS[name](**task.metric_options(size))
            for name in task.shown_metrics
        ],
    )
    history = model.fit(feed, epochs=2, shuffle=False, verbose=0).history
    return task, scenes, store, feed, model, history, folder


def activated(task, raw):
    """What the numbers of a head mean, written down apart from the package."""
    raw = raw.astype("float64")
    if task.kind in ("classes", "shares"):
        shifted = np.exp(raw - raw.max(-1, keepdims=True))
        return shifted / shifted.sum(-1, keepdims=True)
    if task.kind == "labels":
        return 1 / (1 + np.exp(-raw))
    if task.kind == "ordinal":
        above = 1 / (1 + np.exp(-raw))
        edges = [np.ones_like(above[..., :1]), above, np.zeros_like(above[..., :1])]
        return -np.diff(np.concatenate(edges, -1), axis=-1)
    if task.kind == "gaussian":
        return np.concatenate([raw[..., :1], np.exp(raw[..., 1:])], -1)
    return raw


def decided(task, raw):
    """The chief output, from the numbers of the head."""
    if task.kind in ("classes", "shares"):
        return raw.argmax(-1)
    if task.kind == "ordinal":
        return (raw > 0).sum(-1)
    if task.kind == "labels":
        return (raw > 0).astype(int)
    return raw[..., 1] if task.kind == "quantiles" else raw[..., 0]


def raw_answer(walk, number):
    """The head's own numbers for a scene, by a plain call of the model."""
    _, scenes, _, feed, model, *_ = walk
    image = np.moveaxis(scenes[number]["image"].values, 0, -1)[None]
    valid = scenes[number]["valid"].values[None]
    return np.asarray(model(feed.normalizer(image, valid)))[0]


def test_training_is_finite_and_logged(walk):
    task, *_, history, _ = walk
    assert np.isfinite(history["loss"]).all()
    assert len(history) == 1 + len(task.shown_metrics)
    assert all(np.isfinite(values).all() for values in history.values())


def test_every_loss_that_fits_takes_the_labels(walk):
    task, _, _, feed, model, *_ = walk
    image, label = feed[0]
    raw, size = model(image), model_heads(model)["truth"].size
    for name in sorted(task.losses):
        options = task.loss_options(size)
        options |= {"half_width": 0.1} if name == "Interval" else {}
        value = losses.LOSSES[name](**options)(label, raw)
        assert np.isfinite(float(value)), name


def test_every_metric_that_fits_takes_the_labels(walk):
    task, _, _, feed, model, *_ = walk
    image, label = feed[0]
    size = model_heads(model)["truth"].size
    for name in task.metrics:
        metric = metrics.METRICS[name](**task.metric_options(size))
        metric.update_state(label, model(image))
        assert np.ndim(float(metric.result())) == 0, name


def test_prediction_means_what_the_task_says(walk):
    task, scenes, _, _, model, *_ = walk
    raw = raw_answer(walk, 3)
    chief = next(iter(task.form.outputs))
    if task.dense:
        with pytest.raises(TaskError, match="`predict_images` needs"):
            inference.predict_images(model, scenes[3:], progress=False)
        maps = arcticdl.predict_scene(model, scenes[3], overlap_px=0, progress=False)
        assert set(maps) == set(task.form.shown)
        found = np.moveaxis(np.atleast_3d(maps[chief].values.T), 0, 1)
        valid = scenes[3]["valid"].values
        expected = decided(task, raw)
        expected = expected[..., None] if expected.ndim == 2 else expected
        np.testing.assert_allclose(found[valid], expected[valid], rtol=1e-4, atol=1e-5)
        nodata = found[~valid]
        assert (
            (nodata == 255).all() if found.dtype == "uint8" else np.isnan(nodata).all()
        )
        return
    with pytest.raises(TaskError, match="`predict_scene` needs"):
        arcticdl.predict_scene(model, scenes[3], progress=False)
    table = inference.predict_images(model, scenes[3:], progress=False)
    assert set(table) == set(task.form.shown) and table["scene"].values == ["s3"]
    np.testing.assert_allclose(
        table[chief].values[0], decided(task, raw), rtol=1e-4, atol=1e-5
    )


def test_evaluation_scores_by_the_task_s_own_rule(walk):
    task, scenes, store, _, model, *_ = walk
    result = evaluation.evaluate_scenes(model, store, [3], progress=False, overlap_px=0)
    result = result["truth"].result()
    said = decided(task, raw_answer(walk, 3))
    truth = scenes[3]["truth"].values
    if task.label in ("labels", "shares"):
        truth = np.moveaxis(truth, 0, -1)
    valid = scenes[3]["valid"].values if task.dense else True
    if task.label == "value":
        scored = ~np.isnan(truth) & valid
        rmse = np.sqrt(((said - truth)[scored] ** 2).mean())
        assert result["scores"]["rmse"] == pytest.approx(rmse, rel=1e-4)
        assert result["units"] == "K" and result["num_pixels"] == scored.sum()
        return
    if task.label == "shares":
        scored = np.isfinite(truth).all(-1) & valid
        errors = []
        for polygon in range(SIZE // 2):
            there = scored & (truth[..., 0] == polygon)
            mapped = np.bincount(said[there], minlength=3) / there.sum()
            charted = truth[there][0, 1:]
            errors.append(there.sum() * np.abs(mapped - charted).sum() / 2)
        expected = np.sum(errors) / scored.sum()
        assert result["scores"]["share_error"] == pytest.approx(expected, rel=1e-5)
        assert result["num_pixels"] == scored.sum()
        return
    valid = valid[..., None] if task.dense and task.label == "labels" else valid
    scored = (truth != 255) & valid
    accuracy = (said == truth)[scored].mean()
    assert result["scores"]["accuracy"] == pytest.approx(accuracy, abs=1e-9)
    assert result["num_pixels"] == scored.sum()


def test_an_exported_network_gives_what_the_answers_mean(walk):
    task, scenes, _, feed, model, *_ = walk
    whole = with_source_units(model, feed.normalizer)
    image = np.moveaxis(scenes[3]["image"].values, 0, -1)[None].copy()
    image[0, ~scenes[3]["valid"].values] = np.nan
    found = np.asarray(whole(image))[0]
    np.testing.assert_allclose(
        found, activated(task, raw_answer(walk, 3)), rtol=1e-4, atol=1e-5
    )


def test_the_report_shows_the_task_s_chief_score(walk):
    task, _, store, _, model, _, folder = walk
    head = model_heads(model)["truth"]
    fold = folder / "run" / "fold0"
    fold.mkdir(parents=True, exist_ok=True)
    scored = evaluation.evaluate_scenes(model, store, [2, 3], progress=False)["truth"]
    result = scored.result() | {"fold": 0}
    result["pictures"] = scored.write_pictures(fold / "pictures")
    baseline = evaluation.constant_baseline(
        store, [0, 1], [2, 3], store.labels["truth"], head
    )
    result["baselines"] = {"constant": baseline}
    write_json(fold / "metrics.json", result)
    (fold / "history.csv").write_text("epoch,loss\n0,1.0\n1,0.5\n")
    page = evaluation.write_report(folder / "run").read_text()
    chief = SCORES[task.form.scored_by][0]
    value = result["scores"][chief.key]
    text = f"{value:.4g}" if task.label == "value" else f"{value:.3f}"
    assert chief.title in page and f"<b>{text}" in page
    assert json.loads((fold / "metrics.json").read_text())["task"] == task.name
    assert baseline["title"].replace("_", " ") in page


def test_the_constant_baseline_is_the_training_labels_distribution(walk):
    task, scenes, store, _, model, *_ = walk
    head, info = model_heads(model)["truth"], store.labels["truth"]
    found = evaluation.constant_baseline(store, [0, 1, 2], [3], info, head)
    truth, train = scenes[3]["truth"].values, [s["truth"].values for s in scenes[:3]]
    if task.dense:
        valid = scenes[3]["valid"].values
        truth, train = truth[..., valid], [t[..., valid] for t in train]
    if task.label == "shares":
        shares = np.concatenate([t[1:].reshape(3, -1) for t in train], axis=1)
        said = np.nanmean(shares, axis=1).argmax()
        scored = np.isfinite(truth).all(0)
        apart = np.eye(3)[said][:, None] - truth[1:][:, scored]
        expected = np.abs(apart).sum(0).mean() / 2
        assert found["scores"]["share_error"] == pytest.approx(expected, rel=1e-5)
        return
    if task.label == "class":
        codes = np.concatenate([np.ravel(t) for t in train])
        known = np.sort(codes[codes != 255])
        # The commonest class; of ordered classes the median of the labels.
        said = np.bincount(known).argmax()
        said = known[(len(known) - 1) // 2] if task.kind == "ordinal" else said
        scored = np.ravel(truth) != 255
        expected = (np.ravel(truth)[scored] == said).mean()
        assert found["scores"]["accuracy"] == pytest.approx(expected)
    elif task.label == "value":
        values = np.concatenate([np.ravel(t) for t in train])
        values = values[~np.isnan(values)]
        said = np.median(values) if task.kind == "quantiles" else values.mean()
        error = np.ravel(truth)[~np.isnan(np.ravel(truth))] - said
        assert found["scores"]["rmse"] == pytest.approx(
            np.sqrt((error**2).mean()), rel=1e-4
        )
    else:
        assert found["num_images"] == 1 and 0 <= found["scores"]["accuracy"] <= 1
