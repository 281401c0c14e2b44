"""Labels of shares: of charts beside a scene, or as its own file carries them."""

from pathlib import Path
from typing import Any

import xarray as xr

from arcticdl.config import Experiment, LabelConfig
from arcticdl.errors import LabelError
from arcticdl.experiment.options import call_with, check_call
from arcticdl.scene import is_share_label, label_names
from arcticdl.sources import add_shares

_GIVEN = ("classes", "colors", "name", "path", "scene")
HINT = "Raw files of AI4Arctic give shares with `data.reader_options: {shares: true}`."


def charted_shares(
    scene: xr.Dataset, name: str, label: LabelConfig, path: str | Path
) -> xr.DataArray:
    """Reads the shares of a chart, or of another file of polygons, on a scene's pixels.

    Raises:
        ConfigError: Options that ``sources.add_shares`` does not take.
        FileNotFoundError, SourceError, LabelError: See there.
    """
    given: dict[str, Any] = {"scene": scene, "name": name, "path": path}
    given |= {"classes": label.classes, "colors": label.colors}
    key = f"data.labels.{name}.options"
    found: xr.Dataset = call_with(add_shares, label.options, key, **given)
    return found[name]


def check_share_options(config: Experiment) -> None:
    """Refuses options of labels of shares that are none, before a file is opened.

    Raises:
        ConfigError: One is none.
    """
    for name, label in config.data.labels.items():
        if label.shares and label.file is not None:
            key = f"data.labels.{name}.options"
            check_call(add_shares, label.options, key, _GIVEN)


def refuse_kind(scene: xr.Dataset, name: str, label: LabelConfig) -> None:
    """Refuses shares that are carried as something else, and the other way about.

    Raises:
        LabelError: The variable that ``label.carried`` names is so.
    """
    held = is_share_label(scene[str(label.carried)])
    if held == label.shares:
        return
    charted = sorted(n for n in label_names(scene) if is_share_label(scene[n]))
    raise LabelError(
        f"`data.labels.{name}.shares` must be {str(held).lower()}, for "
        f"{label.carried!r} {'holds' if held else 'holds no'} shares of polygons. "
        f"Received: {str(label.shares).lower()}; scene "
        f"{scene.attrs.get('scene_id')!r} carries shares as {charted}. {HINT}"
    )
