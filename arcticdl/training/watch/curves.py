"""The diagnosis of loss curves as a callback, said when a training ends."""

from pathlib import Path
from typing import Any

import keras
from rich.console import Console

from arcticdl.training.watch.diagnosis import Finding, diagnose


class LossCurveDiagnosis(keras.callbacks.Callback):
    """Says at the end of a training what its curves say, and what to try.

    Args:
        history: A ``history.csv`` that another callback keeps, so that epochs before a
            resume count as well; ``None``: the epochs of this call.
        constant_loss: As for `diagnose`.

    Attributes:
        findings: What `diagnose` found, once the training has ended.

    Example:
        ``model.fit(x, y, validation_split=0.2, callbacks=[LossCurveDiagnosis()])``
    """

    def __init__(
        self,
        history: str | Path | None = None,
        *,
        constant_loss: float | None = None,
    ) -> None:
        super().__init__()
        self.history, self.constant_loss = history, constant_loss
        self.findings: list[Finding] = []
        self._rows: list[dict[str, float]] = []

    def on_train_begin(self, logs: dict[str, Any] | None = None) -> None:
        """Begins anew."""
        self._rows, self.findings = [], []

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Notes the epoch's scores."""
        scores = {name: float(value) for name, value in (logs or {}).items()}
        self._rows.append({"epoch": epoch + 1.0} | scores)

    def on_train_end(self, logs: dict[str, Any] | None = None) -> None:
        """Reads the curves and says what they say."""
        known = self.history if self.history is not None else self._rows
        if isinstance(known, list) and not any("loss" in row for row in known):
            return  # nothing was trained
        self.findings = diagnose(known, constant_loss=self.constant_loss)
        say = Console(highlight=False, markup=False, soft_wrap=True).print
        for finding in self.findings:
            say(f"curves: {finding}".strip())
