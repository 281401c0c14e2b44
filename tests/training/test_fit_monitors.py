"""What is monitored exists and has a direction; what diverges is never a success."""

import keras
import numpy as np
import pytest

from arcticdl import losses, metrics
from arcticdl.errors import DivergedError
from arcticdl.training import fit

RNG = np.random.default_rng(2)


class Feed(keras.utils.PyDataset):
    """Two batches, the same every epoch."""

    def __init__(self, *batches):
        super().__init__()
        self.batches = batches

    def __len__(self):
        return len(self.batches)

    def __getitem__(self, index):
        return self.batches[index]


def two_heads(optimizer="sgd"):
    inputs = keras.Input((4, 4, 2))
    outputs = {
        "sic": keras.layers.Conv2D(1, 1, name="sic")(inputs),
        "sod": keras.layers.Conv2D(3, 1, name="sod")(inputs),
    }
    model = keras.Model(inputs, outputs)
    model.compile(
        optimizer,
        loss={"sic": losses.MeanSquaredError(), "sod": losses.Crossentropy()},
        metrics={"sod": [metrics.MeanIoU(num_classes=3)], "sic": [metrics.Bias()]},
        weighted_metrics={"sic": [metrics.MAE()]},
        run_eagerly=True,
    )
    return model


def feed(label=None):
    image = RNG.normal(size=(4, 4, 4, 2)).astype("float32")
    codes = RNG.integers(0, 3, (4, 4, 4)).astype("uint8") if label is None else label
    batch = image, {"sic": image[..., 0], "sod": codes}
    return Feed(batch, batch)


@pytest.mark.parametrize(
    ("monitor", "mode"),
    [
        ("val_sod_mean_iou", "max"),
        ("sod_mean_iou", "max"),
        ("val_sic_mae", "min"),
        ("sod_loss", "min"),
        ("val_sic_loss", "min"),
        ("val_loss", "min"),
    ],
)
def test_scores_of_every_head_can_be_monitored(tmp_path, monitor, mode):
    stopping = keras.callbacks.EarlyStopping(monitor)
    model = two_heads()
    fit(
        model, feed(), tmp_path / "run" / "fold0", epochs=1, stopping=stopping,
        validation_feed=feed(),
    )  # fmt: skip
    assert stopping.mode == mode
    assert stopping.best is not None


@pytest.mark.parametrize("name", ["EarlyStopping", "ReduceLROnPlateau"])
def test_a_score_that_nobody_logs_is_refused_with_those_that_are(tmp_path, name):
    callback = getattr(keras.callbacks, name)("val_mean_iou")
    folder = tmp_path / "run" / "fold0"
    with pytest.raises(ValueError, match="Did you mean 'val_sod_mean_iou'"):
        fit(
            two_heads(), feed(), folder, epochs=1, callbacks=[callback],
            validation_feed=feed(),
        )  # fmt: skip
    assert not folder.exists()


def test_a_bias_has_no_best_end(tmp_path):
    stopping = keras.callbacks.EarlyStopping("sic_bias")
    with pytest.raises(ValueError, match="best at 0"):
        fit(two_heads(), feed(), tmp_path / "run" / "f", epochs=1, stopping=stopping)


def test_a_custom_step_is_judged_by_what_it_logs(tmp_path):
    class Own(keras.Model):
        def train_step(self, data):
            return super().train_step(data) | {"extra": 0.5}

    inputs = keras.Input((2,))
    model = Own(inputs, keras.layers.Dense(1)(inputs))
    model.compile("sgd", "mse", run_eagerly=True)
    batches = Feed((np.ones((2, 2), "float32"), np.ones((2, 1), "float32")))
    good = keras.callbacks.EarlyStopping("extra", mode="max")
    fit(model, batches, tmp_path / "run" / "a", epochs=1, stopping=good)
    with pytest.raises(ValueError, match="`monitor` must be one of"):
        bad = keras.callbacks.EarlyStopping("extr", mode="max")
        fit(model, batches, tmp_path / "run" / "b", epochs=1, stopping=bad)


class Break(keras.callbacks.Callback):
    """Makes the weights NaN after an epoch."""

    def __init__(self, epoch):
        super().__init__()
        self.epoch = epoch

    def on_epoch_begin(self, epoch, logs=None):
        if epoch == self.epoch:
            self.model.set_weights([w * np.nan for w in self.model.get_weights()])


def test_a_diverged_network_ends_in_an_error_and_keeps_the_best_before(tmp_path):
    folder = tmp_path / "run" / "fold0"
    stopping = keras.callbacks.EarlyStopping(
        "val_sod_mean_iou", patience=9, restore_best_weights=True
    )
    with pytest.raises(DivergedError, match=r"became nan .*best\.keras"):
        fit(
            two_heads(), feed(), folder, epochs=6, stopping=stopping,
            validation_feed=feed(), callbacks=[Break(3)],
        )  # fmt: skip
    assert not (folder / "model.keras").exists()
    assert len((folder / "history.csv").read_text().splitlines()) == 1 + 3
    best = keras.saving.load_model(folder / "best.keras", compile=False)
    assert all(np.isfinite(w).all() for w in best.get_weights())
    for path in (folder / "checkpoint").iterdir():
        with np.load(path) as arrays:
            assert all(np.isfinite(arrays[f"model.{i}"]).all() for i in range(4))


def test_weights_that_break_in_the_last_step_are_no_success(tmp_path):
    class BreakAtTheEnd(keras.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            self.model.set_weights([w * np.nan for w in self.model.get_weights()])

    folder = tmp_path / "run" / "fold0"
    with pytest.raises(DivergedError, match="no finite numbers"):
        fit(two_heads(), feed(), folder, epochs=1, callbacks=[BreakAtTheEnd()])
    assert not (folder / "model.keras").exists()


def test_a_wrong_label_in_the_validation_stops_the_training(tmp_path):
    wrong = np.full((4, 4, 4), 7, "uint8")
    with pytest.raises(DivergedError, match="validation became nan in epoch 1"):
        fit(
            two_heads(), feed(), tmp_path / "run" / "f", epochs=2,
            validation_feed=feed(wrong),
        )  # fmt: skip


def test_a_score_that_is_nan_at_first_is_not_kept_as_the_best(tmp_path):
    class Next(keras.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            logs["mae"] = [np.nan, 1.0, 3.0, 2.0][epoch]

    model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])
    model.compile("sgd", "mse", metrics=["mae"], run_eagerly=True)
    stopping = keras.callbacks.EarlyStopping("mae", mode="max", patience=9)
    batch = np.ones((2, 2), "float32"), np.ones((2, 1), "float32")
    # `Next` comes first, so that early stopping sees its scores.
    fit(
        model,
        Feed(batch),
        tmp_path / "run" / "f",
        epochs=4,
        callbacks=[Next(), stopping],
    )
    assert (stopping.best, stopping.best_epoch) == (3.0, 2)


def test_a_score_that_never_is_a_number_is_refused(tmp_path):
    void = np.full((4, 4, 4), 255, "uint8")
    stopping = keras.callbacks.EarlyStopping("sod_mean_iou")
    folder = tmp_path / "run" / "fold0"
    with pytest.raises(DivergedError, match="NaN in every one"):
        fit(two_heads(), feed(void), folder, epochs=2, stopping=stopping)
    assert not (folder / "model.keras").exists()


@pytest.mark.parametrize("activation", ["softmax", "sigmoid"])
def test_a_network_that_ends_in_probabilities_is_refused_before_it_trains(
    tmp_path, activation
):
    inputs = keras.Input((4, 4, 2))
    outputs = keras.layers.Conv2D(3, 1, activation=activation, name="sod")(inputs)
    model = keras.Model(inputs, outputs)
    model.compile("sgd", losses.DiceFocal())
    image = np.zeros((2, 4, 4, 2), "float32")
    batches = Feed((image, np.zeros((2, 4, 4), "uint8")))
    with pytest.raises(ValueError, match=f"ends in '{activation}'.*from_logits=False"):
        fit(model, batches, tmp_path / "run" / "a", epochs=1)
    if activation == "softmax":
        model.compile("sgd", losses.DiceFocal(from_logits=False), run_eagerly=True)
        fit(model, batches, tmp_path / "run" / "b", epochs=1)
