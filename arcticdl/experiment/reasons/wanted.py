"""What is to be explained of a scene, and how."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import xarray as xr

from arcticdl.scene import is_swath

MAPS = ("gradcam", "integrated", "occlusion", "patches", "activations")
"""Methods that give a map, in the order in which they are made."""

BOUNDARIES = "boundaries"
QUICK = (*(name for name in MAPS if name != "patches"), BOUNDARIES)
"""Without what takes a pass for every square of a window."""


class Wanted(NamedTuple):
    """What is explained of a scene, and how.

    Attributes:
        methods: Of ``MAPS``, and ``"boundaries"``.
        head: Name of the head; needed where there are several.
        target: Name of a class or value; ``None``: the class that is answered.
        layer: Layer of Grad-CAM; ``None``: the coarsest.
        steps: Points of the quadrature of integrated gradients.
        bands: Two bands of the boundaries; ``None``: those that matter most.
        window: First row and column, height and width of the part that is explained;
            ``None``: the whole scene.
    """

    methods: Sequence[str] = QUICK
    head: str | None = None
    target: str | None = None
    layer: str | None = None
    steps: int = 16
    bands: tuple[str, str] | None = None
    window: tuple[int, int, int, int] | None = None

    def options(self, method: str) -> dict[str, Any]:
        """Options of a method."""
        given: dict[str, Any] = {
            "gradcam": {"layer": self.layer},
            "integrated": {"steps": self.steps},
        }
        return given.get(method, {})


def ending(scene: xr.Dataset) -> str:
    """Of a map's file: NetCDF where it stays on 2-D lat/lon."""
    return ".nc" if is_swath(scene) else ".tif"
