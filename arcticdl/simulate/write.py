"""Writes sets of simulated scenes in the file schemas of the real ones."""

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import NamedTuple

from arcticdl.choices import check_choice
from arcticdl.simulate.ai4arctic import write_ai4arctic
from arcticdl.simulate.chart import write_chart
from arcticdl.simulate.geotiff import write_geotiff
from arcticdl.simulate.optical import optical_scene
from arcticdl.simulate.safe import write_safe
from arcticdl.simulate.scene import Truth, draw_truth, to_dataset


class _RadarSchema(NamedTuple):
    """A schema of radar scenes: its writer, and what it fixes of the scene."""

    write: Callable[[Truth, Path], Path]
    resolution_m: float = 80.0
    heading_deg: float | None = None

    def write_scene(
        self, folder: Path, size_px: int, seed: int, index: int, charts: bool
    ) -> Path:
        truth = draw_truth(
            size_px,
            seed,
            index=index,
            resolution_m=self.resolution_m,
            heading_deg=self.heading_deg,
        )
        path = self.write(truth, folder)
        if charts:
            write_chart(truth, folder / f"{path.stem}_chart.gpkg")
        return path


def _write_radar_geotiff(truth: Truth, folder: Path) -> Path:
    return write_geotiff(to_dataset(truth), "ice_type", folder)


def _write_optical(
    folder: Path, size_px: int, seed: int, index: int, charts: bool
) -> Path:
    if charts:
        raise ValueError(
            "`charts` needs a schema of radar scenes. Received: schema='optical'."
        )
    return write_geotiff(optical_scene(size_px, seed, index=index), "surface", folder)


SCHEMAS: dict[str, Callable[[Path, int, int, int, bool], Path]] = {
    "ai4arctic": _RadarSchema(write_ai4arctic).write_scene,
    "geotiff": _RadarSchema(_write_radar_geotiff).write_scene,
    "optical": _write_optical,
    "safe": _RadarSchema(write_safe, resolution_m=40.0, heading_deg=0.0).write_scene,
}
"""File schema to its writer of ``(folder, size_px, seed, index, charts)``."""


def simulate_scenes(
    out_dir: str | Path,
    *,
    num_scenes: int = 4,
    size_px: int = 1024,
    seed: int = 0,
    schema: str = "geotiff",
    charts: bool = False,
    progress: bool = True,
) -> list[Path]:
    """Writes simulated scenes of sea ice with known truth.

    Args:
        out_dir: Folder to write to; made if absent.
        num_scenes: Number of scenes, at least 1.
        size_px: Side of a scene in pixels, at least 16; of 80 m, for ``"safe"`` of 40 m
            and for ``"optical"`` of 10 m.
        seed: Seed; the same seed gives the same scenes, whatever ``num_scenes`` is.
        schema: ``"geotiff"``, Sentinel-1 like HH, HV and incidence angle;
            ``"ai4arctic"``, the same with AMSR2, ERA5 and chart labels in NetCDF;
            ``"safe"``, a Sentinel-1 product; ``"optical"``, reflectance of summer ice
            with melt ponds and clouds as GeoTIFF.
        charts: Writes the ice chart of each scene as ``NAME_chart.gpkg`` (SIGRID-3).
        progress: Shows a progress bar.

    Returns:
        One path a scene, to hand to ``open_scene``. But for ``"ai4arctic"``, which
        holds its labels itself, the label map lies beside it as ``NAME_labels.tif``.

    Raises:
        ValueError: An unknown schema, no scene, a size below 16, or charts of optical
            scenes.
    """
    check_choice("schema", schema, SCHEMAS)
    if num_scenes < 1:
        raise ValueError(f"`num_scenes` must be at least 1. Received: {num_scenes}.")
    folder = Path(out_dir)
    folder.mkdir(parents=True, exist_ok=True)
    return [
        SCHEMAS[schema](folder, size_px, seed, index, charts)
        for index in _counted(num_scenes, progress)
    ]


def _counted(num_scenes: int, progress: bool) -> Iterable[int]:
    if not progress:
        return range(num_scenes)
    from rich.progress import track

    return track(range(num_scenes), description="Simulating scenes")
