"""Rasters beyond the plain GeoTIFF: pages, complex numbers, formats, cut files."""

import time
import warnings

import numpy as np
import pytest
import rasterio
from affine import Affine
from PIL import Image
from rasterio.errors import NotGeoreferencedWarning

from arcticdl import open_scene
from arcticdl.errors import SourceError
from arcticdl.scene import scene_geobox

POLAR = Affine(250, 0, -500_000, 0, -250, 3_600_000)
RNG = np.random.default_rng(3)


def write(path, data, driver="GTiff", crs="EPSG:3413", tags=None, names=None, **more):
    with rasterio.open(
        path, "w", driver=driver, count=len(data), height=data.shape[1],
        width=data.shape[2], dtype=more.pop("dtype", data.dtype), crs=crs,
        transform=POLAR, **more,
    ) as file:  # fmt: skip
        file.write(data)
        file.update_tags(**(tags or {}))
        for index, name in enumerate(names or (), 1):
            file.set_band_description(index, name)
    return path


def test_pages_of_a_tiff_are_chosen_and_never_taken_in_silence(tmp_path):
    pages = [Image.fromarray(np.full((8, 9), 10 * k, "u1")) for k in range(5)]
    pages[0].save(tmp_path / "p.tif", save_all=True, append_images=pages[1:])
    with pytest.raises(SourceError, match="5 pages; choose one by `page`, 1 to 5"):
        open_scene(tmp_path / "p.tif")
    for page in (1, 4):
        scene = open_scene(tmp_path / "p.tif", page=page)
        assert (scene.image.values == 10 * (page - 1)).all()
        assert scene.attrs["scene_id"] == "p"
    with pytest.raises(SourceError):
        open_scene(tmp_path / "p.tif", page=6)
    with pytest.raises(ValueError, match="at least 1"):
        open_scene(tmp_path / "p.tif", page=0)


@pytest.mark.parametrize(
    ("stored", "dtype"),
    [("complex_int16", "f4"), ("complex64", "f4"), ("complex128", "f8")],
)
def test_complex_bands_become_amplitude_and_phase(tmp_path, stored, dtype):
    data = RNG.integers(-90, 90, (2, 7, 8)) + 1j * RNG.integers(-90, 90, (2, 7, 8))
    data = data.astype("complex128" if stored == "complex128" else "complex64")
    data[:, 2:4, 5] = -1 + 0j
    path = write(tmp_path / "slc.tif", data, dtype=stored, names=["HH", "HV"])
    scene = open_scene(path)
    assert scene.image.dtype == dtype
    assert list(scene.band.values) == [
        "HH_amplitude", "HH_phase", "HV_amplitude", "HV_phase",
    ]  # fmt: skip
    assert scene.band_units.values.tolist() == ["", "rad", "", "rad"]
    pairs = [part for band in data for part in (np.abs(band), np.angle(band))]
    np.testing.assert_allclose(scene.image.values, pairs, rtol=1e-6)
    assert scene.valid.values.all()
    one = open_scene(path, bands=["HV_amplitude"], nodata=-1)
    np.testing.assert_array_equal(one.valid.values, data[1] != -1)
    part = one.image[0, 1:5, 2:7].values
    np.testing.assert_allclose(part, np.where(data[1] != -1, np.abs(data[1]), np.nan)[
        1:5, 2:7], rtol=1e-6)  # fmt: skip


def make_vrt(folder):
    tif = write(folder / "of_vrt.tif", FIELD)
    text = f"""<VRTDataset rasterXSize="9" rasterYSize="8">
      <SRS>EPSG:3413</SRS><GeoTransform>{", ".join(map(str, POLAR.to_gdal()))}
      </GeoTransform><VRTRasterBand dataType="UInt16" band="1"><SimpleSource>
      <SourceFilename relativeToVRT="1">{tif.name}</SourceFilename></SimpleSource>
      </VRTRasterBand></VRTDataset>"""
    path = folder / "a.vrt"
    path.write_text(text)
    return path


FIELD = RNG.integers(0, 60_000, (1, 8, 9)).astype("u2")
MAKERS = {
    "VRT": make_vrt,
    "ENVI": lambda folder: write(folder / "a.dat", FIELD, "ENVI"),
    "ENVI header": lambda f: write(f / "a.dat", FIELD, "ENVI").with_suffix(".hdr"),
    "HFA": lambda folder: write(folder / "a.img", FIELD, "HFA"),
    "JPEG 2000": lambda folder: write(
        folder / "a.jp2", FIELD, "JP2OpenJPEG", quality=100, reversible="YES"
    ),
}


@pytest.mark.parametrize("kind", MAKERS)
@pytest.mark.parametrize("reader", [None, "geotiff"])
def test_other_rasters_are_known_by_content_and_by_name(tmp_path, kind, reader):
    scene = open_scene(MAKERS[kind](tmp_path), reader=reader)
    np.testing.assert_array_equal(scene.image.values, FIELD)
    assert scene_geobox(scene).transform.almost_equals(POLAR)
    assert scene_geobox(scene).crs.epsg == 3413


def test_the_callers_crs_stands_in_place_of_the_files(tmp_path):
    bare = write(tmp_path / "bare.tif", FIELD, crs=None)
    assert "(`crs`)" in open_scene(bare).attrs["georeferencing"]
    for path in (bare, write(tmp_path / "wrong.tif", FIELD, crs="EPSG:3031")):
        assert scene_geobox(open_scene(path, crs="EPSG:3413")).crs.epsg == 3413
    with pytest.raises(ValueError, match="`crs` must be"):
        open_scene(bare, crs="EPSG:what")


def test_a_header_of_many_bands_is_read_in_time_that_grows_with_them(tmp_path):
    seconds = []
    for count in (1500, 6000):
        path = tmp_path / f"{count}.tif"
        with rasterio.open(path, "w", driver="GTiff", count=count, height=2, width=2,
                           dtype="uint8", interleave="pixel", SPARSE_OK=True,
                           crs="EPSG:3413", transform=POLAR):  # fmt: skip
            pass
        start = time.process_time()
        assert open_scene(path).sizes["band"] == count
        seconds.append(time.process_time() - start)
    assert seconds[1] < 8 * seconds[0] + 0.5  # squared it would be 16
    with rasterio.open(tmp_path / "b.tif", "w", driver="GTiff", count=10_001, height=2,
                       width=2, dtype="uint8", SPARSE_OK=True, crs="EPSG:3413",
                       transform=POLAR):  # fmt: skip
        pass
    with pytest.raises(SourceError, match=r"at most 10000 bands. Received: 10001"):
        open_scene(tmp_path / "b.tif")


@pytest.mark.parametrize("big", ["NO", "YES"])
@pytest.mark.parametrize("driver", ["GTiff", "COG"])
def test_a_cut_tiff_is_refused_or_loses_nothing(tmp_path, big, driver):
    data = RNG.integers(0, 60_000, (2, 40, 50)).astype("u2")
    tags = {"group": "train", "time": "2021-02-03T00:00:00Z", "note": "x" * 300}
    path = write(tmp_path / "a.tif", data, driver, tags=tags, names=["HH", "HV"],
                 BIGTIFF=big)  # fmt: skip
    whole = path.read_bytes()
    cut = tmp_path / "cut.tif"
    refused = 0
    for length in np.linspace(16, len(whole) - 1, 60).astype(int):
        cut.write_bytes(whole[:length])
        try:
            scene = open_scene(cut)
        except SourceError:
            refused += 1
            continue
        assert list(scene.band.values) == ["HH", "HV"]
        assert scene.attrs["group"] == "train"
        np.testing.assert_array_equal(scene.image.values, data)
    assert refused >= 58  # the last bytes may be padding
    assert open_scene(path).attrs["group"] == "train"


def test_a_cut_tiff_says_what_is_lost(tmp_path):
    """GDAL itself opens this one, as band_1 without a group."""
    path = write(tmp_path / "a.tif", FIELD, tags={"group": "train", "n": "x" * 400},
                 names=["HH"])  # fmt: skip
    whole = path.read_bytes()
    place = whole.index(b"<GDALMetadata>")
    assert place + 400 > len(whole) - 300
    path.write_bytes(whole[: place + 40])
    with pytest.raises(SourceError, match=r"beyond which lies tag GDAL_METADATA"):
        open_scene(path)


def test_a_raster_that_only_polynomials_place_says_so(tmp_path):
    from rasterio.rpc import RPC

    path = tmp_path / "a.tif"
    Image.fromarray(FIELD[0]).save(path)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", NotGeoreferencedWarning)
        file = rasterio.open(path, "r+")
    with file:
        file.rpcs = RPC(
            height_off=0.0, height_scale=1.0, lat_off=80.0, lat_scale=1.0,
            line_den_coeff=[1.0, *[0.0] * 19], line_num_coeff=[0.0] * 20,
            line_off=4.0, line_scale=4.0, long_off=0.0, long_scale=1.0,
            samp_den_coeff=[1.0, *[0.0] * 19], samp_num_coeff=[0.0] * 20,
            samp_off=4.0, samp_scale=4.0, err_bias=None, err_rand=None,
        )  # fmt: skip
    scene = open_scene(path)
    assert scene.attrs["georeferenced"] is False
    assert "RPC" in scene.attrs["georeferencing"]
