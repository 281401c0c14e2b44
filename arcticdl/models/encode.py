"""From an image, or a series of images, to the pyramid that a decoder wants."""

import logging
from collections.abc import Mapping, Sequence
from os import PathLike
from typing import Any, NamedTuple

import keras
from keras import layers

from arcticdl.choices import check_choice, choose
from arcticdl.models.backbones.networks import as_backbone
from arcticdl.models.backbones.table import BACKBONES, build_backbone
from arcticdl.models.contracts import Decoder, Pyramid, pyramid_levels
from arcticdl.models.decoders.table import DECODERS
from arcticdl.models.fusions import FUSIONS
from arcticdl.models.layers.shapes import PadToStride
from arcticdl.models.layers.temporal import FoldTime, MergeTime, SplitTime
from arcticdl.models.options import Style
from arcticdl.models.penalties import initialise_weights
from arcticdl.models.weights.adapter import mixing_matrix
from arcticdl.models.weights.adapter_rules import ADAPTERS
from arcticdl.models.weights.load import find_pretrained, load_weights

_log = logging.getLogger(__name__)


class Encoder(NamedTuple):
    """A backbone with the levels that are used.

    Attributes:
        model: From ``(batch, y, x, band)`` to these levels.
        normalizer: JSON form of the normaliser that its weights were trained with, or
            ``None``.
        stride: Its coarsest stride, also where no level of it is used: what images are
            filled up to.
        name: Of the backbone.
    """

    model: keras.Model
    normalizer: dict[str, Any] | None
    stride: int
    name: str

    def card(
        self, card: Mapping[str, Any] | None, heads: Mapping[str, Any]
    ) -> dict[str, Any]:
        """Completes a card by the heads, and by the normaliser where it has none."""
        told = {**(card or {}), "heads": heads}
        if self.normalizer is None or "normalizer" in told:
            return told
        bands = {"bands": self.normalizer["bands"]}
        return {**bands, **told, "normalizer": self.normalizer}


def build_encoder(
    backbone: str | keras.Model,
    decoder: str | Decoder | None,
    num_bands: int,
    *,
    bands: Sequence[str] | None = None,
    weights: str | PathLike[str] | None = None,
    adapter: str = "by_band",
    style: Style,
    drop_path: float | None,
    options: Mapping[str, Any],
    pooled: bool,
) -> Encoder:
    """Builds the backbone with the levels, and the stride, that the decoder wants.

    Args:
        backbone: One of ``BACKBONES``, or a network; see ``as_backbone``.
        decoder: One of ``DECODERS``, what stands in place of it, or ``None``.
        num_bands: Bands of the image.
        bands: Their names, if known.
        weights: As in ``build_multitask``.
        adapter: Likewise.
        style: Norm and activation, used where the backbone has the choice; and the
            initializer, before weights are loaded.
        drop_path: As in ``build_multitask``.
        options: Options of the backbone; they go before all others.
        pooled: Whether the coarsest level is needed in any case.

    Returns:
        The backbone with the levels that are used, and its weights' normaliser.

    Raises:
        ValueError: Unknown names or options.
        WeightsError: Weights of another architecture, or not to be had.
    """
    entry = decoder
    if isinstance(entry, str):
        entry = choose("decoder", entry, DECODERS)
    check_choice("adapter", adapter, ADAPTERS)
    normalizer = None
    if isinstance(backbone, str):
        wanted: dict[str, Any] = {"norm": style.norm, "activation": style.activation}
        if entry is not None and entry.output_stride != 32:
            wanted["output_stride"] = entry.output_stride
        options = _complete(backbone, options, wanted, drop_path)
        model = build_backbone(backbone, num_bands, **options)
        initialise_weights(model, style.initializer)
        if weights is not None:
            model, normalizer = _load(
                model, weights, backbone, bands or num_bands, adapter, options
            )
    else:
        _check_untouched(weights, drop_path, options)
        model = as_backbone(backbone, num_bands)
    levels = pyramid_levels(model.output)
    used = set(levels[-1:] if entry is None else entry.levels(levels))
    if pooled:
        used.add(levels[-1])
    pyramid = {f"P{level}": model.output[f"P{level}"] for level in sorted(used)}
    used_model = keras.Model(model.input, pyramid, name="backbone")
    name = backbone if isinstance(backbone, str) else backbone.name
    return Encoder(used_model, normalizer, 2 ** levels[-1], name)


def _complete(
    backbone: str,
    options: Mapping[str, Any],
    wanted: Mapping[str, Any],
    drop_path: float | None,
) -> dict[str, Any]:
    """The backbone's own options, then those of ``wanted`` that it has.

    ``drop_path`` is given to any backbone: one that lacks it refuses it, for to train
    without regularisation that was asked for is another experiment.
    """
    family = choose("backbone", backbone, BACKBONES)
    taken = {k: v for k, v in wanted.items() if v is not None and family.takes(k)}
    if drop_path is not None:
        taken["drop_path"] = drop_path
    return {**taken, **options}


def _check_untouched(weights: Any, drop_path: Any, options: Mapping[str, Any]) -> None:
    given = {"weights": weights, "drop_path": drop_path, "backbone_options": options}
    named = sorted(key for key, value in given.items() if value not in (None, {}))
    if named:
        raise ValueError(
            f"{named} go with a backbone's name only. Received: a network, which is "
            "taken as it is, with the weights that it has."
        )


def _load(
    model: keras.Model,
    weights: str | PathLike[str],
    backbone: str,
    bands: Sequence[str] | int,
    adapter: str,
    options: Mapping[str, Any],
) -> tuple[keras.Model, dict[str, Any] | None]:
    """Loads pretrained weights and logs where each band's kernels come from."""
    if adapter == "project_1x1":
        return _project(model, weights, backbone, bands, options), None
    names = None if isinstance(bands, int) else list(bands)
    loaded = load_weights(
        model,
        str(weights),
        backbone=backbone,
        bands=names,
        adapter=adapter,
        options=options,
    )
    _log.info("%s", loaded.table)
    return model, loaded.normalizer


def _project(
    model: keras.Model,
    weights: str | PathLike[str],
    backbone: str,
    bands: Sequence[str] | int,
    options: Mapping[str, Any],
) -> keras.Model:
    """Puts a 1 x 1 convolution between the bands and a backbone of its own bands."""
    source = find_pretrained(str(weights), backbone, options=options)
    inner = build_backbone(backbone, source.num_bands, **options)
    load_weights(
        inner, str(weights), backbone=backbone, adapter="repeat", options=options
    )
    matrix, table = mixing_matrix(source.bands, bands, "project_1x1")
    _log.info("%s", table)
    mix = layers.Conv2D(source.num_bands, 1, use_bias=False, name="adapter")
    image = keras.Input(model.input_shape[1:], name="image")
    mixed = mix(image)
    mix.kernel.assign(matrix[None, None])
    inner = keras.Model(inner.input, inner.output, name="pretrained")
    return keras.Model(image, inner(mixed), name="backbone")


def check_fusion(fusion: str | None, num_times: int | None) -> None:
    """Checks that ``fusion`` and ``num_times`` go together.

    Args:
        fusion: One of ``FUSIONS``, or ``None``.
        num_times: Images in a series, or ``None``: any number, or no series.

    Raises:
        ValueError: Unknown fusion, ``num_times`` without one, or an unknown number of
            times where it must be known.
    """
    if fusion is not None:
        check_choice("fusion", fusion, FUSIONS)
    if fusion is None and num_times is not None:
        raise ValueError(
            f"`fusion` must be one of {sorted(FUSIONS)} when `num_times` is given. "
            f"Received: fusion=None, num_times={num_times}."
        )
    ordered = ("convgru", "convlstm", "fold", "transformer")
    needed = fusion in ordered and num_times is None
    if needed or (num_times is not None and num_times < 1):
        raise ValueError(
            "`num_times` must be at least 1, and known for fusion='convgru', "
            "'convlstm', 'fold' and 'transformer'. Received: "
            f"fusion={fusion!r}, num_times={num_times}."
        )


def encode(encoder: Encoder, image: Any, fusion: str | None) -> tuple[Pyramid, Any]:
    """Applies the backbone to an image or a series, padded to its coarsest stride.

    Args:
        encoder: Backbone.
        image: ``(batch, y, x, band)``, or with ``fusion``
            ``(batch, time, y, x, band)``.
        fusion: One of ``FUSIONS``, or ``None``.

    Returns:
        The levels, without time, and a tensor of the image's height and width.
    """
    x = image
    if fusion == "fold":
        x = FoldTime(name="fold_time")(x)
    elif fusion is not None:
        x = MergeTime(name="merge_time")(x)
    features = encoder.model(PadToStride(encoder.stride, name="pad")(x))
    if fusion in (None, "fold"):
        return features, x
    fuse = FUSIONS[fusion]
    fused = {}
    for level, feature in features.items():
        series = SplitTime(name=f"split_time_{level}")([feature, image])
        fused[level] = fuse(series, name=f"fuse_time_{level}")
    return fused, x
