"""The pages and files that tell of a store, written from what was measured of it."""

from pathlib import Path

from arcticdl.files import write_json
from arcticdl.tiles import layout
from arcticdl.tiles.quality.card import write_card
from arcticdl.tiles.quality.checks import assess
from arcticdl.tiles.quality.objects import box_thumbnails
from arcticdl.tiles.store import TileStore


def write_reports(root: Path) -> None:
    """Writes the card and the quality report of a store; no pixel is read anew."""
    store = TileStore(root)
    report = assess(store)
    write_json(root / layout.QUALITY_JSON, report.to_dict())
    boxed = [name for name, info in store.labels.items() if info.is_object]
    pictures = [box_thumbnails(store, name) for name in boxed]
    report.write_html(root / layout.QUALITY_HTML, [p for p in pictures if p])
    write_card(store)
