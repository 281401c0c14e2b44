"""Files by their addresses, from a server on this machine that answers ranges."""

import subprocess
import sys
import textwrap
import warnings
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
import rasterio
import xarray as xr
from affine import Affine
from pyproj import CRS

from arcticdl import open_scene
from arcticdl.errors import SourceError
from arcticdl.scene import scene_geobox

RNG = np.random.default_rng(11)
VALUES = RNG.integers(0, 60_000, (2, 600, 700)).astype("u2")


# A process of its own: GDAL waits for the answer with Python's lock in its hand.
SERVER = """
    import re, sys
    from functools import partial
    from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer

    class RangeHandler(SimpleHTTPRequestHandler):
        def do_GET(self):
            found = re.fullmatch(r"bytes=(\\d+)-(\\d*)", self.headers.get("Range", ""))
            try:
                with open(self.translate_path(self.path), "rb") as file:
                    data = file.read()
            except OSError:
                self.send_error(404)
                return
            start, end = 0, len(data)
            if found:
                start, end = int(found[1]), min(int(found[2] or end) + 1, end)
            self.send_response(206 if found else 200)
            if found:
                span = f"bytes {start}-{end - 1}/{len(data)}"
                self.send_header("Content-Range", span)
            self.send_header("Accept-Ranges", "bytes")
            self.send_header("Content-Length", str(end - start))
            self.end_headers()
            self.wfile.write(data[start:end])
            with open(sys.argv[2], "a") as log:
                print(end - start, file=log)

        def log_message(self, *args):
            pass

    handler = partial(RangeHandler, directory=sys.argv[1])
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        print(server.server_port, flush=True)
        server.serve_forever()
"""


class Served(NamedTuple):
    url: str
    log: Path

    @property
    def num_bytes(self):
        return sum(map(int, self.log.read_text().split()))


@pytest.fixture
def server(tmp_path, monkeypatch):
    for name in ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("GDAL_HTTP_TIMEOUT", "10")
    log = tmp_path / "sent.txt"
    command = [sys.executable, "-c", textwrap.dedent(SERVER), str(tmp_path), str(log)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        yield Served(f"127.0.0.1:{process.stdout.readline().strip()}", log)
        process.kill()


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


def test_a_window_of_a_geotiff_on_the_web_reads_a_part_of_it(server, cog):
    scene = open_scene(f"http://{server.url}/bucket/scene.tif?token=a*b")
    assert is_the_scene(scene) and scene.attrs["group"] == "north"
    assert server.num_bytes < cog.stat().st_size / 2


def test_buckets_are_read_through_gdal(server, cog, monkeypatch):
    for key, value in {
        "AWS_S3_ENDPOINT": server.url, "AWS_HTTPS": "NO", "AWS_NO_SIGN_REQUEST": "YES",
        "AWS_VIRTUAL_HOSTING": "FALSE", "GS_NO_SIGN_REQUEST": "YES",
        "CPL_GS_ENDPOINT": f"http://{server.url}/",
    }.items():  # fmt: skip
        monkeypatch.setenv(key, value)
    assert is_the_scene(open_scene("s3://bucket/scene.tif"))
    assert is_the_scene(open_scene("gs://bucket/scene.tif"))


@pytest.mark.parametrize("version", [2, 3])
def test_a_zarr_store_on_the_web_is_opened(server, tmp_path, version):
    data = xr.Dataset(
        {"sic": (("y", "x"), VALUES[0], {"grid_mapping": "crs"})},
        {"x": 40.0 * np.arange(700) + 20, "y": -40.0 * np.arange(600) - 20,
         "crs": ((), 0, {"crs_wkt": CRS(3413).to_wkt()})},
    ).chunk(y=100, x=100)  # fmt: skip
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # consolidated metadata are no standard yet
        data.to_zarr(tmp_path / "a.zarr", zarr_format=version, consolidated=True)
    scene = open_scene(f"http://{server.url}/a.zarr")
    window = scene.image[0, 300:310, 400:420].values
    np.testing.assert_array_equal(window, VALUES[0, 300:310, 400:420])
    assert scene_geobox(scene).crs.epsg == 3413 and scene.attrs["scene_id"] == "a"


def test_what_is_not_there_or_no_address_is_refused(server):
    with pytest.raises(SourceError, match="cannot be opened as a raster"):
        open_scene(f"http://{server.url}/absent.tif")
    with pytest.raises(SourceError, match="cannot be opened as NetCDF or Zarr"):
        open_scene(f"http://{server.url}/absent.zarr")
    with pytest.raises(SourceError, match="download the file"):
        open_scene("ftp://127.0.0.1/a.tif")
