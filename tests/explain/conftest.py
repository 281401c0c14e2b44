"""Small networks whose reasons are known, and a scene with a hole."""

import keras
import numpy as np
import pytest
import xarray as xr
from odc.geo.geobox import GeoBox
from odc.geo.xr import xr_coords

from arcticdl.models.card import Card
from arcticdl.tiles import Normalizer

NONE = Normalizer("none", ("HH", "HV")).to_dict()
ICE = {"task": "segmentation", "classes": ["water", "ice"]}
SIDE = 16


def card_of(**heads):
    return {
        "bands": ["HH", "HV"],
        "normalizer": NONE,
        "tile_size_px": SIDE,
        "heads": heads,
    }


def dense(name, weights, **options):
    """A convolution of one pixel, by a matrix from features to features."""
    weights = np.asarray(weights, "float32")
    layer = keras.layers.Conv2D(len(weights[0]), 1, name=name, **options)
    layer.build((None, None, None, len(weights)))
    layer.set_weights([weights[None, None], np.zeros(len(weights[0]), "float32")])
    return layer


@pytest.fixture(scope="session")
def linear():
    """Features (HH, HV, HH + HV), of which ice is 2 HH - HV and water is nothing."""
    image = keras.Input((None, None, 2), name="image")
    x = Card(card_of(ice=ICE), name="card")(image)
    x = dense("features", [[1, 0, 1], [0, 1, 1]])(x)
    return keras.Model(image, dense("ice", [[0, 3], [0, 0], [0, -1]])(x))


@pytest.fixture(scope="session")
def scene():
    rng = np.random.default_rng(0)
    image = rng.normal(size=(2, 40, 27)).astype("float32")
    image[:, 5:9, 3:11] = np.nan
    box = GeoBox((40, 27), _affine(), "EPSG:3413")
    coords = xr_coords(box)
    made = xr.Dataset(
        {"image": (("band", "y", "x"), image)}, {"band": ["HH", "HV"], **coords}
    )
    return made.assign_attrs(scene_id="a", time="2020-01-01T00:00:00Z", sensor="none")


def _affine():
    from affine import Affine

    return Affine(80, 0, -6e5, 0, -80, -1.6e6)
