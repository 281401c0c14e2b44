"""From a reviewed table to the next version of a layer of corrections."""

from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

from arcticdl.choices import check_choice
from arcticdl.config import Experiment
from arcticdl.errors import ConfigError, LabelError
from arcticdl.experiment.data.anchors import find_anchors
from arcticdl.experiment.labels.corrections import layer_of
from arcticdl.experiment.scenes import open_configured
from arcticdl.labelling.corrections import (
    Corrections,
    apply_corrections,
    checked,
    decided,
    extend,
)
from arcticdl.labelling.layer_files import read_layer, write_layer


class Applied(NamedTuple):
    """What became of a reviewed table.

    Attributes:
        path: The layer.
        signature: Its version and hash.
        added: Rows that are new.
        by_model: Those of them that a model's confidence has pointed at.
        changed_px: ``{scene_id: pixels that the whole layer changes}`` of each scene
            that the new rows touch.
    """

    path: Path
    signature: str
    added: int
    by_model: int
    changed_px: dict[str, int]


def apply_reviewed(
    config: Experiment,
    reviewed: str | Path,
    *,
    author: str | None = None,
    label: str | None = None,
) -> Applied:
    """Adds the filled-in rows of a table to the layer that a label is corrected by.

    Args:
        config: The experiment; ``data.labels.LABEL.corrections`` names the layer, which
            is begun where it is not there yet.
        reviewed: A table such as ``suspects.gpkg``. Rows with an empty ``corrected``
            are left alone; so are those that the layer has already.
        author: Who has decided, of rows that do not tell.
        label: Which label; ``None``: the only one with ``corrections``.

    Raises:
        FileNotFoundError: The table, or a scene, is not there.
        ConfigError: No label has ``corrections``, or several have and none is chosen.
        LabelError: Nothing is filled in, a row cannot be applied, nobody is named, or a
            row changes no pixel of any scene.
    """
    name = _choose(config, label)
    settings = config.data.labels[name]
    table = decided(read_layer(reviewed), reviewed)
    if table.empty:
        raise LabelError(
            f"{reviewed} must have rows whose `corrected` is filled in. Received: none."
        )
    checked(table, settings.classes, reviewed)
    nameless = table["author"].isna() | (table["author"].astype(str).str.strip() == "")
    if nameless.any() and not author:
        raise LabelError(
            f"Each correction must tell its author. Received: {int(nameless.sum())} "
            "rows without; name yourself by `author` (--author)."
        )
    assert settings.corrections is not None
    path = Path(settings.corrections)
    layer = layer_of(settings) if path.is_file() else None
    now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    merged = extend(layer, table, author=author or "", time=now)
    longer = checked(merged, settings.classes, reviewed)
    changed = _changes(config, name, longer)
    path.parent.mkdir(parents=True, exist_ok=True)
    before = 0 if layer is None else len(layer.table)
    if len(merged) > before:
        write_layer(merged, path)
    new = merged.iloc[before:]
    by_model = int((new["origin"] == "model").sum())
    return Applied(path, longer.signature, len(new), by_model, changed)


def _choose(config: Experiment, label: str | None) -> str:
    known = [name for name, one in config.data.labels.items() if one.corrections]
    if not known:
        raise ConfigError(
            "No label says where its corrections are kept. Give "
            f"`data.labels.{next(iter(config.data.labels), 'NAME')}.corrections: "
            "data/corrections.gpkg` in the configuration."
        )
    if label is None and len(known) > 1:
        raise ConfigError(f"Choose one label by `label` (--label): {sorted(known)}.")
    name = known[0] if label is None else label
    check_choice("label", name, known)
    return name


def _changes(config: Experiment, name: str, layer: Corrections) -> dict[str, int]:
    """Pixels that a layer changes in each scene; refuses names of no scene."""
    bare = config.data.labels[name].model_copy(update={"corrections": None})
    data = config.data.model_copy(update={"labels": {**config.data.labels, name: bare}})
    anchors = {anchor.scene_id: anchor for anchor in find_anchors(config.data)}
    named = {str(n) for n in layer.table["scene_id"].dropna()} - {""}
    _refuse_unknown(sorted(named - set(anchors)), sorted(anchors))
    everywhere = len(layer.table) > layer.table["scene_id"].notna().sum()
    wanted = sorted(anchors) if everywhere else sorted(named)
    changed = {}
    for scene_id in wanted:
        scene = open_configured(data, anchors[scene_id])
        changed[scene_id] = apply_corrections(scene, name, layer).changed
        scene.close()
    if not sum(changed.values()):
        raise LabelError(
            "Corrections must change a pixel. Received: polygons that cover no pixel "
            "of another class. Do their CRS and their `scene_id` fit the scenes?"
        )
    return {scene: count for scene, count in changed.items() if count}


def _refuse_unknown(unknown: Sequence[str], known: Sequence[str]) -> None:
    if unknown:
        raise LabelError(
            f"`scene_id` must name a scene of `data.scenes`, such as {known[0]!r}. "
            f"Received: {list(unknown)[:4]}."
        )


def told(applied: Applied) -> list[str]:
    """The lines that a person reads."""
    if not applied.added:
        return [f"{applied.path}: nothing new, version {applied.signature}"]
    scenes = applied.changed_px
    lines = [
        f"{applied.path}: {applied.added} corrections more, version "
        f"{applied.signature}; it changes {sum(scenes.values()):,} px of "
        f"{len(scenes)} scenes"
    ]
    if applied.by_model:
        lines.append(
            f"{applied.by_model} of them were pointed at by a model: they are learnt "
            "from, and never part of the labels that a model is tested on"
        )
    return [*lines, "Next: arcticdl prepare CONFIG --overwrite, then train"]
