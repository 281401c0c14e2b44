"""Fine-tuning: frozen stages, gradual unfreezing, slower learning of early layers.

A backbone's *stages* are what lies before its first level, between its first and
second level, and so on, whatever the network.
"""

import itertools
import re
from collections.abc import Mapping
from typing import Any

import keras
from keras import ops

BACKBONE = "backbone"
"""Name of the backbone inside a model built by this package."""


def find_backbone(model: keras.Model) -> keras.Model:
    """Finds the backbone of a model.

    Args:
        model: A backbone, or a model of ours with one inside.

    Returns:
        The part named ``"backbone"``, or the model itself if that is its name.

    Raises:
        ValueError: No backbone in it.
    """
    if model.name == BACKBONE:
        return model
    for layer in model.layers:
        if layer.name == BACKBONE:
            return layer
    raise ValueError(
        f"`model` must hold a part named {BACKBONE!r} with a dict of levels. "
        f"Received: {model.name!r} with {[layer.name for layer in model.layers][:5]}."
    )


def stage_layers(model: keras.Model) -> list[list[keras.layers.Layer]]:
    """The layers of each stage, from the image on.

    Args:
        model: A backbone, or a model that holds one.

    Returns:
        One list a level of the pyramid, in the order of computation; layers that only
        later levels need are in later lists.
    """
    backbone = find_backbone(model)
    levels = backbone.output
    seen: set[int] = set()
    stages = []
    for level in sorted(levels, key=lambda name: int(name[1:])):
        part = keras.Model(backbone.inputs, levels[level])
        stages.append([layer for layer in part.layers if id(layer) not in seen])
        seen.update(id(layer) for layer in part.layers)
    return stages


def freeze_stages(model: keras.Model, num_stages: int | None = None) -> list[str]:
    """Freezes the first stages of the backbone and unfreezes the others.

    Frozen batch normalisation uses its running statistics and leaves them as they are.
    Call it before ``compile``, or compile again.

    Args:
        model: A backbone, or a model that holds one.
        num_stages: How many stages, from the image on; ``None``: the whole backbone;
            0: none.

    Returns:
        Names of the frozen layers that have weights.

    Raises:
        ValueError: No backbone, or another number of stages than it has.

    Example:
        >>> from arcticdl.models import build_segmenter
        >>> model = build_segmenter("plain", num_bands=2, num_classes=3)
        >>> names = freeze_stages(model, 1)
        >>> model.get_layer("decoder_block0_1_conv").trainable
        True
    """
    stages = stage_layers(model)
    count = len(stages) if num_stages is None else num_stages
    if not 0 <= count <= len(stages):
        raise ValueError(
            f"`num_stages` must be in [0, {len(stages)}] for this backbone. "
            f"Received: num_stages={num_stages}."
        )
    for number, layers in enumerate(stages):
        for layer in layers:
            layer.trainable = number >= count
    frozen = [layer for stage in stages[:count] for layer in stage]
    return [layer.name for layer in frozen if layer.weights]


def fix_batch_norm(model: keras.Model) -> list[str]:
    """Fixes all batch normalisation of the backbone while its other layers learn.

    Small batches of a new sensor give poor statistics; the pretrained ones then serve
    better. Call it after ``freeze_stages`` and before ``compile``.

    Args:
        model: A backbone, or a model of ours with one inside.

    Returns:
        Names of the fixed layers.

    Raises:
        ValueError: No backbone in it.
    """
    layers = _flat(find_backbone(model))
    fixed = [x for x in layers if isinstance(x, keras.layers.BatchNormalization)]
    for layer in fixed:
        layer.trainable = False
    return [layer.name for layer in fixed]


def _flat(layer: Any) -> list[Any]:
    return layer._flatten_layers(include_self=False)


class GradualUnfreezing(keras.callbacks.Callback):
    """Trains the new parts first, then one more stage of the backbone at a time.

    The backbone starts frozen; its deepest stage begins to learn after ``start``
    epochs, the one before it ``every`` epochs later, and so on (Howard and Ruder 2018,
    doi:10.18653/v1/P18-1031, section 3.3). The optimizer keeps what it knows of the
    variables that learn already.

    Args:
        start: Epochs with the whole backbone frozen, at least 1.
        every: Epochs between two stages, at least 1.
        num_frozen: Stages, from the image on, that stay frozen to the end.
        fix_statistics: Keep the backbone's batch statistics fixed throughout.

    Raises:
        ValueError: Numbers out of range.
    """

    def __init__(
        self,
        start: int = 1,
        every: int = 1,
        *,
        num_frozen: int = 0,
        fix_statistics: bool = False,
    ) -> None:
        super().__init__()
        if start < 1 or every < 1 or num_frozen < 0:
            raise ValueError(
                "`start` and `every` must be at least 1, `num_frozen` at least 0. "
                f"Received: start={start}, every={every}, num_frozen={num_frozen}."
            )
        self.start, self.every = start, every
        self.num_frozen, self.fix_statistics = num_frozen, fix_statistics

    def on_epoch_begin(
        self, epoch: int, logs: Mapping[str, float] | None = None
    ) -> None:
        """Sets the stages of this epoch."""
        self.set_epoch(self.model, epoch)

    def set_epoch(self, model: keras.Model, epoch: int) -> None:
        """Freezes in a model what an epoch, counted from 0, has frozen.

        A checkpoint asks for it before it gives the optimizer its variables back.
        """
        before = _trainable_paths(model)
        freeze_stages(model, self.frozen_in(epoch, len(stage_layers(model))))
        if self.fix_statistics:
            fix_batch_norm(model)
        if _trainable_paths(model) != before:
            renew_optimizer(model)

    def frozen_in(self, epoch: int, total: int) -> int:
        """How many of so many stages are frozen in an epoch, counted from 0."""
        if epoch < self.start:
            return total
        thawed = 1 + (epoch - self.start) // self.every
        return max(total - thawed, min(self.num_frozen, total))


def _trainable_paths(model: keras.Model) -> list[str]:
    return [variable.path for variable in model.trainable_variables]


def renew_optimizer(model: keras.Model) -> None:
    """Fits a compiled model's optimizer to the variables that are trainable now.

    Its settings, step count and what it knows of each variable are kept; the training
    step is compiled anew when it is next used.

    Args:
        model: Compiled model, possibly in the middle of ``fit``.
    """
    old = model.optimizer
    new = type(old).from_config(old.get_config())
    _keep_exclusions(old, new)
    new.build(model.trainable_variables)
    known = {variable.path: variable for variable in old.variables}
    for variable in new.variables:
        if variable.path in known:
            variable.assign(known[variable.path])
    if new.use_ema:
        # Keras begins averages with the first step; these begin now, at their weights.
        for variable, mean in zip(
            model.trainable_variables, new._model_variables_moving_average, strict=True
        ):
            if mean.path not in known:
                mean.assign(variable)
    model.optimizer = new
    model.make_train_function(force=True)


def _keep_exclusions(old: Any, new: Any) -> None:
    """What does not decay, which an optimizer's configuration does not hold."""
    names = ("_exclude_from_weight_decay", "_exclude_from_weight_decay_pattern")
    for name in names:
        if hasattr(old, name):
            setattr(new, name, getattr(old, name))
    if hasattr(old, "inner_optimizer"):
        _keep_exclusions(old.inner_optimizer, new.inner_optimizer)


def layer_factors(model: keras.Model, decay: float = 0.75) -> dict[str, float]:
    """Learning-rate factors that fall block by block towards the image.

    Everything behind the backbone has factor 1, the backbone's last block ``decay``,
    the one before it ``decay ** 2``, and so on (Clark et al. 2020, arXiv:2003.10555;
    Bao et al. 2022, arXiv:2106.08254).

    Args:
        model: A backbone, or a model that holds one.
        decay: Factor between neighbouring blocks, in (0, 1].

    Returns:
        Name of a backbone's layer -> factor; for ``LayerDecayAdam`` and
        ``LayerDecaySGD``.

    Raises:
        ValueError: ``decay`` out of range; no backbone.
    """
    if not 0.0 < decay <= 1.0:
        raise ValueError(f"`decay` must be in (0, 1]. Received: decay={decay}.")
    layers = [layer for stage in stage_layers(model) for layer in stage]
    names = [layer.name for layer in layers if layer.weights]
    blocks = [list(group) for _, group in itertools.groupby(names, key=_block)]
    return {
        name: decay ** (len(blocks) - number)
        for number, block in enumerate(blocks)
        for name in block
    }


def _block(name: str) -> str:
    """``stack1_block0_2_conv`` -> ``stack1_block0``; ``patch_norm`` -> ``patch``."""
    match = re.match(r".*?block_?\d+[a-z]?(?=_|$)", name)
    return match.group(0) if match else name.split("_")[0]


class _LayerDecay:
    """What ``LayerDecayAdam`` and ``LayerDecaySGD`` share."""

    factors: dict[str, float]
    kernel_decay: float

    def build(self, variables: list[Any]) -> None:
        self._factors = [self._factor(variable.path) for variable in variables]
        super().build(variables)  # type: ignore[misc]

    def _factor(self, path: str) -> float:
        found = [self.factors[part] for part in path.split("/") if part in self.factors]
        return min(found, default=1.0)

    def update_step(self, gradient: Any, variable: Any, learning_rate: Any) -> None:
        factor = self._factors[self._get_variable_index(variable)]  # type: ignore[attr-defined]
        rate = ops.cast(learning_rate, variable.dtype) * factor
        if self.kernel_decay and len(variable.shape) > 1:
            self.assign_sub(variable, variable * rate * self.kernel_decay)  # type: ignore[attr-defined]
        super().update_step(gradient, variable, rate)  # type: ignore[misc]

    def get_config(self) -> dict[str, Any]:
        own = {"factors": self.factors, "kernel_decay": self.kernel_decay}
        return {**super().get_config(), **own}  # type: ignore[misc]


@keras.saving.register_keras_serializable(package="arcticdl")
class LayerDecayAdam(_LayerDecay, keras.optimizers.Adam):
    """Adam with a learning-rate factor for each layer and decoupled weight decay.

    Args:
        learning_rate: Rate of the layers without a factor, or a schedule.
        factors: From ``layer_factors``.
        kernel_decay: Weight decay of kernels, times each layer's rate; biases and
            normalisation have none.
        **kwargs: Arguments of ``keras.optimizers.Adam``.

    Example:
        >>> optimizer = LayerDecayAdam(1e-3, factors={"stem_conv": 0.1})
        >>> LayerDecayAdam.from_config(optimizer.get_config()).factors
        {'stem_conv': 0.1}
    """

    def __init__(
        self,
        learning_rate: Any = 1e-3,
        *,
        factors: Mapping[str, float],
        kernel_decay: float = 0.0,
        **kwargs: Any,
    ) -> None:
        super().__init__(learning_rate, **kwargs)
        self.factors, self.kernel_decay = dict(factors), kernel_decay


@keras.saving.register_keras_serializable(package="arcticdl")
class LayerDecaySGD(_LayerDecay, keras.optimizers.SGD):
    """``LayerDecayAdam``'s rule for stochastic gradient descent.

    Args:
        learning_rate: Rate of the layers without a factor, or a schedule.
        factors: From ``layer_factors``.
        kernel_decay: Weight decay of kernels, times each layer's rate.
        **kwargs: Arguments of ``keras.optimizers.SGD``.
    """

    def __init__(
        self,
        learning_rate: Any = 1e-2,
        *,
        factors: Mapping[str, float],
        kernel_decay: float = 0.0,
        **kwargs: Any,
    ) -> None:
        super().__init__(learning_rate, **kwargs)
        self.factors, self.kernel_decay = dict(factors), kernel_decay
