"""``arcticdl config``: configurations written, shown, checked and explained."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from arcticdl.cli.options import Config, Overwrite, Set, split_names

if TYPE_CHECKING:
    from arcticdl.config.guide.keys import Key

config = typer.Typer(
    help="Configurations: a new one, the resolved one, checks, keys, JSON Schema.",
    no_args_is_help=True,
)

Out = Annotated[
    Path | None,
    typer.Option("-o", "--out", help="File to write. Default: the terminal."),
]
Name = Annotated[str, typer.Option(help="Name of the experiment.")]
Scenes = Annotated[
    str,
    typer.Option(
        "--data", metavar="GLOB", help="Path or glob of the scenes, in quotes."
    ),
]
Task = Annotated[str, typer.Option(help="What the network shall answer.")]
Label = Annotated[str, typer.Option(help="Name of the label.")]
Classes = Annotated[
    str,
    typer.Option(help="Names of the classes 0, 1, 2, ..., separated by commas."),
]


@config.command("new")
def new(
    name: Name = "my_experiment",
    scenes: Scenes = "data/scenes/*.tif",
    task: Task = "segmentation",
    label: Label = "label",
    classes: Classes = "background,object",
    out: Out = None,
    overwrite: Overwrite = False,
) -> None:
    """Write a commented configuration for data of one's own.

    What must be chosen stands as it is, every other key as a comment with its default
    and its meaning. The label of scene.tif is expected beside it as scene_LABEL.tif;
    change `replace` where it is elsewhere. Editors complete its keys once
    `arcticdl config schema -o arcticdl.schema.json` has been run beside it.

    Example: `arcticdl config new --data "data/*.tif" --classes water,ice -o ice.yaml`
    """
    from arcticdl.config.guide.template import new_config

    text = new_config(
        name, scenes, task=task, label=label, classes=split_names(classes)
    )
    emit(text, out, overwrite)


@config.command("show")
def show(config: Config, set_: Set = None) -> None:
    """Print a configuration with every default and every override.

    Example: `arcticdl config show configs/demo.yaml --set train.epochs=5`
    """
    from arcticdl.config import dump_config, load_config

    typer.echo(dump_config(load_config(config, tuple(set_ or ()))), nl=False)


@config.command("check")
def check(
    config: Config,
    set_: Set = None,
    names_only: Annotated[
        bool,
        typer.Option("--names-only", help="Leave out what needs Keras: the options."),
    ] = False,
) -> None:
    """Check a configuration: keys, types, names, and options against signatures.

    The network is built once, without weights that are pretrained. Data is not read,
    but for the time that the first scene of a series must tell. Exit status 1 when
    something is wrong.

    Example: `arcticdl config check configs/demo.yaml --set train.optimizer=SGD`
    """
    from arcticdl.config import load_config

    checked = load_config(config, tuple(set_ or ()))
    if not names_only:
        from arcticdl.cli.start import start_backend
        from arcticdl.experiment import check_network, check_options
        from arcticdl.experiment.scenes import check_first_scene

        start_backend()
        check_options(checked)
        check_network(checked)
        check_first_scene(checked)
    said = "names" if names_only else "names and options"
    typer.echo(f"{config}: {said} are right; {_found(checked.data)}")


def _found(data: Any) -> str:
    if data.scenes is None:
        is_there = Path(data.table.file).is_file()
        return f"data.table {'is there' if is_there else 'is not there'}"
    from arcticdl.sources.core.remote import find_files

    return f"{len(find_files(data.scenes))} paths match data.scenes"


@config.command("schema")
def schema(out: Out = None, overwrite: Overwrite = False) -> None:
    """Print the JSON Schema, by which editors complete and check a configuration.

    VS Code's YAML extension reads it where the first line of a configuration is
    `# yaml-language-server: $schema=arcticdl.schema.json`.

    Example: `arcticdl config schema -o arcticdl.schema.json`
    """
    emit(schema_text(), out, overwrite)


@config.command("keys")
def keys(
    key: Annotated[
        str,
        typer.Argument(
            metavar="KEY",
            help="Only this key and those below it; KEY=NAME: the options of a choice.",
        ),
    ] = "",
    markdown: Annotated[
        bool, typer.Option("--markdown", help="As a table in Markdown.")
    ] = False,
) -> None:
    """List every key with its type, its default and what it means.

    A key that takes a name lists the names; KEY=NAME lists the options of that choice,
    from its signature.

    Example: `arcticdl config keys train.optimizer=SGD`
    """
    from arcticdl.config.guide.keys import list_keys, write_keys

    key, _, name = key.partition("=")
    if name:
        from arcticdl.cli.signatures import list_options
        from arcticdl.cli.start import start_backend

        start_backend()
        found = list_options(key, name)
    else:
        found = list_keys(key)
    if markdown:
        typer.echo(write_keys(found))
        return
    for number, entry in enumerate(found):
        _print(entry, with_choices=bool(key) and number == 0)


def _print(key: "Key", with_choices: bool) -> None:
    default = "must be given" if key.default is None else f"default {key.default}"
    default = default if key.default != "" else "has defaults"
    typer.echo(f"{key.path}: {key.type}, {default}\n    {key.description}")
    if with_choices and key.choices:
        typer.echo(f"    {' '.join(key.choices)}")


def schema_text() -> str:
    """The JSON Schema as text."""
    from arcticdl.config.guide.keys import build_schema

    return json.dumps(build_schema(), indent=2) + "\n"


def emit(text: str, out: Path | None, overwrite: bool) -> None:
    """Prints a text, or writes it to a file and says so.

    Raises:
        FileExistsError: The file exists and ``overwrite`` is false.
    """
    from arcticdl.files import refuse_existing, write_text

    if out is None:
        typer.echo(text, nl=False)
        return
    refuse_existing(out, overwrite=overwrite)
    out.parent.mkdir(parents=True, exist_ok=True)
    write_text(out, text)
    typer.echo(out)
