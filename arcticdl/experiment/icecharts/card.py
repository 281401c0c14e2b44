"""The robustness card of a run: its AutoICE score against what scenes may suffer."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from arcticdl.choices import check_choices, check_names
from arcticdl.config import Experiment
from arcticdl.errors import TaskError
from arcticdl.experiment.data.ceilings import open_ceilings
from arcticdl.experiment.data.prepared import open_prepared
from arcticdl.experiment.data.run_split import folds_of_run
from arcticdl.experiment.folder import chosen_folds, fold_path, load_run, write_json
from arcticdl.experiment.icecharts.card_figure import draw_card
from arcticdl.experiment.icecharts.score import official_of, predictor_of
from arcticdl.experiment.split import Split
from arcticdl.plots import write_figure
from arcticdl.progress import track

FILE = "robustness"
_NETWORK = ""


def robustness_card(
    run: str | Path, *, fold: str | int = "all", damages: tuple[str, ...] | None = None
) -> dict[str, Any]:
    """Scores a run's folds on their held-out scenes, damaged in several ways.

    Args:
        run: Run folder whose heads are called ``SIC``, ``SOD`` and ``FLOE``.
        fold: Number, or ``all`` that are trained.
        damages: Names of ``evaluation.autoice.damage.DAMAGES``; ``None``: all.

    Returns:
        ``whole``: the score of the scenes as they are, ``num_scenes`` of them;
        ``simulated``: whether they are; ``damages``: by name ``about``,
        ``unit`` and ``levels``, a list of ``level`` and ``official``; ``left_out``:
        those for which the run has no bands; ``baselines``: where the configuration
        says ``baselines: true``, by name ``title``, and of the same damaged scenes
        ``whole`` and ``damages``, by name a list of official scores, level by level.
        Baselines are fitted to the fold's training tiles, undamaged as the network's;
        a chart that one of them lacks in a fold is none of its charts. ``ceiling``: of
        simulated scenes, undamaged, the official scores of their true parameters, else
        ``None``.
        It is written to ``robustness.json``, and drawn as ``robustness.png``, in the
        run folder.

    Raises:
        ValueError: No such damage.
        TaskError: The run has no concentration, from which wind and melt are told, or
            none of the bands that the damages change.
    """
    check_names(damages=damages)
    from arcticdl.evaluation.autoice.damage import DAMAGES, applies
    from arcticdl.evaluation.baselines.methods import is_simulated

    names = tuple(DAMAGES) if damages is None else damages
    check_choices("damages", names or [None], DAMAGES)
    folder, config = load_run(run)
    if "SIC" not in config.each_head:
        raise TaskError(
            "The robustness card needs a head named SIC, since wind changes water and "
            f"melt changes ice. Received: {sorted(config.each_head)}."
        )
    numbers = chosen_folds(folder, fold)
    store = open_prepared(config)
    kept = [name for name in names if applies(DAMAGES[name], store.bands)]
    if not kept:
        raise TaskError(
            "The robustness card needs a damage that changes a band of the run. "
            f"Received: damages {list(names)}, bands {list(store.bands)}."
        )
    splits = folds_of_run(folder, store, config, numbers)
    models = {n: fold_path(folder, n) / "model.keras" for n in numbers}
    scored = _scores(config, store, splits, models, kept)
    found: dict[str, Any] = {
        "folds": numbers,
        "num_scenes": scored.num_scenes,
        "simulated": is_simulated(store),
        "ceiling": scored.ceiling,
        "whole": scored.official[_NETWORK][None, 0.0],
        "damages": {name: _levels(name, scored.official[_NETWORK]) for name in kept},
        "left_out": [name for name in names if name not in kept],
        "baselines": {
            method: {
                "title": title,
                "whole": scored.official[method][None, 0.0],
                "damages": {
                    name: [
                        scored.official[method][name, level]
                        for level in DAMAGES[name].levels
                    ]
                    for name in kept
                },
            }
            for method, title in scored.titles.items()
        },
    }
    write_json(folder / f"{FILE}.json", found)
    write_figure(draw_card(found), folder / f"{FILE}.png")
    return found


class _Scored(NamedTuple):
    """Official scores by method, damage and level; titles of baselines; the ceiling."""

    official: dict[str, dict[Any, dict[str, Any]]]
    titles: dict[str, str]
    num_scenes: int
    ceiling: dict[str, Any] | None


def _scores(
    config: Experiment,
    store: Any,
    splits: Mapping[int | str, Split],
    models: Mapping[int, Path],
    names: Sequence[str],
) -> _Scored:
    """The score of each damage and level, with the scenes as they are."""
    from arcticdl.evaluation.autoice.beside import ceiling_tallies, chart_baselines
    from arcticdl.evaluation.autoice.damage import DAMAGES
    from arcticdl.evaluation.autoice.score import score_tallies
    from arcticdl.evaluation.autoice.tally import (
        chart_heads,
        charting,
        shared_charts,
        tally_each,
    )
    from arcticdl.labelling.unaided import for_tests

    steps: list[tuple[str | None, float]] = [(None, 0.0)]
    steps += [(name, level) for name in names for level in DAMAGES[name].levels]
    tallies: dict[str, dict[Any, dict[str, Any]]] = {}
    titles: dict[str, str] = {}
    ceilings = open_ceilings(config, store)
    told_charts: dict[str, Any] = {}
    store = for_tests(store)
    for number, model in models.items():
        predictor = predictor_of(config, model)
        heads = chart_heads(predictor.heads)
        answering = {_NETWORK: charting(predictor, config.predict.overlap_px)}
        if config.baselines:
            train = splits[number].train
            beside = chart_baselines(store, train, heads, seed=config.seed)
            answering |= {name: one.answering for name, one in beside.items()}
            titles |= {name: one.title for name, one in beside.items()}
        test = splits[number].test
        told_charts |= ceiling_tallies(ceilings, store, test, heads)
        for step in track(steps, f"fold {number}"):
            name, level = step
            change = None if name is None else (DAMAGES[name], level)
            each = tally_each(
                answering,
                heads,
                store,
                test,
                change=change,
                progress=False,
            )
            for method, counted in each.items():
                tallies.setdefault(method, {}).setdefault(step, {}).update(counted)
    whole = tallies[_NETWORK][steps[0]]
    official: dict[str, dict[Any, dict[str, Any]]] = {}
    for method, by_step in tallies.items():
        for step, counted in by_step.items():
            if kept := shared_charts(counted, whole):
                scored = score_tallies(kept, num_resamples=1)["official"]
                official.setdefault(method, {})[step] = scored
    told = {name: title for name, title in titles.items() if name in official}
    return _Scored(official, told, len(whole), official_of(told_charts, whole))


def _levels(name: str, scores: Mapping[Any, Any]) -> dict[str, Any]:
    from arcticdl.evaluation.autoice.damage import DAMAGES

    damage = DAMAGES[name]
    levels = [{"level": at, "official": scores[name, at]} for at in damage.levels]
    return {"about": damage.about, "unit": damage.unit, "levels": levels}


def describe_card(found: Mapping[str, Any]) -> list[str]:
    """The lines that a person reads: the combined score, whole and at each level.

    Args:
        found: From ``robustness_card``.
    """
    lines = [f"{'as they are':>18} {_told(found['whole'])}"]
    if found["ceiling"] is not None:
        told = _told(found["ceiling"])
        lines.append(f"{'ceiling':>18} {told}  true parameters, as they are")
    for name, one in found["damages"].items():
        parts = [
            f"{_told(each['official'])} ({each['level']:g} {one['unit']})"
            if one["unit"]
            else _told(each["official"])
            for each in one["levels"]
        ]
        lines.append(f"{name:>18} {', '.join(parts)}  {one['about']}")
    lines += [f"{name:>18} left out: no such bands" for name in found["left_out"]]
    for one in found["baselines"].values():
        lines.append(f"{one['title']}:")
        lines += [f"{'as they are':>18} {_told(one['whole'])}"]
        for name, levels in one["damages"].items():
            told = ", ".join(_told(official) for official in levels)
            lines.append(f"{name:>18} {told}")
    return lines


def _told(official: Mapping[str, Any]) -> str:
    value = official["combined"]
    return "none" if value is None else f"{value:.1f}"
