"""Weights of the tasks of one model: learned uncertainty, and GradNorm.

Fixed weights are Keras's own: ``model.compile(loss={...}, loss_weights={...})``. A
task without labels in a batch adds nothing to a void-aware loss, whatever weighs it.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import keras
from keras import ops

from arcticdl.losses.base import check_range, ratio, share_of_replica
from arcticdl.losses.combined import has_labels


class TaskWeights(keras.layers.Layer):
    """Base of the layers that hold one weight a task and lend it to the losses.

    A loss cannot own a trained variable, a layer can: the layer stands in the model,
    so that its weights are trained and saved with it, and :meth:`weigh` gives the
    losses for ``model.compile``.

    Args:
        tasks: Names of the model's outputs.
        **kwargs: Keras's layer arguments.

    Raises:
        ValueError: If names are missing or double.
    """

    def __init__(self, tasks: Sequence[str], **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.tasks = tuple(str(task) for task in tasks)
        if not self.tasks or len(set(self.tasks)) < len(self.tasks):
            raise ValueError(
                f"`tasks` must be names, each once. Received: tasks={list(self.tasks)}."
            )

    def weigh(self, losses: Mapping[str, keras.losses.Loss]) -> dict[str, "TaskLoss"]:
        """Returns the losses for ``model.compile(loss=...)``.

        After loading a saved model, compile it with these again: a loss in a file
        no longer knows the layer.

        Args:
            losses: One loss a task.

        Raises:
            ValueError: If the losses are not those of the tasks.
        """
        if set(losses) != set(self.tasks):
            raise ValueError(
                f"`losses` must have one loss for each of {sorted(self.tasks)}. "
                f"Received: {sorted(losses)}."
            )
        return {task: TaskLoss(losses[task], task, self) for task in self.tasks}

    def weigh_value(self, index: int, value: Any, some: Any) -> Any:
        """Returns the weighted loss of a task.

        Args:
            index: Place of the task in ``tasks``.
            value: Its loss, a scalar.
            some: Whether the batch has labels for it.
        """
        raise NotImplementedError

    def get_config(self) -> dict[str, Any]:
        """Returns the constructor's arguments."""
        return {**super().get_config(), "tasks": list(self.tasks)}


@keras.saving.register_keras_serializable(package="arcticdl")
class TaskLoss(keras.losses.Loss):
    """The loss of one task, weighted by a :class:`TaskWeights` layer.

    Args:
        loss: Loss of the task.
        task: Its name.
        layer: The layer; ``None`` in a loss that came from a file.
    """

    def __init__(
        self, loss: keras.losses.Loss, task: str, layer: TaskWeights | None = None
    ) -> None:
        super().__init__(name=f"{task}_{loss.name}", dtype="float32")
        self.loss, self.task, self.layer = loss, task, layer

    def __call__(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> Any:
        """Returns the weighted loss, 0 where the task has no labels.

        Raises:
            RuntimeError: If no layer is bound.
        """
        if self.layer is None:
            raise RuntimeError(
                "A task's loss needs its layer, which a file does not bind again. "
                "Compile the loaded model with `layer.weigh(losses)` of its "
                f"{TaskWeights.__name__} layer. Received: task={self.task!r}."
            )
        value = ops.cast(self.loss(y_true, y_pred, sample_weight), "float32")
        some = has_labels(self.loss, y_true, y_pred, sample_weight)
        index = self.layer.tasks.index(self.task)
        return ops.where(some, self.layer.weigh_value(index, value, some), 0.0)

    def call(self, y_true: Any, y_pred: Any) -> Any:
        """Returns the weighted loss."""
        return self(y_true, y_pred)

    def get_config(self) -> dict[str, Any]:
        """Returns the loss and its task; the layer is the model's."""
        loss = keras.saving.serialize_keras_object(self.loss)
        return {"loss": loss, "task": self.task}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> "TaskLoss":
        """Builds the loss without its layer."""
        loss = keras.saving.deserialize_keras_object(config["loss"])
        return cls(loss, config["task"])


@keras.saving.register_keras_serializable(package="arcticdl")
class UncertaintyWeights(TaskWeights):
    """Learns the weights of tasks from their noise.

    Each task's loss ``L`` becomes ``exp(-s) L + s / 2`` with a trained log-variance
    ``s``, at first 0. (For likelihoods with a factor 1/2 before ``L``, ``s`` shifts
    by ``ln 2`` and nothing else changes.) The layer hands the model's outputs on.

    Args:
        tasks: Names of the outputs.
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
        """Adds one log-variance a task."""
        self.log_variances = self.add_weight(
            shape=(len(self.tasks),),
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
class GradNormWeights(TaskWeights):
    """Balances tasks so that each pulls the shared features as its progress asks.

    The layer stands where heads part: it takes the shared features and returns a
    dict with the same features for each task. On the way back it sees every task's
    gradient at that place and moves the weights ``w`` down the gradient of
    ``sum_i |w_i n_i - mean_j(w_j n_j) r_i**alpha|``, with ``n_i`` the norm of the
    task's gradient and ``r_i`` its loss relative to its first batch's, over the mean
    of the tasks. Weights stay above 0 and add up to the number of tasks. A task
    without labels in a batch takes no part in its update.

    The paper takes norms at the last shared layer's weights; at the features they
    need no second backward pass. ``r_i`` is of the batch before. Losses must be
    positive.

    Args:
        tasks: Names of the outputs.
        alpha: How strongly slow tasks are favoured, >= 0.
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
        self, tasks: Sequence[str], *, alpha: float = 1.5, **kwargs: Any
    ) -> None:
        super().__init__(tasks, **kwargs)
        self.alpha = check_range("alpha", alpha, 0, 100)
        self._in_training = False

    def build(self, input_shape: Any) -> None:
        """Adds the tasks' weights, and their first and latest losses."""
        self.task_weights = self._add("task_weights", "ones", _AddUpToCount())
        self.first_losses = self._add("first_losses", "zeros")
        self.last_losses = self._add("last_losses", "zeros")

    def _add(self, name: str, initializer: str, constraint: Any = None) -> Any:
        return self.add_weight(
            shape=(len(self.tasks),),
            initializer=initializer,
            name=name,
            dtype="float32",
            autocast=False,
            trainable=constraint is not None,
            constraint=constraint,
        )

    def call(self, features: Any, training: bool | None = None) -> dict[str, Any]:
        """Returns the features once a task."""
        # The losses of this step are traced after this call: they remember their
        # values when it trains, and leave them when it validates.
        self._in_training = bool(training)
        weights = ops.convert_to_tensor(self.task_weights)
        copies = _copy_and_balance(features, weights, self._pace())
        return {task: copies[i] for i, task in enumerate(self.tasks)}

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
        weights = ops.convert_to_tensor(self.task_weights)
        return ops.stop_gradient(weights[index]) * value

    def _remember(self, index: int, value: Any, some: Any) -> None:
        here = ops.equal(ops.arange(len(self.tasks)), index)
        here = ops.logical_and(here, some)
        first = ops.convert_to_tensor(self.first_losses)
        last = ops.convert_to_tensor(self.last_losses)
        new = ops.logical_and(here, ops.equal(first, 0.0))
        self.first_losses.assign(ops.where(new, value, first))
        self.last_losses.assign(ops.where(here, value, last))

    def compute_output_shape(self, input_shape: Any) -> dict[str, Any]:
        """Returns the features' shape once a task."""
        return dict.fromkeys(self.tasks, input_shape)

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
    """Copies features once a task; the weights' gradient is GradNorm's."""
    num_tasks = int(weights.shape[0])
    copies = ops.stack([features] * num_tasks)

    def gradient(*args: Any, upstream: Any = None) -> tuple[Any, Any, Any]:
        # Keras's backends hand the upstream gradient over in two ways.
        upstream = args[0] if upstream is None else upstream
        axes = tuple(range(1, len(upstream.shape)))
        norms = ops.sqrt(ops.sum(ops.square(ops.cast(upstream, "float32")), axis=axes))
        some = ops.cast(norms > 0.0, "float32")
        target = ratio(ops.sum(norms), ops.sum(some)) * pace
        slope = ops.sign(norms - target) * some * norms / weights
        return ops.sum(upstream, axis=0), slope, ops.zeros_like(pace)

    return copies, gradient
