"""Files by their addresses, from a server on this machine that answers ranges."""

import warnings
from shutil import copyfile

import numpy as np
import pytest
import rasterio
import xarray as xr
from affine import Affine
from pyproj import CRS

from arcticdl import open_scene
from arcticdl.errors import SourceError
from arcticdl.scene import scene_geobox
from arcticdl.sources.core import remote
from arcticdl.sources.core.remote import find_files

RNG = np.random.default_rng(11)
VALUES = RNG.integers(0, 60_000, (2, 600, 700)).astype("u2")


@pytest.fixture
def cog(tmp_path):
    path = tmp_path / "bucket" / "scene.tif"
    path.parent.mkdir()
    with rasterio.open(
        path, "w", driver="COG", count=2, height=600, width=700, dtype="uint16",
        crs="EPSG:3413", transform=Affine(40, 0, 0, 0, -40, 0), blocksize=128,
        compress="none",
    ) as file:  # fmt: skip
        file.write(VALUES)
        file.update_tags(group="north")
    return path


def is_the_scene(scene):
    window = scene.image[:, 300:310, 400:420].values
    np.testing.assert_array_equal(window, VALUES[:, 300:310, 400:420])
    return scene.attrs["scene_id"] == "scene" and scene_geobox(scene).crs.epsg == 3413


def test_a_window_of_a_geotiff_on_the_web_reads_a_part_of_it(object_server, cog):
    query = "token=a*b&v=1.2&of=c/d.e"  # which ends in what looks like another name
    scene = open_scene(f"http://{object_server.url}/bucket/scene.tif?{query}")
    assert is_the_scene(scene) and scene.attrs["group"] == "north"
    assert object_server.num_bytes < cog.stat().st_size / 2


def test_no_message_tells_what_opens_an_address(object_server, cog):
    secret = "token=a1%2Fb&X-Amz-Signature=c2&x=1"
    address = f"http://me:d3@{object_server.url}/bucket/none.tif?{secret}"
    with pytest.raises(SourceError, match=r"none\.tif\?token=\*\*\*&X-Amz") as told:
        open_scene(address)
    cog.write_bytes(cog.read_bytes()[:300])
    with pytest.raises(SourceError, match=r"scene\.tif\?token") as cut:
        open_scene(address.replace("none", "scene")).image.values.sum()
    for error in (told, cut):
        said = str(error.value)
        assert "x=1" in said and not any(x in said for x in ("a1", "c2", "d3"))


def test_a_mask_beside_a_file_on_the_web_is_found_without_a_listing(
    object_server, tmp_path
):
    path = tmp_path / "bucket" / "masked.tif"
    path.parent.mkdir()
    shape = {"count": 1, "height": 64, "width": 64, "dtype": "uint8"}
    place = {"crs": "EPSG:3413", "transform": Affine(40, 0, 0, 0, -40, 0)}
    with (
        rasterio.Env(GDAL_TIFF_INTERNAL_MASK=False),
        rasterio.open(path, "w", driver="GTiff", **shape, **place) as file,
    ):
        file.write(np.ones((1, 64, 64), "uint8"))
        file.write_mask(np.arange(64)[:, None] >= np.full(64, 10))
    assert path.with_name("masked.tif.msk").exists()
    scene = open_scene(f"http://{object_server.url}/bucket/masked.tif")
    assert scene.valid.values.sum() == 54 * 64
    assert scene.image.encoding["preferred_chunks"] == {"y": 64, "x": 64}


@pytest.mark.parametrize("scheme", ["http", "s3"])
def test_a_server_that_cannot_say_whether_a_mask_is_there_is_no_server_without(
    s3_server, tmp_path, scheme, monkeypatch
):
    """Any status but 200 read as "no mask", and all pixels as valid."""
    path = tmp_path / "bucket" / "mask ed.tif"
    path.parent.mkdir()
    with rasterio.open(
        path, "w", driver="GTiff", count=1, height=64, width=64, dtype="uint8",
        crs="EPSG:3413", transform=Affine(40, 0, 0, 0, -40, 0),
    ) as file:  # fmt: skip
        file.write(np.ones((1, 64, 64), "uint8"))
    name = "mask%20ed.tif" if scheme == "http" else "mask ed.tif"
    place = f"http://{s3_server.url}" if scheme == "http" else "s3:/"
    monkeypatch.setenv("GDAL_HTTP_RETRY_DELAY", "0.01")
    failing = path.with_name("mask ed.tif.msk.fails")
    failing.write_text("500")
    for _ in range(2):  # GDAL remembers what it took for an answer
        with pytest.raises(SourceError, match=r"status 500 of .*mask%20ed\.tif\.msk"):
            open_scene(f"{place}/bucket/{name}")
    failing.write_text("403")  # as buckets say that may not be listed
    assert open_scene(f"{place}/bucket/{name}").image.values.sum() == 64 * 64


def test_one_variable_says_where_buckets_are(s3_server, cog):
    assert is_the_scene(open_scene("s3://bucket/scene.tif"))


def test_the_files_of_a_bucket_are_found_by_a_pattern(s3_server, tmp_path):
    for name in ("a/1.tif", "a/2.tif", "a/2.txt", "b/c/3.tif", "d.zarr/zarr.json"):
        path = tmp_path / "bucket" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("")

    def found(pattern):
        return [f.removeprefix("s3://bucket/") for f in find_files(pattern)]

    assert found("s3://bucket/a/*.tif") == ["a/1.tif", "a/2.tif"]
    assert found("s3://bucket/*/[2-9].t?f") == ["a/2.tif"]
    assert found("s3://bucket/**/*.tif") == ["a/1.tif", "a/2.tif", "b/c/3.tif"]
    assert found("s3://bucket/*.zarr") == ["d.zarr"]
    assert found("s3://bucket/absent.tif") == ["absent.tif"]


def test_a_pattern_stacks_the_files_of_a_bucket(s3_server, cog):
    copyfile(cog, cog.with_name("scene_2.tif"))
    scene = open_scene("s3://bucket/scene*.tif")
    assert scene.sizes["band"] == 4
    with pytest.raises(FileNotFoundError, match="No file matches s3://bucket/b"):
        open_scene("s3://bucket/b*.tif")


def test_what_cannot_be_listed_is_refused(s3_server, monkeypatch):
    with pytest.raises(SourceError, match="Name each file, or give a table"):
        find_files("https://127.0.0.1/scenes/*.tif")
    for bucket, says in (("absent", "NoSuchBucket"), ("private", "AccessDenied")):
        with pytest.raises(SourceError, match=f"must be reachable.*{says}"):
            find_files(f"s3://{bucket}/*.tif")
    monkeypatch.setitem(remote._RETRIES, "max_retries", 1)
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    with pytest.raises(SourceError, match="must be reachable"):
        find_files("s3://bucket/*.tif")


def test_buckets_are_read_through_gdal(object_server, cog, monkeypatch):
    for key, value in {
        "AWS_S3_ENDPOINT": object_server.url, "AWS_HTTPS": "NO",
        "AWS_NO_SIGN_REQUEST": "YES", "AWS_VIRTUAL_HOSTING": "FALSE",
        "GS_NO_SIGN_REQUEST": "YES", "CPL_GS_ENDPOINT": f"http://{object_server.url}/",
    }.items():  # fmt: skip
        monkeypatch.setenv(key, value)
    assert is_the_scene(open_scene("s3://bucket/scene.tif"))
    assert is_the_scene(open_scene("gs://bucket/scene.tif"))


@pytest.mark.parametrize("version", [2, 3])
def test_a_zarr_store_on_the_web_is_opened(object_server, tmp_path, version):
    data = xr.Dataset(
        {"sic": (("y", "x"), VALUES[0], {"grid_mapping": "crs"})},
        {"x": 40.0 * np.arange(700) + 20, "y": -40.0 * np.arange(600) - 20,
         "crs": ((), 0, {"crs_wkt": CRS(3413).to_wkt()})},
    ).chunk(y=100, x=100)  # fmt: skip
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # consolidated metadata are no standard yet
        data.to_zarr(tmp_path / "a.zarr", zarr_format=version, consolidated=True)
    scene = open_scene(f"http://{object_server.url}/a.zarr")
    window = scene.image[0, 300:310, 400:420].values
    np.testing.assert_array_equal(window, VALUES[0, 300:310, 400:420])
    assert scene_geobox(scene).crs.epsg == 3413 and scene.attrs["scene_id"] == "a"


def test_what_is_not_there_or_no_address_is_refused(object_server):
    with pytest.raises(SourceError, match="cannot be opened as a raster"):
        open_scene(f"http://{object_server.url}/absent.tif")
    with pytest.raises(SourceError, match="cannot be opened as NetCDF or Zarr"):
        open_scene(f"http://{object_server.url}/absent.zarr")
    with pytest.raises(SourceError, match="download the file"):
        open_scene("ftp://127.0.0.1/a.tif")
