"""``arcticdl demo``: the whole chain on simulated scenes, in a folder of its own."""

import json
import shlex
import shutil
import subprocess
import sys
import time
from importlib.resources import files
from pathlib import Path
from typing import Annotated

import typer

from arcticdl.cli.options import Overwrite

CONFIG = "configs/demo.yaml"
# Fold 1 holds out a scene whose incidence angles lie within those of the others; fold 0
# one that lies outside (20-23 degrees against 34-44), which is a harder question.
STEPS = (
    "simulate data/demo --scenes 6 --size 512 --seed 0",
    "prepare configs/demo.yaml",
    "train configs/demo.yaml --fold 1 --resume",
    "evaluate runs/demo",
    "predict runs/demo --fold 1 --resume",
    "report runs/demo",
)
"""The words of each command, in order; ``make demo`` runs the same in a checkout."""

MARKER = ".arcticdl-demo.json"
"""Says which steps are done, and that the folder is a demo's."""

WRITTEN = ("configs/demo.yaml", "data/demo", "data/demo.tiles", "runs/demo", MARKER)


def demo(
    folder: Annotated[
        Path, typer.Argument(metavar="FOLDER", help="Folder to write, new or empty.")
    ] = Path("arcticdl-demo"),
    overwrite: Overwrite = False,
) -> None:
    """Simulate, prepare, train, evaluate, predict and report, from nothing to a page.

    Six simulated radar scenes of sea ice are cut into tiles; a U-Net learns five of
    them and maps the sixth, beside simpler classifiers. Each step is a command that is
    shown and that you may run yourself in the folder; the configuration lies in
    configs/demo.yaml. Four to six minutes on two processors. An interrupted call goes
    on where it ended. Simulated results say nothing about real ice.

    Example: `arcticdl demo ice-demo`
    """
    done = _begin(folder, overwrite=overwrite)
    began = time.monotonic()
    for number, words in enumerate(STEPS, 1):
        if words in done:
            continue
        typer.echo(f"[{number}/{len(STEPS)}] arcticdl {words}", err=True)
        if status := run_step(shlex.split(words), folder):
            raise typer.Exit(status)
        done.append(words)
        _mark(folder, done)
    minutes = (time.monotonic() - began) / 60
    typer.echo(f"done, {minutes:.1f} minutes; open the page:", err=True)
    typer.echo(folder / "runs" / "demo" / "report.html")


def config_text() -> str:
    """The demo's configuration: in a wheel beside the package, else in the checkout."""
    packaged = files("arcticdl").joinpath(CONFIG)
    if packaged.is_file():
        return packaged.read_text("utf-8")
    return (Path(__file__).parents[2] / CONFIG).read_text("utf-8")


def run_step(words: list[str], folder: Path) -> int:
    """Runs one command in the folder, in a process of its own.

    Args:
        words: What comes after ``arcticdl``.
        folder: Where it runs.

    Returns:
        Its exit status.
    """
    command = [sys.executable, "-m", "arcticdl.cli", *words]
    with subprocess.Popen(command, cwd=folder) as process:
        while True:
            try:
                return process.wait()
            except KeyboardInterrupt:  # the step has had it too, and ends in good order
                continue


def _begin(folder: Path, *, overwrite: bool) -> list[str]:
    """Makes the folder, or finds out what an earlier call has done in it."""
    from arcticdl.files import write_text

    marker, config = folder / MARKER, folder / CONFIG
    if folder.exists() and not (folder.is_dir() and _is_ours(folder)):
        raise FileExistsError(
            f"`FOLDER` must be new, empty, or that of an earlier demo. Received: "
            f"{folder}, which holds something else. Choose another folder."
        )
    if overwrite:
        for name in WRITTEN:
            path = folder / name
            shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)
    done = _read(marker)
    if done and not (done == list(STEPS[: len(done)]) and _same(config)):
        raise FileExistsError(
            "`FOLDER` must hold the same demo to go on with it. Received: "
            f"{folder}, of another version of arcticdl or with another {CONFIG}. "
            "Choose another folder, or begin anew with --overwrite."
        )
    config.parent.mkdir(parents=True, exist_ok=True)
    _mark(folder, done)
    write_text(config, config_text())
    return done


def _is_ours(folder: Path) -> bool:
    return (folder / MARKER).is_file() or not any(folder.iterdir())


def _same(config: Path) -> bool:
    return config.is_file() and config.read_text("utf-8") == config_text()


def _read(marker: Path) -> list[str]:
    if not marker.exists():
        return []
    try:
        return [str(step) for step in json.loads(marker.read_text("utf-8"))["done"]]
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(
            "A demo's record of its steps must be the JSON that it wrote. Received: "
            f"{marker}. Remove the folder, or choose another."
        ) from error


def _mark(folder: Path, done: list[str]) -> None:
    from arcticdl.files import write_json

    write_json(folder / MARKER, {"done": done})
