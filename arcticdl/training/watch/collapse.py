"""Whether codes of images have become alike, said when a training ends."""

from typing import Any

import keras
from rich.console import Console

LEAST = 0.1
"""Spread of codes below which they are taken for one."""


class CollapseWatch(keras.callbacks.Callback):
    """Says at the end of a contrastive training whether images are told apart.

    It reads ``spread`` and ``told_apart``, of validation where there is one.

    Attributes:
        told: What was said, empty before.

    Example:
        ``model.fit(pair_views(feed), callbacks=[CollapseWatch()])``
    """

    def __init__(self) -> None:
        super().__init__()
        self.told = ""
        self._last: dict[str, float] = {}

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Notes the epoch's scores."""
        self._last = {name: float(value) for name, value in (logs or {}).items()}

    def on_train_end(self, logs: dict[str, Any] | None = None) -> None:
        """Says what was seen last."""
        where = "val_" if "val_spread" in self._last else ""
        spread = self._last.get(f"{where}spread")
        if spread is None:
            return  # nothing was trained
        apart = self._last[f"{where}told_apart"]
        self.told = (
            f"views: {100 * apart:.0f} % find their own other view, codes spread over "
            f"{spread:.2f} of all directions"
        )
        if spread < LEAST:
            self.told += (
                ". Collapsed: all images have nearly one code, and nothing was "
                "learnt. Lower the rate, raise the temperature or the batch size, or "
                "augment less alike."
            )
        Console(highlight=False, markup=False, soft_wrap=True).print(self.told)
