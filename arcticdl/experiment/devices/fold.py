"""A fold that one process holds for all that train it together, and describes."""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from rich.console import Console

from arcticdl.config import Experiment
from arcticdl.errors import ConfigError
from arcticdl.experiment.folder import (
    Fold,
    fold_path,
    hold_fold,
    write_json,
)
from arcticdl.experiment.machine.environment import write_environment
from arcticdl.experiment.split import Split, describe_split
from arcticdl.experiment.warm import find_start, scenes_seen
from arcticdl.tiles import TileStore
from arcticdl.training.devices.processes import (
    is_first,
    num_processes,
    raise_together,
    wait_for_all,
)


@contextmanager
def hold_together(
    config: Experiment,
    store: TileStore,
    split: Split,
    folder: Path,
    number: Fold,
    *,
    overwrite: bool,
    told: Sequence[str],
) -> Iterator[Path]:
    """Says what will be done and keeps the fold; of several processes the first does.

    Args:
        config: The experiment.
        store: Its tile store.
        split: Parts of the fold.
        folder: The run folder.
        number: Number of the fold, or ``FULL``.
        overwrite: As for `hold_fold`.
        told: Lines that say what will be done.

    Yields:
        The fold's folder.

    Raises:
        FileExistsError: As for `hold_fold`.
        ValueError: The first process could not begin.
    """
    failed: Exception | None = None
    wait_for_all("checked")  # before anything is there that a check would refuse
    with ExitStack() as held:
        if is_first():
            say_first(*told)
            try:
                held.enter_context(
                    hold_fold(config, folder, number, overwrite=overwrite)
                )
                _describe(config, store, split, folder, number)
            except Exception as error:  # for which the others would wait
                failed = error
        raise_together(failed)
        yield fold_path(folder, number)


def say_first(*lines: str) -> None:
    """Prints lines, of several processes in the first alone."""
    if is_first():
        say = Console(highlight=False, markup=False, soft_wrap=True).print
        for words in lines:
            say(words)


@contextmanager
def folder_to_show(folder: Path) -> Iterator[Path]:
    """Where callbacks write: of several processes, all but the first to no avail."""
    if is_first():
        yield folder
        return
    with TemporaryDirectory() as nowhere:
        yield Path(nowhere)


def check_together(config: Experiment) -> None:
    """Refuses what several devices, or several processes, cannot do together.

    Raises:
        ConfigError: A batch size to be found; in several processes also an ensemble,
            windows of scenes, or a log that each of them would keep.
    """
    from arcticdl.training.devices.placement import place

    if config.train.batch_size == "auto" and place(config.train.devices).total > 1:
        raise ConfigError(
            "`train.batch_size` must be a number where several devices share every "
            "batch. Received: auto. Find it on one device, and give that times "
            f"`train.devices`, {place(config.train.devices).total}."
        )
    if num_processes() == 1:
        return
    names = {callback.name for callback in config.train.callbacks}
    logs = sorted(names & {"mlflow", "wandb"})
    wrong = [
        what
        for what, is_so in {
            "`train.ensemble`": config.train.ensemble is not None,
            "`train.swa`": config.train.swa is not None,
            "`train.feed` scenes": config.train.feed == "scenes",
            f"`train.callbacks` {', '.join(logs)}": bool(logs),
        }.items()
        if is_so
    ]
    if wrong:
        raise ConfigError(
            "Several processes train one network together, on tiles. Received: "
            f"{' and '.join(wrong)}, in {num_processes()} processes. Train the members "
            "of an ensemble, or on scenes, in one process, whose devices may share "
            "every batch (`train.devices`); leave the others out."
        )


def _describe(
    config: Experiment, store: TileStore, split: Split, folder: Path, number: Fold
) -> None:
    """Writes what a fold is made from and with, before it is trained."""
    fold_dir = fold_path(folder, number)
    write_environment(folder, config, str(getattr(store, "fingerprint", "")))
    described = describe_split(store, split)
    start = find_start(config, number)
    if start is not None:
        described["before"] = sorted(scenes_seen(start))
    write_json(fold_dir / "split.json", described)
    if split.leakage is not None:
        write_json(fold_dir / "leakage.json", split.leakage.to_dict())
