"""Products by name, listed without loading what they need."""

from arcticdl.choices import Table

PRODUCTS = Table(
    None,
    {
        name: f"arcticdl.inference.products.{name}:PRODUCT"
        for name in (
            *("cog", "ice", "instances", "netcdf", "png", "polygons", "qgis"),
            *("sigrid", "stac", "zarr"),
        )
    },
)
"""Name -> ``arcticdl.inference.products.product.Product``."""
