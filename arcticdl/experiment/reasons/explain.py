"""Explaining a run: maps and figures of scenes, and the importance of bands."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import xarray as xr

from arcticdl.choices import check_choices, check_names
from arcticdl.errors import ConfigError
from arcticdl.experiment.bundles.models import model_files
from arcticdl.experiment.data.inputs import open_inputs
from arcticdl.experiment.predict import check_overrides
from arcticdl.experiment.products import MODEL_TAG, digest_of
from arcticdl.experiment.reasons.wanted import BOUNDARIES, MAPS, Wanted
from arcticdl.files import atomic_folder, refuse_existing, safe_name, write_json
from arcticdl.inference.preflight import check_like_training


def explain(
    run: str | Path,
    inputs: Sequence[str],
    out: str | Path | None = None,
    *,
    fold: int | str | None = None,
    overwrite: bool = False,
    overrides: Sequence[str] = (),
    **wanted: Any,
) -> list[Path]:
    """Explains what a fold's model answers about scenes.

    Args:
        run: Run folder, bundle, or a ``.keras`` file that carries its card.
        inputs: Scene files; with a run that stacks files, the first of each scene.
        out: Folder, in which each scene has one of its own; default: ``explained`` in
            the run folder.
        fold: Whose model, or ``"full"``; default: as of `predict`.
        overwrite: Whether a scene's folder may be replaced.
        overrides: ``predict.KEY=VALUE`` texts for this call, such as
            ``"predict.tile_size_px=256"``.
        **wanted: Attributes of `Wanted`.

    Returns:
        The scenes' folders: ``METHOD.tif`` (``.nc`` of a swath) with a band each class,
        layer or band; ``METHOD.png``; ``deletion`` and ``boundaries`` as PNG and SVG;
        and ``explained.json``, which says what was found and how.

    Raises:
        ValueError: No such method, head, target, layer or band; an ensemble; a scene
            unlike those of training.
        ConfigError: All folds at once, a window outside the scene, no scene, or no
            folder for a bare file.
        FileExistsError: A scene's folder exists and ``overwrite`` is false.
    """
    check_names(inputs=inputs, overrides=overrides)
    from arcticdl.experiment.reasons.scene import explain_one
    from arcticdl.explain.boundaries import check_pair

    how = Wanted(**wanted)
    check_choices("methods", how.methods or [None], (*MAPS, BOUNDARIES))
    check_overrides(overrides)
    if fold == "all" or not inputs:
        raise ConfigError(
            "A scene is explained by one model: name scenes, and a fold (--fold K). "
            f"Received: {len(inputs)} scenes, fold={fold!r}."
        )
    config, (path,) = model_files(Path(run), fold, tuple(overrides))
    if out is None and (config is None or not Path(run).is_dir()):
        raise ConfigError(
            "A bare model or a bundle has no run folder. Give `out` (--out)."
        )
    target = Path(run) / "explained" if out is None else Path(out)
    scenes = open_inputs(config, list(inputs), path.parent / "split.json")
    folders = [target / safe_name(str(scene.attrs["scene_id"])) for scene in scenes]
    refuse_existing(*folders, overwrite=overwrite)
    settings = config.predict if config else None
    parts = [_part(scene, how.window) for scene in scenes]
    explainers = make_ready(path, how, settings)
    first = next(iter(explainers.values()))
    if how.bands is not None:
        check_pair(how.bands, first.subject.bands)
    for scene in parts:
        check_like_training(first.card, scene, settings.allow if settings else ())
    tags = {MODEL_TAG: digest_of([path]), "arcticdl_model": f"{path.parent.name}"}
    target.mkdir(parents=True, exist_ok=True)
    for scene, folder in zip(parts, folders, strict=True):
        with atomic_folder(folder) as part:
            told = explain_one(explainers, scene, part, how, tags)
            write_json(part / "explained.json", {"run": Path(run).name, **told})
    return folders


def make_ready(path: Path, how: Wanted, settings: Any) -> dict[str, Any]:
    """An explainer for each method; the boundaries share another's, or have one."""
    from arcticdl.explain import Explainer

    return {
        method: Explainer(
            path,
            "occlusion" if method == BOUNDARIES else method,
            head=how.head,
            target=how.target,
            options=how.options(method),
            tile_size_px=settings.tile_size_px if settings else None,
            batch_size=settings.batch_size if settings else 4,
        )
        for method in sorted(how.methods, key=(*MAPS, BOUNDARIES).index)
    }


def _part(scene: xr.Dataset, window: tuple[int, int, int, int] | None) -> xr.Dataset:
    """The part of a scene that is explained."""
    if window is None:
        return scene
    row, col, height, width = window
    shape = scene.sizes["y"], scene.sizes["x"]
    inside = row + height <= shape[0] and col + width <= shape[1]
    if min(row, col) < 0 or min(height, width) < 1 or not inside:
        raise ConfigError(
            "`window` (--window) must be first row, first column, height and width of "
            f"a part of the scene, whose shape is {shape}. Received: {list(window)}."
        )
    rows, columns = slice(row, row + height), slice(col, col + width)
    return scene.isel(y=rows, x=columns)


def describe_explanation(told: Mapping[str, Any]) -> list[str]:
    """What was found about a scene, in a line for each method."""
    lines = []
    for method, entry in told["methods"].items():
        total = sum(entry["strength"].values()) or 1.0
        most = sorted(entry["strength"].items(), key=lambda item: -item[1])[:4]
        parts = [", ".join(f"{n} {100 * v / total:.0f} %" for n, v in most)]
        if "completeness_gap" in entry:
            parts.append(f"completeness gap {100 * entry['completeness_gap']:.2g} %")
        if "deletion" in entry:
            gain = entry["deletion"]["gain"]
            than = "better" if gain > 0 else "no better"
            parts.append(f"deletion {than} than chance ({gain:+.3f})")
        lines.append(f"{method:>12} {'; '.join(parts)}")
    return lines
