"""The formats of files of objects, listed without loading what they read."""

from arcticdl.choices import Table

BOX_FORMATS = Table(
    None,
    {
        name: f"arcticdl.sources.boxes.{name}:FORMAT"
        for name in ("coco", "vector", "voc", "yolo")
    },
)
"""Name -> ``BoxFormat``, in the order in which they are tried."""
