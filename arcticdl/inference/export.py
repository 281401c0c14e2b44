"""Models as files for other programs: ONNX, TensorFlow's SavedModel, or LiteRT.

What is written takes pixels in source units and gives probabilities: the normaliser of
the card is a part of it, so that whoever runs it needs neither this package nor the
statistics of the training fold.
"""

import json
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import keras
import numpy as np
from keras import ops
from numpy.typing import NDArray

from arcticdl.errors import needs_extra
from arcticdl.files import atomic_folder, atomic_path, refuse_existing
from arcticdl.inference.exports.card import beside, write_cards
from arcticdl.inference.exports.formats import find_format
from arcticdl.inference.exports.litert import write_litert
from arcticdl.inference.gaps.layers import gap_starts
from arcticdl.inference.layers import ReadAnswer, SourceUnits, WholePixels
from arcticdl.inference.predictor import window_size
from arcticdl.models.card import get_card, gives_answers, model_heads
from arcticdl.models.detection.select import DecodeBoxes
from arcticdl.tasks import Head
from arcticdl.tiles import Normalizer

OPSET = 18
"""Version of ONNX's operators that is written; ONNX Runtime reads it since 1.14."""

_SAVED_MODEL = {"assets", "fingerprint.pb", "saved_model.pb", "variables"}

TOLERANCE = 1e-3
"""Largest difference from Keras's answer at which a file is accepted, in probability or
in units of the largest value."""


def export_model(
    model: keras.Model,
    path: str | Path,
    *,
    format: str | None = None,
    normalizer: Normalizer | None = None,
    normalized: bool = False,
    objects: Mapping[str, Any] | None = None,
    overwrite: bool = False,
) -> Path:
    """Writes a model for programs that know neither Keras nor this package.

    The exported network takes ``image``, float32 ``(batch, y, x, band)`` of any size in
    source units, bands in the card's order, NaN where there is no data; a pixel with a
    band that is not finite is nodata, as in `predict_scene`. It gives what each head's
    answer means: probabilities 0-1 ``(batch, y, x, class)`` of classes, ordered classes
    and labels; values, quantiles, or means and then variances, in the label's units; of
    heads for whole images without ``y, x``; of a detector the boxes that stand for
    objects, ``(batch, max_boxes, 7)``: ``cx, cy, width, height`` in pixels, ``angle``
    in radians, score and class (-1 where a row is empty). An ONNX file carries the card
    as the metadata ``arcticdl_card``, JSON, and as ``arcticdl_input`` either ``source
    units`` or ``normalized``. A LiteRT file takes one image at a time, of the card's
    tile size, and has outputs by the names of the heads.

    Args:
        model: With a card, as training leaves it in ``model.keras``.
        path: ``NAME.onnx`` for ONNX, ``NAME.tflite`` for LiteRT, else the folder of a
            SavedModel.
        format: One of ``onnx``, ``saved_model`` and ``litert``, that the path must then
            be of; default: what the path ends as.
        normalizer: Scaling of the bands; default: the card's.
        normalized: Whether the exported network takes pixels that are already scaled as
            the card says: the way for a normaliser of the whole scene.
        objects: Of a detector, options of ``models.DecodeBoxes``: ``max_boxes``,
            ``min_score``, ``max_overlap``, ``candidates``.
        overwrite: Whether `path` may be replaced.

    Returns:
        The path.

    Raises:
        ValueError: The path ends as a file of another format does; no normaliser, one
            that needs the whole scene's statistics, another backend than TensorFlow;
            the format lacks an operation of the network, or what was written answers
            unlike Keras.
        FileExistsError: The path exists and ``overwrite`` is false, or is a folder that
            holds anything else than a SavedModel.
        MissingExtraError: ONNX without the extra ``onnx``.

    Example:
        ``export_model(load_model("runs/demo/fold1/model.keras"), "demo.onnx")``
    """
    target = Path(path)
    kind = find_format(target, format)
    _check_target(target, overwrite)
    if keras.backend.backend() != "tensorflow":
        raise ValueError(
            "Export needs Keras on TensorFlow: set KERAS_BACKEND=tensorflow. "
            f"Received: {keras.backend.backend()!r}."
        )
    scaling = _scaling(model, normalizer, normalized)
    whole = with_source_units(model, scaling, objects=objects)
    target.parent.mkdir(parents=True, exist_ok=True)
    window = None
    if kind == "onnx":
        takes = "normalized" if normalized else "source units"
        told = {"arcticdl_card": json.dumps(get_card(model)), "arcticdl_input": takes}
        with atomic_path(target) as part:
            _write_onnx(whole, part, told)
    elif kind == "litert":
        window = window_size(None, get_card(model))
        with atomic_path(target) as part:
            _write_litert(whole, part, window)
    else:
        with atomic_folder(target) as part:
            whole.export(str(part), format="tf_saved_model", verbose=False)
    write_cards(model, target, kind, normalized=normalized, window=window)
    return target


def _check_target(target: Path, overwrite: bool) -> None:
    if target.is_dir() and any(target.iterdir()):
        names = {path.name for path in target.iterdir()}
        if "saved_model.pb" not in names or not names <= _SAVED_MODEL:
            raise FileExistsError(
                f"{target} is a folder of other things. Name a new one, or a file "
                "NAME.onnx or NAME.tflite."
            )
        made = [target]
    else:
        made = [target] if target.is_file() else []
    refuse_existing(*made, *beside(target), overwrite=overwrite)


def with_source_units(
    model: keras.Model,
    normalizer: Normalizer | None,
    *,
    objects: Mapping[str, Any] | None = None,
) -> keras.Model:
    """A model from source units to probabilities or values; it shares the weights.

    Args:
        model: From normalised pixels to logits or values, or an ensemble.
        normalizer: Fitted; ``None``: the model scales by itself.
        objects: Of a detector, options of ``models.DecodeBoxes``.
    """
    image = keras.Input((None, None, model.inputs[0].shape[-1]), name="image")
    heads = model_heads(model)
    boxes = any(head.spec.kind == "boxes" for head in heads.values())
    # In gaps some bands are NaN, and the others are seen.
    gaps = bool(gap_starts(get_card(model)))
    if normalizer is None:
        scaling = keras.layers.Identity() if gaps else WholePixels(name="whole_pixels")
    else:
        options = {"each_band": gaps, "mark_shown": boxes}
        scaling = SourceUnits(normalizer.to_dict(), name="source_units", **options)
    outputs = model(scaling(image))
    if not isinstance(outputs, dict):
        outputs = {next(iter(heads)): outputs}
    done = gives_answers(model)
    answers = {
        name: _reader(head, f"{name}_read", done, objects or {})(outputs[name])
        for name, head in heads.items()
    }
    single = len(answers) == 1
    return keras.Model(image, next(iter(answers.values())) if single else answers)


def _reader(head: Head, name: str, done: bool, objects: Mapping[str, Any]) -> Any:
    """The layer that turns an output into what it means."""
    if head.spec.kind == "boxes":
        return DecodeBoxes(oriented=head.spec.oriented, name=name, **objects)
    if done:
        return keras.layers.Identity(name=name)
    return ReadAnswer(head.spec.kind, name=name)


def _scaling(
    model: keras.Model, normalizer: Normalizer | None, normalized: bool
) -> Normalizer | None:
    card = get_card(model)
    if gives_answers(model) and card and not card.get("normalizer"):
        if normalized or normalizer is not None:
            raise ValueError(
                "An ensemble scales its members' input by itself. Leave out "
                "`normalizer` and `normalized` (--normalized)."
            )
        return None
    if normalizer is None:
        if not card or not card.get("normalizer"):
            raise ValueError(
                "The model carries no card with a normaliser. Give `normalizer`."
            )
        normalizer = Normalizer.from_dict(card["normalizer"])
    if normalized:
        return Normalizer("none", normalizer.bands)
    if normalizer.needs_image_stats:
        raise ValueError(
            "A per-image normaliser needs statistics of the whole scene, which an "
            f"exported network never sees. Received: {normalizer!r}. Export with "
            "`normalized=True` (--normalized), and scale each scene before the network."
        )
    return normalizer


def _write_onnx(whole: keras.Model, path: Path, metadata: dict[str, str]) -> None:
    with needs_extra("onnx", "Writing ONNX"):
        import onnx
        import onnxruntime
        import tf2onnx  # noqa: F401  Keras imports it
    _teach_erfc()
    example = _example(whole)
    wanted = keras.tree.flatten(whole(example))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # Keras asks for np.object
        whole.export(str(path), format="onnx", verbose=False, opset_version=OPSET)
    written = onnx.load(path)
    _name(written.graph, _answer_names(whole))
    onnx.helper.set_model_props(written, metadata)
    onnx.save(written, path)
    try:
        cpu = ["CPUExecutionProvider"]
        session = onnxruntime.InferenceSession(path, providers=cpu)
        answers = session.run(None, {session.get_inputs()[0].name: example})
    except Exception as error:  # its exceptions have no common class
        raise ValueError(
            "This network has no ONNX form that ONNX Runtime runs at any image size; "
            f"export a SavedModel instead. ({str(error)[-300:]})"
        ) from error
    _compare_answers("ONNX Runtime", whole, answers, wanted)


def _write_litert(whole: keras.Model, path: Path, window: tuple[int, int]) -> None:
    example = _example(whole, window)
    content, answers = write_litert(whole, _answer_names(whole), example)
    _compare_answers("LiteRT", whole, answers, keras.tree.flatten(whole(example)))
    path.write_bytes(content)


def _answer_names(whole: keras.Model) -> list[str]:
    """Names of the heads, in the order of the flat list of answers."""
    if isinstance(whole.output, dict):
        return sorted(whole.output)
    return [name.removesuffix("_read") for name in whole.output_names]


def _name(graph: Any, outputs: list[str]) -> None:
    """Gives outputs the names of their heads, and unknown sizes names."""
    fresh = dict(zip([o.name for o in graph.output], outputs, strict=True))
    for node in graph.node:
        for names in (node.input, node.output):
            names[:] = [fresh.get(name, name) for name in names]
    for value in (*graph.input, *graph.output):
        value.name = fresh.get(value.name, value.name)
        sizes = value.type.tensor_type.shape.dim
        for size, name in zip(sizes, ("batch", "y", "x"), strict=False):
            if not size.dim_value:
                size.dim_param = name


def _example(
    whole: keras.Model, size: tuple[int, int] = (67, 75)
) -> NDArray[np.float32]:
    """An image of an odd size with void, about as bright as the training data."""
    layer = _find_scaling(whole)
    rng = np.random.default_rng(0)
    shape = (1, *size, len(layer.normalizer["offset"]))
    values = rng.normal(size=shape) * layer.normalizer["scale"]
    values += np.asarray(layer.normalizer["offset"])
    if layer.normalizer["method"] == "db":
        values = 10 ** (values / 10)
    elif layer.normalizer["method"] == "log":
        values = np.expm1(values)
    image = values.astype("float32")
    image[:, :5, :7] = np.nan
    image[:, -3:, -2:, 0] = np.nan  # of one band alone
    return image


def _find_scaling(whole: keras.Model) -> Any:
    """The first layer that scales source units; of an ensemble a member's."""
    waiting = list(whole.layers)
    while waiting:
        layer = waiting.pop(0)
        if isinstance(layer, SourceUnits):
            return layer
        waiting += layer.layers if isinstance(layer, keras.Model) else []
    raise ValueError("`model` must hold a layer that scales its input. Received: none.")


def _compare_answers(
    who: str, whole: keras.Model, answers: list[Any], wanted: list[Any]
) -> None:
    expected = [ops.convert_to_numpy(value) for value in wanted]
    if any(isinstance(layer, DecodeBoxes) for layer in whole.layers):
        _compare_boxes(who, answers[0], expected[0])
    else:
        _compare(who, answers, expected)


def _compare(who: str, answers: list[Any], wanted: list[Any]) -> None:
    for answer, expected in zip(answers, wanted, strict=True):
        limit = TOLERANCE * max(float(np.abs(expected).max()), 1.0)
        if answer.shape != expected.shape:
            raise ValueError(
                f"{who} must answer as Keras does. Received: shape "
                f"{answer.shape} instead of {expected.shape}. Nothing was written."
            )
        largest = float(np.abs(answer - expected).max())
        if not largest <= limit:
            raise ValueError(
                f"{who} must answer as Keras does. Received: a difference of "
                f"{largest:.2g}, above {limit:.2g}. Nothing was written."
            )


def _compare_boxes(who: str, answer: NDArray[Any], expected: NDArray[Any]) -> None:
    """Refuses boxes without a twin; their order may differ where scores hardly do.

    A box in twenty may lack one: rounding can turn what is suppressed.
    """
    limit = TOLERANCE * max(float(np.abs(expected).max()), 1.0)
    for one, other in ((answer, expected), (expected, answer)):
        sure = one[0][one[0, :, 5] > 0]
        apart = np.abs(sure[:, None] - other[0][None]).max(-1).min(-1, initial=np.inf)
        alone = float((apart > limit).mean()) if len(sure) else 0.0
        if answer.shape != expected.shape or alone > 0.05:
            raise ValueError(
                f"{who} must find the boxes that Keras finds. Received: a share "
                f"of {alone:.2g} that only one of them finds. Nothing was written."
            )


def _teach_erfc() -> None:
    """Teaches the converter TensorFlow's erfc, of which GELU is made: 1 - erf."""
    from tf2onnx.handler import tf_op

    @tf_op("Erfc")
    class Erfc:
        @classmethod
        def version_9(cls, ctx: Any, node: Any, **_: Any) -> None:
            kind, shape = ctx.get_dtype(node.output[0]), ctx.get_shape(node.output[0])
            inputs, outputs = list(node.input), list(node.output)
            ctx.remove_node(node.name)
            one = ctx.make_const(f"{node.name}_one", np.float32(1.0)).output[0]
            erf = ctx.make_node("Erf", inputs, shapes=[shape], dtypes=[kind]).output[0]
            ctx.make_node(
                "Sub",
                [one, erf],
                outputs=outputs,
                name=node.name,
                shapes=[shape],
                dtypes=[kind],
            )
