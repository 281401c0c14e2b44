"""Writes sets of simulated scenes in the file schemas of the real ones."""

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import NamedTuple

from arcticdl.choices import check_choice
from arcticdl.simulate.ai4arctic import write_ai4arctic, write_ai4arctic_raw
from arcticdl.simulate.chart import write_chart
from arcticdl.simulate.clouds import cloudy_scene
from arcticdl.simulate.daily import write_daily
from arcticdl.simulate.geotiff import write_geotiff
from arcticdl.simulate.monthly import write_year
from arcticdl.simulate.objects.floes import write_floes
from arcticdl.simulate.objects.icebergs import write_icebergs
from arcticdl.simulate.optical import optical_scene
from arcticdl.simulate.restore import coarse_scene, speckled_scene, write_restored
from arcticdl.simulate.safe import write_safe
from arcticdl.simulate.scene import WORLDS, Truth, draw_truth, to_dataset


class Extra(NamedTuple):
    """What a schema may be asked for beside its scenes."""

    charts: bool = False
    pond_fraction: float | None = None
    num_icebergs: int | None = None
    world: str = "usual"


class _RadarSchema(NamedTuple):
    """A schema of radar scenes: its writer, and what it fixes of the scene."""

    write: Callable[[Truth, Path], Path]
    resolution_m: float = 80.0
    heading_deg: float | None = None

    def write_scene(
        self, folder: Path, size_px: int, seed: int, index: int, extra: Extra
    ) -> Path:
        _refuse_ponds(extra)
        truth = draw_truth(
            size_px,
            seed,
            index=index,
            resolution_m=self.resolution_m,
            heading_deg=self.heading_deg,
            world=extra.world,
        )
        path = self.write(truth, folder)
        if extra.charts:
            write_chart(truth, folder / f"{path.stem}_chart.gpkg")
        return path


def _write_radar_geotiff(truth: Truth, folder: Path) -> Path:
    return write_geotiff(to_dataset(truth), "ice_type", folder)


def _write_optical(
    folder: Path, size_px: int, seed: int, index: int, extra: Extra
) -> Path:
    _refuse_charts(extra, "optical")
    ponds = 0.25 if extra.pond_fraction is None else extra.pond_fraction
    scene = optical_scene(size_px, seed, index=index, pond_fraction=ponds)
    return write_geotiff(scene, "surface", folder)


def _write_amsr2(
    folder: Path, size_px: int, seed: int, index: int, extra: Extra
) -> Path:
    _refuse_charts(extra, "amsr2")
    _refuse_ponds(extra)
    return write_daily(folder, size_px, seed, index)


def _write_monthly(
    folder: Path, size_px: int, seed: int, index: int, extra: Extra
) -> Path:
    _refuse_charts(extra, "monthly")
    _refuse_ponds(extra)
    return write_year(folder, size_px, seed, index)


def _write_floes(
    folder: Path, size_px: int, seed: int, index: int, extra: Extra
) -> Path:
    _refuse_charts(extra, "floes")
    _refuse_ponds(extra)
    return write_floes(folder, size_px, seed, index)


def _write_icebergs(
    folder: Path, size_px: int, seed: int, index: int, extra: Extra
) -> Path:
    _refuse_charts(extra, "icebergs")
    _refuse_ponds(extra)
    return write_icebergs(folder, size_px, seed, index, count=extra.num_icebergs)


def _write_speckle(
    folder: Path, size_px: int, seed: int, index: int, extra: Extra
) -> Path:
    _refuse_charts(extra, "speckle")
    _refuse_ponds(extra)
    return write_restored(speckled_scene(size_px, seed, index=index), "clean", folder)


def _write_coarse(
    folder: Path, size_px: int, seed: int, index: int, extra: Extra
) -> Path:
    _refuse_charts(extra, "coarse")
    _refuse_ponds(extra)
    return write_restored(coarse_scene(size_px, seed, index=index), "fine", folder)


def _write_cloudy(
    folder: Path, size_px: int, seed: int, index: int, extra: Extra
) -> Path:
    _refuse_charts(extra, "cloudy")
    _refuse_ponds(extra)
    return write_restored(cloudy_scene(size_px, seed, index=index), "clear", folder)


def _refuse_charts(extra: Extra, schema: str) -> None:
    if extra.charts:
        raise ValueError(
            f"`charts` needs a schema of radar scenes. Received: schema={schema!r}."
        )


def _refuse_ponds(extra: Extra) -> None:
    if extra.pond_fraction is not None:
        raise ValueError(
            "`pond_fraction` is of optical scenes; set schema='optical'. Received: "
            f"pond_fraction={extra.pond_fraction}."
        )


SCHEMAS: dict[str, Callable[[Path, int, int, int, Extra], Path]] = {
    "ai4arctic": _RadarSchema(write_ai4arctic).write_scene,
    "ai4arctic_raw": _RadarSchema(write_ai4arctic_raw).write_scene,
    "amsr2": _write_amsr2,
    "cloudy": _write_cloudy,
    "coarse": _write_coarse,
    "floes": _write_floes,
    "geotiff": _RadarSchema(_write_radar_geotiff).write_scene,
    "icebergs": _write_icebergs,
    "monthly": _write_monthly,
    "optical": _write_optical,
    "safe": _RadarSchema(write_safe, resolution_m=40.0, heading_deg=0.0).write_scene,
    "speckle": _write_speckle,
}
"""File schema to its writer of ``(folder, size_px, seed, index, extra)``."""

_OF_WORLDS = {"ai4arctic", "ai4arctic_raw", "geotiff", "safe"}


def simulate_scenes(
    out_dir: str | Path,
    *,
    num_scenes: int = 4,
    size_px: int = 1024,
    seed: int = 0,
    schema: str = "geotiff",
    charts: bool = False,
    pond_fraction: float | None = None,
    num_icebergs: int | None = None,
    world: str = "usual",
    progress: bool = True,
) -> list[Path]:
    """Writes simulated scenes of sea ice with known truth.

    Args:
        out_dir: Folder to write to; made if absent.
        num_scenes: Number of scenes, at least 1.
        size_px: Side of a scene in pixels, at least 16; of 80 m, 40 m for
            ``"safe"``, ``"speckle"`` and ``"icebergs"``, 10 m for ``"optical"``,
            ``"cloudy"`` and ``"floes"``, 12.5 km for ``"amsr2"`` and ``"coarse"`` and
            25 km for ``"monthly"``.
        seed: Seed; the same seed gives the same scenes, whatever ``num_scenes`` is.
        schema: ``"geotiff"``, Sentinel-1 like HH, HV and incidence angle;
            ``"ai4arctic"``, the same with AMSR2, ERA5 and chart labels in NetCDF;
            ``"ai4arctic_raw"``, the same in physical units, with the polygons of the
            chart and their codes;
            ``"safe"``, a Sentinel-1 product; ``"optical"``, reflectance of summer ice
            with melt ponds and clouds as GeoTIFF; ``"amsr2"``, brightness temperatures
            of eight days at each place, with the concentration as ``NAME_sic.tif``;
            ``"monthly"``, a file a year of monthly concentration, as NSIDC's record;
            ``"floes"``, reflectance of floes that touch, with the number of each floe
            as ``NAME_floes.tif``; ``"icebergs"``, HH and HV of icebergs at sea, their
            outlines as ``NAME.gpkg``; ``"speckle"``, HH and HV with strong speckle, and
            without any as ``NAME_clean.tif``; ``"coarse"``, brightness temperatures of
            which one is coarse, and the same fine as ``NAME_fine.tif``; ``"cloudy"``,
            reflectance of four days at each place with gaps under clouds, and without
            clouds as ``NAME_clear.tif``.
        charts: Writes the ice chart of each scene as ``NAME_chart.gpkg`` (SIGRID-3).
        pond_fraction: Of optical scenes, the share of melt ponds in the area of floes,
            0 to 1; 0.25 unless told.
        num_icebergs: In each scene of ``"icebergs"``, at least 0; one for each 104 x
            104 pixels unless told.
        world: Of ``"ai4arctic"``, raw or not, ``"geotiff"`` and ``"safe"``:
            ``"usual"``, or
            ``"disjoint"``, in which each scene has tie points, backscatter, slopes over
            the incidence angle, noise and weather of its own, drawn from ranges that
            hold none of the constants of NASA Team, Bootstrap, the incidence correction
            and the usual simulator. Methods that share an assumption with the usual one
            are scored there alone.
        progress: Shows a progress bar.

    Returns:
        One path a scene, to hand to ``open_scene``. But for ``"ai4arctic"``, raw or
        not, and ``"monthly"``, which hold their labels themselves, and ``"icebergs"``,
        the label map lies beside it, as ``NAME_labels.tif`` where nothing else is said.

    Raises:
        ValueError: An unknown schema, no scene, a size below 16, charts of scenes that
            are no radar's, ponds of scenes that are not optical, or icebergs of others
            than ``"icebergs"``; an unknown world, or another than the usual one of
            scenes that are no radar's.
    """
    check_choice("schema", schema, SCHEMAS)
    check_choice("world", world, WORLDS)
    if world != "usual" and schema not in _OF_WORLDS:
        raise ValueError(
            f"`world` is of scenes of {sorted(_OF_WORLDS)}. Received: world={world!r}, "
            f"schema={schema!r}."
        )
    if num_icebergs is not None and (schema != "icebergs" or num_icebergs < 0):
        raise ValueError(
            "`num_icebergs` is at least 0, of schema='icebergs'. Received: "
            f"num_icebergs={num_icebergs}, schema={schema!r}."
        )
    if num_scenes < 1:
        raise ValueError(f"`num_scenes` must be at least 1. Received: {num_scenes}.")
    folder = Path(out_dir)
    folder.mkdir(parents=True, exist_ok=True)
    extra = Extra(charts, pond_fraction, num_icebergs, world)
    return [
        SCHEMAS[schema](folder, size_px, seed, index, extra)
        for index in _counted(num_scenes, progress)
    ]


def _counted(num_scenes: int, progress: bool) -> Iterable[int]:
    if not progress:
        return range(num_scenes)
    from arcticdl.progress import track

    return track(range(num_scenes), "simulate")
