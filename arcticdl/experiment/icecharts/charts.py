"""Ice charts of scenes by a run's model, in the forms that are handed on."""

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any, Literal

import numpy as np
import xarray as xr

from arcticdl.choices import check_names
from arcticdl.config import Experiment
from arcticdl.errors import ConfigError, LabelError
from arcticdl.experiment.bundles.models import model_files
from arcticdl.experiment.data.anchors import find_anchors
from arcticdl.experiment.data.inputs import open_inputs
from arcticdl.experiment.predict import compare_with_training
from arcticdl.experiment.scenes import open_configured
from arcticdl.files import atomic_folder, atomic_path, refuse_existing, safe_name
from arcticdl.metrics.autoice import AUTOICE_CLASSES, in_tenths
from arcticdl.scene import class_attributes, is_swath
from arcticdl.seaice.schemes import AUTOICE_FLOE, AUTOICE_SIC, AUTOICE_SOD
from arcticdl.seaice.sigrid import Charts, settle_charts
from arcticdl.void import VOID_CLASS

SCHEMES = {"SIC": AUTOICE_SIC, "SOD": AUTOICE_SOD, "FLOE": AUTOICE_FLOE}
_GRID_CRS = "EPSG:3413"


def chart_scenes(
    run: str | Path,
    inputs: Sequence[str] = (),
    out: str | Path | None = None,
    *,
    fold: int | str | None = None,
    min_area_km2: float = 1.0,
    submission: str | Path | None = None,
    allow: Sequence[str] = (),
    overwrite: bool = False,
) -> list[Path]:
    """Draws the ice chart of scenes: pictures, polygons with egg codes, a submission.

    Args:
        run: Run folder whose heads are called ``SIC``, ``SOD`` and ``FLOE``.
        inputs: Scene files; none: the scenes that the fold was tested on.
        out: Folder, in which each scene has one of its own; default: ``charts`` in the
            run folder.
        fold: Whose model, as of `predict`, or ``"full"``; ``"all"``: the mean of all
            trained folds, of scenes that are named.
        min_area_km2: Regions of the polygons below this get what their largest
            neighbour has. The picture and the submission keep every pixel.
        submission: NetCDF to write besides, as the AutoICE challenge takes it: a
            variable ``SCENE_CHART`` a map, uint8, on the pixels of the SAR.
        allow: ``"scale"``, ``"resolution"``: what may differ from the training scenes
            beyond the limit, besides what the configuration allows.
        overwrite: Whether files and folders that exist may be replaced.

    Returns:
        The scenes' folders, each with ``chart.nc`` (the maps), ``chart.png`` (panels:
        SAR, charts, truth and error where the file has charts, egg codes of the largest
        regions) and ``NAME_sigrid3.zip`` (see ``products.sigrid``), and last the
        submission.

    Raises:
        ConfigError: All folds at once of scenes that are not named, or a submission of
            maps that are not on the pixels of the SAR.
        TaskError: A head is missing, or answers with other classes.
        ValueError: A scene is unlike those of training (``check_like_training``).
        FileExistsError: A folder or the submission exists, without ``overwrite``.
    """
    check_names(inputs=inputs, allow=allow)
    from arcticdl.evaluation.autoice.tally import chart_heads
    from arcticdl.inference.load import load_model
    from arcticdl.inference.predictor import Predictor
    from arcticdl.models.card import model_heads

    if fold == "all" and not inputs:
        raise ConfigError(
            "Each scene of a run taught some of its folds: name other scenes, whose "
            "charts the mean of all folds shall draw, or a fold (--fold K). Received: "
            "fold 'all' and no scene."
        )
    config, paths = model_files(Path(run), fold, ())
    if config is None:
        raise ConfigError(f"Charts are of a run folder. Received: {run}.")
    if submission is not None and config.data.grid is not None:
        raise ConfigError(
            "A submission has the pixels of the SAR, and `data.grid` moves this run's "
            f"scenes to others. Received: submission={str(submission)!r}."
        )
    scenes = _open(config, list(inputs), paths[0].parent / "split.json")
    target = Path(run) / "charts" if out is None else Path(out)
    folders = [target / safe_name(str(s.attrs["scene_id"])) for s in scenes]
    one = [Path(submission)] if submission else []
    refuse_existing(*folders, *one, overwrite=overwrite)
    settings = config.predict
    models = [load_model(path) for path in paths]
    heads = chart_heads(model_heads(models[0])).values()
    kinds = [k for k in ("class", "value") if any(k in h.form.outputs for h in heads)]
    predictor = Predictor(
        models if len(models) > 1 else models[0],
        tta=settings.tta,
        batch_size=settings.batch_size,
        tile_size_px=settings.tile_size_px,
        outputs=kinds,
    )
    compare_with_training(predictor, scenes, config, allow)
    target.mkdir(parents=True, exist_ok=True)
    with _submitted(submission) as submit:
        for scene, folder in zip(scenes, folders, strict=True):
            maps = map_charts(predictor, scene, settings.overlap_px)
            submit(str(scene.attrs["scene_id"]), maps)
            with atomic_folder(folder) as part:
                write_chart(maps, scene, part, min_area_km2)
    return [*folders, *([Path(submission)] if submission else [])]


def map_charts(
    predictor: Any, scene: xr.Dataset, overlap_px: int | None = None
) -> xr.Dataset:
    """Maps the charts of a scene in memory.

    Args:
        predictor: Models with the heads of ``chart_heads``.
        scene: The scene.
        overlap_px: Overlap of windows; ``None``: a quarter.

    Returns:
        ``SIC``, ``SOD`` and ``FLOE`` of those that are answered, uint8 ``(y, x)`` with
        255 for void, with their classes and colours, placed as the scene is.
    """
    from arcticdl.inference.predict import map_scene

    found = map_scene(predictor, scene, overlap_px=overlap_px)
    data = {}
    for name in AUTOICE_CLASSES:
        alone = len(predictor.heads) == 1
        for kind in ("class", "value"):
            key = kind if alone else f"{name}_{kind}"
            if name in predictor.heads and key in found:
                values = found[key].values
                codes = in_tenths(values) if kind == "value" else values
                data[name] = charted(name, codes)
    place = {k: v for k, v in found.coords.items() if k != "time"}
    kept = {k: found.attrs[k] for k in ("scene_id", "time") if k in found.attrs}
    return xr.Dataset(data, place, kept)


def charted(name: str, codes: np.ndarray) -> tuple[Any, ...]:
    """A chart as a variable with its classes and colours."""
    scheme = SCHEMES[name]
    attrs = class_attributes(scheme.classes, scheme.colours)
    return (("y", "x"), codes.astype(np.uint8), attrs)


def settled(maps: xr.Dataset) -> xr.Dataset:
    """The charts made to say one thing; see ``seaice.sigrid.settle_charts``."""
    void = np.full((maps.sizes["y"], maps.sizes["x"]), VOID_CLASS, np.uint8)
    parts = [maps[n].values if n in maps else void for n in AUTOICE_CLASSES]
    fixed = settle_charts(Charts(*parts))
    pairs = zip(AUTOICE_CLASSES, fixed, strict=True)
    return maps.assign({n: charted(n, codes) for n, codes in pairs if n in maps})


def write_chart(
    maps: xr.Dataset, scene: xr.Dataset, folder: Path, min_area_km2: float
) -> None:
    """Writes all that a chart is handed on as, into a folder.

    Args:
        maps: From ``map_charts``.
        scene: The scene, with charts of its own where it has any.
        folder: An empty folder.
        min_area_km2: As for ``chart_scenes``.
    """
    from arcticdl.experiment.icecharts.panels import chart_panels
    from arcticdl.inference.products.gridded import maps_on_grid
    from arcticdl.inference.products.write import write_products
    from arcticdl.plots import write_figure

    name = safe_name(str(scene.attrs["scene_id"]))
    write_products(maps, folder / "chart", ["netcdf"])
    on_grid = maps
    if is_swath(maps):
        grid = {"crs": _GRID_CRS, "resolution_m": _pixel_m(maps)}
        on_grid = maps_on_grid(maps, grid).compute()
    polygons = None
    if "SIC" in maps and "spatial_ref" in on_grid.coords:
        wanted = {"name": "sigrid", "min_area_km2": min_area_km2}
        (path,) = write_products(on_grid, folder / name, [wanted])
        polygons = path
    figure = chart_panels(settled(maps), scene, polygons)
    write_figure(figure, folder / "chart.png")


def _pixel_m(maps: xr.Dataset) -> float:
    """The side of a swath's pixels, rounded to whole metres."""
    from pyproj import Geod

    row, col = maps.sizes["y"] // 2, maps.sizes["x"] // 2
    # Of two pixels alone: those of a whole scene are computed from its tie points.
    pair = maps[["lat", "lon"]].isel(y=row, x=[col - 1, col])
    (lon_0, lon_1), (lat_0, lat_1) = pair["lon"].values, pair["lat"].values
    away = Geod(ellps="WGS84").inv(lon_0, lat_0, lon_1, lat_1)[2]
    return float(max(1, round(away)))


def _open(config: Experiment, inputs: list[str], split: Path) -> list[xr.Dataset]:
    """The scenes, with their charts where their files have any."""
    bare = open_inputs(config, inputs, split)
    wanted = {str(scene.attrs["scene_id"]) for scene in bare}
    found = []
    for anchor in find_anchors(config.data, inputs or None):
        if anchor.scene_id not in wanted:
            continue
        try:
            found.append(open_configured(config.data, anchor))
        except LabelError:  # a scene to be charted needs no chart
            found.append(open_configured(config.data, anchor, with_labels=False))
    return found


@contextmanager
def _submitted(path: str | Path | None) -> Iterator[Any]:
    """Gives what adds a scene's maps to the submission, which appears whole."""
    with nullcontext() if path is None else atomic_path(path) as part:
        begun: list[str] = []

        def add(scene_id: str, maps: xr.Dataset) -> None:
            if part is None:
                return
            name = re.sub(r"_prep(_reference)?$", "", scene_id)
            data = {}
            for chart in AUTOICE_CLASSES:
                if chart in maps:
                    key = f"{name}_{chart}"
                    dims = (f"{key}_line", f"{key}_sample")
                    data[key] = (dims, maps[chart].values)
            packed = {key: {"zlib": True, "complevel": 4} for key in data}
            mode: Literal["a", "w"] = "a" if begun else "w"
            dataset = xr.Dataset(data)
            dataset.to_netcdf(part, mode, engine="h5netcdf", encoding=packed)
            begun.append(name)

        yield add
