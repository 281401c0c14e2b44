"""Several models as one: an ordinary model that holds its members."""

import math
from collections.abc import Collection, Mapping, Sequence
from typing import Any, NamedTuple

import keras
import numpy as np

from arcticdl.choices import check_names
from arcticdl.inference.layers import ReadAnswer, SourceUnits, WeightedMean
from arcticdl.inference.predictor import (
    AnyModel,
    in_common,
    load_all,
    refuse_means,
)
from arcticdl.models.card import Card, get_card, gives_answers, model_outputs
from arcticdl.tasks import Head


def build_ensemble(
    members: Sequence[AnyModel],
    *,
    weights: Sequence[float] | None = None,
    stacks: Mapping[str, tuple[np.ndarray, np.ndarray]] | None = None,
    names: Sequence[str] | None = None,
    seen: Collection[str] = (),
) -> keras.Model:
    """Joins models to one that answers with the mean of their answers.

    What is averaged are activated answers: probabilities, values, quantiles, means and
    variances, as `Predictor` averages several models. The ensemble is saved, mapped,
    scored and exported like any model. It takes source units, NaN in all bands of a
    pixel without data, and each member's own scaling is a layer of it; only where the
    members are scaled by the statistics of each whole scene, which no layer can know,
    does it take pixels that are already scaled so.

    Args:
        members: At least two models with cards, or paths of ``.keras`` files, of the
            same bands and heads; ensembles may be among them. Their weights are shared,
            not copied.
        weights: Weight of each member, not negative; default: all the same.
        stacks: In place of a mean, head -> kernel ``(member * channel, channel)`` and
            bias ``(channel,)`` of a linear model on all members' answers, as
            ``evaluation.fit_stack`` fits it; a softmax or sigmoid follows where the
            head has classes. Heads that are not named are averaged.
        names: Name of each member, for the card; default: ``member0`` and so on.
        seen: Names of the scenes that any member was trained or chosen on, which
            ``arcticdl evaluate`` then refuses to score it on.

    Returns:
        A functional model, whose card says ``"activated": true`` and, as ``ensemble``,
        the members with their weights and the scenes that they have seen. A member of
        weight 0 is left out.

    Raises:
        ValueError: Fewer than two members, one without a card or whose answer is an
            ensemble that it draws, members of other bands or heads, a weight that is
            no weight, a stack that fits no head, or scalings by whole scenes that
            differ.
        FileNotFoundError: A path without a file.

    Example:
        >>> from arcticdl.models import build_segmenter, get_card
        >>> card = {"bands": ["HH"], "normalizer": {"method": "zscore",
        ...         "bands": ["HH"], "offset": [-20.0], "scale": [5.0]}}
        >>> members = [build_segmenter("plain", bands=["HH"], num_classes=3, card=card,
        ...                            backbone_options={"width": 4}) for _ in range(2)]
        >>> get_card(build_ensemble(members))["ensemble"]["members"]
        {'member0': 0.5, 'member1': 0.5}
    """
    check_names(names=names, seen=seen)
    models = load_all(members)
    if len(models) < 2:
        raise ValueError(
            f"`members` must be at least two models. Received: {len(models)}."
        )
    told = list(names or (f"member{number}" for number in range(len(models))))
    if len(told) != len(models) or len(set(told)) != len(told):
        raise ValueError(
            "`names` must be a name of its own for each member. "
            f"Received: {told} for {len(models)} members."
        )
    shares = _check_weights(weights, len(models))
    card, heads = in_common(models)
    refuse_means(heads, len(models))
    _check_stacks(stacks or {}, heads, len(models))
    scalings = [_scaling(model, name) for model, name in zip(models, told, strict=True)]
    agreed = _agreed(scalings)
    joined = [
        _Member(*parts)
        for parts in zip(models, [None] * len(models) if agreed else scalings, shares,
                         strict=True)
    ]  # fmt: skip
    if not stacks:
        joined = [member for member in joined if member.share > 0]
    kept = {n: w for n, w in zip(told, shares, strict=True) if w > 0 or stacks}
    about = {
        "members": kept,
        "seen": sorted(set(seen)),
        "stacked": sorted(stacks or ()),
    }
    whole = dict(card or {}) | {
        "normalizer": agreed,
        "activated": True,
        "heads": {name: head.to_card() for name, head in heads.items()},
        "ensemble": about,
    }
    return _join(joined, heads, whole, stacks or {})


class _Member(NamedTuple):
    """A model, its scaling where that becomes a layer, and its share of the mean."""

    model: keras.Model
    scaling: dict[str, Any] | None
    share: float


def _check_stacks(
    stacks: Mapping[str, tuple[np.ndarray, np.ndarray]],
    heads: Mapping[str, Head],
    count: int,
) -> None:
    for name, (kernel, bias) in stacks.items():
        head = heads.get(name)
        if head is None or head.spec.kind in ("gaussian", "quantiles"):
            raise ValueError(
                "`stacks` must name heads of classes, labels or values, of "
                f"{sorted(heads)}. Received: {name!r}."
            )
        size = head.form.activated(head.size)
        if np.shape(kernel) != (count * size, size) or np.shape(bias) != (size,):
            raise ValueError(
                f"`stacks` of {name!r} must be a kernel {(count * size, size)} and a "
                f"bias {(size,)}. Received: {np.shape(kernel)}, {np.shape(bias)}."
            )


def _check_weights(weights: Sequence[float] | None, count: int) -> list[float]:
    given = [1.0] * count if weights is None else [float(weight) for weight in weights]
    usable = all(math.isfinite(weight) and weight >= 0 for weight in given)
    if len(given) != count or not usable or sum(given) <= 0:
        raise ValueError(
            f"`weights` must be {count} finite numbers, one a member, none below 0 and "
            f"not all 0. Received: weights={given}."
        )
    return [weight / sum(given) for weight in given]


def _scaling(model: keras.Model, name: str) -> dict[str, Any] | None:
    """A member's normaliser; ``None`` of an ensemble that scales by itself."""
    card = get_card(model) or {}
    found = card.get("normalizer")
    if not found and not gives_answers(model):
        raise ValueError(
            "Each member must carry a card with its scaling of the bands, as "
            f"training leaves it in model.keras. Received: {name!r} without one."
        )
    return dict(found) if found else None


def _agreed(scalings: list[dict[str, Any] | None]) -> dict[str, Any] | None:
    """The one scaling by whole scenes, which has to stay outside; else ``None``."""
    by_scene = [s for s in scalings if s and s["offset"] is None]
    if not by_scene:
        return None
    if any(scaling != by_scene[0] for scaling in scalings):
        methods = [s["method"] if s else "of an ensemble" for s in scalings]
        raise ValueError(
            "Members that are scaled by the statistics of each whole scene can only be "
            f"joined where all of them are, by one method. Received: {methods}."
        )
    return by_scene[0]


_ENDS = {"labels": "sigmoid", "values": "linear"}  # of a stack; else a softmax


def _join(
    members: list[_Member],
    heads: dict[str, Head],
    card: dict[str, Any],
    stacks: Mapping[str, tuple[np.ndarray, np.ndarray]],
) -> keras.Model:
    shapes = {tuple(member.model.inputs[0].shape[1:]) for member in members}
    bands = members[0].model.inputs[0].shape[-1]
    shape = shapes.pop() if len(shapes) == 1 else (None, None, bands)
    image = keras.Input(shape, name="image")
    x = Card(card, name="card")(image)
    answers: dict[str, list[Any]] = {name: [] for name in heads}
    for number, (model, scaling, _) in enumerate(members):
        scaled = x
        if scaling is not None:
            layer = SourceUnits(scaling, each_band=True, name=f"scaling{number}")
            scaled = layer(x)
        for name, value in _outputs(model, heads, f"member{number}")(scaled).items():
            if not gives_answers(model):
                kind = heads[name].spec.kind
                value = ReadAnswer(kind, name=f"member{number}_{name}_read")(value)
            answers[name].append(value)
    shares = [member.share for member in members]
    joined = {
        name: _stacked(stacks[name], values, head, name)
        if name in stacks
        else WeightedMean(shares, name=name)(values)
        for (name, head), values in zip(heads.items(), answers.values(), strict=True)
    }
    single = len(joined) == 1
    outputs = next(iter(joined.values())) if single else joined
    return keras.Model(image, outputs, name="ensemble")


def _stacked(
    stack: tuple[np.ndarray, np.ndarray], values: list[Any], head: Head, name: str
) -> Any:
    """A linear model on top of the answers, pixel by pixel."""
    end = _ENDS.get(head.spec.kind, "softmax")
    layer = keras.layers.Dense(len(stack[1]), end, dtype="float32", name=name)
    found = layer(keras.layers.Concatenate(dtype="float32")(values))
    layer.set_weights([np.asarray(part, "float32") for part in stack])
    return found


def _outputs(model: keras.Model, heads: dict[str, Head], name: str) -> keras.Model:
    """A member under a name of its own, with the outputs of its heads alone."""
    found = model_outputs(model)
    if list(found) == [""]:
        found = {next(iter(heads)): found[""]}
    return keras.Model(model.inputs, {n: found[n] for n in heads}, name=name)
