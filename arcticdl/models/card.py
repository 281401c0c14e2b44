"""The card: what a model must know to be used on a scene, carried inside it."""

import copy
import json
from collections.abc import Mapping
from typing import Any

import keras


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
        >>> get_card(model)
        {'bands': ['HH', 'HV']}
    """
    layer = _card_layer(model)
    return None if layer is None else layer.card


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
