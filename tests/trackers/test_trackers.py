"""Trackers of other makers, by their own packages, without a network."""

import sys

import keras
import numpy as np
import pytest

from arcticdl.config import load_config
from arcticdl.errors import MissingExtraError
from arcticdl.experiment import check_options
from arcticdl.training import MlflowLog, WandbLog, fit


class Feed(keras.utils.PyDataset):
    """Two batches of a linear function."""

    def __len__(self):
        return 2

    def __getitem__(self, index):
        x = np.random.default_rng(index).normal(size=(4, 3)).astype("float32")
        return x, x.sum(axis=1, keepdims=True)

    def seek(self, epoch):
        pass


class StopsAt(keras.callbacks.Callback):
    """Ends a training before an epoch, as Ctrl-C would."""

    def __init__(self, at):
        super().__init__()
        self.at = at

    def on_epoch_begin(self, epoch, logs=None):
        if epoch == self.at:
            raise KeyboardInterrupt


def train(folder, tracker, stop_at=None):
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(1)])
    model.compile(keras.optimizers.SGD(0.01), "mse")
    callbacks = [tracker, StopsAt(stop_at)]
    fit(model, Feed(), folder, epochs=3, validation_feed=Feed(), callbacks=callbacks)


@pytest.fixture
def fold(tmp_path):
    folder = tmp_path / "run" / "fold0"
    folder.mkdir(parents=True)
    (folder.parent / "config.yaml").write_text("name: run\n")
    return folder


@pytest.mark.trackers
def test_mlflow_has_one_run_of_a_training_that_was_interrupted(fold, monkeypatch):
    import mlflow

    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    place = f"file:{fold.parent / 'tracked'}"
    with pytest.raises(KeyboardInterrupt):
        train(fold, MlflowLog(fold / "mlflow", tracking_uri=place), stop_at=2)
    train(fold, MlflowLog(fold / "mlflow", tracking_uri=place))
    client = mlflow.MlflowClient(tracking_uri=place)
    experiment = client.get_experiment_by_name("arcticdl")
    (run,) = client.search_runs([experiment.experiment_id])
    assert run.info.run_name == "run-fold0"
    assert run.info.status == "FINISHED"
    assert run.data.params["optimizer"] == "SGD"
    rows = (fold / "history.csv").read_text().splitlines()
    written = [float(row.split(",")[-1]) for row in rows[1:]]
    logged = client.get_metric_history(run.info.run_id, "val_loss")
    # An epoch that is trained anew is logged anew, and is the same.
    for value in logged:
        assert value.value == pytest.approx(written[value.step - 1])
    assert {value.step for value in logged} == {1, 2, 3}
    assert run.data.metrics["learning_rate"] == pytest.approx(0.01)
    kept = mlflow.artifacts.load_text(f"{run.info.artifact_uri}/config.yaml")
    assert kept == "name: run\n"


@pytest.mark.trackers
def test_a_place_that_mlflow_cannot_open_ends_it_before_the_first_batch(fold):
    with pytest.raises(ValueError, match="`tracking_uri` must name a place"):
        train(fold, MlflowLog(fold / "mlflow", tracking_uri="nowhere://x"))
    assert not (fold / "history.csv").exists()


@pytest.mark.trackers
def test_weights_and_biases_keeps_the_run_here_when_offline(fold):
    train(fold, WandbLog(fold / "wandb", mode="offline"))
    (kept,) = (fold / "wandb" / "wandb").glob("offline-run-*/run-*.wandb")
    assert b"val_loss" in kept.read_bytes()
    known = (fold / "wandb" / "run.json").read_text()
    assert kept.stem.removeprefix("run-") in known


@pytest.mark.parametrize("name", ["mlflow", "wandb"])
def test_a_tracker_that_is_not_installed_names_the_extra(
    name, project_root, monkeypatch
):
    config = project_root / "configs" / "demo.yaml"
    checked = load_config(config, (f"train.callbacks=[{name}]",))
    monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(MissingExtraError, match=rf"arcticdl\[{name}\]"):
        check_options(checked)
