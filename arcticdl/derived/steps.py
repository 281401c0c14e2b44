"""The check of derivation steps, before any data are read."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from arcticdl.choices import check_choice, check_choices
from arcticdl.derived.table import CODES, FORMULAS, NUMBER, Formula

Step = Mapping[str, Any]


def check_steps(steps: Sequence[Step], key: str = "steps") -> None:
    """Refuses steps that cannot be meant, without reading a scene.

    A step is a mapping: ``formula``, one of ``FORMULAS``; ``name`` of the new band,
    that of the formula unless told; ``of``, the bands that it is made of, or ``bands``,
    a mapping of roles such as ``green`` to names where those are not known ones;
    ``units``, a mapping of bands to the units that their file does not tell; and the
    options of the formula.

    Args:
        steps: The steps.
        key: What they are called in messages.

    Raises:
        ValueError: An unknown formula, role or option, with the nearest spelling, a
            missing option, or one of a wrong kind.
        FileNotFoundError: A file of vectors is not there.

    Example:
        >>> check_steps([{"formula": "ratio", "of": ["HV", "HH"], "name": "HV_HH"}])
        >>> check_steps([{"formula": "slope", "band": {"elevation": "dem"}}])
        Traceback (most recent call last):
        ValueError: `steps.0` must be one of ['bands', 'formula', 'name', 'units']. \
Received: steps.0='band'. Did you mean 'bands'?
    """
    for number, step in enumerate(steps):
        _check_step(step, f"{key}.{number}")


def _check_step(step: Step, key: str) -> None:
    if not isinstance(step, Mapping) or "formula" not in step:
        raise ValueError(
            f"`{key}` must be a mapping with `formula`. Received: {step!r}."
        )
    check_choice(f"{key}.formula", step["formula"], FORMULAS)
    formula = FORMULAS[step["formula"]]
    check_choices(key, list(step), _keys(formula))
    needed = (*formula.required, *(("of",) if formula.of else ()))
    missing = [name for name in needed if name not in step]
    if missing:
        raise ValueError(
            f"`{key}` must give {missing} of {step['formula']!r}. Received: "
            f"{sorted(step)}."
        )
    if "name" in step and not (isinstance(step["name"], str) and step["name"]):
        raise ValueError(f"`{key}.name` must be text. Received: {step['name']!r}.")
    _check_bands(step, formula, key)
    for name, kind in formula.options.items():
        if name in step and not _is(step[name], kind):
            raise ValueError(
                f"`{key}.{name}` must be {kind}. Received: {step[name]!r}."
            )
    if "file" in step and not Path(step["file"]).is_file():
        raise FileNotFoundError(f"`{key}.file`: there is no file {step['file']}.")


def _keys(formula: Formula) -> list[str]:
    """All that a step of the formula may say."""
    keys = ["formula", *formula.options]
    keys += ["name"] if formula.units != "mask" else []
    keys += ["of"] if formula.of else []
    keys += ["bands"] if formula.roles else []
    return keys + (["units"] if formula.of or formula.roles else [])


def _check_bands(step: Step, formula: Formula, key: str) -> None:
    of = step.get("of", [])
    count = len(of) if isinstance(of, list | tuple) else None
    if count is None or not all(isinstance(band, str) for band in of):
        raise ValueError(f"`{key}.of` must be a list of bands. Received: {of!r}.")
    if count != formula.of and not (formula.of < 0 and count):
        wanted = formula.of if formula.of >= 0 else "at least one"
        raise ValueError(
            f"`{key}.of` must name {wanted} of the bands. Received: {list(of)}."
        )
    if "name" in step and count > 1 and formula.of < 0:
        raise ValueError(
            f"`{key}.name` goes with one band of `of`. Received: {list(of)}; give each "
            "a step of its own."
        )
    for part in ("bands", "units"):
        told = step.get(part, {})
        if not isinstance(told, Mapping) or not all(
            isinstance(value, str) for value in told.values()
        ):
            raise ValueError(
                f"`{key}.{part}` must map names to text. Received: {told}."
            )
    check_choices(f"{key}.bands", list(step.get("bands", {})), formula.roles)


def _is(value: Any, kind: str) -> bool:
    if kind == NUMBER:
        return isinstance(value, int | float) and not isinstance(value, bool)
    if kind == CODES:
        return isinstance(value, list | tuple) and all(type(v) is int for v in value)
    return isinstance(value, str)
