"""Scenes that lack what others have, and are learnt from what they hold."""

from collections.abc import Sequence

import xarray as xr
from rich.console import Console

_MOST_TOLD = 5


def tell_absent(scenes: Sequence[xr.Dataset]) -> None:
    """Says which scenes lack bands or labels that their reader has filled up."""
    told = [(s.attrs["scene_id"], _absent(s)) for s in scenes if _absent(s)]
    if not told:
        return
    say = Console(stderr=True, highlight=False, markup=False, soft_wrap=True).print
    say(
        f"note: {len(told)} of {len(scenes)} scenes lack what others have; they are "
        "learnt from what they hold (column `absent` of the manifest):"
    )
    for scene_id, parts in told[:_MOST_TOLD]:
        say(f"note:   {scene_id}: without {parts}")
    if len(told) > _MOST_TOLD:
        say(f"note:   and {len(told) - _MOST_TOLD} more")


def _absent(scene: xr.Dataset) -> str:
    parts = str(scene.attrs.get("columns", {}).get("absent", ""))
    return "" if parts == "nothing" else parts
