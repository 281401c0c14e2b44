"""Scores of each epoch to Weights & Biases."""

import secrets
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

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


class WandbLog(keras.callbacks.Callback):
    """Logs the scores of each epoch and the learning rate to Weights & Biases.

    A resumed training goes on in the same run, whose identifier stands in `folder`.

    Args:
        folder: Where the identifier is kept, and what is not uploaded yet.
        project: Name of the project that the run is counted to.
        mode: ``"offline"`` keeps the run here, for ``wandb sync``; ``"online"`` uploads
            it; ``None``: as ``WANDB_MODE`` says, else online.

    Raises:
        MissingExtraError: ``wandb`` is not installed.
    """

    def __init__(
        self,
        folder: str | Path,
        *,
        project: str = "arcticdl",
        mode: Literal["offline", "online"] | None = None,
    ) -> None:
        super().__init__()
        self.wandb = import_wandb()
        self.folder, self.project, self.mode = Path(folder), project, mode
        self._run: Any = None

    @staticmethod
    def check_installed() -> None:
        """Refuses, before anything is trained, where ``wandb`` is not installed."""
        import_wandb()

    def on_train_begin(self, logs: Mapping[str, float] | None = None) -> None:
        """Opens the run, or goes on with that of an earlier start."""
        if not is_first():
            return
        known = read_id(self.folder) or secrets.token_hex(4)
        keep_id(self.folder, known)
        told: dict[str, Any] = describe_model(self.model, self.params.get("epochs"))
        config = find_config(self.folder)
        if config is not None:
            told["config_yaml"] = config.read_text("utf-8")
        self._run = self.wandb.init(
            project=self.project,
            name=name_of(self.folder),
            id=known,
            resume="allow",
            dir=str(self.folder),
            mode=self.mode,
            config=told,
            settings=self.wandb.Settings(console="off", silent=True),
        )

    def on_epoch_end(self, epoch: int, logs: Mapping[str, float] | None = None) -> None:
        """Logs the epoch, counted from 1."""
        if self._run is not None:
            self._run.log(epoch_values(self.model, logs), step=epoch + 1)

    def on_train_end(self, logs: Mapping[str, float] | None = None) -> None:
        """Ends the run; one that is interrupted stays open for the resume."""
        if self._run is not None:
            self._run.finish()
            self._run = None


def import_wandb() -> Any:
    """The package ``wandb``, or an error that names the extra.

    Raises:
        MissingExtraError: It is not installed.
    """
    with needs_extra("wandb", "The callback `wandb`"):
        import wandb
    return wandb
