"""The laws that every loss of labels with void keeps."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
from keras import ops

from arcticdl.choices import check_choice

_Size = tuple[int, int, int]
_SIZE: _Size = (2, 6, 6)
_NUM_CLASSES = 3


@dataclass(frozen=True)
class LossCase:
    """Labels and predictions for one kind of loss, without void.

    Attributes:
        y_true: Labels.
        y_pred: Predictions at random.
        perfect: Predictions that agree with the labels.
        elements: Shape of what can be void one by one.
    """

    y_true: np.ndarray
    y_pred: np.ndarray
    perfect: np.ndarray
    elements: tuple[int, ...]

    def with_void(self, mask: np.ndarray) -> np.ndarray:
        """Returns the labels with void where the mask is ``True``."""
        label = self.y_true.copy()
        label[mask] = 255 if label.dtype.kind in "iu" else np.nan
        return label


def check_loss(loss: keras.losses.Loss, *, seed: int = 0) -> None:
    """Checks the laws of a void-aware loss on a small random batch.

    A finite float32 scalar and gradient; the gradient equal to finite differences;
    void neutral in every form (predictions under it, even NaN; weight 0; a void
    sample more); 0 with gradient 0 where all is void; no more for a perfect
    prediction than for a random one; the order of pixels of no account where it
    should not be; half-precision predictions scored in float32; the same loss from
    its configuration.

    Args:
        loss: A loss with the attributes ``prediction_form`` and ``label_form``, reduced
            to a scalar.
        seed: Seed of the batch.

    Raises:
        AssertionError: Naming the law that is broken.
        ValueError: If no batch can be made for these forms.

    >>> from arcticdl.losses import Dice
    >>> check_loss(Dice())
    """
    rng = np.random.default_rng(seed)
    case = make_case(loss, rng)
    mask = rng.random(case.elements) < 0.3
    label = case.with_void(mask)
    _check_value(loss, label, case.y_pred)
    _check_gradient(loss, label, case.y_pred, rng)
    _check_void(loss, case, mask)
    _check_all_void(loss, case)
    _check_perfect(loss, case, label)
    if getattr(loss, "permutable", True):
        _check_permutation(loss, label, case, rng)
    _check_half(loss, label, case.y_pred)
    _check_config(loss, label, case.y_pred)


def make_case(
    loss: keras.losses.Loss,
    rng: np.random.Generator,
    size: _Size = _SIZE,
) -> LossCase:
    """Returns labels and predictions of the forms that the loss scores.

    Args:
        loss: A loss with the attributes ``prediction_form`` and ``label_form``.
        rng: Source of the labels.
        size: ``(batch, y, x)``; of boxes there are ``y`` a sample.

    Raises:
        ValueError: If the forms are unknown.
    """
    forms = tuple(getattr(loss, f"{end}_form", None) for end in ("prediction", "label"))
    check_choice("(prediction_form, label_form)", forms, _CASES)
    return _CASES[forms](loss, rng, size)


def value_and_gradient(
    loss: Callable[..., Any],
    y_true: Any,
    y_pred: Any,
    *,
    dtype: str = "float32",
    jit_compile: bool = False,
) -> tuple[float, np.ndarray]:
    """Returns a loss and its gradient by the predictions, on any backend.

    Args:
        loss: Called with labels and predictions; returns a scalar.
        y_true: Labels.
        y_pred: Predictions.
        dtype: Type in which the loss is given the predictions.
        jit_compile: Whether XLA compiles loss and gradient; PyTorch has none.

    Raises:
        ValueError: If the backend has no gradients.
    """
    backend = keras.backend.backend()
    y_pred = np.asarray(y_pred, dtype)
    if backend == "tensorflow":
        import tensorflow as tf

        @tf.function(jit_compile=jit_compile)
        def step(label: Any, tensor: Any) -> tuple[Any, Any]:
            with tf.GradientTape() as tape:
                tape.watch(tensor)
                value = loss(label, tensor)
            return value, tape.gradient(value, tensor)

        run = step if jit_compile else step.python_function
        value, gradient = run(y_true, tf.constant(y_pred))
    elif backend == "jax":
        import jax

        differ = jax.value_and_grad(lambda p, label: loss(label, p))
        value, gradient = (jax.jit(differ) if jit_compile else differ)(y_pred, y_true)
    elif backend == "torch":
        tensor = ops.convert_to_tensor(y_pred).requires_grad_(True)
        value = loss(y_true, tensor)
        value.backward()
        gradient = tensor.grad
    else:
        raise ValueError(f"Gradients need a training backend. Received: {backend!r}.")
    return float(value), ops.convert_to_numpy(gradient)


def _value(loss: Any, y_true: Any, y_pred: Any, weight: Any = None) -> float:
    return float(ops.convert_to_numpy(loss(y_true, y_pred, weight)))


def _close(law: str, value: float, expected: float, tolerance: float = 1e-5) -> None:
    __tracebackhide__ = True
    if not np.isclose(value, expected, rtol=tolerance, atol=tolerance):
        raise AssertionError(f"{law} must not change the loss: {expected} -> {value}.")


def _check_value(loss: Any, y_true: Any, y_pred: Any) -> None:
    value = loss(y_true, y_pred)
    if tuple(value.shape) != () or keras.backend.standardize_dtype(value.dtype) != (
        "float32"
    ):
        raise AssertionError(f"A loss must be a float32 scalar. Received: {value}.")
    if not np.isfinite(float(value)):
        raise AssertionError(f"A loss must be finite. Received: {float(value)}.")


def _check_gradient(
    loss: Any, y_true: Any, y_pred: np.ndarray, rng: np.random.Generator
) -> None:
    _, gradient = value_and_gradient(loss, y_true, y_pred)
    if not np.isfinite(gradient).all():
        raise AssertionError("The gradient must be finite.")
    # Partly along the gradient, so that the slope is not lost among rounding errors.
    uphill = gradient / max(float(np.sqrt(np.mean(gradient**2))), 1e-30)
    direction = (uphill + rng.normal(size=y_pred.shape)).astype("float32")
    # A kink (a ranking, an absolute value) within the step spoils the difference; the
    # shorter step then decides.
    for size in (5e-3, 1e-3):
        step = np.float32(size) * direction
        ahead = _value(loss, y_true, y_pred + step)
        behind = _value(loss, y_true, y_pred - step)
        slope = float((gradient * step).sum())
        if np.isclose(slope, (ahead - behind) / 2, rtol=0.03, atol=4e-3 * size):
            return
    raise AssertionError(
        "The gradient must agree with finite differences: "
        f"{slope} and {(ahead - behind) / 2}."
    )


def _check_void(loss: Any, case: LossCase, mask: np.ndarray) -> None:
    label = case.with_void(mask)
    expected = _value(loss, label, case.y_pred)
    for law, fill in (("A prediction under void", 7.0), ("NaN under void", np.nan)):
        changed = case.y_pred.copy()
        changed[mask] = fill
        _close(law, _value(loss, label, changed), expected)
        _, gradient = value_and_gradient(loss, label, changed)
        if np.any(gradient[mask] != 0):
            raise AssertionError(f"{law} must have the gradient 0.")
    weight = (~mask).astype("float32")
    unvoided = _value(loss, case.y_true, case.y_pred, weight)
    _close("Weight 0 instead of void", unvoided, expected)
    everything = np.ones((1, *case.elements[1:]), bool)
    more = LossCase(case.y_true[:1], case.y_pred[:1], case.perfect, case.elements)
    longer = np.concatenate([label, more.with_void(everything)])
    _close(
        "A void sample more",
        _value(loss, longer, np.concatenate([case.y_pred, case.y_pred[:1]])),
        expected,
    )


def _check_all_void(loss: Any, case: LossCase) -> None:
    label = case.with_void(np.ones(case.elements, bool))
    value, gradient = value_and_gradient(loss, label, case.y_pred)
    if value != 0 or np.any(gradient != 0):
        raise AssertionError(
            "Where all is void, loss and gradient must be 0. Received: a loss of "
            f"{value}, a largest gradient of {np.abs(gradient).max()}."
        )


def _check_perfect(loss: Any, case: LossCase, label: np.ndarray) -> None:
    perfect = case.perfect
    if loss.get_config().get("label_smoothing"):
        perfect = np.clip(perfect, -1.5, 1.5)  # smoothed labels want no certainty
    best, at_random = (_value(loss, label, p) for p in (perfect, case.y_pred))
    if not best <= at_random + 1e-6:
        raise AssertionError(
            "A perfect prediction must cost no more than a random one: "
            f"{best} and {at_random}."
        )


def _check_permutation(
    loss: Any, label: np.ndarray, case: LossCase, rng: np.random.Generator
) -> None:
    rank = 2 if loss.prediction_form == "boxes" else 3
    order = rng.permutation(int(np.prod(label.shape[1:rank])))

    def shuffle(x: np.ndarray) -> np.ndarray:
        flat = x.reshape(x.shape[0], -1, *x.shape[rank:])
        return flat[:, order].reshape(x.shape)

    shuffled = _value(loss, shuffle(label), shuffle(case.y_pred))
    _close("Another order of the pixels", shuffled, _value(loss, label, case.y_pred))


def _check_half(loss: Any, label: np.ndarray, y_pred: np.ndarray) -> None:
    half = ops.cast(ops.convert_to_tensor(y_pred), "float16")
    rounded = ops.cast(half, "float32")
    expected = _value(loss, label, rounded)
    _close("Half-precision predictions", _value(loss, label, half), expected)
    if keras.backend.standardize_dtype(loss(label, half).dtype) != "float32":
        raise AssertionError("A loss of half-precision predictions must be float32.")


def _check_config(loss: Any, label: np.ndarray, y_pred: np.ndarray) -> None:
    config = keras.saving.serialize_keras_object(loss)
    again = keras.saving.deserialize_keras_object(config)
    if again.get_config() != loss.get_config():
        raise AssertionError("`get_config` must survive `from_config`.")
    _close(
        "Building it from its configuration",
        _value(again, label, y_pred),
        _value(loss, label, y_pred),
        0.0,
    )


def _one_hot(label: np.ndarray, num_classes: int) -> np.ndarray:
    return np.eye(num_classes, dtype="float32")[label]


def _segmentation(loss: Any, rng: np.random.Generator, size: _Size) -> LossCase:
    num_classes = len(getattr(loss, "class_weights", None) or range(_NUM_CLASSES))
    if getattr(loss, "multilabel", False):
        label = rng.integers(0, 2, (*size, num_classes)).astype("uint8")
        perfect = 40.0 * label.astype("float32") - 20.0
        logits = rng.normal(size=perfect.shape).astype("float32")
        best, guess = (_as_asked(loss, x, False) for x in (perfect, logits))
        return LossCase(label, guess, best, label.shape)
    label = rng.integers(0, num_classes, size).astype("uint8")
    perfect = 20.0 * _one_hot(label, num_classes)
    logits = rng.normal(size=perfect.shape).astype("float32")
    return LossCase(label, _as_asked(loss, logits), _as_asked(loss, perfect), size)


def _as_asked(loss: Any, logits: np.ndarray, exclusive: bool = True) -> np.ndarray:
    """Returns the logits, or probabilities for a loss that takes these."""
    if getattr(loss, "from_logits", True):
        return logits
    prob = ops.softmax(logits) if exclusive else ops.sigmoid(logits)
    return np.array(ops.convert_to_numpy(prob))


def _dominance(loss: Any, rng: np.random.Generator, size: _Size) -> LossCase:
    plain = _segmentation(loss, rng, size)
    share = rng.uniform(0.1, 1.0, size)
    label = np.stack([plain.y_true, share], axis=-1).astype("float32")
    return LossCase(label, plain.y_pred, plain.perfect, size)


def _values(num_channels: int, rng: np.random.Generator, size: _Size) -> LossCase:
    label = rng.normal(size=size).astype("float32")
    shape = (*size, num_channels) if num_channels else size
    perfect = np.broadcast_to(label[..., None] if num_channels else label, shape)
    guess = rng.normal(size=shape).astype("float32")
    return LossCase(label, guess, perfect.copy(), size)


def _regression(loss: Any, rng: np.random.Generator, size: _Size) -> LossCase:
    return _values(0, rng, size)


def _quantile(loss: Any, rng: np.random.Generator, size: _Size) -> LossCase:
    return _values(len(loss.quantiles), rng, size)


def _gaussian(loss: Any, rng: np.random.Generator, size: _Size) -> LossCase:
    case = _values(2, rng, size)
    case.perfect[..., 1] = -5.0
    return case


def _ordinal(loss: Any, rng: np.random.Generator, size: _Size) -> LossCase:
    num_thresholds = len(loss.threshold_weights or range(_NUM_CLASSES))
    label = rng.integers(0, num_thresholds + 1, size).astype("uint8")
    above = label[..., None] > np.arange(num_thresholds)
    logits = rng.normal(size=above.shape).astype("float32")
    return LossCase(label, logits, 40.0 * above.astype("float32") - 20.0, size)


def _boxes(loss: Any, rng: np.random.Generator, size: _Size) -> LossCase:
    elements = (size[0], size[1])

    def draw() -> np.ndarray:
        low = rng.uniform(0, 1, (*elements, 2))
        return np.concatenate([low, low + rng.uniform(0.3, 1, low.shape)], -1)

    label, box = draw().astype("float32"), draw().astype("float32")
    return LossCase(label, box, label.copy(), elements)


def _interval(loss: Any, rng: np.random.Generator, size: _Size) -> LossCase:
    bounds = np.sort(rng.uniform(0.05, 0.95, (*size, 2)), axis=-1).astype("float32")
    middle = bounds.mean(axis=-1)
    if loss.from_logits:
        middle = np.log(middle / (1.0 - middle))
    return LossCase(bounds, rng.normal(size=size).astype("float32"), middle, size)


def _proportion(loss: Any, rng: np.random.Generator, size: _Size) -> LossCase:
    number = rng.integers(0, min(4, loss.max_polygons), size)
    shares = rng.dirichlet(np.ones(_NUM_CLASSES), (size[0], 4))
    shares = np.stack([s[n] for s, n in zip(shares, number, strict=True)])
    label = np.concatenate([number[..., None], shares], -1).astype("float32")
    logits = rng.normal(size=shares.shape).astype("float32")
    return LossCase(label, logits, np.log(shares).astype("float32"), size)


_CASES: dict[Any, Callable[[Any, np.random.Generator, _Size], LossCase]] = {
    ("boxes", "boxes"): _boxes,
    ("classes", "codes"): _segmentation,
    ("classes", "dominance"): _dominance,
    ("classes", "proportions"): _proportion,
    ("gaussian", "values"): _gaussian,
    ("ordinal", "codes"): _ordinal,
    ("quantiles", "values"): _quantile,
    ("values", "bounds"): _interval,
    ("values", "values"): _regression,
}
"""(Form of the prediction, form of the label) -> what makes a batch of both."""
