"""The Scene contract: what every reader gives and every later step may rely on."""

from arcticdl.scene.contract import (
    ATTRIBUTES,
    GRID_TOLERANCE_PX,
    MAX_SIDE_PX,
    NOT_LABELS,
    check_scene,
    class_attributes,
    describe_geobox,
    grid_coords,
    grid_corners,
    grid_offset_px,
    is_swath,
    label_names,
    pixel_coords,
    read_values,
    scene_geobox,
    transform_points,
)

__all__ = [
    "ATTRIBUTES",
    "GRID_TOLERANCE_PX",
    "MAX_SIDE_PX",
    "NOT_LABELS",
    "check_scene",
    "class_attributes",
    "describe_geobox",
    "grid_coords",
    "grid_corners",
    "grid_offset_px",
    "is_swath",
    "label_names",
    "pixel_coords",
    "read_values",
    "scene_geobox",
    "transform_points",
]
