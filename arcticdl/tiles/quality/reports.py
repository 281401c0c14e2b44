"""The pages and files that tell of a store, written from what was measured of it."""

import json
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


def kept_warnings(store: TileStore) -> list[str]:
    """What the quality report of a store warns of, a sentence each; notes are left out.

    Args:
        store: The store, of one folder.
    """
    path = store.path / layout.QUALITY_JSON
    if not path.is_file():
        return []
    found = json.loads(path.read_text(encoding="utf-8"))["findings"]
    told = [f for f in found if f["severity"] != "note"]
    return [f"{f['severity']}: {f['check']}: {f['message']}" for f in told]
