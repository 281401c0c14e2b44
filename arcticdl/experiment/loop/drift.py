"""Whether new scenes are such as a run was trained on."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import xarray as xr

from arcticdl.choices import check_names
from arcticdl.errors import ConfigError
from arcticdl.experiment.data.anchors import find_anchors
from arcticdl.experiment.data.prepared import open_prepared
from arcticdl.experiment.data.run_split import folds_of_run
from arcticdl.experiment.folder import chosen_folds, fold_path, load_run
from arcticdl.experiment.loop.heads import choose_head, refuse_series
from arcticdl.experiment.scenes import open_configured
from arcticdl.files import atomic_folder, refuse_existing, write_json
from arcticdl.progress import track
from arcticdl.tiles import TileStore

STRATA = ("season", "sensor")
"""Columns by whose values scenes are compared as well."""


class Drift(NamedTuple):
    """What a comparison has found.

    Attributes:
        folder: With ``drift.html`` and ``drift.json``.
        report: As in ``drift.json``.
    """

    folder: Path
    report: dict[str, Any]


def drift(
    run: str | Path,
    inputs: Sequence[str],
    *,
    fold: int | None = None,
    label: str | None = None,
    limit: float | None = None,
    out: str | Path | None = None,
    seed: int = 0,
    overwrite: bool = False,
) -> Drift:
    """Compares new scenes with those that a fold was trained on.

    Bands are compared with the training scenes. Answers of the model are compared with
    those about the scenes that the fold held out, since a model is surer of what it has
    learnt. Of each scene random windows are read.

    Args:
        run: Run folder with a trained fold.
        inputs: Files of new scenes.
        fold: Whose training, and whose model; default: as of `predict`.
        label: Which head is asked; needed where the run has several.
        limit: Distance in standard deviations that counts as drift; default: the
            largest that a training scene has from the others.
        out: Folder to write; default: ``drift`` in the run folder.
        seed: Of windows, pixels and bootstrap.
        overwrite: Replace the folder.

    Raises:
        FileNotFoundError: No such run or scene, or the fold is not trained.
        FileExistsError: ``out`` exists and ``overwrite`` is false.
        ConfigError: No scene is given, or a limit that is not positive.
        BandNotFoundError: A scene lacks a band of the model.
    """
    check_names(inputs=inputs)
    folder, config = load_run(run)
    refuse_series(config)
    (number,) = chosen_folds(folder, fold)
    target = folder / "drift" if out is None else Path(out)
    refuse_existing(target, overwrite=overwrite)
    if not inputs or (limit is not None and not limit > 0):
        raise ConfigError(
            "A comparison needs new scenes, and a positive `limit`. Received: "
            f"{len(inputs)} scenes, limit={limit}."
        )
    anchors = find_anchors(config.data, list(inputs))
    scenes = [open_configured(config.data, a, with_labels=False) for a in anchors]
    store = open_prepared(config)
    split = folds_of_run(folder, store, config, [number])[number]
    model = fold_path(folder, number) / "model.keras"
    name, head = choose_head(model, label, searched=False)
    from arcticdl.inference.predictor import Predictor
    from arcticdl.labelling.looks import answer_names

    predictor = Predictor(model, batch_size=1)
    looks = _look(store, split, scenes, predictor, name, seed)
    report, samples = _compare(store, looks, scenes, limit=limit, seed=seed)
    report = {
        "run": str(folder),
        "fold": number,
        "label": name,
        "training_scenes": len(looks[0]),
        "held_out": [look.scene_id for look in looks[1]],
        "new": [look.scene_id for look in looks[2]],
        **report,
    }
    report["answers"] |= {
        "names": answer_names(head),
        "values": head.spec.label == "value",
    }
    target.parent.mkdir(parents=True, exist_ok=True)
    with atomic_folder(target) as part:
        from arcticdl.labelling.drift_page import write_drift_page

        write_json(part / "drift.json", report)
        write_drift_page(report, samples, part / "drift.html")
    return Drift(target, report)


def _look(
    store: TileStore,
    split: Any,
    scenes: Sequence[xr.Dataset],
    predictor: Any,
    head: str,
    seed: int,
) -> tuple[list[Any], list[Any], list[Any]]:
    """Looks at training scenes, held-out scenes and new scenes."""
    from arcticdl.labelling.answers import scene_tiles
    from arcticdl.labelling.looks import look_at_scene, look_at_tiles

    sides = []
    for tiles, asked in ((split.train, None), (split.test, predictor)):
        groups = scene_tiles(store, tiles)
        sides.append(
            [
                look_at_tiles(store, scene, groups[scene], asked, head, seed=seed)
                for scene in track(groups, "look at the store")
            ]
        )
    new = [
        look_at_scene(scene, predictor, head, seed=seed)
        for scene in track(scenes, "look at new scenes")
    ]
    return sides[0], sides[1], new


def _compare(
    store: TileStore,
    looks: tuple[list[Any], list[Any], list[Any]],
    scenes: Sequence[xr.Dataset],
    *,
    limit: float | None,
    seed: int,
) -> tuple[dict[str, Any], dict[str, Any]]:
    """The report, and the pixels of each band, of training and new."""
    from arcticdl.labelling.drift import compare_answers, compare_band

    training, held_out, new = looks
    bands, samples = {}, {}
    for place, band in enumerate(store.bands):
        old, now = (
            {look.scene_id: look.pixels[:, place] for look in side}
            for side in (training, new)
        )
        bands[band] = compare_band(old, now, limit=limit, seed=seed)
        samples[band] = tuple(
            np.concatenate(list(side.values())) for side in (old, now)
        )
    sure = [[np.array([look.confidence]) for look in side] for side in (held_out, new)]
    told = bool(np.isfinite(sure[0] + sure[1]).all())
    answers = {
        "shares": compare_answers(
            [look.answer for look in held_out], [look.answer for look in new], seed=seed
        ),
        "confidence": compare_answers(sure[0], sure[1], seed=seed) if told else None,
    }
    report = {
        "drifted": any(band["drifted"] for band in bands.values()),
        "bands": bands,
        "answers": answers,
        "strata": _strata(store, training, new, scenes),
    }
    return report, samples


def _strata(
    store: TileStore,
    training: Sequence[Any],
    new: Sequence[Any],
    scenes: Sequence[xr.Dataset],
) -> list[dict[str, Any]]:
    """New scenes of a season, or sensor, against training scenes of the same."""
    from arcticdl.labelling.drift import compare_band

    table = store.manifest.drop_duplicates("scene_id").set_index("scene_id")
    found: list[dict[str, Any]] = []
    for column in STRATA:
        told = {
            str(scene.attrs["scene_id"]): _text(scene.attrs.get(column))
            for scene in scenes
        }
        cells = table.get(column, {})
        known = {look.scene_id: _text(cells.get(look.scene_id)) for look in training}
        for stratum in sorted(set(told.values()) - {""}):
            mine = [look for look in new if told[look.scene_id] == stratum]
            same = [look for look in training if known[look.scene_id] == stratum]
            entry: dict[str, Any] = {
                "column": column,
                "stratum": stratum,
                "num_new": len(mine),
                "num_training": len(same),
                "band": None,
                "in_std": None,
            }
            if same:
                apart = {
                    band: compare_band(
                        {look.scene_id: look.pixels[:, place] for look in same},
                        {look.scene_id: look.pixels[:, place] for look in mine},
                        num_resamples=2,
                    )["in_std"]
                    for place, band in enumerate(store.bands)
                }
                far = max(apart, key=lambda band: apart[band])
                entry |= {"band": far, "in_std": apart[far]}
            found.append(entry)
    return found


def _text(cell: Any) -> str:
    """A stratum's name; empty where a scene tells none."""
    return "" if pd.isna(cell) else str(cell)


def told(found: Drift) -> list[str]:
    """The lines that a person reads first."""
    from arcticdl.labelling.drift_page import verdict

    lines = [verdict(found.report)]
    for name, band in found.report["bands"].items():
        low, high = band["interval"]
        usual = "unknown" if band["usual"] is None else f"{band['usual']:.2f}"
        lines.append(
            f"{name:>18} {band['in_std']:.2f} standard deviations  (95 %: {low:.2f}-"
            f"{high:.2f}; usual: {usual})"
        )
    return [*lines, str(found.folder / "drift.html")]
