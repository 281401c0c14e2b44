"""Writes sets of simulated scenes in the file schemas of the real ones."""

from collections.abc import Callable, Iterable
from pathlib import Path

from arcticdl.simulate.ai4arctic import write_ai4arctic
from arcticdl.simulate.chart import write_chart
from arcticdl.simulate.geotiff import write_geotiff
from arcticdl.simulate.safe import write_safe
from arcticdl.simulate.scene import Truth, draw_truth

SCHEMAS: dict[str, Callable[[Truth, Path], Path]] = {
    "ai4arctic": write_ai4arctic,
    "geotiff": write_geotiff,
    "safe": write_safe,
}
"""File schema to its writer."""

_DRAWING: dict[str, dict[str, float]] = {
    "safe": {"resolution_m": 40.0, "heading_deg": 0.0},
}
"""What a schema fixes of the scene: 40 m pixels along the track, for instance."""


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
    """Writes simulated Sentinel-1 scenes of sea ice with known truth.

    Args:
        out_dir: Folder to write to; made if absent.
        num_scenes: Number of scenes, at least 1.
        size_px: Side of a scene in pixels, at least 16; of 80 m, for ``"safe"`` 40 m.
        seed: Seed; the same seed gives the same scenes, whatever ``num_scenes`` is.
        schema: File schema, one of ``SCHEMAS``.
        charts: Writes the ice chart of each scene as ``NAME_chart.gpkg`` (SIGRID-3).
        progress: Shows a progress bar.

    Returns:
        One path a scene, to hand to ``open_scene``. For ``"geotiff"`` and ``"safe"``
        the label map lies beside it as ``NAME_labels.tif``.

    Raises:
        ValueError: An unknown schema, no scene, or a size below 16.
    """
    if schema not in SCHEMAS:
        raise ValueError(
            f"`schema` must be one of {sorted(SCHEMAS)}. Received: schema={schema!r}."
        )
    if num_scenes < 1:
        raise ValueError(f"`num_scenes` must be at least 1. Received: {num_scenes}.")
    folder = Path(out_dir)
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for index in _counted(num_scenes, progress):
        truth = draw_truth(size_px, seed, index=index, **_DRAWING.get(schema, {}))
        paths.append(SCHEMAS[schema](truth, folder))
        if charts:
            write_chart(truth, folder / f"{paths[-1].stem}_chart.gpkg")
    return paths


def _counted(num_scenes: int, progress: bool) -> Iterable[int]:
    if not progress:
        return range(num_scenes)
    from rich.progress import track

    return track(range(num_scenes), description="Simulating scenes")
