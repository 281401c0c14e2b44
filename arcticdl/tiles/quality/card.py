"""The dataset card: Croissant 1.1 with the geographic extension, as JSON-LD.

MLCommons Croissant, http://mlcommons.org/croissant/1.1, and GeoCroissant 1.0,
http://mlcommons.org/croissant/geo/1.0 (2026).
"""

import hashlib
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from arcticdl.files import write_json
from arcticdl.tiles import layout

if TYPE_CHECKING:
    from arcticdl.tiles.store import TileStore

CARD_JSON = "card.json"

_CROISSANT_TERMS = (
    "arrayShape",
    "citeAs",
    "column",
    "equivalentProperty",
    "extract",
    "field",
    "fileObject",
    "fileProperty",
    "fileSet",
    "format",
    "includes",
    "isArray",
    "isLiveDataset",
    "jsonPath",
    "key",
    "md5",
    "parentField",
    "path",
    "recordSet",
    "references",
    "regex",
    "repeated",
    "replace",
    "samplingRate",
    "separator",
    "source",
    "subField",
    "transform",
)
_CONTEXT = {
    "@language": "en",
    "@vocab": "https://schema.org/",
    "conformsTo": "dct:conformsTo",
    "cr": "http://mlcommons.org/croissant/",
    "data": {"@id": "cr:data", "@type": "@json"},
    "dataType": {"@id": "cr:dataType", "@type": "@vocab"},
    "dct": "http://purl.org/dc/terms/",
    "examples": {"@id": "cr:examples", "@type": "@json"},
    "geocr": "http://mlcommons.org/croissant/geo/",
    "rai": "http://mlcommons.org/croissant/RAI/",
    "sc": "https://schema.org/",
    **{term: f"cr:{term}" for term in _CROISSANT_TERMS},
}
_COLUMN_TYPES = {
    "b": "sc:Boolean",
    "i": "sc:Integer",
    "u": "sc:Integer",
    "f": "sc:Float",
}


def write_card(
    store: "TileStore",
    *,
    name: str | None = None,
    description: str | None = None,
    license: str | None = None,
    citation: str | None = None,
    url: str | None = None,
) -> Path:
    """Writes a store's card; what is not given stays as the card has it.

    Args:
        store: The store.
        name: Of the data set; default the folder's name.
        description: What it is, for whom.
        license: Its licence, a URL or an SPDX name.
        citation: How to cite it.
        url: Where it is published.

    Returns:
        The path of the card.
    """
    path = store.path / CARD_JSON
    known = json.loads(path.read_text("utf-8")) if path.exists() else {}
    given = {"name": name, "description": description, "license": license}
    given |= {"citeAs": citation, "url": url}
    kept = {k: known[k] for k in given if k in known}
    shared = {about.get("license") for about in store.scenes.values()}
    if len(shared) == 1 and None not in shared:
        kept = {"license": shared.pop()} | kept
    stem = store.path.name.removesuffix(".partial").removesuffix(".tiles")
    kept = {"name": stem, "description": _describe(store)} | kept
    if given["description"] is None and known.get("description", "").startswith(
        "Tiles "
    ):
        kept["description"] = _describe(store)
    kept |= {k: v for k, v in given.items() if v is not None}
    write_json(path, build_card(store, kept))
    return path


def build_card(store: "TileStore", about: dict[str, str]) -> dict[str, Any]:
    """The card as JSON-LD.

    Args:
        store: The store.
        about: Name, description and, where known, licence, citation and URL.
    """
    return {
        "@context": _CONTEXT,
        "@type": "sc:Dataset",
        "conformsTo": [
            "http://mlcommons.org/croissant/1.1",
            "http://mlcommons.org/croissant/geo/1.0",
        ],
        **about,
        "version": f"{layout.FORMAT_VERSION}.0.0",
        "identifier": f"sha256:{store.fingerprint}",
        **_coverage(store),
        "geocr:bandConfiguration": _bands(store),
        "distribution": _distribution(store),
        "recordSet": [
            _tile_records(store),
            *([_array_records(store)] if store.keeps_pixels else []),
            *_class_records(store),
        ],
    }


def _describe(store: "TileStore") -> str:
    height, width = store.tile_size_px
    labels = ", ".join(sorted(store.labels)) or "none"
    return (
        f"Tiles of {height} x {width} pixels from {len(store.scenes)} scenes: "
        f"{len(store)} tiles, bands {', '.join(store.bands)}, labels {labels}."
    )


def _coverage(store: "TileStore") -> dict[str, Any]:
    from pyproj import CRS

    found: dict[str, Any] = {}
    times = sorted(a["time"] for a in store.scenes.values() if a["time"])
    if times:
        found["temporalCoverage"] = f"{times[0]}Z/{times[-1]}Z"
    if store.manifest.crs is None:
        return found
    crs = CRS(store.manifest.crs)
    code = crs.to_epsg()
    found["geocr:coordinateReferenceSystem"] = (
        crs.to_wkt() if code is None else f"EPSG:{code}"
    )
    box = " ".join(f"{value:.5f}" for value in _geographic_box(store))
    shape = {"@type": "GeoShape", "box": box}
    found["spatialCoverage"] = {"@type": "Place", "geo": shape}
    steps = {abs(a["step"][0]) for a in store.scenes.values() if a.get("step")}
    if len(steps) == 1:
        found["geocr:spatialResolution"] = {
            "@type": "QuantitativeValue",
            "value": steps.pop(),
            "unitText": crs.axis_info[0].unit_name,
        }
    return found


def _geographic_box(store: "TileStore") -> tuple[float, float, float, float]:
    """South, west, north, east of all tiles, for display only."""
    from pyproj import Transformer

    to_geo = Transformer.from_crs(store.manifest.crs, "EPSG:4326", always_xy=True)
    west, south, east, north = to_geo.transform_bounds(*store.manifest.total_bounds)
    return south, west, north, east


def _bands(store: "TileStore") -> dict[str, Any]:
    return {
        "@type": "geocr:BandConfiguration",
        "geocr:totalBands": len(store.bands),
        "geocr:bandNameList": list(store.bands),
    }


def _distribution(store: "TileStore") -> list[dict[str, Any]]:
    manifest = (store.path / layout.MANIFEST).read_bytes()
    files = [
        {
            "@type": "cr:FileObject",
            "@id": "manifest",
            "name": "manifest",
            "contentUrl": layout.MANIFEST,
            "encodingFormat": "application/vnd.apache.parquet",
            "sha256": hashlib.sha256(manifest).hexdigest(),
        },
    ]
    if not store.keeps_pixels:
        return files
    arrays = {
        "@type": "cr:FileSet",
        "@id": "arrays",
        "name": "arrays",
        "encodingFormat": "application/vnd.zarr; version=3",
        "includes": f"{store.about.get('pixels_at', layout.ARRAYS)}/**",
    }
    return [*files, arrays]


def _tile_records(store: "TileStore") -> dict[str, Any]:
    return {
        "@type": "cr:RecordSet",
        "@id": "tiles",
        "name": "tiles",
        "description": "One record a tile.",
        "key": {"@id": "tiles/tile_id"},
        "field": [
            _column_field(name, dtype.kind)
            for name, dtype in store.manifest.dtypes.items()
        ],
    }


def _array_records(store: "TileStore") -> dict[str, Any]:
    image = _array_field("image", [*store.tile_size_px, len(store.bands)])
    image["geocr:bandConfiguration"] = _bands(store)
    maps = [_array_field("valid", [*store.tile_size_px])]
    maps += [
        _array_field(name, list(info.tile_shape(store.tile_size_px)))
        for name, info in store.labels.items()
        if not info.is_image
    ]
    return {
        "@type": "cr:RecordSet",
        "@id": "pixels",
        "name": "pixels",
        "description": "One record a tile: record i is the tile with `tile_id` i.",
        "field": [image, *maps],
    }


def _column_field(name: str, kind: str) -> dict[str, Any]:
    types = {"M": "sc:DateTime", **_COLUMN_TYPES}
    source = {"fileObject": {"@id": "manifest"}, "extract": {"column": name}}
    return {
        "@type": "cr:Field",
        "@id": f"tiles/{name}",
        "name": name,
        "dataType": types.get(kind, "sc:Text"),
        "source": source,
    }


def _array_field(name: str, shape: list[int]) -> dict[str, Any]:
    return {
        "@type": "cr:Field",
        "@id": f"pixels/{name}",
        "name": name,
        "description": f"Array `{name}` of the Zarr group, (tile, y, x...).",
        "dataType": "sc:Float" if name == "image" else "sc:Integer",
        "isArray": True,
        "arrayShape": ",".join(str(int(side)) for side in np.array(shape)),
        "source": {
            "fileSet": {"@id": "arrays"},
            "extract": {"fileProperty": "content"},
        },
    }


def _class_records(store: "TileStore") -> list[dict[str, Any]]:
    return [
        {
            "@type": "cr:RecordSet",
            "@id": f"classes/{name}",
            "name": f"classes of {name}",
            "dataType": "sc:Enumeration",
            "key": {"@id": f"classes/{name}/code"},
            "field": [
                {
                    "@type": "cr:Field",
                    "@id": f"classes/{name}/{column}",
                    "name": column,
                    "dataType": kind,
                }
                for column, kind in (("code", "sc:Integer"), ("meaning", "sc:Text"))
            ],
            "data": [
                {f"classes/{name}/code": code, f"classes/{name}/meaning": meaning}
                for code, meaning in enumerate(info.classes)
            ],
        }
        for name, info in store.labels.items()
        if info.classes
    ]
