"""A new configuration: the keys that must be chosen, and all others as comments."""

import textwrap
from collections.abc import Iterator, Mapping, Sequence
from pathlib import PurePath
from typing import Any

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from arcticdl.choices import check_choice
from arcticdl.config.experiment import Experiment
from arcticdl.config.guide.keys import default_of
from arcticdl.config.heads import tasks_of
from arcticdl.config.read import check_tree
from arcticdl.config.safe_yaml import parse_yaml, write_yaml
from arcticdl.config.section import Section
from arcticdl.tasks import TASKS
from arcticdl.tasks.table import CLASS, VALUE

SCHEMA_FILE = "arcticdl.schema.json"
"""Name of the JSON Schema beside a configuration, by which editors help."""

_WIDTH = 88


def new_config(
    name: str,
    scenes: str,
    *,
    task: str = "segmentation",
    label: str = "label",
    classes: Sequence[str] = ("background", "object"),
) -> str:
    """Writes a configuration to begin with, which both checks accept.

    Args:
        name: Name of the experiment.
        scenes: Path or glob of the scenes.
        task: What the network shall answer, a task of a map of
            classes or of a quantity.
        label: Name of the label: the file beside a scene's whose name ends in
            ``_LABEL``.
        classes: Names of the codes 0, 1, 2, ...; of no account for a quantity.

    Returns:
        YAML with every other key as a comment: its default and its meaning.

    Raises:
        ValueError: Another task, or a name that is none.

    Example:
        >>> text = new_config("ice", "data/*.tif", task="dense_regression", label="sic")
        >>> "task: dense_regression" in text, "# repeats: 1 " in text
        (True, True)
    """
    check_choice("task", task, [*tasks_of(CLASS), *tasks_of(VALUE)])
    suffix = PurePath(scenes).suffix or ".tif"
    entry: dict[str, Any] = {}
    if TASKS[task].label == CLASS:
        entry["classes"] = list(classes)
    # JPEG blurs codes, so that masks of photographs are PNG.
    beside = ".png" if suffix.lower() in (".jpg", ".jpeg") else suffix
    entry["file"] = {"replace": {suffix: f"_{label}{beside}"}}
    values = {
        **_CHOSEN,
        "name": name,
        "data": {"scenes": scenes, "labels": {label: entry}},
        "task": task,
    }
    text = "\n".join([*_HEAD, *_section(Experiment, values, "")]) + "\n"
    text = text.replace("      file:\n", f"{_FILE}      file:\n", 1)
    check_tree(parse_yaml(text), "the new file")
    return text


_HEAD = (
    f"# yaml-language-server: $schema={SCHEMA_FILE}",
    "# Lines without # are chosen, the others are defaults: uncomment to change one.",
    "# `arcticdl config keys` explains every key, `arcticdl config check FILE` checks.",
    "# ${NAME} in a value is the environment variable NAME.",
)


_FILE = """\
      # A file of each scene's own, named after it. One that serves all scenes, such as
      # COCO annotations or a GeoPackage of the region, is `path: FILE` instead.
"""

_CHOSEN: dict[str, Any] = {
    "tiles": {"size_px": 256},
    "folds": {"n_splits": 3, "group": "scene_id"},
    "model": {"backbone": "resnet18", "decoder": "unet"},
    "train": {
        "batch_size": 8,
        "epochs": 20,
        "learning_rate": 0.001,
        "augment": [{"name": "hflip", "p": 0.5}],
    },
    "predict": {"tta": "none"},
}
"""What a beginner changes first."""


def _section(
    model: type[BaseModel], values: Mapping[str, Any], indent: str
) -> Iterator[str]:
    for name, field in model.model_fields.items():
        if not indent:
            yield ""
        chosen = values.get(name)
        if chosen is None:
            yield from _default(name, field, indent)
            continue
        yield from _explained(field, indent)
        inner = field.annotation
        if isinstance(inner, type) and issubclass(inner, Section):
            yield f"{indent}{name}:"
            yield from _section(inner, chosen, f"{indent}  ")
        else:
            lines = write_yaml({name: chosen}).rstrip().splitlines()
            yield from (f"{indent}{line}" for line in lines)


def _default(name: str, field: FieldInfo, indent: str) -> Iterator[str]:
    """A key that is not chosen, as a comment."""
    shown = f"{indent}# {name}: {default_of(field)}"
    line = f"{shown}  # {field.description}"
    if len(line) <= _WIDTH:
        yield line
    else:
        yield from _explained(field, indent)
        yield shown


def _explained(field: FieldInfo, indent: str) -> list[str]:
    start = f"{indent}# "
    return textwrap.wrap(
        field.description or "", _WIDTH, initial_indent=start, subsequent_indent=start
    )
