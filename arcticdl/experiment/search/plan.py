"""What a search will do, checked before anything starts."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from arcticdl.choices import Table, check_choice
from arcticdl.config import Experiment
from arcticdl.config.search.section import SearchConfig
from arcticdl.config.search.space import apply_values, list_points
from arcticdl.errors import ConfigError, needs_extra
from arcticdl.experiment.build import count_of
from arcticdl.experiment.callbacks import find_monitor
from arcticdl.experiment.check import check_options
from arcticdl.experiment.split import Split
from arcticdl.experiment.train import fold_numbers
from arcticdl.tiles import TileStore

SEARCH_SAMPLERS = Table(
    None,
    {
        name: f"arcticdl.experiment.search.samplers:build_{built}"
        for name, built in {
            "cmaes": "cmaes",
            "grid": "random",  # all cells wait in the study; nothing is left to draw
            "nsga2": "nsga2",
            "random": "random",
            "tpe": "tpe",
        }.items()
    },
)
"""Name -> function that builds a sampler of Optuna from a seed."""


@dataclass(frozen=True)
class Plan:
    """A search as it was asked for.

    Attributes:
        config: The configuration, with its section ``search``.
        trials: Trials of the whole study, those of other workers included.
        fold: Number of the fold whose training part is searched on.
        sampler: Name of the sampler.
        folder: Folder of the study.
        storage: Where Optuna keeps it: a path, or an address of a database.
        keep_best: Whether the weights of the best trial stay.
    """

    config: Experiment
    trials: int
    fold: int
    sampler: str
    folder: Path
    storage: str
    keep_best: bool = False

    @property
    def search(self) -> SearchConfig:
        """The section ``search``."""
        assert self.config.search is not None
        return self.config.search


def plan_search(
    config: Experiment,
    trials: int,
    *,
    fold: int = 0,
    sampler: str = "tpe",
    study_dir: Path | None = None,
    storage: str | None = None,
    keep_best: bool = False,
) -> Plan:
    """Checks what a search was asked for, as far as no Keras and no data are needed.

    Args:
        config: The configuration.
        trials: Trials of the whole study, >= 1.
        fold: Number of the fold.
        sampler: A name of ``SEARCH_SAMPLERS``.
        study_dir: Folder of the study; default: ``studies/NAME-foldK``.
        storage: Path ending in ``.log`` (a journal), ``.db``, ``.sqlite`` or
            ``.sqlite3``, or the address of a database; default: a journal in the
            folder.
        keep_best: Keep the weights of the best trial.

    Raises:
        ConfigError: There is no section ``search``, no validation part, no such fold,
            or a space that the sampler does not take.
        ValueError: Another value that cannot be.
        MissingExtraError: Optuna is not installed.
    """
    if config.search is None:
        raise ConfigError(
            "A search needs the section `search`, such as: search: {space: "
            "{train.learning_rate: {low: 1e-4, high: 1e-2, log: true}}}"
        )
    check_choice("sampler", sampler, SEARCH_SAMPLERS)
    if trials < 1:
        raise ValueError(f"`trials` must be at least 1. Received: trials={trials}.")
    import_optuna(sampler)
    from arcticdl.experiment.search.samplers import check_sampler

    check_sampler(sampler, config.search)
    judged(config)
    fold_numbers(config, fold, scored=True)
    folder = study_dir or Path("studies") / f"{config.name}-fold{fold}"
    where = str(folder / "journal.log") if storage is None else storage
    _check_storage(where)
    return Plan(config, trials, int(fold), sampler, folder, where, keep_best)


def _check_storage(storage: str) -> None:
    known = (".log", ".db", ".sqlite", ".sqlite3")
    if "://" not in storage and Path(storage).suffix not in known:
        raise ValueError(
            f"`storage` must be a path ending in one of {list(known)}, or the address "
            "of a database, such as postgresql://host/name. Received: "
            f"storage={storage!r}."
        )


def import_optuna(sampler: str = "tpe") -> Any:
    """Imports Optuna, whose log is quiet: the search tells of each trial itself.

    Args:
        sampler: Name of the sampler that is needed.

    Raises:
        MissingExtraError: The extra ``tune`` is not installed.
    """
    with needs_extra("tune", "A search"):
        import optuna

        if sampler == "cmaes":
            import cmaes  # noqa: F401  Optuna asks for it with the second trial
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    return optuna


def judged(config: Experiment) -> Experiment:
    """The configuration with a validation part, by which trials are judged.

    Raises:
        ConfigError: There is none: the held-out fold never chooses.
    """
    assert config.search is not None
    groups = config.search.validation_groups
    if config.folds.validates:
        return config
    if not groups:
        raise ConfigError(
            "A search judges its trials by a validation part: the held-out fold never "
            "chooses. Give `search.validation_groups: 1` (groups of the training part, "
            "from which the best learns in the end), `folds.validation_groups`, a "
            "given `folds.validation`, or the splitter `nested`."
        )
    folds = config.folds.model_copy(update={"validation_groups": groups})
    return config.model_copy(update={"folds": folds})


@dataclass(frozen=True)
class Objective:
    """What is sought.

    Attributes:
        name: As it is logged, such as ``val_mean_iou``; of a cost its name.
        direction: ``maximize`` or ``minimize``.
        is_cost: Whether it is a cost, which training does not log.
    """

    name: str
    direction: str
    is_cost: bool

    @property
    def better(self) -> str:
        """Which way is better, in a word."""
        return "more" if self.direction == "maximize" else "less"


def find_objectives(config: Experiment) -> list[Objective]:
    """Finds the scores that will be logged, and which way is better; loads Keras.

    Raises:
        ConfigError: A score will not be logged, or has no known direction.
    """
    assert config.search is not None
    found = []
    for number, settings in enumerate(config.search.sought):
        if settings.cost:
            found.append(Objective(settings.cost, "minimize", True))
            continue
        key = f"search.objectives.{number}"
        name, own = find_monitor(config, key, settings.monitor)
        mode = own if settings.mode == "auto" else settings.mode
        if mode == "auto":
            raise ConfigError(
                f"`{key}.mode` must say which way is better, `min` or `max`: {name} "
                "does not."
            )
        direction = "maximize" if mode == "max" else "minimize"
        found.append(Objective(name, direction, False))
    return found


def check_search(config: Experiment) -> int:
    """Compares every choice and bound of a space with what will take it; loads Keras.

    Args:
        config: The configuration, with its section ``search``.

    Returns:
        The most epochs that a trial may have.

    Raises:
        ConfigError: As for ``check_options``, with the parameter; or as for
            ``find_objectives``.
    """
    assert config.search is not None
    find_objectives(config)
    base = judged(config)
    epochs = []
    for key, values in list_points(config.search):
        try:
            trial = apply_values(base, config.search, values)
            check_options(trial)
        except (ConfigError, FileNotFoundError) as error:
            raise ConfigError(
                f"`search.space.{key}`: a trial with {values[key]!r} is refused. "
                f"{error}"
            ) from error
        epochs.append(trial.train.epochs)
    return max(epochs)


def describe_plan(
    plan: Plan, store: TileStore, split: Split, objectives: list[Objective], epochs: int
) -> list[str]:
    """Says in a few lines what a search will do.

    Args:
        plan: The search.
        store: The tile store.
        split: Parts of the fold.
        objectives: What is sought.
        epochs: Most epochs of a trial.
    """
    scenes = store.manifest["scene_id"].to_numpy()

    def told(tiles: Any) -> str:
        return f"{len(tiles)} tiles of {count_of(len(set(scenes[tiles])), 'scene')}"

    sought = " and ".join(f"{o.name} ({o.better} is better)" for o in objectives)
    least = f"up to {plan.trials * epochs:,} epochs in all"
    return [
        f"search in {plan.folder}: {count_of(plan.trials, 'trial')} by {plan.sampler}, "
        f"each of up to {count_of(epochs, 'epoch')}, {least}; pruner "
        f"{plan.search.pruner_name}",
        f"fold {plan.fold}: {told(split.train)} train, {told(split.validation)} judge, "
        f"{told(split.test)} are held out, which no trial reads",
        f"sought: {sought}",
        *(f"  {key}: {_range(p)}" for key, p in plan.search.space.items()),
    ]


def _range(parameter: Any) -> str:
    from arcticdl.config.search.space import label_of

    if parameter.choices is not None:
        text = " | ".join(label_of(choice) for choice in parameter.choices)
    else:
        text = f"{parameter.low} to {parameter.high}"
        text += " by logarithm" if parameter.log else ""
        text += f" in steps of {parameter.step}" if parameter.step else ""
    when = ", ".join(f"{k} = {label_of(v)}" for k, v in parameter.when.items())
    return f"{text}, when {when}" if when else text
