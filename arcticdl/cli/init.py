"""``arcticdl init``: the folder of a new experiment."""

import re
from pathlib import Path
from typing import Annotated

import typer

from arcticdl.cli.config import (
    Classes,
    Label,
    Scenes,
    Task,
    emit,
    schema_text,
)
from arcticdl.cli.options import split_names


def init(
    folder: Annotated[
        Path, typer.Argument(metavar="FOLDER", help="New folder; its name is used.")
    ],
    scenes: Scenes = "data/scenes/*.tif",
    task: Task = "segmentation",
    label: Label = "label",
    classes: Classes = "background,object",
) -> None:
    """Begin an experiment: a commented configuration, and the schema for editors.

    Nothing that exists is replaced. What a name may not hold, such as a blank in the
    folder's, is `_` in the configuration's. Afterwards change FOLDER/config.yaml,
    check it, and go on with prepare and train.

    Example: `arcticdl init ice --data "data/*.tif" --classes water,ice`
    """
    from arcticdl.config.guide.template import SCHEMA_FILE, new_config

    path, schema = folder / "config.yaml", folder / SCHEMA_FILE
    for existing in (path, schema):
        if existing.exists():
            raise FileExistsError(f"{existing} exists. Choose another folder.")
    name = re.sub(r"[^A-Za-z0-9_.-]+", "_", folder.resolve().name).lstrip("_.-")
    text = new_config(
        name or "experiment",
        scenes,
        task=task,
        label=label,
        classes=split_names(classes),
    )
    emit(text, path, overwrite=False)
    emit(schema_text(), schema, overwrite=False)
    typer.echo(f"next: arcticdl config check {path}", err=True)
