"""The Sentinel-1 reader on simulated products, whole and damaged."""

import re
from xml.etree import ElementTree

import numpy as np
import pytest

from arcticdl import simulate
from arcticdl.errors import SourceError
from arcticdl.simulate.scene import draw_truth
from arcticdl.sources import open_scene
from arcticdl.sources.core.safe_xml import parse_xml


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    folder = tmp_path_factory.mktemp("safe")
    (path,) = simulate.simulate_scenes(
        folder, num_scenes=1, size_px=256, seed=2, schema="safe", progress=False
    )
    return path


@pytest.fixture
def product(written, tmp_path):
    """A copy that a test may damage."""
    import shutil

    return shutil.copytree(written, tmp_path / written.name)


def only(product, pattern):
    (path,) = product.glob(pattern)
    return path


def test_simulated_product_gives_back_its_truth(written):
    truth = draw_truth(256, 2, resolution_m=40.0, heading_deg=0.0)
    labels = {"ice_type": (f"{written}"[:-5] + "_labels.tif", simulate.ICE_TYPES)}
    scene = open_scene(written, scale="linear", labels=labels)
    np.testing.assert_array_equal(scene.valid.values, truth.radar.valid)
    inside = truth.radar.valid
    np.testing.assert_array_equal(scene.ice_type.values[~inside], 255)
    np.testing.assert_array_equal(
        scene.ice_type.values[inside], truth.ice.ice_type[inside]
    )
    for band, power in (("HH", truth.radar.hh), ("HV", truth.radar.hv)):
        found = scene.image.sel(band=band).values[inside]
        # Half a digital number of rounding, on amplitudes of about 1500.
        bound = 1.2 * np.sqrt(np.abs(power[inside]) + 2e-3) / 1300.0 + 2e-5
        assert (np.abs(found - power[inside]) < bound).all()
        assert found.mean() == pytest.approx(power[inside].mean(), rel=2e-3)
    assert (scene.image.sel(band="HV").values[inside] < 0).any()
    angle = scene.image.sel(band="incidence_angle").values
    np.testing.assert_allclose(angle, truth.radar.incidence_deg, atol=2e-3)
    lat, lon = truth.latlon(np.arange(256), np.arange(256))
    np.testing.assert_allclose(scene.lat, lat, atol=1e-6)
    np.testing.assert_allclose(scene.lon, lon, atol=1e-5)


def test_decibels_draw_negative_power_at_the_floor(written):
    linear = open_scene(written, bands=["HV"], scale="linear").image.values
    decibel = open_scene(written, bands=["HV"]).image.values
    np.testing.assert_array_equal(np.isnan(decibel), np.isnan(linear))
    assert (decibel[linear <= 1e-5] == -50.0).all()
    assert np.nanmin(decibel) == -50.0


def test_noise_is_not_removed_twice(product):
    for path in (product / "annotation").glob("*.xml"):
        text = path.read_text().replace(
            "<thermalNoiseCorrectionPerformed>false",
            "<thermalNoiseCorrectionPerformed>true",
        )
        path.write_text(text)
    as_it_is = open_scene(product, denoise=False, scale="linear").image.values
    np.testing.assert_array_equal(open_scene(product, scale="linear").image, as_it_is)
    assert open_scene(product).attrs["thermal_noise_removed"] == "True"


def test_old_noise_vectors_without_azimuth_part_are_read(product):
    for path in (product / "annotation" / "calibration").glob("noise-*.xml"):
        text = path.read_text()
        start = text.index("<noiseAzimuthVectorList")
        end = text.index("</noiseAzimuthVectorList>")
        text = text[:start] + text[end + len("</noiseAzimuthVectorList>") :]
        text = text.replace("noiseRangeVector", "noiseVector")
        path.write_text(text.replace("noiseRangeLut", "noiseLut"))
    before, after = (
        open_scene(product, bands=["HV"], scale="linear", denoise=denoise).image
        for denoise in (False, True)
    )
    removed = (before - after).values
    assert 5e-4 < np.nanmedian(removed) < 5e-3


def test_noise_outside_all_blocks_is_said_to_be_there(product):
    whole = open_scene(product, bands=["HV"], scale="linear")
    assert whole.attrs["thermal_noise_removed"] == "True"
    assert "thermal_noise_kept_fraction" not in whole.attrs
    path = only(product, "annotation/calibration/noise-*-hv-*.xml")
    root = ElementTree.parse(path)
    nodes = root.getroot().findall(".//noiseAzimuthVector")
    for node in nodes:  # the noise of lines past 99 is told by none
        node.find("lastAzimuthLine").text = "99"
    root.write(path)
    scene = open_scene(product, bands=["HV"], scale="linear")
    assert scene.attrs["thermal_noise_removed"] == "partly"
    kept = scene.attrs["thermal_noise_kept_fraction"]
    assert kept == pytest.approx(156 / 256)
    noisy = open_scene(product, bands=["HV"], scale="linear", denoise=False)
    assert noisy.attrs["thermal_noise_removed"] == "False"
    found = scene["image"].values[0]
    np.testing.assert_array_equal(found[100:], noisy["image"].values[0, 100:])
    np.testing.assert_allclose(found[:100], whole["image"].values[0, :100], rtol=1e-5)


@pytest.mark.parametrize(
    ("start", "time"),
    [("unknown", None), ("2022-045T18:00:00", "2022-02-14T18:00:00Z"),
     ("2022-02-14T24:00:00", "2022-02-15T00:00:00Z"), ("2022-02-31T00:00:00", None)],
)  # fmt: skip
def test_an_odd_time_leaves_a_product_open(product, start, time):
    for path in (product / "annotation").glob("*.xml"):
        text = re.sub("<startTime>[^<]*<", f"<startTime>{start}<", path.read_text())
        path.write_text(text)
    assert open_scene(product).attrs.get("time") == time


def test_uncalibrated_noise_of_the_first_processors_is_refused(product):
    path = product / "manifest.safe"
    path.write_text(path.read_text().replace("003.71", "002.36"))
    with pytest.raises(SourceError, match="denoise=False"):
        open_scene(product)
    open_scene(product, denoise=False)


@pytest.mark.parametrize(
    "pattern",
    [
        "annotation/calibration/calibration-*-hh-*.xml",
        "annotation/calibration/noise-*-hv-*.xml",
        "measurement/*-hv-*.tiff",
    ],
)
def test_a_missing_file_is_named(product, pattern):
    path = only(product, pattern)
    path.unlink()
    with pytest.raises(FileNotFoundError, match=path.stem):
        open_scene(product)


def test_a_product_without_annotation_is_refused(product):
    for path in (product / "annotation").glob("*.xml"):
        path.unlink()
    with pytest.raises(FileNotFoundError, match="annotation"):
        open_scene(product)


@pytest.mark.parametrize(
    ("pattern", "old", "new", "message"),
    [
        ("annotation/*-hh-*.xml", "GRD<", "SLC<", "must describe a GRD product"),
        ("annotation/*-hh-*.xml", "GridPoint>", "Other>", "geolocation"),
        ("annotation/*-hh-*.xml", "numberOfLines>256", "numberOfLines>9", "one shape"),
        ("annotation/*-hh-*.xml", "numberOfLines>256", "numberOfLines>-3", "whole num"),
        ("annotation/c*/cal*-hh-*.xml", "<pixel", "<wrong", "not well-formed"),
        ("annotation/c*/cal*-hh-*.xml", "pixel count", "pixels count", "well-formed"),
        ("annotation/c*/cal*-hh-*.xml", "e+03 ", "e+03 nan ", "finite numbers"),
        ("annotation/c*/cal*-hh-*.xml", "e+03 ", "e+03 7 ", "one value of sigma"),
        ("annotation/c*/cal*-hh-*.xml", "calibrationVector>", "other>", "holds no"),
    ],
)
def test_damaged_annotation_is_refused_with_its_file(
    product, pattern, old, new, message
):
    path = only(product, pattern)
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))
    with pytest.raises(SourceError, match=message):
        open_scene(product)


def test_cut_files_are_refused(product):
    path = only(product, "annotation/calibration/noise-*-hh-*.xml")
    path.write_bytes(path.read_bytes()[:-2000])
    with pytest.raises(SourceError, match="not well-formed"):
        open_scene(product)
    path = only(product, "measurement/*-hh-*.tiff")
    path.write_bytes(b"II*\0" + bytes(100))
    with pytest.raises((SourceError, FileNotFoundError)):
        open_scene(product)


def test_measurement_of_another_size_is_refused(product, tmp_path):
    (other,) = simulate.simulate_scenes(
        tmp_path / "other",
        num_scenes=1,
        size_px=64,
        seed=2,
        schema="safe",
        progress=False,
    )
    only(product, "measurement/*-hh-*.tiff").write_bytes(
        only(other, "measurement/*-hh-*.tiff").read_bytes()
    )
    with pytest.raises(SourceError, match="lines and samples of its annotation"):
        open_scene(product)


@pytest.mark.parametrize(
    "text",
    [
        '<!DOCTYPE a [<!ENTITY b "cc"><!ENTITY d "&b;&b;">]><a>&d;</a>',
        '<!DOCTYPE a [<!ENTITY b SYSTEM "file:///etc/hostname">]><a>&b;</a>',
        '<?xml version="1.0"?><!-- x --><!DOCTYPE a SYSTEM "x.dtd"><a/>',
    ],
)
def test_document_types_and_entities_are_refused(tmp_path, text):
    path = tmp_path / "x.xml"
    for encoding in ("utf-8", "utf-16"):
        path.write_text(text, encoding=encoding)
        with pytest.raises(SourceError, match="document type"):
            parse_xml(path)


@pytest.mark.parametrize("content", [b"", b"<a>", b"\x00\xff", b"<a></b>", b"&b;"])
def test_what_is_no_xml_is_refused(tmp_path, content):
    path = tmp_path / "x.xml"
    path.write_bytes(content)
    with pytest.raises(SourceError, match="not well-formed"):
        parse_xml(path)


def test_unknown_scale_is_refused(written):
    with pytest.raises(ValueError, match="`scale` must be one of"):
        open_scene(written, scale="amplitude")


def test_aligned_product_lies_on_its_truth(tmp_path):
    from arcticdl.grid import align

    (path,) = simulate.simulate_scenes(
        tmp_path, num_scenes=1, size_px=128, seed=2, schema="safe", progress=False
    )
    truth = draw_truth(128, 2, resolution_m=40.0, heading_deg=0.0)
    labels = {"ice_type": (f"{path}"[:-5] + "_labels.tif", simulate.ICE_TYPES)}
    scene = align(open_scene(path, labels=labels), geobox=truth.geobox)
    np.testing.assert_array_equal(
        scene.ice_type, np.where(truth.radar.valid, truth.ice.ice_type, 255)
    )
    angle = scene.image.sel(band="incidence_angle").values
    # One pixel is 0.003 degrees across the track.
    known = np.isfinite(angle)
    assert known.mean() > 0.9
    error = np.abs(angle - truth.radar.incidence_deg)[known].max()
    assert error < 1e-4
