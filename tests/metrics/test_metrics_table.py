"""The table of metrics holds every streaming metric, and Keras can monitor each."""

from importlib import import_module
from pathlib import Path

import keras
import numpy as np
import pytest

from arcticdl import losses, metrics

UP = {
    "Accuracy", "F1", "Kappa", "LabelF1", "LabelIoU", "Matthews", "MeanIoU", "PRArea",
    "Precision", "R2", "ROCArea", "Recall", "TopKAccuracy",
}  # fmt: skip
DOWN = {"Brier", "CalibrationError", "MAE", "PooledLoss", "RMSE"}
OF_VALUES = {"Bias", "MAE", "R2", "RMSE"}


def build(name):
    if name == "PooledLoss":
        return metrics.PooledLoss(losses.Crossentropy())
    kind = metrics.METRICS[name]
    return kind() if name in OF_VALUES else kind(num_classes=3)


def test_the_table_holds_every_streaming_metric():
    folder = Path(metrics.__file__).parent / "streaming"
    found = {}
    for path in folder.glob("[!_]*.py"):
        module = import_module(f"arcticdl.metrics.streaming.{path.stem}")
        for name, value in vars(module).items():
            registered = isinstance(value, type) and keras.saving.get_registered_name(
                value
            )
            if registered == f"arcticdl>{name}" and value.__module__ == module.__name__:
                found[name] = value
    assert set(metrics.METRICS.entries) == set(found)
    assert all(metrics.METRICS[name] is found[name] for name in found)


def test_every_metric_has_a_direction():
    assert UP | DOWN | {"Bias"} == set(metrics.METRICS.entries)


def data(name):
    rng = np.random.default_rng(1)
    image = rng.normal(size=(8, 4, 4, 3)).astype("float32")
    if name in OF_VALUES:
        return image, image[..., :1].copy()
    codes = image.argmax(-1).astype("uint8")
    return image, np.eye(3, dtype="uint8")[codes] if name.startswith("Label") else codes


@pytest.mark.parametrize("name", sorted(UP | DOWN))
def test_callbacks_of_keras_monitor_every_metric_with_mode_auto(tmp_path, name):
    metric = build(name)
    image, label = data(name)
    inputs = keras.Input((4, 4, 3))
    outputs = keras.layers.Conv2D(label.shape[-1] if label.ndim == 4 else 3, 1)(inputs)
    model = keras.Model(inputs, outputs)
    loss = "mse" if label.ndim == 4 else losses.Crossentropy()
    model.compile(keras.optimizers.SGD(0.0), loss, metrics=[metric], jit_compile=False)
    monitor = f"val_{metric.name}"
    callbacks = [
        keras.callbacks.EarlyStopping(monitor),
        keras.callbacks.ReduceLROnPlateau(monitor),
        keras.callbacks.ModelCheckpoint(
            tmp_path / "best.weights.h5", monitor, save_best_only=True,
            save_weights_only=True,
        ),
    ]  # fmt: skip
    model.fit(
        image, label, validation_data=(image, label), verbose=0, callbacks=callbacks
    )
    ops = keras.ops.greater if name in UP else keras.ops.less
    assert [c.monitor_op for c in callbacks] == [ops] * 3


def test_keras_is_given_no_direction_for_what_is_best_at_zero():
    assert not hasattr(build("Bias"), "_direction")


@pytest.mark.backend
@pytest.mark.parametrize("name", sorted(UP | DOWN | {"Bias"}))
def test_a_diverged_network_has_no_score(name):
    image, label = data(name)
    metric = build(name)
    good = image[..., : label.shape[-1]] if label.ndim == 4 else image
    metric.update_state(label, good)
    assert np.isfinite(float(metric.result()))
    bad = good.copy()
    bad[2] = np.nan
    metric.update_state(label, bad)
    assert np.isnan(float(metric.result()))
