"""Landsat Level 1: reflectance and temperature by hand, quality, and refusals."""

import json
from pathlib import Path

import numpy as np
import pytest
import rasterio
from affine import Affine

from arcticdl import open_scene
from arcticdl.errors import BandNotFoundError, GridMismatchError, SourceError
from arcticdl.sources.landsat.level2 import mtl_attributes

STEM = "LC08_L1TP_005009_20150710_20200908_02_T1"
TOP_LEFT = Affine(30, 0, 399960, 0, -30, 7900020)
# The panchromatic grid: pixel centres of the corner coincide, so its edge does not.
PAN = Affine(15, 0, 399967.5, 0, -15, 7900012.5)


def write_band(path, data, transform=TOP_LEFT):
    with rasterio.open(
        path, "w", driver="GTiff", count=1, height=data.shape[0], width=data.shape[1],
        dtype=data.dtype, transform=transform, crs="EPSG:32633",
    ) as file:  # fmt: skip
        file.write(data, 1)


def mtl(**changes):
    groups = {
        "IMAGE_ATTRIBUTES": {
            "SPACECRAFT_ID": "LANDSAT_8", "SENSOR_ID": "OLI_TIRS",
            "DATE_ACQUIRED": "2015-07-10", "SCENE_CENTER_TIME": "14:34:35.978Z",
            "SUN_ELEVATION": "30.0"},
        "LEVEL1_RADIOMETRIC_RESCALING": {
            "RADIANCE_MULT_BAND_10": "3.3420E-04", "RADIANCE_ADD_BAND_10": "0.10000",
            **{f"REFLECTANCE_MULT_BAND_{i}": "2.0000E-05" for i in (2, 8)},
            **{f"REFLECTANCE_ADD_BAND_{i}": "-0.100000" for i in (2, 8)}},
        "LEVEL1_THERMAL_CONSTANTS": {
            "K1_CONSTANT_BAND_10": "774.8853", "K2_CONSTANT_BAND_10": "1321.0789"},
    }  # fmt: skip
    for group in groups.values():
        for key in [key for key in changes if key in group]:
            group[key] = changes[key]
    return groups


def make_product(folder, text=False, **changes):
    folder.mkdir(exist_ok=True)
    number = np.full((6, 6), 10000, "uint16")
    number[0, 0] = 0
    write_band(folder / f"{STEM}_B2.TIF", number)
    write_band(folder / f"{STEM}_B10.TIF", np.full((6, 6), 20000, "uint16"))
    write_band(folder / f"{STEM}_B8.TIF", np.full((11, 11), 10000, "uint16"), PAN)
    write_band(folder / f"{STEM}_SAA.TIF", np.zeros((6, 6), "int16"))
    quality = np.full((6, 6), 1 << 6, "uint16")
    quality[2, 3] = 1 << 3
    write_band(folder / f"{STEM}_QA_PIXEL.TIF", quality)
    if text:
        lines = ["GROUP = LANDSAT_METADATA_FILE"]
        for group, pairs in mtl(**changes).items():
            lines += [
                f"  GROUP = {group}",
                *(f"    {k} = {v}" for k, v in pairs.items()),
            ]
            lines += [f"  END_GROUP = {group}"]
        (folder / f"{STEM}_MTL.txt").write_text("\n".join(lines))
    else:
        meta = {"LANDSAT_METADATA_FILE": mtl(**changes)}
        (folder / f"{STEM}_MTL.json").write_text(json.dumps(meta))
    return folder


@pytest.mark.parametrize("text", [False, True])
def test_values_by_hand(tmp_path, text):
    scene = open_scene(make_product(tmp_path, text))
    assert list(scene["band"].values) == ["B2", "B10"]
    # (2e-5 * 10000 - 0.1) / sin 30
    assert scene["image"].values[0, 1, 1] == pytest.approx(0.2, abs=1e-6)
    # L = 3.342e-4 * 20000 + 0.1 = 6.784; 1321.0789 / ln(774.8853 / 6.784 + 1)
    assert scene["image"].values[1, 1, 1] == pytest.approx(278.31, abs=0.02)
    assert scene["image"].dtype == np.float32
    assert scene["band_units"].values.tolist() == ["1", "K"]
    assert np.argwhere(~scene["valid"].values).tolist() == [[0, 0], [2, 3]]
    assert scene.attrs["time"] == "2015-07-10T14:34:35Z"
    assert scene.attrs["scene_id"] == STEM
    raw = open_scene(tmp_path, scale=False, bands=["B10"], void_flags=())
    assert raw["image"].dtype == np.uint16 and (raw["image"].values == 20000).all()


def test_panchromatic_takes_the_flags_of_the_coarser_grid(tmp_path):
    scene = open_scene(make_product(tmp_path), bands=["B8"])
    assert scene["image"].shape == (1, 11, 11)
    void = np.zeros((11, 11), bool)
    void[3:5, 5:7] = True  # pixels whose centres lie in rows 2, columns 3 of 30 m
    assert (scene["valid"].values == ~void).all()
    window = {"y": slice(4, 9), "x": slice(6, 7)}
    assert (scene["valid"].isel(window).values == ~void[4:9, 6:7]).all()
    with pytest.raises(GridMismatchError, match=r"GeoBox\(.*GeoBox\("):
        open_scene(tmp_path, bands=["B2", "B8"])


def test_no_radiance_is_no_temperature(tmp_path):
    make_product(tmp_path, RADIANCE_ADD_BAND_10="-3.342")
    number = np.full((6, 6), 20000, "uint16")
    number[4, 4] = 9990  # radiance -0.003
    number[4, 5] = 9000
    write_band(tmp_path / f"{STEM}_B10.TIF", number)
    scene = open_scene(tmp_path, bands=["B10"], void_flags=())
    assert np.argwhere(~scene["valid"].values).tolist() == [[4, 4], [4, 5]]
    assert np.isnan(scene["image"].values[0, 4, 4:]).all()


def test_night_opens_its_temperature_alone(tmp_path):
    make_product(tmp_path, SUN_ELEVATION="-12.5")
    with pytest.raises(SourceError, match="above the horizon"):
        open_scene(tmp_path)
    assert open_scene(tmp_path, bands=["B10"])["image"].shape == (1, 6, 6)


def test_gaps_are_named(tmp_path):
    make_product(tmp_path / "a", SUN_ELEVATION="high")
    with pytest.raises(SourceError, match="SUN_ELEVATION"):
        open_scene(tmp_path / "a")
    make_product(tmp_path / "b", K1_CONSTANT_BAND_10="0")
    with pytest.raises(SourceError, match="positive"):
        open_scene(tmp_path / "b")
    with pytest.raises(BandNotFoundError, match="B99"):
        open_scene(tmp_path / "b", bands=["B99"])
    with pytest.raises(ValueError, match="void_flags"):
        open_scene(tmp_path / "b", void_flags=("haze",))
    for band in ("B2", "B8", "B10"):
        (tmp_path / "b" / f"{STEM}_{band}.TIF").unlink()
    with pytest.raises(SourceError, match="Level 1 bands"):
        open_scene(tmp_path / "b")
    make_product(tmp_path / "c")
    level_2 = STEM.replace("L1TP", "L2SP")
    (tmp_path / "c" / f"{level_2}_MTL.json").write_text("{}")
    with pytest.raises(SourceError, match="must hold one"):
        open_scene(tmp_path / "c")


@pytest.mark.parametrize(
    ("date", "clock", "time"),
    [("2015-07-10", "24:00:00.0Z", "2015-07-11T00:00:00Z"), ("unknown", "12:00", None),
     ("2015-02-30", "12:00:00", None), ("2015-07-10", "noon", None)],
)  # fmt: skip
def test_odd_times_of_the_metadata_are_left_out(date, clock, time):
    meta = {"DATE_ACQUIRED": date, "SCENE_CENTER_TIME": clock}
    assert mtl_attributes(Path("LC08_MTL.txt"), meta).get("time") == time
