"""Samplers and pruners of Optuna, with seeds that go by the trial's number."""

import itertools
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from optuna.pruners import BasePruner, HyperbandPruner, MedianPruner, NopPruner
from optuna.samplers import (
    BaseSampler,
    CmaEsSampler,
    NSGAIISampler,
    RandomSampler,
    TPESampler,
)

from arcticdl.config.search.section import ParameterConfig, SearchConfig
from arcticdl.config.search.space import is_there, label_of
from arcticdl.errors import ConfigError

MAX_CELLS = 2000
"""Largest grid: each of its cells waits in the study for its worker."""


class NumberedSampler(BaseSampler):
    """Draws each trial with a seed of its own number.

    A sampler that goes on with one stream of random numbers gives trials that depend on
    which worker asked first, and two workers with one seed the same trials.

    Args:
        build: Builds a sampler from a seed.
        seed: Seed of the search.
    """

    def __init__(self, build: Callable[[int], BaseSampler], seed: int) -> None:
        self._build, self._seed = build, seed
        self._inner = build(seed)

    def before_trial(self, study: Any, trial: Any) -> None:
        """Begins anew, with the trial's seed."""
        entropy = np.random.SeedSequence([self._seed, trial.number])
        self._inner = self._build(int(entropy.generate_state(1)[0] >> 1))
        self._inner.before_trial(study, trial)

    def infer_relative_search_space(self, study: Any, trial: Any) -> Any:
        """As the sampler does."""
        return self._inner.infer_relative_search_space(study, trial)

    def sample_relative(self, study: Any, trial: Any, search_space: Any) -> Any:
        """As the sampler does."""
        return self._inner.sample_relative(study, trial, search_space)

    def sample_independent(
        self, study: Any, trial: Any, param_name: str, param_distribution: Any
    ) -> Any:
        """As the sampler does."""
        return self._inner.sample_independent(
            study, trial, param_name, param_distribution
        )

    def after_trial(
        self, study: Any, trial: Any, state: Any, values: Sequence[float] | None
    ) -> None:
        """As the sampler does."""
        self._inner.after_trial(study, trial, state, values)


def build_random(seed: int) -> BaseSampler:
    """Every trial by itself."""
    return RandomSampler(seed=seed)


def build_tpe(seed: int) -> BaseSampler:
    """Tree-structured Parzen estimators, a Bayesian method (Bergstra et al. 2011).

    Trials that others are running count as bad ones, so that workers keep apart.
    """
    return TPESampler(seed=seed, constant_liar=True)


def build_cmaes(seed: int) -> BaseSampler:
    """Evolution of a Gaussian over numbers (CMA-ES, Hansen and Ostermeier 2001)."""
    return CmaEsSampler(seed=seed)


def build_nsga2(seed: int) -> BaseSampler:
    """Evolution of a population for several objectives (NSGA-II, Deb et al. 2002)."""
    return NSGAIISampler(seed=seed, population_size=20)


def check_sampler(name: str, search: SearchConfig) -> None:
    """Refuses a space, or objectives, that a sampler does not take.

    Args:
        name: Name of the sampler.
        search: The search.

    Raises:
        ConfigError: A grid of a range without steps, or too large; CMA-ES of choices,
            of conditions, of fewer than two numbers or for several objectives.
    """
    if name == "grid":
        list_cells(search)
    if name != "cmaes":
        return
    wrong = [key for key, p in search.space.items() if p.choices or p.when]
    if wrong or len(search.space) < 2 or len(search.sought) > 1:
        raise ConfigError(
            "The sampler 'cmaes' moves a cloud of numbers: it needs two ranges or more "
            "without choices and conditions, and one objective. Received: "
            f"{wrong or list(search.space)}, {len(search.sought)} objectives. Take "
            "'tpe' or 'nsga2'."
        )


def list_cells(search: SearchConfig) -> list[dict[str, Any]]:
    """All cells of a grid: key -> value as the study has it, choices by their text.

    Args:
        search: The search.

    Raises:
        ConfigError: A range without steps, or more than ``MAX_CELLS`` cells.
    """
    cells: list[dict[str, Any]] = [{}]
    for key, parameter in search.space.items():
        values = _grid_values(key, parameter)
        grown = (
            {**cell, key: value}
            for cell in cells
            for value in (values if is_there(parameter, cell) else [None])
        )
        cells = list(itertools.islice(grown, MAX_CELLS + 1))
        if len(cells) > MAX_CELLS:
            raise ConfigError(
                f"A grid may have {MAX_CELLS} cells. Received: more, from "
                f"{list(search.space)}. Take larger steps, or the sampler 'random'."
            )
    # A condition is told by values, a study by texts.
    return [
        {
            key: label_of(value) if search.space[key].choices else value
            for key, value in cell.items()
            if is_there(search.space[key], cell)
        }
        for cell in cells
    ]


def _grid_values(key: str, parameter: ParameterConfig) -> list[Any]:
    if parameter.choices is not None:
        return list(parameter.choices)
    low, high = parameter.low, parameter.high
    assert low is not None and high is not None
    step = parameter.step or (1 if parameter.is_whole and not parameter.log else None)
    if step is None:
        raise ConfigError(
            f"A grid needs `choices`, or a `step`, of `search.space.{key}`. Received: "
            f"the range from {low} to {high}."
        )
    count = round((high - low) / step) + 1
    # As Optuna counts, so that the last one is not beyond `high` by its rounding.
    return [min(low + n * step, high) for n in range(count)]


def build_pruner(name: str, epochs: int) -> BasePruner:
    """Builds what ends trials early.

    Args:
        name: ``median``, ``hyperband`` or ``none``.
        epochs: Most epochs of a trial.

    Returns:
        Median: below the median of the earlier trials at the same epoch, once five are
        done and a quarter of the epochs. Hyperband: Li et al. 2018, by thirds.
    """
    if name == "median":
        return MedianPruner(n_startup_trials=5, n_warmup_steps=max(1, epochs // 4))
    if name == "hyperband":
        return HyperbandPruner(
            min_resource=max(1, epochs // 9), max_resource=epochs, reduction_factor=3
        )
    return NopPruner()


def suggest(trial: Any, search: SearchConfig) -> dict[str, Any]:
    """Draws the values of a trial; one that has values already gets the same.

    Args:
        trial: A trial of Optuna.
        search: The search.

    Returns:
        Key -> value, of the parameters whose condition holds.
    """
    values: dict[str, Any] = {}
    for key, parameter in search.space.items():
        if not is_there(parameter, values):
            continue
        low, high, log = parameter.low, parameter.high, parameter.log
        if parameter.choices is not None:
            labels = {label_of(choice): choice for choice in parameter.choices}
            values[key] = labels[trial.suggest_categorical(key, list(labels))]
        elif parameter.is_whole:
            step = int(parameter.step or 1)
            values[key] = trial.suggest_int(key, low, high, step=step, log=log)
        else:
            step_ = parameter.step
            values[key] = trial.suggest_float(key, low, high, step=step_, log=log)
    return values


def values_of(params: dict[str, Any], search: SearchConfig) -> dict[str, Any]:
    """The values of a trial that a study holds, as the configuration has them.

    Args:
        params: Key -> value as the study has it.
        search: The search.
    """
    found = {}
    for key, value in params.items():
        choices = search.space[key].choices
        labels = {label_of(choice): choice for choice in choices or ()}
        found[key] = labels[value] if choices else value
    return found
