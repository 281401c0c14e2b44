"""Assembly: bands -> backbone -> decoder -> heads, as plain functional models."""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from os import PathLike
from typing import Any, NamedTuple

import keras

from arcticdl.choices import check_names
from arcticdl.models.card import Card, resolve_num_bands
from arcticdl.models.contracts import Decoded, Pyramid, pyramid_levels
from arcticdl.models.dates import Dates
from arcticdl.models.decoders.table import DECODERS
from arcticdl.models.encode import Encoder, build_encoder, encode
from arcticdl.models.heads import (
    HeadSpec,
    check_heads,
    dense_head,
    describe_heads,
    pooled_head,
)
from arcticdl.models.latents.code import add_code, coarsest_alone, describe_code
from arcticdl.models.leads import build_by_lead
from arcticdl.models.options import Latent, Regularization, Series, Style
from arcticdl.models.penalties import initialise_weights, penalise_weights

Options = Mapping[str, Any]
Fork = Callable[[dict[str, Any]], Mapping[str, Any]]


def build_segmenter(
    backbone: str | keras.Model = "resnet18",
    decoder: str = "unet",
    *,
    num_classes: int,
    name: str = "segmentation",
    **options: Any,
) -> keras.Model:
    """Builds a model that gives each pixel class logits.

    Args:
        backbone: One of ``BACKBONES``, or a network; see ``build_multitask``.
        decoder: One of ``DECODERS``.
        num_classes: Classes, without void.
        name: Name of the output.
        **options: As in ``build_multitask``: ``num_bands`` or ``bands``, ``card``,
            ``weights``, ``style``, ...

    Returns:
        Model from ``(batch, y, x, band)`` to float32 logits ``(batch, y, x, class)``,
        for any height and width.

    Raises:
        ValueError: Unknown names, no bands, no classes.

    Example:
        >>> model = build_segmenter("plain", num_bands=2, num_classes=4,
        ...                         backbone_options={"width": 4})
        >>> model.output_shape
        (None, None, None, 4)
    """
    head = {"task": "segmentation", "num_classes": num_classes}
    return build_multitask(backbone, decoder, heads={name: head}, **options)


def build_classifier(
    backbone: str | keras.Model = "resnet18",
    *,
    num_classes: int,
    multilabel: bool = False,
    name: str = "classification",
    **options: Any,
) -> keras.Model:
    """Builds a model that gives each image class logits.

    Args:
        backbone: One of ``BACKBONES``, or a network; see ``build_multitask``.
        num_classes: Classes.
        multilabel: Whether several classes can hold at once, which is told by the
            output's task and not by its shape: logits then mean a sigmoid each.
        name: Name of the output.
        **options: As in ``build_multitask``.

    Returns:
        Model from ``(batch, y, x, band)`` to float32 logits ``(batch, class)``.

    Raises:
        ValueError: Unknown names, no bands, no classes.
    """
    task = "multilabel" if multilabel else "classification"
    head = {"task": task, "num_classes": num_classes}
    return build_multitask(backbone, None, heads={name: head}, **options)


def build_regressor(
    backbone: str | keras.Model = "resnet18",
    decoder: str | None = "unet",
    *,
    num_outputs: int = 1,
    name: str = "regression",
    **options: Any,
) -> keras.Model:
    """Builds a model that gives each pixel, or each image, numbers.

    Args:
        backbone: One of ``BACKBONES``, or a network; see ``build_multitask``.
        decoder: One of ``DECODERS`` for a map; ``None`` for numbers an image.
        num_outputs: Numbers; for quantiles and distributions see ``build_multitask``.
        name: Name of the output.
        **options: As in ``build_multitask``.

    Returns:
        Model from ``(batch, y, x, band)`` to float32 ``(batch, y, x, output)``, or
        ``(batch, output)`` without a decoder.

    Raises:
        ValueError: Unknown names, no bands, no outputs.
    """
    task = "regression" if decoder is None else "dense_regression"
    head = {"task": task, "num_outputs": num_outputs}
    return build_multitask(backbone, decoder, heads={name: head}, **options)


def build_multitask(
    backbone: str | keras.Model = "resnet18",
    decoder: str | None = "unet",
    *,
    heads: Mapping[str, Options],
    num_bands: int | None = None,
    bands: Sequence[str] | None = None,
    card: Options | None = None,
    weights: str | PathLike[str] | None = None,
    adapter: str = "by_band",
    input_size: tuple[int, int] | None = None,
    series: Series | Options | None = None,
    latent: Latent | Options | None = None,
    style: Style | Options | None = None,
    regularization: Regularization | Options | None = None,
    backbone_options: Options | None = None,
    decoder_options: Options | None = None,
    fork: Fork | None = None,
) -> keras.Model:
    """Builds a model with one backbone, one decoder and any number of heads.

    Args:
        backbone: One of ``BACKBONES``, or a network of your own with levels ``P1`` to
            ``P5``, such as any ``FeaturePyramidBackbone`` of KerasHub; it keeps the
            weights that it has.
        decoder: One of ``DECODERS``; ``None`` when no head is dense.
        heads: Name -> ``{"task": one of arcticdl.tasks.TASKS, ...}`` with
            ``num_classes``, ``num_outputs`` or ``quantiles``, as the task needs, and
            perhaps its own ``dropout``; ``feed.card["heads"]`` will do.
        num_bands: Bands of the image; or give ``bands``.
        bands: Their names, in the order of the image's last axis.
        card: JSON dict that the model shall carry, such as ``feed.card``; what the
            heads are is written into it. See ``get_card``.
        weights: ``"imagenet"``, a name of ``list_weights()``, or the path of a
            checkpoint, for the backbone; ``None``: random. Where the card has no
            normaliser, it gets the one that the weights were trained with.
        adapter: How pretrained kernels fit the bands, one of
            ``ADAPTERS``.
        input_size: Height and width in pixels if they are always the same; any size
            otherwise.
        series: ``Series``, or its options as a dict: ``fusion`` (one of ``FUSIONS``)
            and ``num_times``, for images ``(batch, time, y, x, band)``. Where the card
            says ``num_times``, as that of a feed of a ``SeriesStore`` does, images are
            ``(batch, y, x, date * band)``, and ``fusion`` is ``"fold"`` unless told;
            ``num_context`` further bands, as a ``ForecastStore`` has them, are given to
            each date, and ``starts`` says to which of them an answer is added.
            ``leads`` makes one network answer for all leads of a forecast.
        latent: ``Latent``, likewise: ``size``, ``kind``, ``weight``, ``warmup_steps``
            and ``rate`` of the code of an autoencoder. The decoder then sees that code
            alone, made of the backbone's coarsest level; a head whose card tells the
            bands that it restores begins as their means, not as the bands.
        style: ``Style``, likewise: ``norm``, ``activation`` and ``initializer`` of the
            layers, where a network leaves the choice.
        regularization: ``Regularization``, likewise: ``dropout`` before each head,
            ``drop_path`` in the backbone, penalties ``l1`` and ``l2``.
        backbone_options: Options of the backbone, e.g. ``{"width": 16}``.
        decoder_options: Options of the decoder, e.g. ``{"channels": (64, 32, 16)}``.
        fork: What stands where heads part, from features by head to features by head,
            such as the layer ``losses.UncertaintyWeights``.

    Returns:
        Model from ``(batch, y, x, band)`` to one float32 tensor, or to a dict by
        head's name where there are several. Dense outputs have the image's size.

    Raises:
        ValueError: Unknown names or options, no bands, no heads, a dense head without
            a decoder.
        TaskError: A head does not fit the label of its name in ``card``.

    Example:
        >>> model = build_multitask(
        ...     "plain", num_bands=2, backbone_options={"width": 4},
        ...     heads={"sod": {"task": "segmentation", "num_classes": 6},
        ...            "sic": {"task": "dense_regression"}})
        >>> {name: output.shape[-1] for name, output in model.output.items()}
        {'sod': 6, 'sic': 1}
    """
    check_names(bands=bands)
    design = _Design(
        backbone,
        decoder,
        weights,
        adapter,
        input_size,
        Style.read(style),
        Regularization.read(regularization),
        dict(backbone_options or {}),
        dict(decoder_options or {}),
    )
    code = None if latent is None else Latent.read(latent)
    series = Series.read(series)
    if series.leads == "direct":
        given: dict[str, Any] = {
            "num_bands": num_bands,
            "bands": bands,
            "code": code,
            "fork": fork,
        }
        return _build(design, heads, card, series, **given)
    _check_unforked(fork)
    describe_code(code, 1, series, [])
    specs = check_heads(heads, decoder, design.regularization.dropout)
    described = {**(card or {}), "heads": describe_heads(specs, card)}
    named = {name: spec.head for name, spec in specs.items()}
    build, first = partial(_build, design), next(iter(heads.values()))
    return build_by_lead(build, named, first, described, series)


class _Design(NamedTuple):
    """What of a network does not depend on the heads, nor on the bands."""

    backbone: str | keras.Model
    decoder: str | None
    weights: str | PathLike[str] | None
    adapter: str
    input_size: tuple[int, int] | None
    style: Style
    regularization: Regularization
    backbone_options: Options
    decoder_options: Options

    def encoder(self, dates: Dates, *, coarsest: bool, pooled: bool) -> Encoder:
        """The backbone; with its coarsest level alone for what stands behind a code."""
        count, names = dates.seen
        return build_encoder(
            self.backbone,
            coarsest_alone(self.decoder) if coarsest else self.decoder,
            count,
            bands=names,
            weights=self.weights,
            adapter=self.adapter,
            style=self.style,
            drop_path=self.regularization.drop_path,
            options=self.backbone_options,
            pooled=pooled,
        )

    def finish(self, model: keras.Model, encoder: Encoder) -> keras.Model:
        """Draws kernels that were not loaded, and adds the penalties."""
        initialise_weights(model, self.style.initializer, keep=encoder.model)
        penalise_weights(model, self.regularization.l1, self.regularization.l2)
        return model


def _build(
    design: _Design,
    heads: Mapping[str, Options],
    card: Options | None,
    series: Series,
    *,
    num_bands: int | None = None,
    bands: Sequence[str] | None = None,
    code: Latent | None = None,
    fork: Fork | None = None,
) -> keras.Model:
    """Builds the network that answers by all heads at once."""
    decoder = design.decoder
    specs = check_heads(heads, decoder, design.regularization.dropout)
    count = resolve_num_bands(num_bands, bands, card)
    dates = Dates.read(series, card, count, bands)
    pooled = not all(spec.dense for spec in specs.values())
    encoder = design.encoder(dates, coarsest=code is not None, pooled=pooled)
    known = encoder.card(card, describe_heads(specs, card))
    known |= describe_code(code, encoder.stride, dates.series, list(specs.values()))
    shape = (*dates.axis, *(design.input_size or (None, None)), count)
    image = keras.Input(shape, name="image")
    x, fusion = dates.unfold(Card(known, name="card")(image))
    features, reference = encode(encoder, x, fusion)
    if code is not None:
        features = add_code(features, x, code)
    options = {**design.style.layers, **design.decoder_options}
    decoded = decode(features, decoder, options)
    if decoded is not None:
        decoded = decoded._replace(from_code=code is not None)
    shared = _share(features, decoded, specs, fork)
    starts = _starts(card)
    outputs = _answer(shared, decoded, image if starts else reference, specs, starts)
    name = "_".join(part for part in (decoder, encoder.name) if part)
    only = next(iter(outputs.values()))
    model = keras.Model(image, outputs if len(outputs) > 1 else only, name=name)
    return design.finish(model, encoder)


def _check_unforked(fork: Fork | None) -> None:
    if fork is not None:
        raise ValueError(
            "`fork` stands where heads part, and leads that share one network have one "
            "head. Received: `series.leads` besides. Weigh the losses of the heads by "
            "numbers, or set `series.leads` to 'direct'."
        )


def decode(
    features: Pyramid, decoder: str | None, options: dict[str, Any]
) -> Decoded | None:
    """Applies a decoder to the levels that it asks for; ``None`` without one.

    Raises:
        ValueError: Options that it lacks.
    """
    if decoder is None:
        return None
    entry = DECODERS[decoder]
    entry.check_options(decoder, options)
    levels = entry.levels(pyramid_levels(features))
    return entry.build(
        {f"P{level}": features[f"P{level}"] for level in levels}, **options
    )


def _share(
    features: Pyramid,
    decoded: Decoded | None,
    specs: Mapping[str, HeadSpec],
    fork: Fork | None,
) -> dict[str, Any]:
    """The features from which each head answers."""
    coarsest = features[f"P{pyramid_levels(features)[-1]}"]
    found = {
        name: decoded.features if decoded is not None and spec.dense else coarsest
        for name, spec in specs.items()
    }
    return found if fork is None else dict(fork(found))


def _starts(card: Options | None) -> dict[str, dict[str, Any]]:
    """Head -> options of ``StartFrom``, as a card tells them."""
    known = card or {}
    found = {}
    for head, start in known.get("starts", {}).items():
        bands, own = list(known["bands"]), ("band", "coarse_px", "gap")
        told = start["band"]
        index: Any = (
            bands.index(told)
            if isinstance(told, str)
            else [bands.index(name) for name in told]
        )
        options = {key: value for key, value in start.items() if key not in own}
        found[head] = {"index": index} | options
    return found


def _answer(
    shared: Mapping[str, Any],
    decoded: Decoded | None,
    image: Any,
    specs: Mapping[str, HeadSpec],
    starts: Mapping[str, Options],
) -> dict[str, Any]:
    outputs = {}
    for name, spec in specs.items():
        if decoded is None or not spec.dense:
            outputs[name] = pooled_head(shared[name], name=name, spec=spec)
            continue
        own = decoded._replace(features=shared[name])
        start = starts.get(name)
        outputs[name] = dense_head(own, image, name=name, spec=spec, start=start)
        for i, coarse in enumerate(decoded.auxiliary):
            aux = f"{name}_aux{i}"
            outputs[aux] = dense_head(coarse, image, name=aux, spec=spec)
    return outputs
