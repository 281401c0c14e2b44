"""Training folds: each from the store to ``foldK/model.keras``."""

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from arcticdl.config import Experiment
from arcticdl.config.train import ScheduleConfig
from arcticdl.errors import ConfigError
from arcticdl.experiment.build import (
    build_feeds,
    check_batch_sizes,
    count_classes,
    describe_card,
    describe_fold,
    describe_training,
)
from arcticdl.experiment.callbacks import build_callbacks, build_stopping
from arcticdl.experiment.check import check_options
from arcticdl.experiment.data.prepared import check_prepared, open_prepared
from arcticdl.experiment.data.run_split import refuse_other_tiles
from arcticdl.experiment.devices.fold import (
    check_together,
    folder_to_show,
    hold_together,
    say_first,
)
from arcticdl.experiment.diffusion.network import build_answering
from arcticdl.experiment.ensembles.members import (
    Part,
    join_members,
    plan_parts,
    snapshot_callbacks,
    write_draw,
)
from arcticdl.experiment.folder import (
    FULL,
    Fold,
    check_run,
    claim_fold,
    fold_path,
)
from arcticdl.experiment.labels.corrections import check_layers, describe_corrections
from arcticdl.experiment.machine.batch_size import (
    find_for,
    is_found,
    settle_batch_size,
    with_batch_size,
)
from arcticdl.experiment.machine.environment import write_environment
from arcticdl.experiment.network import build_network
from arcticdl.experiment.optimisers import build_optimizer
from arcticdl.experiment.split import (
    Split,
    choose_everything,
    choose_folds,
    count_folds,
    refuse_leaks,
)
from arcticdl.experiment.warm import check_start, find_start
from arcticdl.inference.preflight import TRAINED_ON, training_record
from arcticdl.tiles import TileStore, check_store
from arcticdl.tiles.quality.checks import refuse_errors
from arcticdl.training.devices.processes import join_processes
from arcticdl.training.signals import watch_signals


def train(
    config: Experiment,
    fold: str | int = "all",
    *,
    run_dir: Path | None = None,
    resume: bool = False,
    overwrite: bool = False,
) -> Path:
    """Trains one fold, or all of them one after the other.

    Fold ``"full"`` is the model to use once the folds have told how good it will be: it
    learns from every scene, and has no score of its own.

    Returns:
        The run folder.

    Raises:
        ConfigError: ``fold`` is no fold of the configuration, or has no whole batch.
        FileNotFoundError: The tile store is not there; run ``prepare`` first.
        StoreError: Errors were found in the store, and ``tiles.allow`` does not name
            their checks.
        FileExistsError: The run folder or the fold exists; see ``resume`` and
            ``overwrite``. Or another job is training the fold.
    """
    join_processes()
    folder, todo = folds_to_train(
        config, fold, run_dir=run_dir, resume=resume, overwrite=overwrite
    )
    if todo:
        check_together(config)
        check_options(config)
    store = open_prepared(config)
    if not overwrite:
        refuse_other_tiles(folder, store, todo)
    if todo:
        found = check_store(store.path, deep=False).findings
        refuse_errors(found, allow=config.tiles.allow)
    splits = split_folds(config, store, todo)
    for number in todo:
        train_fold(config, store, splits[number], folder, number, overwrite=overwrite)
    return folder


def split_folds(
    config: Experiment, store: TileStore, todo: Sequence[Fold]
) -> dict[Fold, Split]:
    """The parts of folds that are to be trained, once a warm start may begin them.

    Raises:
        ConfigError: A fold has no whole batch.
        FileNotFoundError: The run of a warm start, or its fold, is not trained.
        StoreError: The store was prepared with other settings of ``data`` or tiles, or
            corrections of its labels.
        SplitError: It has seen what a fold is tested on; or a part of a fold is empty,
            or shares with another what it must not.
    """
    splits: dict[Fold, Split] = (
        {FULL: choose_everything(store, config)}
        if FULL in todo
        else dict(choose_folds(store, config, [int(n) for n in todo]).items())
    )
    check_batch_sizes(config, splits)
    check_layers(config, store)
    check_prepared(config, store)
    check_start(config, store, splits)
    refuse_leaks(store, config, splits)
    return splits


def folds_to_train(
    config: Experiment,
    fold: Fold = "all",
    *,
    run_dir: Path | None = None,
    resume: bool = False,
    overwrite: bool = False,
) -> tuple[Path, list[Fold]]:
    """Checks a run folder, without writing, and says which folds are still to train.

    Returns:
        The run folder and the folds.

    Raises:
        ConfigError: ``fold`` is no fold of the configuration.
        FileExistsError: The run folder or the fold exists; see ``train``.
    """
    numbers = fold_numbers(config, fold)
    folder = run_dir or Path("runs") / config.name
    check_run(config, folder, overwrite=overwrite)
    todo = [
        number
        for number in numbers
        if claim_fold(folder, number, resume=resume, overwrite=overwrite)
    ]
    return folder, todo


def fold_numbers(config: Experiment, fold: Fold, *, scored: bool = False) -> list[Fold]:
    """The folds that ``all``, ``full`` or a number stands for.

    Args:
        config: The experiment.
        fold: What is asked for.
        scored: Whether they are to be scored, which the full model cannot be.

    Raises:
        ConfigError: ``fold`` is no such fold, or ``folds.only`` leaves it out.
    """
    n_splits = count_folds(config)
    only = list(config.folds.only or range(n_splits))
    if max(only) >= n_splits:
        raise ConfigError(
            f"`folds.only` must name folds from 0 to {n_splits - 1}. Received: {only}."
        )
    if fold == "all":
        return [*only]
    if fold == FULL and not scored:
        return [FULL]
    if not str(fold).isdigit() or int(fold) >= n_splits:
        named = "`all`" if scored else f"`all`, `{FULL}`"
        raise ConfigError(
            f"`fold` must be {named} or a number from 0 to {n_splits - 1}. "
            f"Received: {fold!r}."
        )
    if int(fold) not in only:
        raise ConfigError(
            f"`folds.only` allows the folds {only}: what the others are tested on may "
            f"have chosen the settings. Received: {fold!r}."
        )
    return [int(fold)]


@watch_signals()
def train_fold(
    config: Experiment,
    store: TileStore,
    split: Split,
    folder: Path,
    number: Fold,
    *,
    overwrite: bool = False,
    watch: Callable[[Any], Any] | None = None,
) -> Path:
    """Trains one fold; nothing is written before feeds and model stand.

    Where an ensemble is configured its members are trained one after the other, and
    those that an earlier start has finished are left alone.

    Args:
        config: The experiment.
        store: Its tile store.
        split: Parts of the fold.
        folder: The run folder.
        number: Number of the fold, or ``FULL``.
        overwrite: Whether an earlier training of it is replaced.
        watch: Makes a further callback, given the validation feed.

    Returns:
        The fold's folder.

    Raises:
        Preempted: A termination signal came, at whatever step.
    """
    import keras

    seed = config.seed + (config.folds.n_splits if number == FULL else int(number))
    keras.config.set_dtype_policy(config.train.precision)
    start = find_start(config, number)
    parts = plan_parts(config, store, split, fold_path(folder, number), seed)
    corrected = describe_corrections(store, split.train)
    about = {TRAINED_ON: training_record(store, split.train)}
    about |= {"corrections": corrected} if corrected else {}
    seen = with_batch_size(config, 1) if is_found(config) else config
    training = _Training(seen, store, parts[0], start, about, watch)
    audit = [] if split.leakage is None else [str(split.leakage)]
    mended = [
        f"{name}: {told['changed_px']:,} px of {told['scenes']} training scenes "
        f"corrected, version {told['version']}"
        for name, told in corrected.items()
    ]
    told = [describe_fold(config, store, split, number), *audit, *mended]
    told += [] if is_found(config) else training.lines
    with hold_together(
        config, store, split, folder, number, overwrite=overwrite, told=told
    ) as fold_dir:
        if is_found(config):
            feed, _ = training.feeds
            config, found = settle_batch_size(config, folder, training.model, feed)
            training = _Training(config, store, parts[0], start, about, watch)
            write_environment(folder, config, str(getattr(store, "fingerprint", "")))
            say_first(found, *training.lines)
        if config.train.ensemble is None:
            training.fit()
            return fold_dir
        for count, part in enumerate(parts):
            if part.done:
                continue
            if count:
                say_first(f"member {count + 1} of {len(parts)}")
                training = _Training(config, store, part, start, about, watch)
            part.folder.mkdir(exist_ok=True)
            write_draw(store, part)
            training.fit()
        say_first(*join_members(config, store, split, fold_dir))
    return fold_dir


class _Training:
    """The network and the feeds of one part of a fold, ready to be fitted."""

    def __init__(
        self,
        config: Experiment,
        store: TileStore,
        part: Part,
        start: Path | None,
        about: dict[str, Any],
        watch: Callable[[Any], Any] | None,
    ) -> None:
        import keras

        from arcticdl.training.devices.placement import check_replicas, place

        keras.utils.set_random_seed(part.seed)
        self.config, self.part = config, part
        self.placement, self.held = place(config.train.devices), ExitStack()
        shown = self.held.enter_context(folder_to_show(part.folder))
        with self.placement.scope():
            self.feeds = build_feeds(
                config, store, part.split, seed=part.seed, placement=self.placement
            )
            feed, validation_feed = self.feeds
            card = describe_card(config, feed) | about
            counts = count_classes(config, store, part.split)
            num_steps = len(feed) * config.train.epochs
            self.model = build_network(config, card, num_steps, counts)
            self.answering = build_answering(config, self.model, card, part.seed)
            begins = self.answering or self.model
            begun = [] if start is None else [_begin(begins, start)]
            self.stopping = build_stopping(config)
            self.callbacks = [
                *build_callbacks(config, shown, validation_feed, feed),
                *snapshot_callbacks(config, part, num_steps),
                *([] if watch is None else [watch(validation_feed)]),
            ]
            check_replicas(self.model, self.callbacks)
        self.lines = describe_training(config, self.model, feed, counts) + begun
        if self.placement.total > 1:
            self.lines.append(f"devices: {self.placement}")

    def fit(self) -> None:
        """Trains, going on where an earlier start ended."""
        from arcticdl.training import fit

        feed, validation_feed = self.feeds
        with self.held, self.placement.scope():
            fit(
                self.model,
                feed,
                self.part.folder,
                epochs=self.config.train.epochs,
                validation_feed=validation_feed,
                stopping=self.stopping,
                callbacks=self.callbacks,
                answering=self.answering,
            )


def find_rate(
    config: Experiment,
    fold: int = 0,
    *,
    lowest: float = 1e-6,
    highest: float = 1.0,
    num_steps: int = 100,
) -> Any:
    """Sweeps the learning rate on the training tiles of a fold; writes nothing.

    Args:
        config: The experiment; its optimiser, loss, batches and augmentation count, its
            rate and schedule do not.
        fold: Number of the fold.
        lowest: First rate.
        highest: Last rate.
        num_steps: Batches.

    Returns:
        A ``training.RateSweep``.

    Raises:
        ConfigError: ``fold`` is no fold of the configuration.
        FileNotFoundError: The tile store is not there; run ``prepare`` first.
        ValueError: A number out of range.
    """
    import keras

    from arcticdl import training

    (number,) = fold_numbers(config, fold)
    check_options(config)
    store = open_prepared(config)
    split = split_folds(config, store, [number])[number]
    keras.utils.set_random_seed(config.seed + int(number))
    keras.config.set_dtype_policy(config.train.precision)
    given, config = config, with_batch_size(config, 1) if is_found(config) else config
    feed, _ = build_feeds(config, store, split, seed=config.seed + int(number))
    counts = count_classes(config, store, split)
    model = build_network(config, describe_card(config, feed), num_steps, counts)
    if is_found(given):
        config = with_batch_size(given, find_for(model, feed).batch_size)
        feed, _ = build_feeds(config, store, split, seed=config.seed + int(number))
    if (start := find_start(config, number)) is not None:
        _begin(model, start)
    steady = {"schedule": ScheduleConfig(name="constant"), "warmup_fraction": None}
    settings = config.train.model_copy(update=steady)
    return training.find_rate(
        model,
        feed,
        optimizer=build_optimizer(settings, num_steps, model),
        lowest=lowest,
        highest=highest,
        num_steps=num_steps,
    )


def _begin(model: Any, start: Path) -> str:
    """Loads the weights of a warm start, and says which."""
    from arcticdl.inference.load import load_model
    from arcticdl.models import warm_start

    return f"begins as {start}: {warm_start(model, load_model(start / 'model.keras'))}"
