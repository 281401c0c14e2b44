"""Sentinel-2, Landsat and MODIS products: values, masks and refusals."""

import json

import numpy as np
import pytest
import rasterio
from affine import Affine

from arcticdl import open_scene
from arcticdl.errors import BandNotFoundError, GridMismatchError, SourceError

UTM = Affine(10, 0, 399960, 0, -10, 7900020)
RNG = np.random.default_rng(3)
DN = RNG.integers(1, 9000, (12, 12)).astype("uint16")
DN[0, 0] = 0


def write_band(path, data, pixel=10, **more):
    path.parent.mkdir(parents=True, exist_ok=True)
    profile = {"transform": UTM @ Affine.scale(pixel / 10), "crs": "EPSG:32633", **more}
    height, width = data.shape
    profile |= {"driver": "GTiff", "count": 1, "height": height, "width": width}
    with rasterio.open(path, "w", dtype=data.dtype, **profile) as file:
        file.write(data, 1)


def make_sentinel2(folder, baseline="04.00", offset=-1000, level="L2A", drop=()):
    safe = folder / "S2B_MSIL2A_20220413T150759_N0400_R025_T33XWJ.SAFE"
    data = "GRANULE/G1/IMG_DATA"
    files = {10: ("B02", "B08"), 20: ("B05",), 60: ("B01",)}
    if level == "L2A":
        files = {10: ("B02", "B03", "B04", "B08"), 20: ("B02", "B05", "B11", "SCL")}
    names = []
    for size, group in files.items():
        side = 120 // size
        for band in group:
            name = f"{data}/R{size}m/T33_{band}_{size}m" if level == "L2A" else (
                f"{data}/T33_{band}")  # fmt: skip
            names.append(name)
            pixels = DN[:side, :side]
            if band == "SCL":
                pixels = np.full((side, side), 4, "uint8")
                pixels[2, 3] = 9
            if band not in drop:
                write_band(safe / f"{name}.tif", pixels, size)
    kind = "BOA_ADD_OFFSET" if level == "L2A" else "RADIO_ADD_OFFSET"
    quantum = "BOA_QUANTIFICATION_VALUE" if level == "L2A" else "QUANTIFICATION_VALUE"
    offsets = "" if offset is None else "".join(
        f'<{kind} band_id="{i}">{offset}</{kind}>' for i in range(13))  # fmt: skip
    images = "".join(f"<IMAGE_FILE>{name}</IMAGE_FILE>" for name in names)
    safe.mkdir(exist_ok=True)
    (safe / f"MTD_MSI{level}.xml").write_text(
        f"<p><PRODUCT_START_TIME>2022-04-13T15:07:59.024Z</PRODUCT_START_TIME>"
        f"<PROCESSING_BASELINE>{baseline}</PROCESSING_BASELINE>"
        f"<SPACECRAFT_NAME>Sentinel-2B</SPACECRAFT_NAME>"
        f"<{quantum}>10000</{quantum}>{offsets}{images}</p>"
    )
    return safe


@pytest.mark.parametrize(
    ("baseline", "offset"), [("04.00", -1000), ("05.10", -1000), ("03.01", None)]
)
def test_sentinel2_reflectance_by_baseline(tmp_path, baseline, offset):
    safe = make_sentinel2(tmp_path, baseline, offset)
    scene = open_scene(safe)
    assert list(scene["band"].values) == ["B02", "B03", "B04", "B08"]
    expected = (DN.astype("float64") + (offset or 0)) / 10000
    np.testing.assert_allclose(scene["image"].values[3], expected, atol=1e-6)
    valid = np.ones((12, 12), bool)
    valid[0, 0] = False  # number 0
    valid[4:6, 6:8] = False  # one cloud pixel of 20 m
    assert (scene["valid"].values == valid).all()
    window = {"y": slice(5, 9), "x": slice(3, 8)}
    assert (scene["valid"].isel(window).values == valid[5:9, 3:8]).all()
    assert scene.attrs["time"] == "2022-04-13T15:07:59Z"
    assert scene.attrs["sensor"] == "Sentinel-2B MSI"


@pytest.mark.parametrize("name", [None, "B02.tif"])
def test_saturated_pixels_of_sentinel2_hold_no_reflectance(tmp_path, name):
    """Number 65535 is a special value of the products, and no reflectance of 6.4."""
    safe = make_sentinel2(tmp_path, level="L1C")
    bright = DN.copy()
    bright[7, 2] = 65535
    for file in (safe / "GRANULE/G1/IMG_DATA/T33_B02.tif", tmp_path / "one/B02.tif"):
        write_band(file, bright)
    scene = open_scene(safe if name is None else tmp_path / "one", bands=["B02"])
    wanted = np.ones((12, 12), bool)
    wanted[0, 0] = wanted[7, 2] = False
    np.testing.assert_array_equal(scene["valid"].values, wanted)


def test_sentinel2_resolution_groups(tmp_path):
    safe = make_sentinel2(tmp_path)
    coarse = open_scene(safe, bands=["B11", "B02"])
    assert coarse["image"].shape == (2, 6, 6)
    assert open_scene(safe, resolution_m=20)["image"].shape[0] == 3
    raw = open_scene(safe, bands=["B03"], scale=False, void_classes=())
    assert raw["image"].dtype == np.uint16 and (raw["image"].values[0] == DN).all()
    assert raw["valid"].values.sum() == 143
    with pytest.raises(BandNotFoundError, match="one resolution"):
        open_scene(safe, bands=["B08", "B11"])
    with pytest.raises(BandNotFoundError, match="resolution_m"):
        open_scene(safe, resolution_m=60)
    with pytest.raises(ValueError, match="void_classes"):
        open_scene(safe, void_classes=("fog",))
    level_1 = make_sentinel2(tmp_path / "l1", level="L1C")
    assert list(open_scene(level_1)["band"].values) == ["B02", "B08"]
    assert open_scene(level_1, bands=["B01"])["image"].shape == (1, 2, 2)


def test_sentinel2_gaps_are_named(tmp_path):
    with pytest.raises(SourceError, match="T33_B04_10m"):
        open_scene(make_sentinel2(tmp_path / "a", drop=("B04",)))
    with pytest.raises(SourceError, match="BOA_ADD_OFFSET"):
        open_scene(make_sentinel2(tmp_path / "b", offset=None))
    safe = make_sentinel2(tmp_path / "c")
    mtd = safe / "MTD_MSIL2A.xml"
    mtd.write_text(mtd.read_text()[:200])
    with pytest.raises(SourceError, match="XML"):
        open_scene(safe)
    entities = "".join(
        f'<!ENTITY e{i} "{f"&e{i - 1};" * 10 if i else "ha" * 10}">' for i in range(12)
    )
    mtd.write_text(f"<!DOCTYPE p [{entities}]><p>&e11;</p>")
    with pytest.raises(SourceError):
        open_scene(safe)
    mtd.write_text("<p><IMAGE_FILE>../../etc/T_B02_10m</IMAGE_FILE></p>")
    with pytest.raises(SourceError, match="name image files"):
        open_scene(safe)


def make_landsat(folder, text=False, drop=()):
    stem = "LC08_L2SP_005009_20150710_20200908_02_T2"
    quality = np.full((12, 12), 1 << 6, "uint16")
    quality[1, 2], quality[3, 4], quality[5, 6] = 1 << 3, 1 << 4, 1 << 5
    for band in ("SR_B2", "SR_B10", "ST_B10"):
        write_band(folder / f"{stem}_{band}.TIF", DN, nodata=0)
    if "QA" not in drop:
        write_band(folder / f"{stem}_QA_PIXEL.TIF", quality)
    keys = {
        "LEVEL2_SURFACE_REFLECTANCE_PARAMETERS": {
            "REFLECTANCE_MULT_BAND_2": "2.75e-05", "REFLECTANCE_ADD_BAND_2": "-0.2",
            "REFLECTANCE_MULT_BAND_10": "2.75e-05", "REFLECTANCE_ADD_BAND_10": "-0.2",
            "TEMPERATURE_MULT_BAND_ST_B10": "0.00341802",
            "TEMPERATURE_ADD_BAND_ST_B10": "149.0"},
        "IMAGE_ATTRIBUTES": {"SPACECRAFT_ID": "LANDSAT_8", "SENSOR_ID": "OLI_TIRS",
                             "DATE_ACQUIRED": "2015-07-10",
                             "SCENE_CENTER_TIME": "14:34:35.9783990Z"},
        "LEVEL1_RADIOMETRIC_RESCALING": {"REFLECTANCE_MULT_BAND_2": "2.0E-05",
                                         "REFLECTANCE_ADD_BAND_2": "-0.1"},
    }  # fmt: skip
    if text:
        lines = ["GROUP = LANDSAT_METADATA_FILE"]
        for group, pairs in keys.items():
            lines += [f"  GROUP = {group}"]
            lines += [f"    {k} = {v}" for k, v in pairs.items()]
            lines += [f"  END_GROUP = {group}"]
        (folder / f"{stem}_MTL.txt").write_text("\n".join(lines))
    else:
        meta = {"LANDSAT_METADATA_FILE": keys}
        (folder / f"{stem}_MTL.json").write_text(json.dumps(meta))
    return folder


@pytest.mark.parametrize("text", [False, True])
def test_landsat_values_and_quality(tmp_path, text):
    scene = open_scene(make_landsat(tmp_path, text))
    assert list(scene["band"].values) == ["SR_B2", "SR_B10", "ST_B10"]
    np.testing.assert_allclose(scene["image"].values[0], DN * 2.75e-5 - 0.2, atol=1e-6)
    np.testing.assert_allclose(
        scene["image"].values[2], DN * 0.00341802 + 149, rtol=1e-6
    )
    assert scene["band_units"].values.tolist() == ["1", "1", "K"]
    void = np.argwhere(~scene["valid"].values).tolist()
    assert void == [[0, 0], [1, 2], [3, 4]]
    snowless = open_scene(tmp_path, void_flags=("snow",))
    assert np.argwhere(~snowless["valid"].values).tolist() == [[0, 0], [5, 6]]
    assert scene.attrs["time"] == "2015-07-10T14:34:35Z"
    assert scene.attrs["sensor"] == "LANDSAT_8 OLI_TIRS"


def test_landsat_gaps_are_named(tmp_path):
    folder = make_landsat(tmp_path, drop=("QA",))
    with pytest.raises(SourceError, match="QA_PIXEL"):
        open_scene(folder)
    assert open_scene(folder, void_flags=(), bands=["SR_B2"])["image"].shape[0] == 1
    with pytest.raises(ValueError, match="void_flags"):
        open_scene(folder, void_flags=("haze",))
    write_band(next(folder.glob("*SR_B10.TIF")), DN[:6], pixel=20)
    with pytest.raises(GridMismatchError, match=r"GeoBox\(.*GeoBox\("):
        open_scene(folder, void_flags=())
    mtl = next(folder.glob("*_MTL.json"))
    mtl.write_text('{"LANDSAT_METADATA_FILE": {}}')
    with pytest.raises(SourceError, match="scaling"):
        open_scene(mtl, bands=["SR_B2"], void_flags=())
    mtl.write_text("{")
    with pytest.raises(SourceError, match="not a Landsat MTL"):
        open_scene(folder)


def test_modis_composites_give_six_bands(tmp_path):
    paths = []
    for kind in ("truecolor", "falsecolor"):
        path = tmp_path / f"20060704.250m.aqua.{kind}.tiff"
        rgba = RNG.integers(1, 255, (4, 8, 9)).astype("uint8")
        rgba[3] = 255
        rgba[3, 2, 2] = 0
        with rasterio.open(path, "w", driver="GTiff", count=4, height=8, width=9,
                           dtype="uint8", crs="EPSG:3413", photometric="RGB",
                           alpha="YES", transform=UTM) as file:  # fmt: skip
            file.write(rgba)
        paths.append((path, rgba))
    scene = open_scene([path for path, _ in paths])
    assert list(scene["band"].values) == [
        "B01",
        "B04",
        "B03",
        "B07",
        "B02",
        "B01_false",
    ]
    both = np.concatenate([rgba[:3] for _, rgba in paths])
    assert (scene["image"].values == both).all()
    assert scene.attrs["sensor"] == "MODIS Aqua"
    assert scene.attrs["time"] == "2006-07-04T00:00:00Z"
    assert scene["valid"].values.sum() == 71
    picked = open_scene([p for p, _ in paths], bands=["B02", "B01"])
    assert (picked["image"].values == both[[4, 0]]).all()


def test_a_map_with_a_composites_name_is_a_plain_geotiff(tmp_path):
    path = tmp_path / "20060704.250m.aqua.truecolor.tif"
    classes = RNG.integers(0, 3, (8, 9)).astype("uint8")
    grid = {"crs": "EPSG:3413", "transform": UTM, "height": 8, "width": 9}
    with rasterio.open(path, "w", "GTiff", count=1, dtype="uint8", **grid) as file:
        file.write(classes, 1)
    assert (open_scene(path)["image"].values[0] == classes).all()
