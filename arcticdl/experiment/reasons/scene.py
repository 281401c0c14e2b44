"""One scene explained: its maps, its figures, and whether they can be trusted."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from arcticdl import plots
from arcticdl.experiment.reasons.wanted import BOUNDARIES, Wanted, ending
from arcticdl.explain import Deletion, Explainer, decision_boundaries, deletion_curves
from arcticdl.explain.subject import answer_names
from arcticdl.inference.blend import window_starts
from arcticdl.inference.predict import map_scene
from arcticdl.inference.strips import read_strips

_MAX_SIDE_PX = 1200
_MOST_PANELS = 3
_TRIED = 5  # windows along each axis, of which the fullest are taken apart


def explain_one(
    explainers: Mapping[str, Explainer],
    scene: xr.Dataset,
    folder: Path,
    how: Wanted,
    tags: Mapping[str, str],
) -> dict[str, Any]:
    """Writes the maps and figures of one scene.

    Args:
        explainers: Method -> the model made ready.
        scene: The scene, or the part that is explained.
        folder: An empty folder.
        how: What is wanted.
        tags: Tags of the maps, which say who made them.

    Returns:
        What is known beside the maps, for JSON.
    """
    subject = next(iter(explainers.values())).subject
    told: dict[str, Any] = {
        "scene": str(scene.attrs["scene_id"]),
        "head": subject.head_name,
        "target": how.target or "what is answered",
        "window": how.window,
        "methods": {},
    }
    curves: dict[str, Deletion] = {}
    for method, explainer in explainers.items():
        if method == BOUNDARIES:
            continue
        entry = _map(explainer, method, scene, folder, tags)
        if method != "activations" and subject.head.classes:
            curves[method] = _taken_apart(explainer, scene)
            entry["deletion"] = curves[method]._asdict()
        told["methods"][method] = entry
    if curves:
        _write(plots.deletion_lines(curves), folder / "deletion")
    if BOUNDARIES in explainers and len(subject.bands) > 1:
        told[BOUNDARIES] = _plane(explainers[BOUNDARIES], scene, folder, how, told)
    return told


def _map(
    explainer: Explainer,
    method: str,
    scene: xr.Dataset,
    folder: Path,
    tags: Mapping[str, str],
) -> dict[str, Any]:
    """Writes a method's map and its figure, and says how strong each band is."""
    subject, made = explainer.subject, explainer.method
    about = {"method": method, "head": subject.head_name, "about": made.about}
    about |= {"target": ", ".join(subject.names)} if method == "gradcam" else {}
    file = folder / f"{method}{ending(scene)}"
    maps = map_scene(explainer, scene, file, tags={**tags, **about})
    step = max(1, -(-max(scene.sizes["y"], scene.sizes["x"]) // _MAX_SIDE_PX))
    thin = maps.isel(y=slice(None, None, step), x=slice(None, None, step)).load()
    values = thin[method].values.reshape(len(made.names), *thin[method].shape[-2:])
    strength = np.nan_to_num(np.nanmean(np.abs(values), axis=(1, 2)))
    shown = np.argsort(-strength, kind="stable")[:_MOST_PANELS]
    known = np.abs(values[shown])[np.isfinite(values[shown])]
    most = float(np.quantile(known, 0.98)) if known.size else 1.0
    drawn = scene.isel(y=slice(None, None, step), x=slice(None, None, step))
    drawn = drawn[[name for name in ("image", "valid") if name in drawn]]
    titles = []
    for number in shown:
        title = f"{made.names[number]}"
        attrs: dict[str, Any] = {
            "valid_range": [-most if made.signed else 0.0, most or 1.0]
        }
        attrs |= {"two_sided": made.signed}
        drawn[title] = (("y", "x"), values[number], attrs)
        titles.append(title)
    title = f"{scene.attrs['scene_id']}: {made.about}"  # what the scales measure
    figure = plots.scene_map(drawn, titles, title=title)
    plots.write_figure(figure, folder / f"{method}.png")
    strengths = dict(zip(made.names, map(float, strength), strict=True))
    return {"about": made.about, "strength": strengths, **made.told}


def _taken_apart(explainer: Explainer, scene: xr.Dataset) -> Deletion:
    """Deletion curves of the fullest of some windows that are spread over a scene."""
    scene, stats = explainer.prepare(scene, None, survey=False)
    height, width = explainer.window
    found = []
    for top in _spread(window_starts(scene.sizes["y"], height, 0)):
        (strip,) = read_strips(scene, [top], height)
        for left in _spread(window_starts(scene.sizes["x"], width, 0)):
            found.append(strip.window(left, explainer.window))
        found = sorted(found, key=lambda pair: -pair[1].sum())[: explainer.batch_size]
    images, valid = (np.stack(part) for part in zip(*found, strict=True))
    return deletion_curves(explainer, images, valid, stats=stats)


def _spread(starts: list[int]) -> list[int]:
    places = np.linspace(0, len(starts) - 1, min(_TRIED, len(starts))).round()
    return [starts[int(place)] for place in places]


def _plane(
    explainer: Explainer,
    scene: xr.Dataset,
    folder: Path,
    how: Wanted,
    told: Mapping[str, Any],
) -> dict[str, Any]:
    """Decisions in the plane of two bands, those that matter most unless named."""
    subject = explainer.subject
    strengths = [
        entry["strength"]
        for method, entry in told["methods"].items()
        if method in ("occlusion", "integrated")
    ]
    order = {n: i for i, n in enumerate(subject.bands)}
    if strengths:
        order = {name: -strength for name, strength in strengths[-1].items()}
    first, second, *_ = sorted(subject.bands, key=order.__getitem__)
    plane = decision_boundaries(explainer, scene, how.bands or (first, second))
    head = subject.head
    names = answer_names(head)
    figure = plots.decision_plane(
        plane,
        names,
        head.colors,
        units=head.units,
        band_units=str(scene["image"].attrs.get("units", "")),
    )
    _write(figure, folder / BOUNDARIES)
    return {"bands": list(plane.bands), "held": plane.held}


def _write(figure: Any, stem: Path) -> None:
    """A drawing of lines as PNG, and as SVG for print."""
    for suffix in (".png", ".svg"):
        plots.write_figure(figure, stem.with_suffix(suffix))
