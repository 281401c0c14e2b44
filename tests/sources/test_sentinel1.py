"""Sentinel-1: digital numbers written from known backscatter come back as it was."""

import os
import pickle
import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
import rasterio
from rasterio.windows import Window

from arcticdl.errors import SourceError
from arcticdl.sources import open_scene
from arcticdl.sources.core.tie_points import GeolocationGrid
from arcticdl.sources.sentinel.sentinel1_luts import (
    LutVector,
    NoiseBlock,
    NoiseModel,
    read_noise,
)

DATA = Path(
    os.environ.get(
        "ARCTICDL_SAMPLE_DATA", Path(__file__).parents[2] / ".." / "shared" / "data"
    )
)
SHAPE = (10708, 10487)
# Windows (row, col) over the seams of the five sub-swaths, in several noise blocks.
SEAM_ROWS = (200, 1300, 1349, 6000)
SEAM_COLS = (3114, 5016, 7087, 8962)


@pytest.fixture(scope="module")
def sample():
    folders = sorted((DATA / "sentinel1_safe").glob("S1A_EW*"))
    if not folders:
        pytest.skip(f"no Sentinel-1 sample in {DATA}")
    return folders[0]


def numbers(node, tag):
    return np.array(node.findtext(tag).split(), float)


def noise_at(root, row, cols):
    """Noise power on one line, straight from the definition, block by block."""
    power = np.zeros(len(cols))
    vectors = root.findall(".//noiseRangeVector")
    for node in root.iter("noiseAzimuthVector"):
        top, left, bottom, right = (
            int(node.findtext(name))
            for name in ("firstAzimuthLine", "firstRangeSample",
                         "lastAzimuthLine", "lastRangeSample")
        )  # fmt: skip
        inside = (cols >= left) & (cols <= right)
        if not (top <= row <= bottom and inside.any()):
            continue
        rows = [int(v.findtext("line")) for v in vectors]
        own = [k for k, line in enumerate(rows) if top <= line <= bottom]
        before = [k for k in own if rows[k] <= row] or own[:1]
        after = [k for k in own if rows[k] > row] or own[-1:]
        values = []
        for k in (before[-1], after[0]):
            pixels, lut = (numbers(vectors[k], t) for t in ("pixel", "noiseRangeLut"))
            keep = (pixels >= left) & (pixels <= right) & (lut > 0)
            values.append(np.interp(cols[inside], pixels[keep], lut[keep]))
        low, high = rows[before[-1]], rows[after[0]]
        weight = 0.0 if high <= low else min(max((row - low) / (high - low), 0.0), 1.0)
        along = np.interp(row, numbers(node, "line"), numbers(node, "noiseAzimuthLut"))
        mixed = (1 - weight) * values[0] + weight * values[1]
        power[inside] = mixed * along
    return power


def amplitude_at(root, row, cols):
    vectors = root.findall(".//calibrationVector")
    rows = [int(v.findtext("line")) for v in vectors]
    k = max(i for i, line in enumerate(rows[:-1]) if line <= row)
    low, high = (
        np.interp(
            cols, numbers(vectors[i], "pixel"), numbers(vectors[i], "sigmaNought")
        )
        for i in (k, k + 1)
    )
    weight = (row - rows[k]) / (rows[k + 1] - rows[k])
    return (1 - weight) * low + weight * high


def true_sigma0(row, cols, polarisation):
    """A smooth field: about 0 dB in HH, an even -24 dB in HV."""
    if polarisation == "hv":
        return np.full(len(cols), 10**-2.4)
    return 10 ** (0.1 * (np.sin(cols / 50.0) + np.cos(row / 30.0)))


@pytest.fixture(scope="module")
def product(sample, tmp_path_factory):
    """The real annotation with digital numbers of our own about the seams."""
    folder = tmp_path_factory.mktemp("safe") / f"{sample.name}.SAFE"
    shutil.copytree(
        sample,
        folder,
        copy_function=shutil.copyfile,
        ignore=shutil.ignore_patterns("preview", "rfi", "*.tiff"),
    )
    for path in [folder, *folder.rglob("*")]:
        path.chmod(0o755 if path.is_dir() else 0o644)
    for polarisation in ("hh", "hv"):
        luts = folder / "annotation" / "calibration"
        noise, calibration = (
            ElementTree.parse(luts / f"{kind}-ew-{polarisation}.xml").getroot()
            for kind in ("noise", "calibration")
        )
        profile = {
            "driver": "GTiff", "dtype": "uint16", "count": 1, "tiled": True,
            "height": SHAPE[0], "width": SHAPE[1], "sparse_ok": True,
            "crs": "EPSG:3413", "transform": rasterio.Affine(40, 0, 0, 0, -40, 0),
        }  # fmt: skip
        path = folder / "measurement" / f"ew-{polarisation}.tiff"
        with rasterio.open(path, "w", **profile) as target:
            for top in SEAM_ROWS:
                for left in SEAM_COLS:
                    cols = np.arange(left - 48, left + 48)
                    block = [
                        digital_numbers(noise, calibration, row, cols, polarisation)
                        for row in range(top, top + 24)
                    ]
                    target.write(
                        np.array(block, np.uint16), 1,
                        window=Window(left - 48, top, 96, 24),
                    )  # fmt: skip
    return folder


def digital_numbers(noise, calibration, row, cols, polarisation):
    power = true_sigma0(row, cols, polarisation)
    power = power * amplitude_at(calibration, row, cols) ** 2
    power = power + noise_at(noise, row, cols)
    if polarisation == "hh":
        return np.rint(np.sqrt(power))
    # Dark numbers are small: round at random, so that their mean power is the truth.
    low = np.floor(np.sqrt(power))
    chance = (power - low**2) / (2 * low + 1)
    return low + (np.random.default_rng(row).random(len(cols)) < chance)


@pytest.mark.real_data
def test_known_backscatter_is_recovered_within_a_hundredth_of_a_decibel(product):
    scene = open_scene(product)
    assert list(scene.band.values) == ["HH", "HV", "incidence_angle"]
    assert scene.image.shape == (3, *SHAPE)
    for top in SEAM_ROWS:
        for left in SEAM_COLS:
            cols = np.arange(left - 48, left + 48)
            window = {"y": slice(top, top + 24), "x": slice(cols[0], cols[-1] + 1)}
            found = scene.image.sel(band="HH").isel(window).values
            truth = [true_sigma0(row, cols, "hh") for row in range(top, top + 24)]
            np.testing.assert_allclose(found, 10 * np.log10(truth), atol=0.01)


@pytest.mark.real_data
def test_seams_of_the_sub_swaths_are_gone(product):
    clean = open_scene(product, bands=["HV"], scale="linear").image
    noisy = open_scene(product, bands=["HV"], scale="linear", denoise=False).image
    steps = []
    for top in (1300, 6000):
        for left in SEAM_COLS:
            sides = [slice(left - 48, left - 6), slice(left + 6, left + 48)]
            rows = slice(top, top + 24)
            near, far = (
                10 * np.log10(clean.isel(y=rows, x=side).values.mean())
                for side in sides
            )
            assert near == pytest.approx(-24.0, abs=0.01)
            assert abs(near - far) < 0.01
            near, far = (
                10 * np.log10(noisy.isel(y=rows, x=side).values.mean())
                for side in sides
            )
            steps.append(abs(near - far))
    assert max(steps) > 0.5


@pytest.mark.real_data
def test_missing_pixels_are_nan_and_not_valid(product):
    scene = open_scene(product).isel(y=slice(8000, 8010), x=slice(100, 120))
    assert np.isnan(scene.image.sel(band=["HH", "HV"]).values).all()
    assert not scene.valid.values.any()
    inside = open_scene(product).isel(y=slice(6000, 6010), x=slice(5000, 5020))
    assert inside.valid.values.all()


@pytest.mark.real_data
def test_position_and_incidence_keep_the_tie_points(product):
    scene = open_scene(product)
    root = ElementTree.parse(product / "annotation" / "ew-hh.xml").getroot()
    points = list(root.iter("geolocationGridPoint"))
    for node in points[5:483:97]:
        row, col, lat, lon, incidence = (
            float(node.findtext(name))
            for name in ("line", "pixel", "latitude", "longitude", "incidenceAngle")
        )
        at = scene.isel(y=int(row), x=int(col))
        assert float(at.lat) == pytest.approx(lat, abs=1e-9)
        assert float(at.lon) == pytest.approx(lon, abs=1e-9)
        found = float(at.image.sel(band="incidence_angle"))
        assert found == pytest.approx(incidence, abs=1e-4)


@pytest.mark.real_data
def test_windows_are_the_same_from_threads_and_after_pickling(product):
    scene = open_scene(product)
    window = {"y": slice(6000, 6020), "x": slice(5000, 5030)}
    once = scene.image.isel(window).values
    again = pickle.loads(pickle.dumps(scene))
    np.testing.assert_array_equal(again.image.isel(window).values, once)
    with ThreadPoolExecutor(4) as threads:
        results = threads.map(lambda _: scene.image.isel(window).values, range(8))
    for result in results:
        np.testing.assert_array_equal(result, once)
    assert scene.attrs["sensor"] == "Sentinel-1A EW"
    assert scene.attrs["time"] == "2022-11-30T01:43:42Z"


@pytest.mark.real_data
def test_the_empty_measurement_of_the_sample_is_refused(sample):
    with pytest.raises(SourceError, match=r"ew-hh.tiff is empty"):
        open_scene(sample)


def test_positions_cross_the_pole_and_the_date_line():
    lines = pixels = np.linspace(0.0, 100.0, 6)
    x, y = np.meshgrid(np.linspace(-2.0, 2.0, 6), np.linspace(-2.0, 2.0, 6))
    grid = GeolocationGrid(
        lines, pixels, 90.0 - np.hypot(x, y), np.rad2deg(np.arctan2(y, x)), 30.0 + x
    )
    rows = np.arange(101)
    lat, lon = grid.latlon(rows, rows)
    true_x, true_y = np.meshgrid(rows / 25.0 - 2.0, rows / 25.0 - 2.0)
    np.testing.assert_allclose(lat, 90.0 - np.hypot(true_x, true_y), atol=2e-4)
    off = (lon - np.rad2deg(np.arctan2(true_y, true_x)) + 180.0) % 360.0 - 180.0
    assert np.abs(off[np.hypot(true_x, true_y) > 0.1]).max() < 0.05


def test_the_share_without_noise_is_counted_as_on_an_image():
    rng = np.random.default_rng(0)
    line = LutVector(0, np.zeros(1), np.ones(1))
    blocks = []
    for _ in range(12):
        top, left = rng.integers(0, 40), rng.integers(0, 60)
        blocks.append(
            NoiseBlock(range(top, top + rng.integers(1, 25)),
                       range(left, left + rng.integers(1, 30)), (line,),
                       np.zeros(1), np.ones(1))
        )  # fmt: skip
    told = np.zeros((50, 70), bool)
    for block in blocks:
        told[block.rows.start : block.rows.stop, block.cols.start : block.cols.stop] = 1
    found = NoiseModel(tuple(blocks)).untold_fraction((50, 70))
    assert found == pytest.approx(1 - told.mean())
    assert NoiseModel(()).untold_fraction((5, 7)) == 1.0


@pytest.mark.parametrize(("scale", "refused"), [(1e-9, True), (1.0, False)])
def test_noise_vectors_that_were_never_scaled_are_refused(scale, refused):
    """Those of 2014 and early 2015: next to nothing was subtracted, and called all."""
    values = " ".join(str(scale * n) for n in (400.0, 500.0, 450.0))
    root = ElementTree.fromstring(
        "<noise><noiseVectorList><noiseVector><line>0</line><pixel>0 40 80</pixel>"
        f"<noiseLut>{values}</noiseLut></noiseVector></noiseVectorList></noise>"
    )
    if refused:
        with pytest.raises(SourceError, match=r"at most 5e-07.*denoise=False"):
            read_noise(root, (100, 81), Path("noise.xml"))
        return
    power = read_noise(root, (100, 81), Path("noise.xml")).window(
        np.array([7]), np.array([20, 60])
    )
    assert power.tolist() == [[450.0, 475.0]]
