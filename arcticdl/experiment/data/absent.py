"""Scenes that lack what others have, or are of another product, are told of."""

from collections import Counter
from collections.abc import Sequence

import xarray as xr
from rich.console import Console

_MOST_TOLD = 5


def tell_absent(scenes: Sequence[xr.Dataset]) -> None:
    """Says which scenes lack bands or labels that their reader has filled up.

    Scenes of several products, where their reader tells them, are learnt from together:
    that is said, and how they get pixels of one size.
    """
    say = Console(stderr=True, highlight=False, markup=False, soft_wrap=True).print
    products = Counter(p for p in map(_product, scenes) if p)
    if len(products) > 1:
        counts = ", ".join(f"{n} {name}" for name, n in products.most_common())
        say(
            f"note: scenes of several products are learnt from together: {counts} "
            "(column `product` of the manifest). Pixels of different sizes come to one "
            "by `data.grid: {resolution_m: ...}`."
        )
    told = [(s.attrs["scene_id"], _absent(s)) for s in scenes if _absent(s)]
    if not told:
        return
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


def _product(scene: xr.Dataset) -> str:
    return str(scene.attrs.get("columns", {}).get("product", ""))
