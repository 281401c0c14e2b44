"""The Scene contract: what every reader gives and every later step may rely on."""

from arcticdl.scene.contract import (
    ATTRIBUTES,
    CHANNEL,
    GRID_TOLERANCE_PX,
    MAX_SIDE_PX,
    NOT_LABELS,
    channel_dim,
    channel_names,
    check_scene,
    class_attributes,
    is_swath,
    label_dims,
    label_names,
    named_label,
    read_values,
)
from arcticdl.scene.grid import (
    describe_geobox,
    grid_coords,
    grid_corners,
    grid_offset_px,
    pixel_coords,
    scene_geobox,
    transform_points,
)
from arcticdl.scene.stats import BandStats, scene_band_stats

__all__ = [
    "ATTRIBUTES",
    "CHANNEL",
    "GRID_TOLERANCE_PX",
    "MAX_SIDE_PX",
    "NOT_LABELS",
    "BandStats",
    "channel_dim",
    "channel_names",
    "check_scene",
    "class_attributes",
    "describe_geobox",
    "grid_coords",
    "grid_corners",
    "grid_offset_px",
    "is_swath",
    "label_dims",
    "label_names",
    "named_label",
    "pixel_coords",
    "read_values",
    "scene_band_stats",
    "scene_geobox",
    "transform_points",
]
