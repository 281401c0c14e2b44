"""Two files beside an exported network: its card, and an item for STAC catalogues."""

import re
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import keras

from arcticdl.files import write_json
from arcticdl.inference.exports.formats import FORMATS
from arcticdl.models.card import get_card, model_heads
from arcticdl.tasks import Head

MLM = "https://stac-extensions.github.io/mlm/v1.4.0/schema.json"
"""The Machine Learning Model extension of STAC, in the version that pystac reads."""

_CLASSIFICATION = "https://stac-extensions.github.io/classification/v2.0.0/schema.json"
_TASKS = {
    "boxes": ("object-detection", "object-detection"),
    "classes": ("semantic-segmentation", "scene-classification"),
    "labels": ("segmentation", "classification"),
    "shares": ("semantic-segmentation", "semantic-segmentation"),
    "values": ("regression", "regression"),
}
"""How a head is scored -> the extension's word, of pixels or objects and of images."""

_ORDERS = {
    "image": ("batch", "channel"),
    "object": ("batch", "object", "channel"),
    "pixel": ("batch", "height", "width", "channel"),
}
"""What one answer is of -> the axes of the answers."""


def beside(exported: Path) -> tuple[Path, Path]:
    """The files of the card and of the item.

    Example:
        >>> [path.name for path in beside(Path("ice.onnx"))]
        ['ice.onnx.card.json', 'ice.onnx.stac.json']
    """
    card, item = (f"{exported.name}.{what}.json" for what in ("card", "stac"))
    return exported.with_name(card), exported.with_name(item)


def write_cards(
    model: keras.Model,
    exported: Path,
    kind: str,
    *,
    normalized: bool,
    window: tuple[int, int] | None = None,
) -> None:
    """Writes both files.

    Args:
        model: The model as it was trained, with its card.
        exported: What was written of it.
        kind: One of `formats.FORMATS`.
        normalized: Whether it takes pixels that are already scaled.
        window: Rows and columns of the only images that it takes, one at a time; by
            default it takes any.
    """
    card, item = beside(exported)
    takes = "normalized" if normalized else "source units"
    told = {"file": exported.name, "format": kind, "input": takes}
    size = {"window_px": list(window)} if window else {}
    write_json(card, told | size | {"card": get_card(model)})
    about = mlm_item(model, exported.name, kind, normalized=normalized, window=window)
    write_json(item, about)


def mlm_item(
    model: keras.Model,
    file: str,
    kind: str,
    *,
    normalized: bool,
    window: tuple[int, int] | None = None,
) -> dict[str, Any]:
    """A STAC 1.1 item about a network, with the Machine Learning Model extension.

    A network covers no place, so that the item has no geometry; its time is that of
    writing.

    Args:
        model: The model as it was trained.
        file: Name of the exported file or folder, beside which the item will stand.
        kind: One of `formats.FORMATS`.
        normalized: Whether it takes pixels that are already scaled.
        window: Rows and columns of the only images that it takes, one at a time; by
            default it takes any.

    Returns:
        The item as JSON values.
    """
    heads = model_heads(model)
    sizes: dict[str, int] = {}
    if window:
        sizes = {"batch": 1, "height": window[0], "width": window[1]}
    outputs = [_output(name, head, sizes) for name, head in heads.items()]
    bands = _bands(model)
    properties = {
        "datetime": datetime.now(UTC).isoformat(timespec="seconds"),
        "mlm:name": _name(file),
        "mlm:architecture": model.name,
        "mlm:framework": FORMATS[kind].framework,
        "mlm:tasks": sorted({task for told in outputs for task in told["tasks"]}),
        "mlm:total_parameters": int(model.count_params()),
        "mlm:input": [_input(bands, normalized, sizes)],
        "mlm:output": outputs,
    }
    asset = {
        "href": f"./{file}",
        "title": f"The network as {FORMATS[kind].framework}",
        "roles": ["mlm:model"],
        "mlm:artifact_type": kind,
        "bands": [{"name": name} for name in bands],
    }
    if FORMATS[kind].media:
        asset["type"] = FORMATS[kind].media
    return {
        "type": "Feature",
        "stac_version": "1.1.0",
        "stac_extensions": [MLM, _CLASSIFICATION],
        "id": _name(file),
        "geometry": None,
        "properties": properties,
        "links": [],
        "assets": {"model": asset},
    }


def _name(file: str) -> str:
    """A name as the extension wants it: it begins with a letter."""
    stem = re.sub(r"[^a-zA-Z0-9_.-]", "_", Path(file).stem).strip("_.-")
    return stem if re.match(r"[a-zA-Z].", stem) else f"model_{stem or 'network'}"


def _bands(model: keras.Model) -> list[str]:
    known = (get_card(model) or {}).get("bands")
    count = int(model.inputs[0].shape[-1])
    return [str(b) for b in known or [f"band {n + 1}" for n in range(count)]]


def _input(bands: list[str], normalized: bool, sizes: dict[str, int]) -> dict[str, Any]:
    order = _ORDERS["pixel"]
    about = "scaled as the card says" if normalized else "in source units"
    return {
        "name": "image",
        "description": f"Pixels {about}, bands in this order; NaN where there is none.",
        "bands": bands,
        "input": {
            "shape": [*(sizes.get(axis, -1) for axis in order[:-1]), len(bands)],
            "dim_order": list(order),
            "data_type": "float32",
        },
        "resize_type": None,
    }


def _output(name: str, head: Head, sizes: dict[str, int]) -> dict[str, Any]:
    channels = head.form.activated(head.size)
    order = list(_ORDERS[head.spec.target])
    if head.classes and head.spec.target != "object":  # whose box comes first
        order[-1] = "class"
    return {
        "name": name,
        "tasks": [_task(head)],
        "description": _about(head),
        "result": {
            "shape": [*(sizes.get(axis, -1) for axis in order[:-1]), channels],
            "dim_order": order,
            "data_type": "float32",
        },
        "classification:classes": [
            _class(code, name, head.colors) for code, name in enumerate(head.classes)
        ],
    }


def _task(head: Head) -> str:
    of_pixels, of_images = _TASKS[head.form.scored_by]
    return of_images if head.spec.target == "image" else of_pixels


def _about(head: Head) -> str:
    if head.form.scored_by == "values":
        units = head.units or "1"
        return f"{head.task}, in {units}: " + ", ".join(
            o or "value" for o in head.outputs
        )
    return f"Probability of each class, 0-1 ({head.task})."


def _class(code: int, name: str, colors: tuple[str, ...]) -> dict[str, Any]:
    told: dict[str, Any] = {"value": code, "name": name}
    if code < len(colors):
        told["color_hint"] = colors[code].lstrip("#").upper()
    return told
