"""The Scene contract: what every reader gives and every later step may rely on."""

from arcticdl.scene.boxes import MIN_SHARE, box_label, is_box_label, label_boxes
from arcticdl.scene.codes import count_codes
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
    declares_void,
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
from arcticdl.scene.stats import BandStats, merge_band_stats, scene_band_stats

__all__ = [
    "ATTRIBUTES",
    "CHANNEL",
    "GRID_TOLERANCE_PX",
    "MAX_SIDE_PX",
    "MIN_SHARE",
    "NOT_LABELS",
    "BandStats",
    "box_label",
    "channel_dim",
    "channel_names",
    "check_scene",
    "class_attributes",
    "count_codes",
    "declares_void",
    "describe_geobox",
    "grid_coords",
    "grid_corners",
    "grid_offset_px",
    "is_box_label",
    "is_swath",
    "label_boxes",
    "label_dims",
    "label_names",
    "merge_band_stats",
    "named_label",
    "pixel_coords",
    "read_values",
    "scene_band_stats",
    "scene_geobox",
    "transform_points",
]
