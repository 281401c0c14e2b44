"""Products by name from finished maps: checked before, written whole or not at all."""

import inspect
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import xarray as xr

from arcticdl.choices import check_choice, choose
from arcticdl.inference.products.product import NEEDS, Product
from arcticdl.inference.products.table import PRODUCTS

Asked = str | Mapping[str, Any]


def write_products(
    maps: xr.Dataset,
    stem: str | Path,
    products: Sequence[Asked],
    *,
    scene: xr.Dataset | None = None,
    overwrite: bool = False,
) -> list[Path]:
    """Writes products of finished maps beside each other.

    Args:
        maps: As from ``predict_scene``: variables ``(y, x)`` or ``(band, y, x)`` whose
            classes, units and meaning are told by CF attributes; lazy ones are read by
            rows. The first one is the chief map.
        stem: Path of the products without an ending, such as ``"maps/scene"``.
        products: Names of ``PRODUCTS``, or mappings with ``name`` and its options, such
            as ``{"name": "polygons", "simplify_m": 200}``.
        scene: The scene that was mapped, for pictures that show it beside its maps.
        overwrite: Whether files that exist may be replaced.

    Returns:
        The files and folders, in the order of writing.

    Raises:
        ValueError: An unknown product or option, or maps that lack what one needs.
        FileExistsError: A file exists and ``overwrite`` is false.
        ImportError: A product needs an extra that is not installed.

    Example:
        >>> import tempfile
        >>> import numpy as np
        >>> flags = {"flag_values": [0, 1], "flag_meanings": "water ice"}
        >>> codes = np.eye(4, dtype=np.uint8)
        >>> maps = xr.Dataset({"class": (("y", "x"), codes, flags)})
        >>> (path,) = write_products(maps, tempfile.mkdtemp() + "/a", ["netcdf"])
        >>> path.name
        'a.nc'
    """
    stem, chosen = Path(stem), read_products(products)
    check_products(chosen, maps)
    found = [p for name in chosen for p in PRODUCTS[name].files(maps, stem)]
    there = [str(path) for path in found if path.exists()]
    if there and not overwrite:
        raise FileExistsError(
            f"{', '.join(there)} exist already. Choose another `stem`, or pass "
            "overwrite=True."
        )
    stem.parent.mkdir(parents=True, exist_ok=True)
    for name, options in chosen.items():
        PRODUCTS[name].write(maps, scene, stem, **options)
    return found


def read_products(products: Sequence[Asked]) -> dict[str, dict[str, Any]]:
    """Name -> options of the products that are asked for, in the order of writing.

    Raises:
        ValueError: An unknown name or option, or a product that is named twice.
    """
    chosen: dict[str, dict[str, Any]] = {}
    for asked in products:
        options = {"name": asked} if isinstance(asked, str) else dict(asked)
        name = str(options.pop("name", None))
        product: Product = choose("products", name, PRODUCTS)
        if name in chosen:
            raise ValueError(f"`products` must differ. Received: {name!r} twice.")
        for option in options:
            check_choice(f"option of {name}", option, options_of(product))
        chosen[name] = options
    return dict(sorted(chosen.items(), key=lambda item: PRODUCTS[item[0]].last))


def options_of(product: Product) -> list[str]:
    """Names of the options that a product takes."""
    parameters = inspect.signature(product.write).parameters.values()
    return [p.name for p in parameters if p.kind is p.KEYWORD_ONLY]


def check_products(chosen: Mapping[str, Mapping[str, Any]], maps: xr.Dataset) -> None:
    """Refuses products that could not be made of such maps, before any is made.

    Args:
        chosen: As from ``read_products``.
        maps: The maps, or others with the same variables, coordinates and attributes.

    Raises:
        ValueError: The maps lack what a product needs, or an option does not fit.
    """
    for name, options in chosen.items():
        for need in PRODUCTS[name].needs:
            has, meaning = NEEDS[need]
            if not has(maps):
                raise ValueError(
                    f"The product {name!r} needs {meaning}. Received: maps of "
                    f"{maps.attrs.get('scene_id', 'a scene')!r} without."
                )
        check = PRODUCTS[name].check
        if check is not None:
            check(maps, **options)
