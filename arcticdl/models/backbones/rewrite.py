"""Changing a network that another package built: norm, activation, depth, stride.

A functional model is cloned layer by layer; layer names and the order of weights stay,
so that pretrained weights fit wherever the change leaves their meaning.
"""

from collections.abc import Callable
from typing import Any

import keras
import numpy as np
from keras import layers

from arcticdl.models.layers.blocks import check_norm, norm_layer

Change = Callable[[Any], Any]


def rewrite(
    model: keras.Model,
    *,
    norm: str | None = None,
    activation: str | None = None,
    drop_path: float = 0.0,
    dilations: dict[str, int] | None = None,
) -> keras.Model:
    """Clones a residual network with some of its layers exchanged.

    Args:
        model: Functional model; its residual sums are ``Add`` layers whose second
            input is the residual branch.
        norm: One of ``contracts.NORMS``; ``None`` or ``"batch"``: kept.
        activation: Keras activation name instead of each ReLU; ``None``: kept.
        drop_path: Share of residual branches dropped at the last sum, growing linearly
            from 0 at the first one (Huang et al. 2016,
            doi:10.1007/978-3-319-46493-0_39).
        dilations: Prefix of layer names -> dilation in pixels. There strides become 1,
            so the features keep their size and the kernels see as far as before.

    Returns:
        The same model if nothing changes, else a clone with new random weights.

    Raises:
        ValueError: Unknown ``norm`` or ``activation``, ``drop_path`` outside [0, 1).
    """
    if norm is not None:
        check_norm(norm)
    if not 0 <= drop_path < 1:
        raise ValueError(
            f"`drop_path` must be in [0, 1). Received: drop_path={drop_path}."
        )
    changes: list[Change] = []
    if norm not in (None, "batch"):
        changes.append(lambda layer: _exchange_norm(layer, str(norm)))
    if activation is not None:
        changes.append(lambda layer: _exchange_activation(layer, activation))
    if dilations:
        changes.append(lambda layer: _dilate(layer, dilations))
    if not changes and drop_path == 0:
        return model
    return keras.models.clone_model(
        model,
        clone_function=lambda layer: _first_change(layer, changes),
        call_function=_calling(model, drop_path),
    )


def _first_change(layer: Any, changes: list[Change]) -> Any:
    for change in changes:
        new = change(layer)
        if new is not None:
            return new
    return _remake(layer)


def _remake(layer: Any, **config: Any) -> Any:
    return layer.__class__.from_config({**layer.get_config(), **config})


def _exchange_norm(layer: Any, norm: str) -> Any:
    if isinstance(layer, layers.BatchNormalization):
        channels = layer.moving_mean.shape[0]
        new = norm_layer(norm, channels, layer.name, layer.epsilon)
        return layers.Identity(name=layer.name) if new is None else new
    if norm == "none" and getattr(layer, "use_bias", None) is False:
        # The offset that the normalisation would have given.
        return _remake(layer, use_bias=True)
    return None


def _exchange_activation(layer: Any, activation: str) -> Any:
    is_relu = isinstance(layer, layers.ReLU) or (
        isinstance(layer, layers.Activation)
        and layer.activation is keras.activations.relu
    )
    return layers.Activation(activation, name=layer.name) if is_relu else None


def _dilate(layer: Any, dilations: dict[str, int]) -> Any:
    rate = next((r for p, r in dilations.items() if layer.name.startswith(p)), None)
    if rate is None:
        return None
    if isinstance(layer, layers.ZeroPadding2D):
        # A kernel spread r-fold reaches r times as far beyond the border.
        padding = [[rate * size for size in pair] for pair in layer.padding]
        return _remake(layer, padding=padding)
    if isinstance(layer, layers.Conv2D):
        spread = [rate if size > 1 else 1 for size in layer.kernel_size]
        return _remake(layer, strides=(1, 1), dilation_rate=spread)
    return None


def _calling(model: keras.Model, drop_path: float) -> Callable[..., Any]:
    sums = [layer.name for layer in model.layers if isinstance(layer, layers.Add)]
    rates = dict(zip(sums, np.linspace(0.0, drop_path, len(sums)), strict=True))

    def call(layer: Any, *args: Any, **kwargs: Any) -> Any:
        # The graph records `mask=None`, which not every exchanged layer takes.
        kwargs = {key: value for key, value in kwargs.items() if value is not None}
        rate = float(rates.get(layer.name, 0.0))
        if rate == 0.0:
            return layer(*args, **kwargs)
        shortcut, branch = args[0]
        branch = drop_branch(branch, rate, name=f"{layer.name}_drop")
        return layer([shortcut, branch])

    return call


def drop_branch(x: Any, rate: float, *, name: str) -> Any:
    """Drops the whole branch of some samples in training, and enlarges the others.

    Args:
        x: Branch ``(batch, ...)``, before it is added to its shortcut.
        rate: Share of samples dropped, in [0, 1).
        name: Layer name.

    Returns:
        Tensor of the same shape; ``x`` itself for a rate of 0.

    Reference:
        Huang et al. 2016, doi:10.1007/978-3-319-46493-0_39.
    """
    if rate == 0.0:
        return x
    # One draw a sample, the same for all of its values.
    shape = (None, *(1 for _ in x.shape[1:]))
    return layers.Dropout(rate, noise_shape=shape, name=name)(x)
