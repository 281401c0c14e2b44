"""Making scenes of label maps, by generators that were trained on one fold."""

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import xarray as xr

from arcticdl.config import Experiment
from arcticdl.errors import ConfigError
from arcticdl.experiment.data.anchors import (
    find_anchors,
    find_attributes,
    replaced_path,
)
from arcticdl.experiment.folder import load_run, meant_fold
from arcticdl.experiment.scenes import open_configured
from arcticdl.experiment.synthesis.condition import one_hot_bands
from arcticdl.experiment.synthesis.earlier import read_record, remove_scenes
from arcticdl.experiment.synthesis.generators import (
    Generator,
    check_together,
    load_generator,
)
from arcticdl.experiment.synthesis.ground import (
    Seen,
    outside,
    trained_windows,
)
from arcticdl.experiment.synthesis.maps import Drawn, Source, draw_map
from arcticdl.files import refuse_existing, write_json
from arcticdl.made import CHOSEN_ON, COLUMNS, MADE_FROM
from arcticdl.progress import track
from arcticdl.scene import ATTRIBUTES, class_attributes, is_swath, read_values
from arcticdl.tiles.folds.made import join_names
from arcticdl.void import VOID_CLASS

_BATCH = 4


def synthesize(
    runs: Sequence[str | Path],
    out: str | Path,
    *,
    fold: str | int | None = None,
    count: int = 24,
    size_px: int | None = None,
    mix: float = 0.5,
    seed: int = 0,
    overwrite: bool = False,
) -> list[Path]:
    """Makes scenes, with their labels, of label maps of the training part of a fold.

    Maps are windows of those maps, turned or mirrored, half of them mixed with another;
    generators draw an image of each, one band after the other. Every scene says by its
    tag ``made_from`` all that the generators have learnt from, and by ``chosen_on``
    what validated them; as ``data.synthetic`` it trains where all of the first trains
    and nothing of the second is tested, and is never tested itself. What lies too near
    to a test to train the generators, such as in a buffer, is void in the maps.

    Args:
        runs: Run folders of generators (``data.condition``, task ``dense_ensemble``),
            each of one band, in the order in which they draw. One that sees a band
            which another draws comes after it.
        out: Folder for the scenes.
        fold: Of the runs, the same of all; default: as of `predict`, of the first run.
        count: Number of scenes, at least 1.
        size_px: Side of a scene; ``None``: as of the training tiles.
        mix: Share of the maps that are mixed of two, 0 to 1.
        seed: Of maps and noise: the same seed gives the same scenes.
        overwrite: Whether scenes of these names may be there. Those of an earlier call
            with this name, fold and seed that are not made again are removed, as far
            as its JSON file names them and they say what they were made from.

    Returns:
        The scenes, float32 GeoTIFF in the unit of the bands; beside each its labels,
        where ``data.labels`` looks for them, and one JSON file
        for all: of which maps they were made, by which weights.

    Raises:
        ConfigError: A run is no generator, or they do not go together; or there is no
            training scene that is large enough.
        FileNotFoundError: No such run, model, tile store or scene.
        SplitError: A store deals scenes to other parts than it did in training.
        FileExistsError: A scene or the JSON file is there; or the latter, to be written
            over, tells of no made scenes.
        ValueError: A number out of range.
    """
    if count < 1 or not 0 <= mix <= 1:
        raise ValueError(
            "`count` must be at least 1, and `mix` from 0 to 1. Received: "
            f"count={count}, mix={mix}."
        )
    folder = Path(out)
    fold = meant_fold(load_run(runs[0])[0], fold) if runs else 0
    generators = [load_generator(run, fold) for run in runs]
    seen = check_together(generators, fold)
    config = generators[0].config
    side = size_px or min(np.atleast_1d(config.tiles.size_px).tolist())
    scenes, given = _open_sources(config, seen, generators, side, fold)
    work = _Work(generators, scenes, given, seen, side, mix, seed)
    stem = f"{config.name}_f{fold}_s{seed}"
    paths = [folder / f"{stem}_{k:04d}.tif" for k in range(count)]
    labels = [_label_path(config, path) for path in paths]
    record = folder / f"{stem}.json"
    refuse_existing(*paths, *labels, record, overwrite=overwrite)
    former = read_record(record, stem)
    folder.mkdir(parents=True, exist_ok=True)
    told: dict[str, Any] = {}
    for first in track(range(0, count, _BATCH), "synthesize"):
        numbers = range(first, min(first + _BATCH, count))
        told |= _make(work, {n: (paths[n], labels[n]) for n in numbers})
    remove_scenes(former, folder, [path.stem for path in paths])
    write_json(record, {**_about(work, fold), "scenes": told})
    return paths


class _Work(NamedTuple):
    """What all scenes of a call are made of."""

    generators: Sequence[Generator]
    scenes: Sequence[tuple[Source, xr.Dataset]]
    given: Sequence[str]
    seen: Seen
    side: int
    mix: float
    seed: int


def _make(work: _Work, targets: Mapping[int, tuple[Path, Path]]) -> dict[str, Any]:
    """Makes some scenes at once, and tells of which maps.

    Args:
        work: What they are made of.
        targets: Number of each -> its file, and that of its labels.
    """
    config = work.generators[0].config
    held = [source for source, _ in work.scenes]
    rngs = [np.random.default_rng([work.seed, number, 21]) for number in targets]
    maps = [draw_map(held, work.side, work.mix, rng) for rng in rngs]
    images = _draw(work.generators, work.given, maps, rngs)
    told = {}
    for (path, labels), drawn, image in zip(
        targets.values(), maps, images, strict=True
    ):
        _, ground = work.scenes[drawn.number]
        made = _scene(config, path.stem, ground, drawn, image)
        made.attrs[MADE_FROM] = join_names(work.seen.learnt)
        if work.seen.chosen_on:
            made.attrs[CHOSEN_ON] = join_names(work.seen.chosen_on)
        _write(made, config, path.parent, labels)
        told[path.stem] = {
            "map_of": held[drawn.number].name,
            "mixed_with": drawn.mixed,
            "labels": Path(os.path.relpath(labels, path.parent)).as_posix(),
        }
    return told


def _about(work: _Work, fold: str | int) -> dict[str, Any]:
    """Where the scenes of a call come from, without them."""
    return {
        "fold": str(fold),
        "seed": work.seed,
        MADE_FROM: sorted(work.seen.learnt),
        CHOSEN_ON: sorted(work.seen.chosen_on),
        "generators": [
            {"run": g.run, "band": g.band, "weights": g.weights}
            for g in work.generators
        ],
    }


def _open_sources(
    config: Experiment,
    seen: Seen,
    generators: Sequence[Generator],
    side: int,
    fold: str | int,
) -> tuple[list[tuple[Source, xr.Dataset]], list[str]]:
    """The training scenes in memory, and the bands that are seen but not drawn.

    Raises:
        ConfigError: None is large enough, or they lie on no grid.
    """
    drawn = {g.band for g in generators}
    shown = dict.fromkeys(band for g in generators for band in g.beside)
    given = [band for band in shown if band not in drawn]
    data = config.data.model_copy(update={"condition": None})
    assert config.data.condition is not None
    label = config.data.condition.label
    trained = trained_windows({g.run: g.config for g in generators}, fold)
    found = []
    for anchor in find_anchors(data):
        if anchor.scene_id not in seen.train:
            continue
        scene = open_configured(data, anchor)
        told = find_attributes(data, anchor, needed=True)
        columns = {k: v for k, v in told.items() if k not in ATTRIBUTES}
        scene = scene.assign_attrs(columns=columns)
        if is_swath(scene):
            raise ConfigError(
                "Scenes are made of maps on a regular grid. Received: the swath "
                f"{anchor.scene_id!r}; set `data.grid`."
            )
        if min(scene.sizes["y"], scene.sizes["x"]) < side:
            continue
        codes = read_values(scene[label], "y", "x")
        if "valid" in scene:
            valid = read_values(scene["valid"], "y", "x")
            codes = np.where(valid, codes, VOID_CLASS)
        codes = np.where(
            outside(anchor.scene_id, codes.shape, trained), VOID_CLASS, codes
        )
        bands = read_values(scene["image"].sel(band=given), "band", "y", "x")
        source = Source(anchor.scene_id, codes, bands.astype(np.float32))
        found.append((source, scene))
    if not found:
        raise ConfigError(
            f"`size_px` must be at most the side of a training scene. Received: {side} "
            f"for {len(seen.train)} scenes, none of which is there and as large."
        )
    return found, given


def _draw(
    generators: Sequence[Generator],
    given: Sequence[str],
    maps: Sequence[Drawn],
    rngs: Sequence[np.random.Generator],
) -> list[dict[str, np.ndarray]]:
    """Bands of scenes, NaN where the map is void: those given, then those drawn."""
    from arcticdl.models import draw_members

    known = np.stack([drawn.codes != VOID_CLASS for drawn in maps])
    images = [dict(zip(given, drawn.bands, strict=True)) for drawn in maps]
    for each in generators:
        seen = [
            np.concatenate(
                [
                    one_hot_bands(drawn.codes, each.num_classes),
                    *(image[band][None] for band in each.beside),
                ]
            )
            for drawn, image in zip(maps, images, strict=True)
        ]
        scaled = each.normalizer(np.stack(seen).transpose(0, 2, 3, 1), known)
        noise = [rng.standard_normal(known.shape[1:], np.float32) for rng in rngs]
        values = draw_members(each.model, scaled, np.stack(noise)[..., None])
        for image, one in zip(images, np.asarray(values)[..., 0], strict=True):
            image[each.band] = one
    return [
        {
            band: np.where(here, values, np.float32("nan"))
            for band, values in image.items()
        }
        for image, here in zip(images, known, strict=True)
    ]


def _scene(
    config: Experiment,
    name: str,
    ground: xr.Dataset,
    drawn: Drawn,
    image: dict[str, np.ndarray],
) -> xr.Dataset:
    """A scene at the place of its map, with the attributes of the map's scene."""
    condition = config.data.condition
    assert condition is not None
    label = config.data.labels[condition.label]
    window = ground.isel(y=drawn.rows, x=drawn.cols)
    units = {
        str(band): str(unit)
        for band, unit in zip(
            ground["band"].values,
            ground["band_units"].values if "band_units" in ground.coords else (),
            strict=False,
        )
    }
    bands = [str(b) for b in ground["band"].values if str(b) in image]
    coords = {k: window[k] for k in ("y", "x", "spatial_ref") if k in window.variables}
    attrs = {k: str(ground.attrs[k]) for k in ATTRIBUTES if ground.attrs.get(k)}
    attrs.setdefault("group", ground.attrs["scene_id"])
    if ground.attrs["columns"]:
        attrs[COLUMNS] = json.dumps(ground.attrs["columns"], ensure_ascii=False)
    codes = (("y", "x"), drawn.codes, class_attributes(label.classes, label.colors))
    return xr.Dataset(
        {
            "image": (("band", "y", "x"), np.stack([image[band] for band in bands])),
            condition.label: codes,
        },
        {
            **coords,
            "band": bands,
            "band_units": ("band", [units.get(band, "") for band in bands]),
        },
        {**attrs, "scene_id": name},
    )


def _label_path(config: Experiment, path: Path) -> Path:
    """Where the experiment looks for the label of a scene.

    Raises:
        ConfigError: Not in a file of its own that ``replace`` tells, of class codes.
    """
    condition = config.data.condition
    assert condition is not None
    label = config.data.labels[condition.label]
    told = label.file is not None and label.file.replace is not None
    if not told or label.codes or label.sides:
        raise ConfigError(
            "Labels of made scenes are written as class codes where "
            f"`data.labels.{condition.label}.file` finds them by `replace`. Received: "
            "a label that is told otherwise, or by `codes` or `sides` of the file. "
            "Write its codes to files of their own first."
        )
    assert label.file is not None
    return Path(replaced_path(label.file, str(path)))


def _write(made: xr.Dataset, config: Experiment, folder: Path, labels: Path) -> None:
    from arcticdl.simulate.geotiff import write_bands, write_labels

    condition = config.data.condition
    assert condition is not None
    labels.parent.mkdir(parents=True, exist_ok=True)
    write_bands(made, folder)
    write_labels(made, condition.label, labels)
