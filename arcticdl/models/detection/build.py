"""Assembly of detectors: bands -> backbone -> pyramid -> rows of places."""

from collections.abc import Mapping, Sequence
from os import PathLike
from typing import Any

import keras

from arcticdl.choices import check_names, choose
from arcticdl.models.card import Card, resolve_num_bands
from arcticdl.models.contracts import pyramid_levels
from arcticdl.models.detection.table import DETECTORS, GIVEN, Detector
from arcticdl.models.encode import build_encoder, encode
from arcticdl.models.layers.shapes import PadToStride
from arcticdl.models.options import Style
from arcticdl.models.penalties import initialise_weights
from arcticdl.tasks import Head, read_head, reconcile

Options = Mapping[str, Any]


def build_detector(
    backbone: str | keras.Model = "resnet18",
    detector: str = "fcos",
    *,
    head: Options,
    name: str = "detection",
    num_bands: int | None = None,
    bands: Sequence[str] | None = None,
    card: Options | None = None,
    weights: str | PathLike[str] | None = None,
    adapter: str = "by_band",
    input_size: tuple[int, int] | None = None,
    style: Style | Options | None = None,
    drop_path: float | None = None,
    backbone_options: Options | None = None,
    detector_options: Options | None = None,
) -> keras.Model:
    """Builds a model that finds objects.

    Args:
        backbone: One of ``BACKBONES``, or a network; see ``build_multitask``.
        detector: One of ``DETECTORS``.
        head: ``{"task": "detection" or "oriented_detection", "num_classes": ...}``,
            or with ``classes``; ``feed.card["heads"][name]`` will do. The default task
            is ``"detection"``.
        name: Name of the output, and of its label in ``card``.
        num_bands: Bands of the image; or give ``bands``.
        bands: Their names, in the order of the image's last axis.
        card: JSON dict that the model shall carry, such as ``feed.card``.
        weights: As in ``build_multitask``, for the backbone.
        adapter: Likewise.
        input_size: Height and width in pixels if they are always the same; any size
            otherwise. XLA needs sizes that do not change from call to call.
        style: ``Style``, or its options as a dict.
        drop_path: As in ``Regularization``.
        backbone_options: Options of the backbone, e.g. ``{"alpha": 0.35}``.
        detector_options: Options of the detector, e.g. ``{"levels": (3, 5)}``.

    Returns:
        Model from ``(batch, y, x, band)`` to float32 rows ``(batch, place, 11 +
        class)``; ``arcticdl.tasks.objects`` says what they hold, and
        ``models.DecodeBoxes`` makes boxes of them.

    Raises:
        ValueError: Unknown names or options, no bands, no classes.
        TaskError: The head does not fit the label of its name in ``card``.

    Example:
        >>> model = build_detector("plain", num_bands=2, head={"num_classes": 3},
        ...     backbone_options={"width": 4},
        ...     detector_options={"channels": 8, "depth": 1})
        >>> model.output_shape
        (None, None, 14)
    """
    check_names(bands=bands)
    entry: Detector = choose("detector", detector, DETECTORS)
    name, own = _read_head(name, head, (card or {}).get("heads"))
    options, style = dict(detector_options or {}), Style.read(style)
    count = resolve_num_bands(num_bands, bands, card)
    encoder = build_encoder(
        backbone,
        entry,
        count,
        bands=list(bands or (card or {}).get("bands", ())) or None,
        weights=weights,
        adapter=adapter,
        style=style,
        drop_path=drop_path,
        options=dict(backbone_options or {}),
        pooled=False,
    )
    image = keras.Input((*(input_size or (None, None)), count), name="image")
    x = Card(encoder.card(card, {name: own.to_card()}), name="card")(image)
    features, _ = encode(encoder, x, None)
    _check_options(detector, entry, options)
    options |= {**style.layers, "num_classes": own.size, "oriented": own.spec.oriented}
    stride = 2 ** pyramid_levels(encoder.model.output)[-1]
    padded = PadToStride(stride, dtype="float32", name="padded")(x)
    rows = entry.build(features, padded, name=name, **options)
    model = keras.Model(image, rows, name=f"{detector}_{encoder.name}")
    initialise_weights(model, style.initializer, keep=encoder.model)
    return model


def _read_head(name: str, head: Options, labels: Options | None) -> tuple[str, Head]:
    """The head and its name, joined with what the card says of its label.

    Raises:
        ValueError: A task that does not find objects.
        TaskError: The head does not fit the label.
    """
    own = read_head(name, {"task": "detection", **head})
    if own.spec.kind != "boxes":
        raise ValueError(
            "`head` of a detector must be of the task 'detection' or "
            f"'oriented_detection'. Received: task={own.task!r}."
        )
    found = reconcile({name: own}, labels) if labels else {name: own}
    return next(iter(found.items()))


def _check_options(name: str, entry: Detector, options: Options) -> None:
    known = sorted(set(entry.options) - set(GIVEN))
    unknown = sorted(set(options) - set(known))
    if unknown:
        raise ValueError(
            f"Detector {name!r} has the options {known}. Received: {unknown}."
        )
