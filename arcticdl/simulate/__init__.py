"""Scenes with known answers, in the same file schemas as the real ones."""

from arcticdl.simulate.optical import OPTICAL_BANDS, SURFACES, optical_scene
from arcticdl.simulate.scene import ICE_TYPES, scene_arrays
from arcticdl.simulate.write import SCHEMAS, simulate_scenes

__all__ = [
    "ICE_TYPES",
    "OPTICAL_BANDS",
    "SCHEMAS",
    "SURFACES",
    "optical_scene",
    "scene_arrays",
    "simulate_scenes",
]
