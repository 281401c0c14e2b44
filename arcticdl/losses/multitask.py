"""Weights of the heads of one model: learned uncertainty, and GradNorm.

The papers call heads tasks. Fixed weights are Keras's own:
``model.compile(loss={...}, loss_weights={...})``. A head without labels in a batch
adds nothing to a void-aware loss, whatever weighs it.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import keras
from keras import ops

from arcticdl.choices import check_names
from arcticdl.losses.base import check_range, ratio, share_of_replica
from arcticdl.losses.combined import has_labels
from arcticdl.replicas import over_replicas


class HeadWeights(keras.layers.Layer):
    """Base of the layers that hold one weight a head and lend it to the losses.

    A loss cannot own a trained variable, a layer can: the layer stands in the model,
    so that its weights are trained and saved with it, and :meth:`weigh` gives the
    losses for ``model.compile``.

    Args:
        heads: Names of the model's outputs.
        **kwargs: Keras's layer arguments.

    Raises:
        ValueError: If names are missing or double.
    """

    def __init__(self, heads: Sequence[str], **kwargs: Any) -> None:
        check_names(heads=heads)
        super().__init__(**kwargs)
        self.heads = tuple(str(head) for head in heads)
        if not self.heads or len(set(self.heads)) < len(self.heads):
            raise ValueError(
                f"`heads` must be names, each once. Received: heads={list(self.heads)}."
            )

    def weigh(self, losses: Mapping[str, keras.losses.Loss]) -> dict[str, "HeadLoss"]:
        """Returns the losses for ``model.compile(loss=...)``.

        After loading a saved model, compile it with these again: a loss in a file
        no longer knows the layer.

        Args:
            losses: One loss a head.

        Raises:
            ValueError: If the losses are not those of the heads.
        """
        if set(losses) != set(self.heads):
            raise ValueError(
                f"`losses` must have one loss for each of {sorted(self.heads)}. "
                f"Received: {sorted(losses)}."
            )
        return {head: HeadLoss(losses[head], head, self) for head in self.heads}

    def weigh_value(self, index: int, value: Any, some: Any) -> Any:
        """Returns the weighted loss of a head.

        Args:
            index: Place of the head in ``heads``.
            value: Its loss, a scalar.
            some: Whether the batch has labels for it.
        """
        raise NotImplementedError

    def get_config(self) -> dict[str, Any]:
        """Returns the constructor's arguments."""
        return {**super().get_config(), "heads": list(self.heads)}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> "HeadWeights":
        """Builds the layer again; files of version 0.1 call the heads tasks."""
        heads = config.pop("tasks", None)
        return cls(**({"heads": heads} if heads else {}), **config)


@keras.saving.register_keras_serializable(package="arcticdl", name="TaskLoss")
class HeadLoss(keras.losses.Loss):
    """The loss of one head, weighted by a :class:`HeadWeights` layer.

    Args:
        loss: Loss of the head.
        head: Its name.
        layer: The layer; ``None`` in a loss that came from a file.
    """

    def __init__(
        self, loss: keras.losses.Loss, head: str, layer: HeadWeights | None = None
    ) -> None:
        super().__init__(name=f"{head}_{loss.name}", dtype="float32")
        self.loss, self.head, self.layer = loss, head, layer

    def __call__(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> Any:
        """Returns the weighted loss, 0 where the head has no labels.

        Raises:
            RuntimeError: If no layer is bound.
        """
        if self.layer is None:
            raise RuntimeError(
                "A head's loss needs its layer, which a file does not bind again. "
                "Compile the loaded model with `layer.weigh(losses)` of its "
                f"{HeadWeights.__name__} layer. Received: head={self.head!r}."
            )
        value = ops.cast(self.loss(y_true, y_pred, sample_weight), "float32")
        some = has_labels(self.loss, y_true, y_pred, sample_weight)
        some = over_replicas(ops.cast(some, "float32")) > 0.0
        index = self.layer.heads.index(self.head)
        return ops.where(some, self.layer.weigh_value(index, value, some), 0.0)

    def call(self, y_true: Any, y_pred: Any) -> Any:
        """Returns the weighted loss."""
        return self(y_true, y_pred)

    def get_config(self) -> dict[str, Any]:
        """Returns the loss and its head; the layer is the model's."""
        loss = keras.saving.serialize_keras_object(self.loss)
        return {"loss": loss, "head": self.head}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> "HeadLoss":
        """Builds the loss without its layer; files of version 0.1 say task."""
        loss = keras.saving.deserialize_keras_object(config["loss"])
        return cls(loss, config.get("head") or config["task"])


@keras.saving.register_keras_serializable(package="arcticdl")
class UncertaintyWeights(HeadWeights):
    """Learns the weights of heads from their noise.

    Each head's loss ``L`` becomes ``exp(-s) L + s / 2`` with a trained log-variance
    ``s``, at first 0. (For likelihoods with a factor 1/2 before ``L``, ``s`` shifts
    by ``ln 2`` and nothing else changes.) The layer hands the model's outputs on.

    Args:
        heads: Names of the outputs.
        **kwargs: Keras's layer arguments.

    Source:
        Kendall, Gal and Cipolla, 2018, "Multi-task learning using uncertainty to
        weigh losses for scene geometry and semantics", equations 7 to 10.

    Example::

        weights = UncertaintyWeights(["sic", "sod"])
        model = keras.Model(inputs, weights({"sic": sic, "sod": sod}))
        model.compile("adam", loss=weights.weigh({"sic": Huber(), "sod": DiceFocal()}))
    """

    def build(self, input_shape: Any) -> None:
        """Adds one log-variance a head."""
        self.log_variances = self.add_weight(
            shape=(len(self.heads),),
            initializer="zeros",
            name="log_variances",
            dtype="float32",
            autocast=False,
        )

    def call(self, outputs: Any) -> Any:
        """Returns the outputs as they are."""
        return outputs

    def weigh_value(self, index: int, value: Any, some: Any) -> Any:
        """Returns ``exp(-s) value + s / 2``."""
        log_variance = ops.convert_to_tensor(self.log_variances)[index]
        return ops.exp(-log_variance) * value + share_of_replica(0.5 * log_variance)

    def compute_output_shape(self, input_shape: Any) -> Any:
        """Returns the shapes of the outputs."""
        return input_shape


@keras.saving.register_keras_serializable(package="arcticdl")
class GradNormWeights(HeadWeights):
    """Balances heads so that each pulls the shared features as its progress asks.

    The layer stands where heads part: it takes the shared features and returns a
    dict with the same features for each head. On the way back it sees every head's
    gradient at that place and moves the weights ``w`` down the gradient of
    ``sum_i |w_i n_i - mean_j(w_j n_j) r_i**alpha|``, with ``n_i`` the norm of the
    head's gradient and ``r_i`` its loss relative to its first batch's, over the mean
    of the heads. Weights stay above 0 and add up to the number of heads. A head
    without labels in a batch takes no part in its update.

    The paper takes norms at the last shared layer's weights; at the features they
    need no second backward pass. ``r_i`` is of the batch before. Losses must be
    positive.

    Args:
        heads: Names of the outputs.
        alpha: How strongly slow heads are favoured, >= 0.
        **kwargs: Keras's layer arguments.

    Source:
        Chen, Badrinarayanan, Lee and Rabinovich, 2018, "GradNorm: gradient
        normalization for adaptive loss balancing in deep multitask networks",
        equations 1 and 2.

    Example::

        weights = GradNormWeights(["sic", "sod"])
        shared = weights(decoder(features))
        outputs = {"sic": sic_head(shared["sic"]), "sod": sod_head(shared["sod"])}
        model = keras.Model(inputs, outputs)
        model.compile("adam", loss=weights.weigh({"sic": Huber(), "sod": DiceFocal()}))
    """

    def __init__(
        self, heads: Sequence[str], *, alpha: float = 1.5, **kwargs: Any
    ) -> None:
        check_names(heads=heads)
        super().__init__(heads, **kwargs)
        self.alpha = check_range("alpha", alpha, 0, 100)
        self._in_training = False

    def build(self, input_shape: Any) -> None:
        """Adds the heads' weights, and their first and latest losses."""
        self.head_weights = self._add("head_weights", "ones", _AddUpToCount())
        self.first_losses = self._add("first_losses", "zeros")
        self.last_losses = self._add("last_losses", "zeros")

    def _add(self, name: str, initializer: str, constraint: Any = None) -> Any:
        return self.add_weight(
            shape=(len(self.heads),),
            initializer=initializer,
            name=name,
            dtype="float32",
            autocast=False,
            trainable=constraint is not None,
            constraint=constraint,
        )

    def call(self, features: Any, training: bool | None = None) -> dict[str, Any]:
        """Returns the features once a head."""
        # The losses of this step are traced after this call: they remember their
        # values when it trains, and leave them when it validates.
        self._in_training = bool(training)
        weights = ops.convert_to_tensor(self.head_weights)
        copies = _copy_and_balance(features, weights, self._pace())
        return {head: copies[i] for i, head in enumerate(self.heads)}

    def _pace(self) -> Any:
        """Relative inverse training rates to the power alpha; 1 before any loss."""
        # Variables become tensors first: JAX takes them nowhere else in compiled code.
        first = ops.convert_to_tensor(self.first_losses)
        last = ops.convert_to_tensor(self.last_losses)
        known = ops.cast(first > 0.0, "float32")
        rates = ratio(last * known, first * known)
        mean = ratio(ops.sum(rates), ops.sum(known))
        relative = ratio(rates, mean * ops.ones_like(rates))
        relative = ops.where(known > 0.0, relative, 1.0)
        return ops.power(ops.maximum(relative, 1e-3), self.alpha)

    def weigh_value(self, index: int, value: Any, some: Any) -> Any:
        """Returns the loss times its weight, and remembers the loss in training."""
        if self._in_training:
            self._remember(index, ops.stop_gradient(value), some)
        weights = ops.convert_to_tensor(self.head_weights)
        return ops.stop_gradient(weights[index]) * value

    def _remember(self, index: int, value: Any, some: Any) -> None:
        here = ops.equal(ops.arange(len(self.heads)), index)
        here = ops.logical_and(here, some)
        first = ops.convert_to_tensor(self.first_losses)
        last = ops.convert_to_tensor(self.last_losses)
        new = ops.logical_and(here, ops.equal(first, 0.0))
        self.first_losses.assign(ops.where(new, value, first))
        self.last_losses.assign(ops.where(here, value, last))

    def compute_output_shape(self, input_shape: Any) -> dict[str, Any]:
        """Returns the features' shape once a head."""
        return dict.fromkeys(self.heads, input_shape)

    def get_config(self) -> dict[str, Any]:
        """Returns the constructor's arguments."""
        return {**super().get_config(), "alpha": self.alpha}


@keras.saving.register_keras_serializable(package="arcticdl")
class _AddUpToCount(keras.constraints.Constraint):
    """Keeps weights positive and their mean 1."""

    def __call__(self, w: Any) -> Any:
        w = ops.maximum(w, 1e-3)
        return w / ops.mean(w)


@ops.custom_gradient
def _copy_and_balance(features: Any, weights: Any, pace: Any) -> tuple[Any, Any]:
    """Copies features once a head; the weights' gradient is GradNorm's."""
    num_heads = int(weights.shape[0])
    copies = ops.stack([features] * num_heads)

    def gradient(*args: Any, upstream: Any = None) -> tuple[Any, Any, Any]:
        # Keras's backends hand the upstream gradient over in two ways.
        upstream = args[0] if upstream is None else upstream
        axes = tuple(range(1, len(upstream.shape)))
        squares = ops.sum(ops.square(ops.cast(upstream, "float32")), axis=axes)
        norms = ops.sqrt(over_replicas(squares))
        some = ops.cast(norms > 0.0, "float32")
        target = ratio(ops.sum(norms), ops.sum(some)) * pace
        slope = ops.sign(norms - target) * some * norms / weights
        # Every replica has found the whole slope; their gradients are added up.
        slope = slope / over_replicas(ops.ones_like(slope))
        return ops.sum(upstream, axis=0), slope, ops.zeros_like(pace)

    return copies, gradient
