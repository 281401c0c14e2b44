"""Trained models joined to one file, and that file scored."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from arcticdl.choices import check_choice, check_names
from arcticdl.errors import ConfigError, SplitError
from arcticdl.experiment.folder import fold_path, load_run, trained_folds
from arcticdl.files import refuse_existing, write_json
from arcticdl.tiles import TileStore, open_store
from arcticdl.tiles.folds.made import observed_tiles


def ensemble(
    run: str | Path,
    out: str | Path | None = None,
    *,
    members: Sequence[str] | None = None,
    weights: Sequence[float] | None = None,
    overwrite: bool = False,
) -> Path:
    """Joins the models of a run's folds to one ``.keras`` file.

    Args:
        run: Run folder.
        out: ``NAME.keras``; default: ``ensemble.keras`` in the run folder.
        members: Folds by the names of their folders, such as ``["fold0", "fold2"]``;
            default: all that are trained.
        weights: Weight of each member, in their order; default: all the same.
        overwrite: Replace an existing file.

    Returns:
        The file. Its card names the members, and the scenes that they have seen.

    Raises:
        FileNotFoundError: No such run.
        ConfigError: Fewer than two members, or a file name without ``.keras``.
        ValueError: No such fold, models that do not fit together, or weights that are
            none.
        FileExistsError: The file exists and ``overwrite`` is false.
    """
    check_names(members=members)
    folder, _ = load_run(run)
    target = folder / "ensemble.keras" if out is None else Path(out)
    _check_target(target, overwrite)
    names = _members(folder, members)
    from arcticdl.inference import build_ensemble
    from arcticdl.training.fit import save_model

    paths = [folder / name / "model.keras" for name in names]
    joined = build_ensemble(
        paths, weights=weights, names=names, seen=scenes_of(folder, names)
    )
    target.parent.mkdir(parents=True, exist_ok=True)
    return save_model(joined, target)


def _check_target(target: Path, overwrite: bool) -> None:
    if target.suffix != ".keras":
        raise ConfigError(
            f"`out` must name a .keras file. Received: {target}. For ONNX, export the "
            "ensemble: arcticdl export NAME.keras -o NAME.onnx"
        )
    refuse_existing(target, overwrite=overwrite)


def _members(folder: Path, asked: Sequence[str] | None) -> list[str]:
    trained = [fold_path(folder, number).name for number in trained_folds(folder)]
    for name in asked or ():
        check_choice("members", name, trained)
    names = list(dict.fromkeys(asked or trained))
    if len(names) < 2:
        raise ConfigError(
            f"An ensemble needs at least two members. Received: {names}; {folder} has "
            f"trained {trained}."
        )
    return names


def scenes_of(folder: Path, names: Sequence[str]) -> set[str]:
    """Scenes that any of a run's folds was trained or chosen on, by ``split.json``."""
    found: set[str] = set()
    for name in names:
        split = json.loads((folder / name / "split.json").read_text(encoding="utf-8"))
        for part in ("train", "validation", "before"):
            found |= set(split.get(part, ()))
    return found


def evaluate_file(path: str | Path, data: str | Path | None) -> dict[str, Any]:
    """Scores a bare ``.keras`` file, such as an ensemble, on the scenes of a store.

    A line that its card names is traced and scored as well.

    Args:
        path: The file, which carries its card.
        data: A tile store, scored whole.

    Returns:
        The result, which ``NAME_metrics_STORE.json`` beside the file holds as well.

    Raises:
        ConfigError: No store is named.
        SplitError: A member of the ensemble has seen a scene of the store.
        FileNotFoundError: No such file or store.
    """
    if data is None:
        raise ConfigError(
            "A .keras file has no held-out scenes of its own. Name a store of others: "
            "arcticdl evaluate NAME.keras --data OTHER.tiles. How good the folds of a "
            "run are without having seen a scene tells arcticdl evaluate RUN."
        )
    from arcticdl.evaluation.scenes import evaluate_scenes
    from arcticdl.inference import load_model
    from arcticdl.labelling.unaided import for_tests
    from arcticdl.models import get_card

    path, store = Path(path), for_tests(open_store(data))
    model = load_model(path)
    card = get_card(model) or {}
    refuse_seen(card, store)
    evaluations = evaluate_scenes(
        model, store, observed_tiles(store.manifest), line=card.get("line")
    )
    results = {name: found.result() for name, found in evaluations.items()}
    result = {"heads": results} if len(results) > 1 else next(iter(results.values()))
    write_json(path.with_name(f"{path.stem}_metrics_{Path(data).stem}.json"), result)
    return result


def refuse_seen(card: dict[str, Any], store: TileStore) -> None:
    """Refuses to score an ensemble on scenes that trained a member of it.

    Raises:
        SplitError: It would be.
    """
    seen = set((card.get("ensemble") or {}).get("seen", ()))
    scenes = sorted(set(store.manifest["scene_id"].astype(str)))
    known = [name for name in scenes if name in seen]
    if known:
        raise SplitError(
            "An ensemble can only be scored on scenes that none of its members has "
            f"seen. Received: {len(known)} of {len(scenes)} that trained one or "
            f"chose it, {known[0]!r} the first. Members of one fold, from "
            "`train.ensemble`, are scored on the scenes that fold holds out."
        )
