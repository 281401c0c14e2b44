"""Single Sentinel-2 bands: grouping, the offset and who told it, and refusals."""

import json

import numpy as np
import pytest
import rasterio
from affine import Affine

from arcticdl import open_scene
from arcticdl.errors import BandNotFoundError, GridMismatchError, SourceError
from arcticdl.sources.sentinel.sentinel2_names import band_of, time_of

CORNER = (399960, 7900020)
DN = np.random.default_rng(5).integers(1, 9000, (12, 12)).astype("uint16")
DN[0, 0] = 0
ESA = "T33XWJ_20220413T150759"


def write(path, data, pixel=10, corner=CORNER, tags=None, driver="GTiff"):
    path.parent.mkdir(parents=True, exist_ok=True)
    transform = Affine(pixel, 0, corner[0], 0, -pixel, corner[1])
    options = {"QUALITY": "100", "REVERSIBLE": "YES"} if driver != "GTiff" else {}
    with rasterio.open(
        path, "w", driver=driver, count=1, height=data.shape[0], width=data.shape[1],
        dtype=data.dtype, transform=transform, crs="EPSG:32633", **options,
    ) as file:  # fmt: skip
        file.write(data, 1)
        if tags:
            file.scales, file.offsets = [(value,) for value in tags]
    return path


def archive(folder, tags=None):
    for band in ("B02", "B03"):
        write(folder / f"{band}.tif", DN, tags=tags)
    write(folder / "B11.tif", DN[:6, :6], 20, tags=tags)
    scl = np.full((6, 6), 4, "uint8")
    scl[2, 3] = 9
    write(folder / "SCL.tif", scl, 20)
    write(folder / "L2A_PVI.tif", DN)
    return folder


def stac(folder, **properties):
    item = {"stac_version": "1.0.0", "properties": properties}
    (folder / "item.json").write_text(json.dumps(item))
    return folder


def test_a_folder_of_bands_is_one_scene_a_resolution(tmp_path):
    folder = archive(tmp_path / "S2B_33XWJ_20220413_0_L2A")
    scene = open_scene(folder)
    assert list(scene["band"].values) == ["B02", "B03"]
    np.testing.assert_allclose(scene["image"].values[0], DN / 1e4, atol=1e-6)
    valid = np.ones((12, 12), bool)
    valid[0, 0] = False
    valid[4:6, 6:8] = False
    assert (scene["valid"].values == valid).all()
    assert scene.attrs["scene_id"] == folder.name
    assert scene.attrs["time"] == "2022-04-13T00:00:00Z"
    assert scene.attrs["sensor"] == "Sentinel-2B MSI"
    assert "assumption" in scene.attrs["radiometry"]
    coarse = open_scene(folder, bands=["B11"])
    assert coarse["image"].shape == (1, 6, 6)
    raw = open_scene(folder, scale=False, void_classes=())
    assert raw["image"].dtype == np.uint16 and (raw["image"].values[1] == DN).all()
    assert raw.attrs["radiometry"].startswith("stored numbers")


@pytest.mark.parametrize("ending", ["jp2", "tif"])
def test_esa_names_alone_and_as_a_list(tmp_path, ending):
    driver = "JP2OpenJPEG" if ending == "jp2" else "GTiff"
    big = np.kron(DN, np.ones((6, 6), "uint16"))
    paths = [
        write(tmp_path / f"{ESA}_{band}_10m.{ending}", big, driver=driver)
        for band in ("B04", "B02")
    ]
    one = open_scene(paths[0], offset=-1000)
    assert list(one["band"].values) == ["B04"]
    np.testing.assert_allclose(one["image"].values[0], (big - 1e3) / 1e4, atol=1e-6)
    assert one.attrs["time"] == "2022-04-13T15:07:59Z"
    both = open_scene(paths, offset=0)
    assert list(both["band"].values) == ["B04", "B02"]
    assert list(open_scene(tmp_path)["band"].values) == ["B02", "B04"]


@pytest.mark.parametrize(
    ("properties", "offset", "told"),
    [
        ({"earthsearch:boa_offset_applied": True, "s2:processing_baseline": "05.11"},
         0, "boa_offset_applied"),
        ({"earthsearch:boa_offset_applied": False, "s2:processing_baseline": "04.00"},
         -1000, "processing_baseline 04.00"),
        ({"sentinel:processing_baseline": "03.01"}, 0, "03.01"),
        ({"processing:version": "05.10"}, -1000, "05.10"),
        ({"processing:version": "2.1.0"}, 0, "assumption"),
        ({}, 0, "assumption"),
    ],
)  # fmt: skip
def test_the_stac_item_tells_the_offset(tmp_path, properties, offset, told):
    scene = open_scene(stac(archive(tmp_path / "a"), **properties))
    expected = (DN.astype(float) + offset) / 1e4
    np.testing.assert_allclose(scene["image"].values[0], expected, atol=1e-6)
    assert told in scene.attrs["radiometry"]
    sign = "- 1000" if offset else "+ 0"
    assert f"(number {sign}) / 10000" in scene.attrs["radiometry"]
    argued = open_scene(tmp_path / "a", offset=-500)
    assert "(number - 500) / 10000; offset by argument" in argued.attrs["radiometry"]


def test_metadata_and_tags_tell_the_offset(tmp_path):
    folder = archive(tmp_path / "tags", tags=(0.0001, -0.1))
    scene = open_scene(folder)
    np.testing.assert_allclose(scene["image"].values[0], DN / 1e4 - 0.1, atol=1e-6)
    assert "tags of the files" in scene.attrs["radiometry"]
    offsets = "".join(
        f'<BOA_ADD_OFFSET band_id="{i}">{-900 - i}</BOA_ADD_OFFSET>' for i in range(13)
    )
    (folder / "L2A").mkdir()
    xml = (
        "<p><PROCESSING_BASELINE>05.10</PROCESSING_BASELINE>"
        f"<BOA_QUANTIFICATION_VALUE>10000</BOA_QUANTIFICATION_VALUE>{offsets}</p>"
    )
    (folder / "MTD_MSIL2A.xml").write_text(xml)
    scene = open_scene(folder, reader="sentinel2_files")
    np.testing.assert_allclose(
        scene["image"].values[1], (DN.astype(float) - 902) / 1e4, atol=1e-6
    )
    assert "- 902 or - 901" in scene.attrs["radiometry"]


def test_item_gives_time_and_platform(tmp_path):
    folder = stac(archive(tmp_path / "a"), datetime="2022-04-13T15:10:58.1Z",
                  platform="sentinel-2a")  # fmt: skip
    scene = open_scene(folder)
    assert scene.attrs["time"] == "2022-04-13T15:10:58Z"
    assert scene.attrs["sensor"] == "Sentinel-2A MSI"


def test_the_classification_alone_is_codes(tmp_path):
    bands = archive(tmp_path / "bands")
    scl = write(tmp_path / f"{ESA}_SCL_20m.tif", np.full((6, 6), 6, "uint8"), 20)
    scene = open_scene(bands, bands=["B11"], labels={"scl": scl})
    assert (scene["scl"].values == 6).all()


def test_what_does_not_fit_is_refused(tmp_path):
    folder = archive(tmp_path / "a")
    with pytest.raises(BandNotFoundError, match="one resolution"):
        open_scene(folder, bands=["B02", "B11"])
    with pytest.raises(ValueError, match="void_classes"):
        open_scene(folder, void_classes=("fog",))
    stac(folder, **{"s2:processing_baseline": "late"})
    with pytest.raises(SourceError, match=r"'late'; tell `offset`"):
        open_scene(folder)
    (folder / "item.json").write_text("{")
    with pytest.raises(SourceError, match="JSON"):
        open_scene(folder)
    (folder / "item.json").unlink()
    moved = (CORNER[0] + 20, CORNER[1])
    write(folder / "SCL.tif", np.full((6, 6), 4, "uint8"), 20, moved)
    with pytest.raises(GridMismatchError, match="same corner"):
        open_scene(folder)
    assert open_scene(folder, void_classes=())["image"].shape == (2, 12, 12)
    write(folder / "B03.tif", DN, corner=moved)
    with pytest.raises(GridMismatchError, match="share one grid"):
        open_scene(folder, void_classes=())
    several = tmp_path / "several"
    write(several / f"{ESA}_B02_10m.tif", DN)
    write(several / "T33XWJ_20220416T151809_B02_10m.tif", DN)
    with pytest.raises(SourceError, match="one acquisition"):
        open_scene(several)
    twice = tmp_path / "twice"
    write(twice / f"{ESA}_B02_10m.tif", DN)
    write(twice / f"{ESA}_B02.tif", DN)
    with pytest.raises(SourceError, match="once"):
        open_scene(twice)


def test_names():
    assert band_of("b02.TIF").band == "B02"
    assert band_of("S2A_7VEG_20200101_1_L1C_B8A.tiff").product.startswith("S2A")
    for name in ("B13.tif", "B00.tif", "TCI.tif", "B02.png", "scene_B02.tif",
                 "HLS.S30.T33XWJ.2022103T150759.v2.0.B02.tif"):  # fmt: skip
        assert band_of(name) is None, name
    assert time_of("folder") is None
    single = band_of("B02.tif")
    assert single is not None and single.product == ""


def test_an_odd_time_of_an_item_gives_way_to_the_name(tmp_path):
    folder = archive(tmp_path / "S2B_33XWJ_20220413_0_L2A")
    scene = open_scene(stac(folder, datetime="unknown"))
    assert scene.attrs["time"] == "2022-04-13T00:00:00Z"
