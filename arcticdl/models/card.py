"""The card: what a model must know to be used on a scene, carried inside it."""

import copy
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from zipfile import BadZipFile, ZipFile

import keras

from arcticdl.errors import TaskError
from arcticdl.tasks import TASKS, Head, read_head


@keras.saving.register_keras_serializable(package="arcticdl")
class Card(keras.layers.Layer):
    """Identity layer that carries a JSON dict through ``.keras`` files.

    Args:
        card: The dict, or its JSON text, or ``None`` for a model without a card.
        **kwargs: Keras layer arguments.
    """

    def __init__(
        self, card: Mapping[str, Any] | str | None = None, **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        self.card_json = _to_json(card)

    @property
    def card(self) -> dict[str, Any] | None:
        """The card as a fresh dict, or ``None``."""
        return None if self.card_json is None else json.loads(self.card_json)

    def call(self, x: Any) -> Any:
        return x

    def compute_output_shape(self, shape: Any) -> Any:
        return shape

    def get_config(self) -> dict[str, Any]:
        # Text, because Keras would take some nested dicts for objects of its own.
        return {**super().get_config(), "card": self.card_json}


def get_card(model: keras.Model) -> dict[str, Any] | None:
    """Returns the card of a model, or ``None`` where it has none.

    Args:
        model: Any Keras model; one built by ``arcticdl.models`` has a card layer.

    Example:
        >>> from arcticdl.models import build_segmenter, get_card
        >>> model = build_segmenter("plain", bands=["HH", "HV"], num_classes=3,
        ...                         backbone_options={"width": 4},
        ...                         card={"bands": ["HH", "HV"]})
        >>> get_card(model)["bands"], get_card(model)["heads"]["segmentation"]["task"]
        (['HH', 'HV'], 'segmentation')
    """
    layer = _card_layer(model)
    return None if layer is None else layer.card


def saved_card(path: str | Path) -> dict[str, Any] | None:
    """Reads the card of a ``.keras`` file without building its model.

    Args:
        path: The file.

    Returns:
        The card; ``None`` where the file has none, or is no ``.keras`` file that can be
        read, of which only loading it tells why.
    """
    try:
        with ZipFile(path) as file:
            layers = json.loads(file.read("config.json"))["config"]["layers"]
        texts = [
            layer["config"]["card"]
            for layer in layers
            if layer.get("registered_name") == "arcticdl>Card"
        ]
        found: dict[str, Any] | None = json.loads(texts[0]) if texts else None
    except (OSError, BadZipFile, KeyError, TypeError, ValueError):
        return None
    return found


def set_card(model: keras.Model, card: Mapping[str, Any] | None) -> None:
    """Replaces the card of a model built by ``arcticdl.models``.

    Args:
        model: The model, changed in place.
        card: A dict that JSON can hold, or ``None`` to remove it.

    Raises:
        ValueError: The model has no card layer.
        TypeError: JSON cannot hold the card.
    """
    layer = _card_layer(model)
    if layer is None:
        raise ValueError(
            "`model` must have a card layer, as the builders of `arcticdl.models` "
            f"give it. Received: {model.name!r} with layers "
            f"{[layer.name for layer in model.layers][:5]}..."
        )
    layer.card_json = _to_json(card)


def _card_layer(model: keras.Model) -> Card | None:
    for layer in model.layers:
        if isinstance(layer, Card):
            return layer
    return None


def _to_json(card: Mapping[str, Any] | str | None) -> str | None:
    if card is None:
        return None
    if isinstance(card, str):
        card = json.loads(card)
    if not isinstance(card, Mapping):
        raise TypeError(f"`card` must be a dict. Received: card={card!r}.")
    try:
        return json.dumps(copy.deepcopy(dict(card)), allow_nan=False)
    except (TypeError, ValueError) as error:
        raise TypeError(
            "`card` must hold only what JSON can hold: dicts with string keys, lists, "
            f"finite numbers, strings, booleans and None. Received: {error}."
        ) from error


def resolve_num_bands(
    num_bands: int | None,
    bands: Sequence[str] | None,
    card: Mapping[str, Any] | None = None,
) -> int:
    """Returns the number of bands from whichever of the three tells it.

    Raises:
        ValueError: None tells it, two disagree, a name comes twice, or there is none.
    """
    told = {"num_bands": num_bands, "bands": None if bands is None else len(bands)}
    if card and "bands" in card:
        told["card['bands']"] = len(card["bands"])
    counts = {source: count for source, count in told.items() if count is not None}
    if len(set(counts.values())) != 1 or min(counts.values()) < 1:
        raise ValueError(
            "Give `num_bands` or `bands`, at least one band, and the same number "
            f"wherever it is told. Received: {counts}."
        )
    if bands is not None and len(set(bands)) != len(bands):
        raise ValueError(f"`bands` must differ. Received: bands={list(bands)}.")
    return next(iter(counts.values()))


def model_outputs(model: keras.Model) -> dict[str, Any]:
    """Name -> output tensor, of a model with one output or a dict of them."""
    # Of a Sequential `output` is undefined until it was called.
    output = model.outputs if isinstance(model, keras.Sequential) else model.output
    if isinstance(output, list | tuple) and len(output) == 1:
        output = output[0]
    if isinstance(output, Mapping):
        return dict(output)
    if isinstance(output, list | tuple):
        return dict(zip(model.output_names, output, strict=True))
    return {"": output}


def model_heads(model: keras.Model) -> dict[str, Head]:
    """What each output of a model answers, from its card and the outputs' shapes.

    Outputs that the card does not name, such as those of deep supervision, are left
    out. Of a model without a card, a map is a segmentation and a vector a
    classification.

    Args:
        model: Any Keras model; one built by ``arcticdl.models`` says what it is.

    Returns:
        Name of the output -> head, in the card's order.

    Raises:
        TaskError: The card names a head that is no output, or one of other channels.
    """
    outputs = model_outputs(model)
    entries = (get_card(model) or {}).get("heads")
    if not entries:
        return {n or "segmentation": _guess(n, t) for n, t in outputs.items()}
    if list(outputs) == [""] and len(entries) == 1:
        outputs = {next(iter(entries)): outputs[""]}
    missing = sorted(set(entries) - set(outputs))
    if missing:
        raise TaskError(
            "Each head of a card must be an output of its model, one of "
            f"{sorted(outputs)}. Received: heads {missing}."
        )
    activated = gives_answers(model)
    return {n: _read(n, e, outputs[n], activated) for n, e in entries.items()}


def gives_answers(model: keras.Model) -> bool:
    """Whether a model's outputs are activated already, as those of an ensemble are.

    Its card then says ``"activated": true``: what it gives are probabilities, values,
    means and variances, and nothing is left to be done before they are read. Where such
    a card has no normaliser, the model scales by itself, and takes source units with
    NaN in every band of a pixel without data.

    Args:
        model: Any Keras model.
    """
    return bool((get_card(model) or {}).get("activated"))


def _guess(name: str, output: Any) -> Head:
    task = "segmentation" if len(output.shape) == 4 else "classification"
    return read_head(name, {"task": task, "num_classes": int(output.shape[-1])})


def _read(name: str, entry: Mapping[str, Any], output: Any, activated: bool) -> Head:
    """Reads a head; cards of old say neither its size nor whether values are a map."""
    entry, channels = dict(entry), int(output.shape[-1])
    if entry.get("task") == "regression" and len(output.shape) == 4:
        entry["task"] = "dense_regression"
    task = TASKS.get(str(entry.get("task", "segmentation")))
    if task is not None and task.kind == "values":
        entry.setdefault("num_outputs", channels)
    elif task is not None and task.kind in ("classes", "labels", "shares"):
        entry.setdefault("num_classes", channels)
    head = read_head(name, entry)
    dense = len(output.shape) == 4
    form = head.form
    expected = (form.activated if activated else form.channels)(head.size)
    if expected != channels or head.spec.dense != dense:
        raise TaskError(
            f"The card's head {name!r} must be what the output is. Received: task "
            f"{head.task!r} of {expected} channels for an output "
            f"of shape {tuple(output.shape)}."
        )
    return head
