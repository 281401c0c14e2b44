"""Labels and logits of one batch, made ready for scoring once."""

from collections.abc import Sequence
from functools import cached_property
from typing import Any

from keras import ops

from arcticdl.losses.base import spread_weight, to_float32
from arcticdl.losses.probabilities import (
    nan_if_probabilities,
    nan_unless_probabilities,
    to_logits,
)
from arcticdl.void import VOID_CLASS, check_codes_beside_void, split_void


class Pixels:
    """What a segmentation loss sees: targets, probabilities, weights.

    Logits under void are replaced by 0 before anything is computed, so that not
    even a NaN there can reach a value or a gradient.

    Args:
        y_true: One of

            * integer codes ``(batch, ...)`` or ``(batch, ..., 1)``, any dtype, void
              by code or NaN;
            * soft or one-hot labels ``(batch, ..., class)`` in 0-1; a pixel is void
              where any entry is NaN or the void code, or where all entries are 0;
            * multi-label maps ``(batch, ..., class)`` of 0 and 1, void entry by
              entry, with `multilabel`.
        y_pred: Logits ``(batch, ..., class)``. One channel is the binary form: the
            logit of class 1, labels of codes 0 and 1 (for soft labels of two
            classes, two channels).
        sample_weight: Weights ``(batch,)`` up to ``(batch, ...)``, or ``None``.
        void_class: Code of void.
        multilabel: Each channel is a yes or no of its own.
        from_logits: Whether `y_pred` are logits; else they are probabilities, of
            which logits are made.

    Attributes:
        logits: float32 ``(batch, ..., class)``; 0 under void.
        weight: float32 ``(batch, ..., 1)``, or ``(batch, ..., class)`` if
            `multilabel`; 0 under void.
        exclusive: Whether classes exclude each other (softmax).
        nan_if_invalid: 1, or NaN where a label is neither a class nor void, or
            predictions are plainly not what `from_logits` says.

    Raises:
        ValueError: If labels and predictions do not fit together; outside of a graph
            also if predictions are not what `from_logits` says.
    """

    def __init__(
        self,
        y_true: Any,
        y_pred: Any,
        sample_weight: Any = None,
        *,
        void_class: int | None = VOID_CLASS,
        multilabel: bool = False,
        from_logits: bool = True,
    ) -> None:
        y_pred = ops.convert_to_tensor(y_pred)
        logits, y_true = to_float32(y_pred), ops.convert_to_tensor(y_true)
        self.num_classes = int(logits.shape[-1])
        self.binary = self.num_classes == 1
        self.exclusive = not multilabel and not self.binary
        codes = self.binary or not multilabel
        self.hard = codes and _is_integer_map(y_true, logits)
        _check_shapes(y_true, logits, codes, not self.hard)
        if self.hard:
            num_codes = max(self.num_classes, 2)
            code, valid, self.nan_if_invalid = read_codes(
                y_true, logits, void_class, num_codes
            )
            self._label, self._valid = code, ops.expand_dims(valid, -1)
        else:
            label, valid = split_void(y_true, void_class)
            self._read_soft(to_float32(label), valid)
        self.weight = self._weights(sample_weight)
        self.logits = self._as_logits(y_pred, logits, from_logits)

    def _as_logits(self, y_pred: Any, values: Any, from_logits: bool) -> Any:
        scored = ops.greater(self.weight, 0.0)
        if from_logits:
            if self.exclusive:
                self.nan_if_invalid *= nan_if_probabilities(y_pred, self.weight)
            return ops.where(scored, values, 0.0)
        even = 1.0 / self.num_classes if self.exclusive else 0.5
        prob = ops.where(scored, values, even)
        self.nan_if_invalid *= nan_unless_probabilities(prob, self.exclusive)
        return to_logits(prob, self.exclusive)

    def _read_soft(self, label: Any, valid: Any) -> None:
        known = ops.logical_and(label >= 0.0, label <= 1.0)
        self.nan_if_invalid = _nan_unless(known)
        if self.exclusive:
            some = ops.any(label > 0.0, axis=-1, keepdims=True)
            whole = ops.all(valid, axis=-1, keepdims=True)
            valid = ops.logical_and(some, whole)
        self._valid = valid
        self._soft = label

    def _weights(self, sample_weight: Any) -> Any:
        valid = ops.cast(self._valid, "float32")
        if sample_weight is None:
            return valid
        if not self.exclusive and len(ops.shape(sample_weight)) == len(valid.shape):
            return valid * spread_weight(sample_weight, valid)
        weight = spread_weight(sample_weight, valid[..., 0])
        return valid * ops.expand_dims(weight, -1)

    @cached_property
    def scored(self) -> Any:
        """1 where an element is scored, else 0; the shape of ``weight``."""
        return ops.cast(ops.greater(self.weight, 0.0), "float32")

    @cached_property
    def target(self) -> Any:
        """Shares of the classes, ``(batch, ..., class)``; 0 under void."""
        if not self.hard:
            return self._soft * self.scored
        if not self.binary:  # no class of a pixel that is not scored, and so no 1
            code = ops.where(self.scored[..., 0] > 0.0, self._label, -1)
            return ops.one_hot(code, self.num_classes, dtype="float32")
        return ops.expand_dims(ops.cast(self._label, "float32"), -1) * self.scored

    @cached_property
    def log_prob(self) -> Any:
        """Log-probabilities: of exclusive classes, or of each channel's yes."""
        if self.exclusive:
            return ops.log_softmax(self.logits, axis=-1)
        return ops.log_sigmoid(self.logits)

    @cached_property
    def log_prob_not(self) -> Any:
        """Log-probabilities of each channel's no (binary and multi-label only)."""
        return ops.log_sigmoid(-self.logits)

    @cached_property
    def prob(self) -> Any:
        """Probabilities: softmax over classes, or the sigmoid of each channel."""
        if self.exclusive:
            return ops.exp(self.log_prob)
        return ops.sigmoid(self.logits)

    @cached_property
    def log_prob_of_label(self) -> Any:
        """Log-probability of each pixel's own class, ``(batch, ..., 1)``; 0 under void.

        For codes of exclusive classes.
        """
        return ops.sum(self.target * self.log_prob, axis=-1, keepdims=True)

    @cached_property
    def prob_of_label(self) -> Any:
        """Probability of each pixel's own class, ``(batch, ..., 1)``."""
        return ops.exp(self.log_prob_of_label)

    def class_weight_map(self, class_weights: Sequence[float] | None) -> Any:
        """Returns ``weight`` times each element's class weight.

        A soft label weighs the mean of its shares. With one channel the two
        weights are those of "no" and "yes"; with `multilabel` they are the
        channels'.
        """
        if class_weights is None:
            return self.weight
        weights = self.class_weight_vector(class_weights)
        if self.binary and len(class_weights) == 2:
            no, yes = class_weights
            return self.weight * (no + (yes - no) * self.target)
        if self.exclusive:
            share = ops.sum(self.target * weights, axis=-1, keepdims=True)
            return self.weight * share
        return self.weight * weights

    def class_weight_vector(self, class_weights: Sequence[float] | None) -> Any:
        """Returns class weights as float32 ``(class,)`` after checking their number.

        Raises:
            ValueError: If there is not one weight a class.
        """
        return class_weight_vector(class_weights, self.num_classes)


def class_weight_vector(
    class_weights: Sequence[float] | None, num_channels: int
) -> Any:
    """Returns class weights as float32 ``(channel,)``; of one channel that of "yes".

    Raises:
        ValueError: If there is not one weight a class.
    """
    if class_weights is None:
        return ops.ones((num_channels,), dtype="float32")
    allowed = (1, 2) if num_channels == 1 else (num_channels,)
    if len(class_weights) not in allowed:
        raise ValueError(
            "`class_weights` must hold one weight a class. Received: "
            f"{len(class_weights)} weights for {num_channels} channels."
        )
    return ops.convert_to_tensor(class_weights[-num_channels:], dtype="float32")


def read_codes(
    y_true: Any, logits: Any, void_class: int | None, num_codes: int
) -> tuple[Any, Any, Any]:
    """Reads integer class codes of any dtype.

    Args:
        y_true: Codes ``(batch, ...)`` or ``(batch, ..., 1)``.
        logits: Predictions ``(batch, ..., channel)``.
        void_class: Code of void.
        num_codes: Codes 0 to ``num_codes - 1`` are classes.

    Returns:
        int32 codes ``(batch, ...)``, 0 where void; where they are valid; and 1, or
        NaN where a code is neither a class nor void (1.5 is no class either).

    Raises:
        ValueError: If labels and predictions do not fit together, or of more than 255
            classes void is one.
    """
    check_codes_beside_void(num_codes, void_class)
    y_true = ops.convert_to_tensor(y_true)
    _check_shapes(y_true, logits, True, False)
    if len(y_true.shape) == len(logits.shape):
        y_true = ops.squeeze(y_true, -1)
    label, valid = split_void(y_true, void_class)
    code = ops.cast(label, "int32")
    known = ops.logical_and(code >= 0, code < num_codes)
    if "float" in str(label.dtype):
        known = ops.logical_and(known, ops.equal(ops.floor(label), label))
    return ops.where(known, code, 0), valid, _nan_unless(known)


def _is_integer_map(y_true: Any, logits: Any) -> bool:
    if len(y_true.shape) == len(logits.shape) - 1:
        return True
    return len(y_true.shape) == len(logits.shape) and y_true.shape[-1] == 1


def _check_shapes(y_true: Any, logits: Any, codes: bool, maps: bool) -> None:
    """Checks labels that may be codes, or maps with a class axis, or either."""
    rank = len(logits.shape)
    is_map = len(y_true.shape) == rank and y_true.shape[-1] == logits.shape[-1]
    fits = (codes and _is_integer_map(y_true, logits)) or (maps and is_map)
    pairs = zip(y_true.shape[: rank - 1], logits.shape[:-1], strict=False)
    if rank < 2 or not fits or any(a != b for a, b in pairs if a and b):
        want = "class codes (batch, ...)" if codes else "maps (batch, ..., class)"
        raise ValueError(
            f"`y_true` must be {want} beside logits `y_pred` of (batch, ..., class). "
            f"Received: y_true {tuple(y_true.shape)}, y_pred {tuple(logits.shape)}."
        )


def _nan_unless(known: Any) -> Any:
    return ops.where(ops.all(known), 1.0, float("nan"))
