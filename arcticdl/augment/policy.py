"""Policies: a plain list of steps becomes one callable for the feed."""

import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from arcticdl.augment import geometry
from arcticdl.augment.batch import (
    Augmentation,
    Batch,
    BoolArray,
    FloatArray,
    WholeBatch,
    check_p,
)
from arcticdl.augment.directions import Directions, band_index, find_directions
from arcticdl.augment.motion import Motion, draw_motion, move
from arcticdl.augment.objects import check_arrays, move_all, refuse_steps
from arcticdl.augment.table import AUGMENTATIONS
from arcticdl.boxes import BoxRule
from arcticdl.choices import check_names, choose
from arcticdl.errors import PluginError

Augmented = tuple[FloatArray, dict[str, NDArray[Any]], BoolArray]


class Policy:
    """Applies steps one after the other; image, labels and validity stay registered.

    Made by `build_policy`. Consecutive movements, crops among them, are multiplied
    together and read pixels once, where the result looks. Other steps work in place,
    one sample after the other. The arrays that come in are never written to.

    Attributes:
        steps: The steps, in their order.
        directions: The bands that turn with the image.
    """

    def __init__(
        self, steps: Sequence[Any], directions: Directions | None = None
    ) -> None:
        self.steps = tuple(steps)
        self.directions = directions or Directions()

    def __call__(
        self,
        image: FloatArray,
        labels: Mapping[str, NDArray[Any]],
        valid: BoolArray,
        rng: np.random.Generator,
        boxes: Mapping[str, BoxRule] | None = None,
        outputs: Mapping[str, Sequence[str]] | None = None,
    ) -> Augmented:
        """Augments a batch.

        Args:
            image: float32 ``(sample, y, x, band)`` in source units.
            labels: ``{name: (sample, y, x)}``, integer with 255 or float with NaN for
                void.
            valid: Boolean ``(sample, y, x)``.
            rng: Source of every draw: the same state gives the same result.
            boxes: Which of the labels are boxes ``(sample, max_boxes, 6)``, and what
                holds of them. They move with their images.
            outputs: Names of the channels of labels ``(sample, y, x, channel)`` that
                are quantities; pairs such as ``u`` and ``v`` turn with the image.

        Returns:
            The same three; mixing steps may give soft labels
            ``(sample, y, x, class)``.

        Raises:
            ValueError: The arrays do not fit each other, or boxes cannot follow a step.
        """
        rules = boxes or {}
        maps = {name: label for name, label in labels.items() if name not in rules}
        _check_batch(image, maps, valid)
        check_arrays(labels, rules, len(image))
        if rules:
            refuse_steps(self.steps, tuple(rules))
        batch = Batch(
            np.ascontiguousarray(image, np.float32),
            {name: np.ascontiguousarray(label) for name, label in maps.items()},
            np.ascontiguousarray(valid, bool),
        )
        moved = {name: np.asarray(labels[name], np.float32) for name in rules}
        found = {n: find_directions(o, None, ()) for n, o in (outputs or {}).items()}
        vectors = {name: own for name, own in found.items() if own.vectors}
        groups = _grouped(self.steps)
        if not groups or not isinstance(groups[0][0], geometry.Movement):
            batch = batch.copy()  # movements write elsewhere, other steps over it
        for group in groups:
            batch, motion = self._apply(group, batch, rng, vectors)
            if motion is not None:
                for name, rule in rules.items():
                    moved[name] = move_all(moved[name], motion, rule)
        return batch.image, {**batch.labels, **moved}, batch.valid

    def _apply(
        self,
        group: list[Any],
        batch: Batch,
        rng: np.random.Generator,
        vectors: Mapping[str, Directions],
    ) -> tuple[Batch, Motion | None]:
        """Applies movements as one, or one other step; says how pixels moved."""
        if isinstance(group[0], geometry.Movement):
            shape = (batch.valid.shape[1], batch.valid.shape[2])
            motion = draw_motion(len(batch), shape, group, rng)
            return move(batch, motion, self.directions, vectors), motion
        return _apply(group[0], batch, rng), None

    def __repr__(self) -> str:
        return f"Policy({list(self.steps)})"


def build_policy(
    steps: Sequence[Mapping[str, Any]],
    *,
    bands: Sequence[str] | None = None,
    vectors: Sequence[Sequence[str | int]] | None = None,
    angles: Sequence[str | int] = (),
) -> Policy:
    """Builds a policy from a plain list, as a configuration file holds it.

    Args:
        steps: One dict a step: ``name`` (a key of `AUGMENTATIONS`), ``p`` (probability
            for each sample) and the step's own arguments; an interval ``[low, high]``
            is drawn from uniformly.
        bands: Names of the image's bands, so that steps may name them.
        vectors: Pairs of bands ``(u, v)`` that turn with the image; ``None`` finds
            pairs such as ``u10`` and ``v10`` among `bands`.
        angles: Bands in degrees clockwise from up that turn with the image. Between
            pixels they are read as plain numbers: where they cross north, give their
            two components as `vectors` instead.

    Returns:
        A callable ``policy(image, labels, valid, rng)``, as `TileFeed` takes it.

    Raises:
        ValueError: A step's name, an argument or its range is wrong.
        PluginError: A package's step cannot be loaded, or is none.

    Example:
        >>> policy = build_policy([{"name": "hflip", "p": 1.0}])
        >>> image = np.arange(4, dtype=np.float32).reshape(1, 2, 2, 1)
        >>> valid = np.ones((1, 2, 2), bool)
        >>> out, _, _ = policy(image, {}, valid, np.random.default_rng(0))
        >>> out[0, :, :, 0].tolist()
        [[1.0, 0.0], [3.0, 2.0]]
    """
    check_names(bands=bands)
    built = [_build_step(step, bands) for step in steps]
    return Policy(built, find_directions(bands, vectors, angles))


def _build_step(entry: Mapping[str, Any], bands: Sequence[str] | None) -> Any:
    arguments = dict(entry)
    name = arguments.pop("name", None)
    make = choose("name", name, AUGMENTATIONS)
    _check_arguments(name, make, arguments)
    check_p(arguments.get("p", 1.0))
    if arguments.get("bands") is not None:
        chosen = [band_index(band, bands or ()) for band in arguments["bands"]]
        arguments["bands"] = tuple(chosen)
    if arguments.get("angle_band") is not None:
        arguments["angle_band"] = band_index(arguments["angle_band"], bands or ())
    step = make(**arguments)
    if not isinstance(step, geometry.Movement | Augmentation | WholeBatch):
        raise PluginError(
            f"Augmentation {name!r} must make a step with `p` and `apply`, or "
            f"`apply_all`. Received: a {type(step).__name__} from {make!r}."
        )
    return step


def _check_arguments(
    name: str, make: Callable[..., Any], arguments: Mapping[str, Any]
) -> None:
    parameters = inspect.signature(make).parameters
    needed = {k for k, v in parameters.items() if v.default is v.empty}
    unknown, missing = set(arguments) - set(parameters), needed - set(arguments)
    if unknown or missing:
        raise ValueError(
            f"Augmentation {name!r} takes {sorted(parameters)} and needs "
            f"{sorted(needed)}. Received: {sorted(arguments)}."
        )


def _grouped(steps: Sequence[Any]) -> list[list[Any]]:
    """Consecutive movements together, each other step alone."""
    groups: list[list[Any]] = []
    for step in steps:
        moves = isinstance(step, geometry.Movement)
        if moves and groups and isinstance(groups[-1][-1], geometry.Movement):
            groups[-1].append(step)
        else:
            groups.append([step])
    return groups


def _apply(
    step: Augmentation | WholeBatch, batch: Batch, rng: np.random.Generator
) -> Batch:
    if isinstance(step, WholeBatch):
        return step.apply_all(batch, rng)
    for sample in np.flatnonzero(rng.random(len(batch)) < step.p).tolist():
        own = batch.one(sample)
        own.overwrite(step.apply(own, rng))
    return batch


def _check_batch(
    image: FloatArray, labels: Mapping[str, NDArray[Any]], valid: BoolArray
) -> None:
    shape = np.shape(image)
    if len(shape) != 4 or np.shape(valid) != shape[:3]:
        raise ValueError(
            "`image` must have shape (sample, y, x, band) and `valid` (sample, y, x). "
            f"Received: image {shape}, valid {np.shape(valid)}."
        )
    wrong = {k: np.shape(v) for k, v in labels.items() if np.shape(v)[:3] != shape[:3]}
    if wrong:
        raise ValueError(
            f"Labels must have shape (sample, y, x) = {shape[:3]}. Received: {wrong}."
        )
