"""What is explained: a model, one of its heads, and which of its answers."""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import keras
import numpy as np
from keras import ops
from numpy.typing import NDArray

from arcticdl.choices import check_choice, choose
from arcticdl.inference.forward import Answers
from arcticdl.inference.postprocess import plain
from arcticdl.tasks import Head

Floats = NDArray[np.float32]


class Subject(NamedTuple):
    """A model and the answer that is to be explained.

    Attributes:
        model: The model, from scaled pixels ``(batch, y, x, band)`` to logits.
        head_name: Name of the head.
        head: What it answers.
        target: Number of a class or value; ``None``: the class that is answered.
        bands: Names of the bands.
        window: (rows, columns) of a picture, in px.
        answering: The model compiled, from scaled pixels to activated answers.
    """

    model: keras.Model
    head_name: str
    head: Head
    target: int | None
    bands: tuple[str, ...]
    window: tuple[int, int]
    answering: Callable[[Floats], Answers]

    @property
    def names(self) -> tuple[str, ...]:
        """Names of what is explained: a class or value, or every class."""
        every = answer_names(self.head)
        return every if self.target is None else (every[self.target],)

    def answer(self, scaled: Floats) -> Floats:
        """One number a class or value, ``(n, y, x, k)`` or ``(n, k)``.

        Probabilities, or values in their units.
        """
        found = self.answering(scaled)[self.head_name]
        value = self.head.form.outputs.get("value")
        return found if value is None else value.read(found, self.head)

    def chosen(self, answer: Floats, valid: NDArray[np.bool_]) -> Floats:
        """Where each class or value is what is explained: 1 or 0, of `answer`'s shape.

        Args:
            answer: As of `answer`.
            valid: (n, y, x); nothing is explained where there is no input.
        """
        form, size = self.head.form, answer.shape[-1]
        if self.target is not None:
            here = np.zeros(answer.shape, np.float32)
            here[..., self.target] = 1
        elif form.codes is not None:
            here = np.eye(size, dtype=np.float32)[form.codes(answer)]
        else:
            here = (answer > 0.5).astype(np.float32)
        return here * valid[..., None] if here.ndim == 4 else here

    def scores(self, image: Any, chosen: Any) -> Any:
        """Sum of the chosen scores of each picture, ``(n,)``, as a tensor.

        Scores are what activation has not yet saturated: logits, values.
        """
        return self.read(self.model(image, training=False), chosen)

    def read(self, outputs: Any, chosen: Any) -> Any:
        """The same from the model's outputs."""
        raw = outputs[self.head_name] if isinstance(outputs, dict) else outputs
        scores = self.head.form.scores(ops.cast(raw, "float32"), self.head, ops)
        return ops.sum(scores * chosen, axis=list(range(1, len(scores.shape))))


def answer_names(head: Head) -> tuple[str, ...]:
    """Names of a head's classes, or of its values."""
    return head.classes or tuple(name or "value" for name in head.outputs)


def find_target(head: Head, name: str | None) -> int | None:
    """Number of the class or value of a name.

    Args:
        head: The head.
        name: Its name; ``None``: of classes that which is answered, else the first
            value.

    Raises:
        ValueError: There is none of that name.
    """
    names = answer_names(head)
    if name is None:
        return None if head.classes else 0
    spelled = [plain(each) for each in names]  # as thresholds are: blanks or _
    if plain(name) not in spelled:
        check_choice("target", name, names)
    return spelled.index(plain(name))


def find_head(heads: dict[str, Head], name: str | None) -> str:
    """Name of the head that is meant.

    Raises:
        ValueError: No head of that name, or several and no name.
    """
    if name is not None:
        choose("head", name, heads)
        return name
    if len(heads) > 1:
        raise ValueError(
            f"Of several heads one is explained: `head` must be one of {sorted(heads)}."
            " Received: head=None."
        )
    return next(iter(heads))


def refuse_ensemble(card: Mapping[str, Any] | None) -> None:
    """Refuses a model whose members have a scaling and layers of their own.

    Raises:
        ValueError: The card is that of an ensemble.
    """
    if (card or {}).get("ensemble"):
        raise ValueError(
            "One network is explained at a time. Received: an ensemble; explain its "
            "members (--fold K)."
        )
