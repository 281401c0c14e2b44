"""Small networks whose reasons are known, and a scene with a hole."""

import keras
import numpy as np
import pytest
import xarray as xr
from affine import Affine
from known_nets import ICE, card_of, dense
from odc.geo.geobox import GeoBox
from odc.geo.xr import xr_coords

from arcticdl.models.card import Card


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
    box = GeoBox((40, 27), Affine(80, 0, -6e5, 0, -80, -1.6e6), "EPSG:3413")
    coords = xr_coords(box)
    made = xr.Dataset(
        {"image": (("band", "y", "x"), image)}, {"band": ["HH", "HV"], **coords}
    )
    return made.assign_attrs(scene_id="a", time="2020-01-01T00:00:00Z", sensor="none")
