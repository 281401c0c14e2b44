"""Training: resumed is the same as never interrupted; misspelt monitors are refused."""

import signal

import keras
import numpy as np
import pytest

from arcticdl.files import OLD
from arcticdl.training import (
    Checkpoint,
    Preempted,
    build_optimizer,
    check_monitor,
    cosine_with_warmup,
    fit,
)

EPOCHS = 4


class Feed(keras.utils.PyDataset):
    """Three batches an epoch, other ones each epoch."""

    def __init__(self):
        super().__init__()
        self.epoch = 0

    def __len__(self):
        return 3

    def __getitem__(self, index):
        rng = np.random.default_rng((self.epoch, index))
        x = rng.normal(size=(4, 3)).astype("float32")
        return x, x.sum(axis=1, keepdims=True)

    def on_epoch_end(self):
        self.epoch += 1

    def seek(self, epoch):
        self.epoch = epoch


class Stop(keras.callbacks.Callback):
    """Ends training as Ctrl-C or a batch system would."""

    def __init__(self, action, at):
        super().__init__()
        self.action, self.at = action, at

    def on_epoch_begin(self, epoch, logs=None):
        if epoch == self.at:
            self.action()


def interrupt():
    raise KeyboardInterrupt


def compiled():
    keras.utils.set_random_seed(3)
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(1)])
    optimizer = build_optimizer(0.05, num_steps=3 * EPOCHS, ema=0.5)
    model.compile(optimizer, "mse", metrics=["mae"])
    return model


def weights(model):
    return np.concatenate([np.ravel(w) for w in model.get_weights()])


@pytest.mark.parametrize(
    "action", [interrupt, lambda: signal.raise_signal(signal.SIGUSR1)]
)
def test_resumed_training_ends_where_an_uninterrupted_one_does(tmp_path, action):
    whole = compiled()
    fit(whole, Feed(), tmp_path / "run" / "whole", epochs=EPOCHS)

    folder = tmp_path / "run" / "parts"
    with pytest.raises((KeyboardInterrupt, Preempted)):
        fit(compiled(), Feed(), folder, epochs=EPOCHS, callbacks=[Stop(action, 2)])
    assert not (folder / "model.keras").exists()
    assert len((folder / "history.csv").read_text().splitlines()) == 1 + 2

    resumed = compiled()
    fit(resumed, Feed(), folder, epochs=EPOCHS)
    np.testing.assert_array_equal(weights(resumed), weights(whole))
    history = (folder / "history.csv").read_text().splitlines()
    assert [line.split(",")[0] for line in history] == ["epoch", "1", "2", "3", "4"]
    assert (folder / "history.csv").read_text() == (
        tmp_path / "run" / "whole" / "history.csv"
    ).read_text()


def test_early_stopping_goes_on_counting_after_a_resume(tmp_path):
    def stopping():
        return keras.callbacks.EarlyStopping(
            "mae", mode="max", patience=3, min_delta=1e9, restore_best_weights=True
        )

    folder = tmp_path / "run" / "fold0"
    with pytest.raises(KeyboardInterrupt):
        fit(
            compiled(), Feed(), folder, epochs=50, stopping=stopping(),
            callbacks=[Stop(interrupt, 2)],
        )  # fmt: skip
    fit(compiled(), Feed(), folder, epochs=50, stopping=stopping())
    # Nothing improves after the first epoch: three more without, then the end.
    assert len((folder / "history.csv").read_text().splitlines()) == 1 + 4


def test_a_kill_between_the_renames_of_a_save_loses_nothing(tmp_path):
    model = compiled()
    fit(model, Feed(), tmp_path / "run" / "fold0", epochs=1)
    folder = tmp_path / "run" / "fold0" / "checkpoint"
    folder.rename(folder.with_name(f"{OLD}checkpoint"))
    assert Checkpoint(folder).restore(compiled()) == 1


def test_signal_handlers_are_given_back(tmp_path):
    before = signal.getsignal(signal.SIGUSR1)
    fit(compiled(), Feed(), tmp_path / "run" / "fold0", epochs=1)
    assert signal.getsignal(signal.SIGUSR1) is before


def test_a_misspelt_monitor_is_refused_before_the_first_epoch(tmp_path):
    stopping = keras.callbacks.EarlyStopping("val_maee")
    with pytest.raises(ValueError, match=r"`monitor` must be one of \['loss', 'mae'\]"):
        fit(compiled(), Feed(), tmp_path / "fold0", epochs=1, stopping=stopping)
    assert not (tmp_path / "fold0").exists()


def test_monitors_of_validation_need_validation():
    model = compiled()
    check_monitor("val_mae", model, has_validation=True)
    with pytest.raises(ValueError, match="Received: monitor='val_mae'"):
        check_monitor("val_mae", model, has_validation=False)


def test_the_schedule_warms_up_to_its_peak_and_ends_at_a_hundredth():
    rate = cosine_with_warmup(0.1, 100, warmup_fraction=0.1)
    values = [float(rate(step)) for step in range(101)]
    assert values[0] == pytest.approx(0.005)
    assert max(values) == pytest.approx(0.1)
    assert int(np.argmax(values)) == 10
    assert values[100] == pytest.approx(0.001)


@pytest.mark.parametrize("options", [{"learning_rate": 0}, {"warmup_fraction": 1.0}])
def test_a_schedule_out_of_range_is_refused(options):
    with pytest.raises(ValueError, match="`learning_rate` must be > 0"):
        cosine_with_warmup(**{"learning_rate": 0.1, "num_steps": 10, **options})


def test_an_unknown_schedule_is_refused():
    with pytest.raises(ValueError, match=r"\['constant', 'cosine'\]"):
        build_optimizer(0.1, num_steps=1, schedule="step")
