"""Changes of value with ``keras.ops``; each has its twin in NumPy."""

from typing import Any

from keras import ops

from arcticdl.augment import dropout, radiometry, sar
from arcticdl.augment.device.moves import Drawn

_LOG_TO_DB = 4.342944819032518  # 10 / ln 10


def _on_bands(step: Any, image: Any, changed: Any) -> Any:
    """Keeps the bands that a step does not name."""
    if step.bands is None:
        return changed
    named = {band % image.shape[-1] for band in step.bands}
    picked = [band in named for band in range(image.shape[-1])]
    return ops.where(ops.convert_to_tensor(picked), changed, image)


def _fields(interval: Any, step: Any, image: Any, draw: Drawn) -> Any:
    bands = image.shape[-1] if getattr(step, "per_band", False) else 1
    return draw.uniform(interval, 1, 1, bands)


def _mean(image: Any, valid: Any) -> Any:
    weight = ops.cast(valid, "float32")[..., None]
    count = ops.maximum(ops.sum(weight, axis=(1, 2), keepdims=True), 1.0)
    known = ops.where(valid[..., None], image, 0.0)
    return ops.sum(known, axis=(1, 2), keepdims=True) / count


def _std(image: Any, valid: Any) -> Any:
    squares = ops.square(image - _mean(image, valid))
    return ops.sqrt(_mean(squares, valid))


def _range(image: Any, valid: Any) -> tuple[Any, Any]:
    known = valid[..., None]
    big = 3e38
    low = ops.min(ops.where(known, image, big), axis=(1, 2), keepdims=True)
    high = ops.max(ops.where(known, image, -big), axis=(1, 2), keepdims=True)
    found = low <= high
    return ops.where(found, low, 0.0), ops.where(found, high, 0.0)


def _gain(step: radiometry.Gain, image: Any, valid: Any, draw: Drawn) -> Any:
    return _on_bands(step, image, image * _fields(step.factor, step, image, draw))


def _offset(step: radiometry.Offset, image: Any, valid: Any, draw: Drawn) -> Any:
    amount = _fields(step.amount, step, image, draw)
    unit = _std(image, valid) if step.relative else 1.0
    return _on_bands(step, image, image + amount * unit)


def _gamma(step: radiometry.Gamma, image: Any, valid: Any, draw: Drawn) -> Any:
    low, high = _range(image, valid)
    span = ops.where(high > low, high - low, 1.0)
    share = ops.clip((image - low) / span, 0.0, 1.0)
    bent = low + span * ops.power(share, _fields(step.gamma, step, image, draw))
    kept = ops.logical_and(valid[..., None], high > low)
    return _on_bands(step, image, ops.where(kept, bent, image))


def _invert(step: radiometry.Invert, image: Any, valid: Any, draw: Drawn) -> Any:
    low, high = _range(image, valid)
    inverted = low + (high - image)
    return _on_bands(step, image, ops.where(valid[..., None], inverted, image))


def _noise(step: radiometry.Noise, image: Any, valid: Any, draw: Drawn) -> Any:
    std = draw.uniform(step.std, 1, 1, 1)
    unit = _std(image, valid) if step.relative else 1.0
    return _on_bands(step, image, image + std * unit * draw.normal(image))


def _speckle(step: sar.Speckle, image: Any, valid: Any, draw: Drawn) -> Any:
    """Multiplies by gamma noise in the form of Wilson and Hilferty (1931).

    The cube of a normal number: mean and variance are right to 0.1 % from 2.7 looks
    on, and unlike a gamma generator it compiles everywhere.
    """
    looks = draw.uniform(step.enl, 1, 1, 1)
    root = 1 - 1 / (9 * looks) + draw.normal(image) / (3 * ops.sqrt(looks))
    root = ops.maximum(root, 1e-2)
    if step.units == "db":
        changed = image + 3 * _LOG_TO_DB * ops.log(root)
    else:
        changed = image * root * root * root
    return _on_bands(step, image, changed)


def _incidence_slope(
    step: sar.IncidenceSlope, image: Any, valid: Any, draw: Drawn
) -> Any:
    if step.angle_band is None:
        ramp = ops.linspace(-0.5, 0.5, image.shape[2], dtype="float32")
        offset = step.span_deg * ramp[None, None, :, None]
    else:
        band = step.angle_band % image.shape[-1]
        offset = image[..., band : band + 1] - sar.REFERENCE_ANGLE_DEG
    change = draw.uniform(step.slope_db, 1, 1, 1) * offset
    if step.units == "db":
        changed = image + change
    else:
        changed = image * ops.exp(change / _LOG_TO_DB)
    if step.bands is None and step.angle_band is not None:
        own = [index == band for index in range(image.shape[-1])]
        return ops.where(ops.convert_to_tensor(own), image, changed)
    return _on_bands(step, image, changed)


def _band_dropout(
    step: dropout.BandDropout, image: Any, valid: Any, draw: Drawn
) -> Any:
    num_bands = image.shape[-1]
    if num_bands < 2:
        return image
    choice = list(range(num_bands)) if step.bands is None else list(step.bands)
    place = draw.uniform((0.0, float(len(choice))))
    place = ops.cast(ops.minimum(place, len(choice) - 1.0), "int32")
    band = ops.take(ops.convert_to_tensor([b % num_bands for b in choice]), place)
    lost = ops.one_hot(band, num_bands, dtype="float32")[:, None, None] > 0
    fill = _mean(image, valid) if step.fill == "mean" else float(step.fill)
    return ops.where(lost, fill, image)


VALUES: dict[type, Any] = {
    dropout.BandDropout: _band_dropout,
    radiometry.Gain: _gain,
    radiometry.Gamma: _gamma,
    radiometry.Invert: _invert,
    radiometry.Noise: _noise,
    radiometry.Offset: _offset,
    sar.IncidenceSlope: _incidence_slope,
    sar.Speckle: _speckle,
}
"""The changed image of every sample, from ``(step, image, valid, draw)``."""
