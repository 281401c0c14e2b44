"""The best trial: which it is, as a configuration to train, and its weights."""

import shutil
from typing import Any

from arcticdl.config import Experiment, dump_config
from arcticdl.config.search.space import apply_values
from arcticdl.experiment.search.plan import Plan
from arcticdl.experiment.search.samplers import values_of
from arcticdl.experiment.search.study import About, trial_path
from arcticdl.files import write_text


def best_numbers(study: Any) -> list[int]:
    """Numbers of the best trials: one, or all that no other beats in every objective.

    Args:
        study: The study.

    Returns:
        The numbers, of several objectives the best in the first one first; empty where
        no trial has come to an end.
    """
    from optuna.study import StudyDirection
    from optuna.trial import TrialState

    if not study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,)):
        return []
    if len(study.directions) == 1:
        return [study.best_trial.number]
    sign = -1 if study.directions[0] == StudyDirection.MAXIMIZE else 1
    front = sorted(study.best_trials, key=lambda t: (sign * t.values[0], t.number))
    return [trial.number for trial in front]


def best_config(study: Any, plan: Plan) -> Experiment:
    """The configuration of the best trial, to be trained on all of its training part.

    Args:
        study: A study with a trial that came to an end.
        plan: The search.

    Returns:
        As ``plan.config``, without ``search``. Only its fold may be scored: what other
        folds are tested on has trained or judged trials.
    """
    best = study.get_trials(deepcopy=False)[best_numbers(study)[0]]
    config = apply_values(plan.config, plan.search, values_of(best.params, plan.search))
    tiles = config.tiles.model_copy(update={"store": str(config.store_path)})
    folds = config.folds.model_copy(update={"only": (plan.fold,)})
    changed = {"name": f"{config.name}-tuned", "tiles": tiles, "folds": folds}
    return config.model_copy(update=changed)


def write_best(study: Any, plan: Plan, about: About) -> None:
    """Writes ``best.yaml``, once a trial has come to an end."""
    numbers = best_numbers(study)
    if not numbers:
        return
    best = study.get_trials(deepcopy=False)[numbers[0]]
    path = plan.folder / "best.yaml"
    lines = [
        f"# Trial {best.number} of the search in {plan.folder}, by {about.sampler}: "
        + ", ".join(
            f"{o.name} {value:.6g}"
            for o, value in zip(about.objectives, best.values, strict=True)
        ),
        f"# on the validation part of fold {plan.fold}; its test part chose nothing.",
        *(f"#   {key}: {value}" for key, value in best.params.items()),
    ]
    if len(numbers) > 1:
        others = ", ".join(map(str, numbers[1:]))
        lines.append(f"# Trials that none beats in every objective as well: {others}.")
    lines.append(f"# Train it: arcticdl train {path}")
    text = "\n".join(lines) + "\n" + dump_config(best_config(study, plan))
    if not path.exists() or path.read_text(encoding="utf-8") != text:
        write_text(path, text)


def tidy(study: Any, plan: Plan, number: int) -> None:
    """Removes the weights of a trial that is done, and of those that were best.

    Args:
        study: The study.
        plan: The search; it may keep the best.
        number: Number of the trial.
    """
    name = f"fold{plan.fold}"
    shutil.rmtree(trial_path(plan.folder, number) / name / "checkpoint", True)
    kept = best_numbers(study) if plan.keep_best else []
    for path in (plan.folder / "trials").glob(f"*/{name}/model.keras"):
        other = int(path.parent.parent.name)
        if other not in kept and (other == number or plan.keep_best):
            path.unlink(missing_ok=True)
