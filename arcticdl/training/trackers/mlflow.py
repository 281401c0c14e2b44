"""Scores of each epoch to MLflow."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import keras

from arcticdl.errors import needs_extra
from arcticdl.training.devices.processes import is_first
from arcticdl.training.trackers.run import (
    describe_model,
    epoch_values,
    find_config,
    keep_id,
    name_of,
    read_id,
)


class MlflowLog(keras.callbacks.Callback):
    """Logs the scores of each epoch, the learning rate and the configuration to MLflow.

    A resumed training goes on in the same run, whose identifier stands in `folder`.

    Args:
        folder: Where the identifier is kept.
        tracking_uri: Where MLflow keeps its runs, such as ``http://host:5000``;
            ``None``: as ``MLFLOW_TRACKING_URI`` says, or MLflow itself.
        experiment: Name of the experiment that the run is counted to.

    Raises:
        MissingExtraError: MLflow is not installed.
        ValueError: When training begins: MLflow cannot open the place.
    """

    def __init__(
        self,
        folder: str | Path,
        *,
        tracking_uri: str | None = None,
        experiment: str = "arcticdl",
    ) -> None:
        super().__init__()
        self.mlflow = import_mlflow()
        self.folder, self.experiment = Path(folder), experiment
        self.tracking_uri = tracking_uri
        self._client: Any = None
        self._run = ""

    @staticmethod
    def check_installed() -> None:
        """Refuses, before anything is trained, where MLflow is not installed."""
        import_mlflow()

    def on_train_begin(self, logs: Mapping[str, float] | None = None) -> None:
        """Opens the run, or goes on with that of an earlier start."""
        if not is_first():
            return
        try:
            self._open()
        except self.mlflow.exceptions.MlflowException as error:
            first = str(error).splitlines()[0]
            raise ValueError(
                "`tracking_uri` must name a place that MLflow can open. Received: "
                f"{self.tracking_uri!r} ({first})"
            ) from error

    def on_epoch_end(self, epoch: int, logs: Mapping[str, float] | None = None) -> None:
        """Logs the epoch, counted from 1."""
        if self._client is None:
            return
        for name, value in epoch_values(self.model, logs).items():
            self._client.log_metric(self._run, name, value, step=epoch + 1)

    def on_train_end(self, logs: Mapping[str, float] | None = None) -> None:
        """Ends the run; one that is interrupted stays open for the resume."""
        if self._client is not None:
            self._client.set_terminated(self._run)

    def _open(self) -> None:
        client = self.mlflow.MlflowClient(tracking_uri=self.tracking_uri)
        known = read_id(self.folder)
        if known is not None:
            client.update_run(known, status="RUNNING")
            self._client, self._run = client, known
            return
        found = client.get_experiment_by_name(self.experiment)
        number = found.experiment_id if found else None
        number = number or client.create_experiment(self.experiment)
        run = client.create_run(number, run_name=name_of(self.folder)).info.run_id
        keep_id(self.folder, run)
        for name, value in describe_model(
            self.model, self.params.get("epochs")
        ).items():
            client.log_param(run, name, value)
        config = find_config(self.folder)
        if config is not None:
            client.log_text(run, config.read_text("utf-8"), "config.yaml")
        self._client, self._run = client, run


def import_mlflow() -> Any:
    """MLflow, or an error that names the extra.

    Raises:
        MissingExtraError: It is not installed.
    """
    with needs_extra("mlflow", "The callback `mlflow`"):
        import mlflow
    return mlflow
