"""Training: resumed is the same as never interrupted; misspelt monitors are refused."""

import signal
import subprocess
import sys
import warnings
from pathlib import Path

import keras
import numpy as np
import pytest

from arcticdl.metrics import RMSE
from arcticdl.models import build_regressor
from arcticdl.training import (
    Checkpoint,
    Preempted,
    build_optimizer,
    check_monitor,
    cosine_with_warmup,
    fit,
)
from arcticdl.training.feed import ResumableFeed
from arcticdl.training.signals import watch_signals
from arcticdl.training.state import write_arrays

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


class Images(Feed):
    """The same of images, to be rebuilt."""

    def __getitem__(self, index):
        rng = np.random.default_rng((self.epoch, index, 1))
        image = rng.normal(size=(2, 8, 8, 2)).astype("float32")
        return image, image


def autoencoder():
    keras.utils.set_random_seed(3)
    model = build_regressor(
        "plain", num_bands=2, num_outputs=2,
        latent={"size": 2, "kind": "variational", "warmup_steps": 9},
        backbone_options={"width": 4, "depth": 1}, decoder_options={"channels": (4,)},
    )  # fmt: skip
    rate = build_optimizer(0.01, num_steps=3 * EPOCHS)
    model.compile(rate, "mse", jit_compile=False)
    return model


def test_warm_up_and_noise_of_a_code_go_on_where_a_training_was_cut(tmp_path):
    whole = autoencoder()
    fit(whole, Images(), tmp_path / "run" / "whole", epochs=EPOCHS)
    assert float(np.asarray(whole.get_layer("latent").steps)) == 3 * EPOCHS
    folder = tmp_path / "run" / "parts"
    with pytest.raises(KeyboardInterrupt):
        fit(autoencoder(), Images(), folder, epochs=EPOCHS,
            callbacks=[Stop(interrupt, 2)])  # fmt: skip
    resumed = autoencoder()
    fit(resumed, Images(), folder, epochs=EPOCHS)
    np.testing.assert_array_equal(weights(resumed), weights(whole))


def test_what_keras_begins_before_training_is_no_epoch():
    feed = Feed()
    resumable = ResumableFeed(feed)
    resumable.go_to(0, 2)
    resumable.on_epoch_begin()  # to look at a batch, on some backends
    resumable.on_epoch_end()
    assert (feed.epoch, resumable.skipped) == (0, 2)
    resumable.start()
    resumable.on_epoch_begin()
    resumable.on_epoch_end()
    assert (feed.epoch, resumable.skipped) == (1, 0)


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


def test_a_torn_checkpoint_falls_back_to_the_one_before_it(tmp_path):
    folder = tmp_path / "run" / "fold0"
    for moment in (("train", 1, 0), ("train", 2, 1)):
        with pytest.raises(Preempted):
            train(folder, callbacks=[At(moment, preempt)])
    *_, older, newer = sorted((folder / "checkpoint").iterdir())
    assert (older.stem, newer.stem) == (
        "epoch00002-batch0000000", "epoch00002-batch0000002",
    )  # fmt: skip
    whole = newer.read_bytes()
    flipped = bytearray(whole)
    flipped[len(whole) // 2] ^= 1
    for torn in (b"", whole[: len(whole) // 2], b"\0" * len(whole), bytes(flipped)):
        newer.write_bytes(torn)
        checkpoint = Checkpoint(folder / "checkpoint", feed=ResumableFeed(Feed()))
        # Keras's own deprecations, ignored otherwise, would come out of pytest.warns.
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            assert checkpoint.restore(network()) == 2
        assert any("is damaged" in str(w.message) for w in caught)
        assert checkpoint.batch == 0
        assert not newer.exists()
    train(folder)
    assert_equal(folder, uninterrupted(tmp_path))


class At(keras.callbacks.Callback):
    """Does something once at a moment: (phase, epoch, batch)."""

    def __init__(self, moment, action):
        super().__init__()
        self.moment, self.action, self.epoch = moment, action, -1

    def look(self, phase, batch):
        if (phase, self.epoch, batch) == self.moment:
            self.action()

    def on_train_begin(self, logs=None):
        self.look("begin", 0)

    def on_epoch_begin(self, epoch, logs=None):
        self.epoch = epoch
        self.look("epoch", 0)

    def on_train_batch_begin(self, batch, logs=None):
        self.look("step", batch)

    def on_train_batch_end(self, batch, logs=None):
        self.look("train", batch)

    def on_test_begin(self, logs=None):
        self.look("validate", 0)

    def on_test_batch_end(self, batch, logs=None):
        self.look("test", batch)

    def on_epoch_end(self, epoch, logs=None):
        self.look("end", 0)


def preempt():
    signal.raise_signal(signal.SIGUSR1)


class Killed(BaseException):
    """Stands for SIGKILL: nothing after it is done, nothing is cleaned up by fit."""


def kill():
    raise Killed


def network():
    """Dropout, batch normalisation, averaged weights: all that has a state."""
    keras.utils.set_random_seed(4)
    inputs = keras.Input((3,))
    x = keras.layers.Dense(8, activation="relu")(inputs)
    x = keras.layers.BatchNormalization()(keras.layers.Dropout(0.3)(x))
    model = keras.Model(inputs, keras.layers.Dense(1)(x))
    optimizer = build_optimizer(
        0.05, num_steps=3 * EPOCHS, schedule="constant", ema=0.5
    )
    # Eagerly: what is tested are the moments, and tracing takes most of the time.
    model.compile(optimizer, "mse", metrics=["mae", RMSE()], run_eagerly=True)
    return model


def train(folder, callbacks=(), model=None):
    model = model or network()
    stopping = keras.callbacks.EarlyStopping(
        "val_rmse", patience=3, restore_best_weights=True
    )
    slower = keras.callbacks.ReduceLROnPlateau("val_mae", factor=0.5, patience=1)
    fit(
        model, Feed(), folder, epochs=EPOCHS, stopping=stopping,
        validation_feed=Feed(), callbacks=[slower, *callbacks],
    )  # fmt: skip
    return model, stopping, slower


def uninterrupted(tmp_path):
    folder = tmp_path / "run" / "whole"
    train(folder)
    return folder


def assert_equal(folder, other):
    one, two = (keras.saving.load_model(f / "model.keras") for f in (folder, other))
    np.testing.assert_array_equal(weights(one), weights(two))
    for a, b in zip(one.optimizer.variables, two.optimizer.variables, strict=True):
        np.testing.assert_array_equal(a.numpy(), b.numpy())
    assert (folder / "history.csv").read_text() == (other / "history.csv").read_text()


MOMENTS = [
    ("begin", -1, 0),
    ("epoch", 0, 0),
    ("train", 0, 0),
    ("step", 1, 2),
    ("train", 1, 1),
    ("train", 2, 2),
    ("validate", 1, 0),
    ("test", 0, 1),
    ("test", 3, 2),
    ("end", 2, 0),
    ("end", 3, 0),
]


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    return uninterrupted(tmp_path_factory.mktemp("whole"))


@pytest.mark.parametrize(
    ("action", "moment"),
    [
        *((preempt, moment) for moment in MOMENTS),
        *((kill, moment) for moment in MOMENTS if moment[1] in (1, 3)),
    ],
    ids=lambda value: getattr(value, "__name__", str(value)),
)
def test_interrupted_anywhere_and_resumed_is_the_same_to_the_bit(
    tmp_path, whole, moment, action
):
    folder = tmp_path / "run" / "fold0"
    with pytest.raises(Preempted if action is preempt else Killed):
        train(folder, callbacks=[At(moment, action)])
    assert not (folder / "model.keras").exists()
    train(folder)
    assert_equal(folder, whole)


@pytest.mark.parametrize("seed", [0])
def test_a_process_that_is_killed_at_random_goes_on_to_the_bit(tmp_path, whole, seed):
    folder = tmp_path / "run" / "fold0"
    code = (
        "import os, random, signal, sys\n"
        f"sys.path.insert(0, {str(Path(__file__).parent)!r})\n"
        "from test_fit_resume import At, MOMENTS, train\n"
        f"moment = random.Random({seed}).choice(MOMENTS[4:])\n"
        "kill = lambda: os.kill(os.getpid(), signal.SIGKILL)\n"
        f"train({str(folder)!r}, callbacks=[At(moment, kill)])\n"
    )
    child = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, timeout=300
    )
    assert child.returncode == -signal.SIGKILL, child.stderr
    assert not (folder / "model.keras").exists()
    train(folder)
    assert_equal(folder, whole)


@pytest.mark.backend
def test_interrupted_at_every_step_and_resumed_is_the_same_to_the_bit(tmp_path, whole):
    folder = tmp_path / "run" / "fold0"
    # On JAX what comes after the last batch waits for the end of the epoch.
    late = keras.backend.backend() == "jax"
    for epoch in range(2):
        # A resumed epoch counts its batches from 0 again.
        moments = [("train", epoch, 0)] * (2 if late else 3)
        moments += [("test", epoch, batch) for batch in range(1 if late else 3)]
        for moment in moments:
            with pytest.raises(Preempted, match="SIGUSR1"):
                train(folder, callbacks=[At(moment, preempt)])
    train(folder)
    assert_equal(folder, whole)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGUSR1])
def test_a_signal_while_the_model_is_saved_leaves_no_finished_model(
    tmp_path, whole, monkeypatch, number
):
    folder = tmp_path / "run" / "fold0"

    class Signalled(keras.Model):
        def save(self, *args, **kwargs):
            signal.raise_signal(number)
            super().save(*args, **kwargs)

    model = network()
    same = Signalled(model.input, model.output)
    same.compile(model.optimizer, "mse", metrics=["mae", RMSE()], run_eagerly=True)
    with pytest.raises(Preempted, match=number.name):
        train(folder, model=same)
    assert not (folder / "model.keras").exists()
    train(folder)
    assert_equal(folder, whole)


def test_a_signal_while_a_checkpoint_is_written_waits_for_it(
    tmp_path, whole, monkeypatch
):
    folder = tmp_path / "run" / "fold0"
    savez = np.savez

    def signalled(*args, **kwargs):
        preempt()
        savez(*args, **kwargs)

    monkeypatch.setattr(np, "savez", signalled)
    with pytest.raises(Preempted, match="1 epoch is safe"):
        train(folder)
    monkeypatch.undo()
    train(folder)
    assert_equal(folder, whole)


def test_a_checkpoint_that_cannot_be_written_leaves_the_one_before(
    tmp_path, whole, monkeypatch
):
    folder = tmp_path / "run" / "fold0"
    with pytest.raises(Preempted):
        train(folder, callbacks=[At(("train", 1, 0), preempt)])
    savez = np.savez

    def torn(path, **arrays):
        savez(path, **arrays)
        with open(path, "r+b") as file:
            file.truncate(500)  # as on a full disk, without a word

    monkeypatch.setattr(np, "savez", torn)
    with pytest.raises(OSError, match="readable once it is written"):
        train(folder, callbacks=[At(("train", 2, 0), preempt)])
    monkeypatch.undo()
    names = [p.stem for p in (folder / "checkpoint").iterdir()]
    assert "epoch00001-batch0000001" in names
    assert not any(name.startswith("epoch00002-batch0000001") for name in names)
    train(folder)
    assert_equal(folder, whole)


def test_a_signal_while_a_model_is_built_becomes_preempted():
    class Slow(keras.layers.Layer):
        def call(self, x):
            preempt()
            return x

    with pytest.raises(Preempted, match="SIGUSR1"), watch_signals():
        Slow()(keras.Input((3,)))
    assert watch_signals.active is None


def test_a_signal_that_other_processes_do_not_know_of_ends_nothing(monkeypatch):
    """It comes after all have asked, while the first of them saves a checkpoint."""
    from arcticdl.training import signals

    monkeypatch.setattr(signals, "num_processes", lambda: 2)
    monkeypatch.setattr(signals, "largest", lambda own: own)
    checked = 0
    with pytest.raises(Preempted, match="SIGUSR1"), watch_signals() as watch:
        watch.agree()
        preempt()
        watch.check()
        checked += 1
        watch.agree()
        watch.check()
        checked += 1
    assert checked == 1


def test_a_signal_while_the_first_step_is_compiled_becomes_preempted(tmp_path):
    def loss(y_true, y_pred):
        preempt()
        return keras.ops.mean(y_true - y_pred)

    model = network()
    model.compile("sgd", loss)
    with pytest.raises(Preempted, match="SIGUSR1"):
        fit(model, Feed(), tmp_path / "run" / "fold0", epochs=1)
    assert not (tmp_path / "run" / "fold0").exists()


def test_a_stopped_fold_does_not_train_one_epoch_more(tmp_path):
    folder = tmp_path / "run" / "fold0"

    def stopped():
        return keras.callbacks.EarlyStopping(
            "mae", mode="max", patience=1, min_delta=1e9, restore_best_weights=True
        )

    fit(compiled(), Feed(), folder, epochs=9, stopping=stopped())
    model, history = (folder / "model.keras"), (folder / "history.csv").read_text()
    first = weights(keras.saving.load_model(model))
    model.unlink()  # killed before the model was written
    for _ in range(2):
        fit(compiled(), Feed(), folder, epochs=9, stopping=stopped())
        assert (folder / "history.csv").read_text() == history
        np.testing.assert_array_equal(weights(keras.saving.load_model(model)), first)


def test_a_checkpoint_of_another_model_is_refused(tmp_path):
    folder = tmp_path / "run" / "fold0"
    fit(compiled(), Feed(), folder, epochs=1)
    with pytest.raises(ValueError, match="must be of the model, optimiser and metrics"):
        fit(network(), Feed(), folder, epochs=2)


def test_a_checkpoint_of_another_version_is_refused(tmp_path):
    write_arrays(tmp_path / "epoch00001-batch0000000.npz", {}, {"format": 99})
    with pytest.raises(ValueError, match="another version of arcticdl"):
        Checkpoint(tmp_path).restore(compiled())


def test_two_generations_are_kept_and_no_other_file(tmp_path):
    folder = tmp_path / "run" / "fold0"
    fit(compiled(), Feed(), folder, epochs=1)
    for epoch in range(1, 6):
        fit(compiled(), Feed(), folder, epochs=epoch)
    names = sorted(p.name for p in (folder / "checkpoint").iterdir())
    assert names == [f"epoch0000{n}-batch0000000.npz" for n in (4, 5)]


def test_callbacks_of_your_own_keep_their_state(tmp_path):
    class Counter(keras.callbacks.Callback):
        count = 0

        def on_train_begin(self, logs=None):
            self.count = 0

        def on_train_batch_end(self, batch, logs=None):
            self.count += 1

        def get_state(self):
            return {"count": self.count, "squares": [np.arange(self.count) ** 2]}

        def set_state(self, state):
            self.count = state["count"]
            assert len(state["squares.0"]) == self.count

    folder, counter = tmp_path / "run" / "fold0", Counter()
    with pytest.raises(Preempted):
        train(folder, callbacks=[counter, At(("train", 2, 1), preempt)])
    assert counter.count == 8
    counter = Counter()
    train(folder, callbacks=[counter])
    assert counter.count == 3 * EPOCHS


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
    model.test_on_batch(np.zeros((2, 3)), np.zeros((2, 1)))
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


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"learning_rate": 0}, "`learning_rate` must be > 0"),
        ({"warmup_fraction": 1.0}, r"`warmup_fraction` must be in \[0, 1\)"),
    ],
)
def test_a_schedule_out_of_range_is_refused(options, message):
    with pytest.raises(ValueError, match=message):
        cosine_with_warmup(**{"learning_rate": 0.1, "num_steps": 10, **options})


def test_an_unknown_schedule_is_refused():
    with pytest.raises(ValueError, match=r"one of .*Did you mean 'step'"):
        build_optimizer(0.1, num_steps=1, schedule="stpe")
