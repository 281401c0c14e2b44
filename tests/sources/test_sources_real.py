"""The sample data: real files open as their README says."""

import os
from pathlib import Path

import numpy as np
import pytest
from pyproj import Transformer

from arcticdl import open_scene
from arcticdl.errors import SourceError
from arcticdl.grid import align, stack
from arcticdl.scene import scene_geobox

DATA = Path(
    os.environ.get("ARCTICDL_SAMPLE_DATA")
    or Path(__file__).parents[2] / ".." / "shared" / "data"
).resolve()
pytestmark = [
    pytest.mark.real_data,
    pytest.mark.skipif(
        not DATA.is_dir(), reason=f"no sample data at {DATA}; see ARCTICDL_SAMPLE_DATA"
    ),
]
BAFFIN = DATA / "modis_seaice/baffin_bay-200km-20060704"


def test_modis_composites_are_six_bands():
    stem = "20060704.250m.terra"
    paths = [BAFFIN / f"{stem}.{kind}.tiff" for kind in ("truecolor", "falsecolor")]
    scene = open_scene(paths)
    assert scene["image"].shape == (6, 800, 800)
    assert list(scene["band"].values)[:4] == ["B01", "B04", "B03", "B07"]
    assert scene_geobox(scene).crs.to_epsg() == 3413


def test_landsat_greenland_beside_modis():
    landsat = open_scene(DATA / "landsat8/greenland", bands=["SR_B4", "ST_B10"])
    assert landsat["valid"].values.any()
    temperature = landsat["image"].values[1][landsat["valid"].values]
    assert 200 < np.median(temperature) < 300  # kelvin
    modis = open_scene(BAFFIN / "20060704.250m.aqua.truecolor.tiff")
    both = align([landsat, modis], crs="EPSG:3413", resolution_m=2000.0)
    assert scene_geobox(both[0]) == scene_geobox(both[1])
    assert stack(both)["image"].shape[0] == 5
    near = align(landsat, crs="EPSG:3413", resolution_m=500.0)
    grid = scene_geobox(near)
    row, col = 300, 280
    x = grid.transform.c + 500 * (col + 0.5)
    y = grid.transform.f - 500 * (row + 0.5)
    x, y = Transformer.from_crs(3413, 32624, always_xy=True).transform(x, y)
    source = scene_geobox(landsat).transform
    at = landsat["image"].values[
        :, int((y - source.f) / source.e), int((x - source.c) / source.a)
    ]
    found = near["image"].isel(y=row, x=col).values
    if near["valid"].isel(y=row, x=col).item():
        assert np.abs(found[1] - at[1]) < 10
    antarctic = open_scene(DATA / "landsat8/antarctica", void_flags=("fill",))
    assert scene_geobox(antarctic).crs.to_epsg() == 3031


@pytest.mark.parametrize("name", ["daily_nh_20211231", "monthly_nh_202112"])
def test_sea_ice_record(name):
    scene = open_scene(DATA / f"nsidc_sic_cdr/seaice_conc_{name}_f17_v04r00.nc")
    valid, conc = scene["valid"].values, scene["image"].values[0]
    assert np.nanmin(conc) >= 0 and np.nanmax(conc) <= 1
    assert np.isnan(conc[~valid]).all()
    reasons = scene["reason"].attrs["flag_meanings"].split()
    counts = np.bincount(scene["reason"].values.ravel(), minlength=len(reasons))
    told = dict(zip(reasons, counts, strict=True))
    assert told["land_mask"] > 60000 and told["coastal"] > 4000 and told["lakes"] > 600
    assert told["usable"] == valid.sum()
    grid = scene_geobox(scene)
    assert grid.crs.proj.ellipsoid.semi_major_metre == 6378273.0
    on_wgs84 = align(scene, crs="EPSG:3413", resolution_m=25e3)
    assert on_wgs84["valid"].values.sum() > 50000


RASTERS = {
    "RGB.byte.tif": (3, 0.67),
    "RGBA.uint16.tif": (3, 0.49),
    "all-nodata.tif": (4, 0.0),
    "float_nan.tif": (1, 0.83),
    "float_raster_with_nodata.tif": (1, 0.63),
    "goes.tif": (3, 0.78),
    "rotated.tif": (1, 1.0),
    "test_esri_wkt.tif": (1, 1.0),
}


@pytest.mark.parametrize("name", RASTERS)
def test_awkward_rasters(name):
    bands, valid_fraction = RASTERS[name]
    scene = open_scene(DATA / "rasters" / name)
    assert scene.sizes["band"] == bands
    valid = scene["valid"].values.mean() if "valid" in scene else 1.0
    assert abs(valid - valid_fraction) < 0.01
    if name in ("rotated.tif", "float_nan.tif"):
        assert scene.attrs["georeferenced"] is False
        assert "no CRS" in scene.attrs["georeferencing"]
    with pytest.raises(SourceError, match="of no kind"):
        open_scene(DATA / "rasters/LICENSE.txt")


def test_calving_front_and_melt_ponds():
    image = sorted((DATA / "calving_front/images").glob("*.png"))[0]
    label = DATA / "calving_front/labels" / image.name.replace("Subset", "Front")
    scene = open_scene(image, bands=["gray"], label_codes={0: 1, 255: 0},
                       labels={"front": (label, ("other", "front"))})  # fmt: skip
    assert scene["image"].shape == (1, 300, 200)
    assert 0.002 < scene["front"].values.mean() < 0.03
    masks = (DATA / "meltpond_tir/train_masks.npy", ("pond", "ice", "ocean"))
    pond = open_scene(DATA / "meltpond_tir/train_images.npy", index=2,
                      labels={"surface": masks})  # fmt: skip
    assert pond["image"].shape == (1, 480, 480)
    assert set(np.unique(pond["surface"].values)) <= {0, 1, 2}


def test_sentinel2_without_imagery_names_the_gap():
    safe = next((DATA / "sentinel2_safe").glob("*.SAFE"))
    with pytest.raises(SourceError, match="T33XWJ_20220413T150759_B0"):
        open_scene(safe)


def test_sentinel2_patch_of_arrays():
    scene = open_scene(DATA / "sentinel2_patch/REFERENCE_SCENES.npy", index=0)
    assert scene["image"].shape == (13, 101, 100)
