"""What people call the scores of images and ensembles, and how they are told."""

from collections.abc import Mapping
from typing import Any

SHOWN = {
    "crps": ("CRPS", None),
    "spread": ("spread", None),
    "spread_skill": ("spread over error", ""),
    "psnr_db": ("PSNR", "dB"),
    "ssim": ("SSIM", ""),
    "edges": ("edges kept", ""),
    "seam": ("step at gap edges", ""),
    "spectrum_db": ("spectrum off by", "dB"),
    "looks": ("looks", ""),
    "coarse_rmse": ("coarse signal, RMSE", None),
}
"""Score -> its title and unit; ``None`` is the label's own."""


def title_of(name: str, own: str = "") -> str:
    """The title of a further score of an image, whatever it is.

    Args:
        name: Of the score.
        own: Unit of the label.

    Example:
        >>> title_of("psnr_db"), title_of("crps", "K"), title_of("line_threshold")
        ('PSNR (dB)', 'CRPS (K)', 'line threshold')
    """
    title, units = SHOWN.get(name, (name.replace("_", " "), ""))
    units = shown_units(own) if units is None else units
    return f"{title} ({units})" if units else title


def shown_units(told: str | None) -> str:
    """A unit as it stands behind a number: none of a quantity without one, ``"1"``.

    Example:
        >>> shown_units("K"), shown_units("1"), shown_units(None)
        ('K', '', '')
    """
    return "" if told in (None, "1") else told


def restored_lines(result: Mapping[str, Any]) -> list[str]:
    """Tells the scores of images, of the network and of the filters beside it.

    Args:
        result: Of an evaluation, with ``units``, ``extra`` and perhaps ``baselines``.

    Returns:
        Lines for a terminal, one a score.

    Example:
        >>> found = {"mean": 21.5, "intervals": {"mean": [20.0, 23.0]}}
        >>> restored_lines({"units": "K", "extra": {"psnr_db": found}})
        ['              PSNR 21.500 dB  (95 %: 20.000-23.000)']
    """
    lines = []
    for key, (title, units) in SHOWN.items():
        found = result["extra"].get(key)
        if not found:
            continue
        of = shown_units(result["units"]) if units is None else units
        low, high = found["intervals"].get("mean") or (None, None)
        spread = f"  (95 %: {low:.3f}-{high:.3f})" if low is not None else ""
        beside = [
            f"{method} {_number(other['extra'][key]['mean'])}"
            for method, other in (result.get("baselines") or {}).items()
            if key in other["extra"]
        ]
        told = f"{_number(found['mean'])} {of}".strip() + spread
        lines.append(f"{title:>18} {'; '.join([told, *beside])}")
    return lines


def _number(value: float | None) -> str:
    return "none" if value is None else f"{value:.3f}"
