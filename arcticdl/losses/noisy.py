"""Losses of noisy labels: cross-entropies that do not trust every pixel."""

from collections.abc import Sequence
from typing import Any

import keras
from keras import ops

from arcticdl.choices import check_choice
from arcticdl.losses.base import check_range
from arcticdl.losses.pixels import Pixels
from arcticdl.losses.segmentation import (
    SegmentationLoss,
    elements,
    smoothed_crossentropy,
)
from arcticdl.void import VOID_CLASS


@keras.saving.register_keras_serializable(package="arcticdl")
class BootstrappedCrossentropy(SegmentationLoss):
    """Cross-entropy against a mix of the label and the model's own opinion.

    Args:
        void_class: Code of void pixels.
        class_weights: One weight a class.
        label_share: Share in 0-1 of the label; the rest is the prediction. The
            paper's values are 0.95 for ``"soft"`` and 0.8 for ``"hard"``.
        opinion: ``"soft"``, the probabilities, or ``"hard"``, the likeliest class.
        **kwargs: `multilabel`, `from_logits`, `reduction`, `name`.

    Source:
        Reed et al., 2015, "Training deep neural networks on noisy labels with
        bootstrapping", equations 6 and 7.
    """

    def __init__(
        self,
        void_class: int | None = VOID_CLASS,
        class_weights: Sequence[float] | None = None,
        *,
        label_share: float = 0.95,
        opinion: str = "soft",
        **kwargs: Any,
    ) -> None:
        kwargs.setdefault("name", "bootstrapped_crossentropy")
        super().__init__(void_class, class_weights, **kwargs)
        self.label_share = check_range("label_share", label_share, 0, 1)
        check_choice("opinion", opinion, ("hard", "soft"))
        self.opinion = opinion

    def score(self, pixels: Pixels) -> tuple[Any, Any]:
        """Returns cross-entropies and weights, one a pixel (or entry)."""
        weights = pixels.class_weight_map(self.class_weights)
        values = self.label_share * smoothed_crossentropy(pixels)
        values = values + (1.0 - self.label_share) * self._doubt(pixels)
        return elements(pixels, values), elements(pixels, weights)

    def _doubt(self, pixels: Pixels) -> Any:
        """Cross-entropy of the prediction against its own opinion."""
        if not pixels.exclusive:
            yes = pixels.prob
            if self.opinion == "hard":
                yes = ops.cast(pixels.logits > 0.0, "float32")
            return -(yes * pixels.log_prob + (1.0 - yes) * pixels.log_prob_not)
        if self.opinion == "hard":
            return -ops.max(pixels.log_prob, axis=-1, keepdims=True)
        return -ops.sum(pixels.prob * pixels.log_prob, axis=-1, keepdims=True)

    def get_config(self) -> dict[str, Any]:
        """Returns the constructor's arguments."""
        return {
            **super().get_config(),
            "label_share": self.label_share,
            "opinion": self.opinion,
        }


@keras.saving.register_keras_serializable(package="arcticdl")
class SymmetricCrossentropy(SegmentationLoss):
    """Cross-entropy plus its reverse, which a wrong label cannot drive without end.

    ``alpha * -sum(t log p) + beta * -sum(p log t)`` with ``log 0`` held at
    `log_zero`.

    Args:
        void_class: Code of void pixels.
        class_weights: One weight a class.
        alpha: Weight >= 0 of cross-entropy.
        beta: Weight >= 0 of reverse cross-entropy.
        log_zero: Value below 0 that stands for ``log 0``.
        **kwargs: `multilabel`, `from_logits`, `reduction`, `name`.

    Source:
        Wang, Ma, Chen, Luo, Yi and Bailey, 2019, "Symmetric cross entropy for robust
        learning with noisy labels", equations 6 to 8; the defaults are its CIFAR-10
        weights and its A of -4.
    """

    def __init__(
        self,
        void_class: int | None = VOID_CLASS,
        class_weights: Sequence[float] | None = None,
        *,
        alpha: float = 0.1,
        beta: float = 1.0,
        log_zero: float = -4.0,
        **kwargs: Any,
    ) -> None:
        kwargs.setdefault("name", "symmetric_crossentropy")
        super().__init__(void_class, class_weights, **kwargs)
        self.alpha = check_range("alpha", alpha, 0, float("inf"))
        self.beta = check_range("beta", beta, 0, float("inf"))
        self.log_zero = check_range("log_zero", log_zero, -80, -1e-6)

    def score(self, pixels: Pixels) -> tuple[Any, Any]:
        """Returns symmetric cross-entropies and weights, one a pixel (or entry)."""
        weights = pixels.class_weight_map(self.class_weights)
        values = self.alpha * smoothed_crossentropy(pixels)
        values = values + self.beta * self._reverse(pixels)
        return elements(pixels, values), elements(pixels, weights)

    def _reverse(self, pixels: Pixels) -> Any:
        log_target = self._log(pixels.target)
        if pixels.exclusive:
            return -ops.sum(pixels.prob * log_target, axis=-1, keepdims=True)
        log_not = self._log(1.0 - pixels.target)
        return -(pixels.prob * log_target + (1.0 - pixels.prob) * log_not)

    def _log(self, target: Any) -> Any:
        return ops.log(ops.maximum(target, ops.exp(ops.cast(self.log_zero, "float32"))))

    def get_config(self) -> dict[str, Any]:
        """Returns the constructor's arguments."""
        return {
            **super().get_config(),
            "alpha": self.alpha,
            "beta": self.beta,
            "log_zero": self.log_zero,
        }
