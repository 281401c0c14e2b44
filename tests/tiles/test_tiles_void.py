"""Whether 255 is void is declared by somebody, or asked for; errors stop `prepare`."""

import json

import numpy as np
import pytest
import rasterio
from PIL import Image

from arcticdl import tiles
from arcticdl.errors import LabelError, StoreError
from arcticdl.scene import class_attributes, declares_void
from arcticdl.sources import open_scene

CLASSES = ("background", "slump")


def prepare(scenes, path, **arguments):
    return tiles.prepare(scenes, path, tile_size_px=32, progress=False, **arguments)


def write_pair(folder, number, mask, suffix=".png", **profile):
    """An image and its mask, as annotation programs write them."""
    noise = np.random.default_rng(number).integers(0, 255, (64, 64)).astype("uint8")
    image, label = (folder / f"{kind}_{number}{suffix}" for kind in ("image", "mask"))
    if suffix == ".png":
        Image.fromarray(noise).save(image)
        Image.fromarray(mask).save(label)
        return image, label
    place = {"crs": "EPSG:3413", "transform": rasterio.Affine(10, 0, 0, 0, -10, 0)}
    shape = {"height": 64, "width": 64, "count": 1, "dtype": "uint8"}
    for path, values, more in ((image, noise, {}), (label, mask, profile)):
        with rasterio.open(path, "w", "GTiff", **place, **shape, **more) as file:
            file.write(values, 1)
    return image, label


def slump_mask(foreground=255):
    mask = np.zeros((64, 64), "uint8")
    mask[30:50, 10:50] = foreground
    return mask


def open_pair(pair, **options):
    return open_scene(pair[0], labels={"slump": (pair[1], CLASSES)}, **options)


@pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")
def test_a_mask_of_0_and_255_stops_prepare_with_the_way_out(tmp_path):
    pairs = [write_pair(tmp_path, number, slump_mask()) for number in range(3)]
    way_out = r"codes: \{0: 0, 255: 1\}.*allow: \[undeclared_void\]"
    with pytest.raises(LabelError, match=way_out):
        prepare([open_pair(pair) for pair in pairs], tmp_path / "a.tiles")
    assert not [*tmp_path.glob("*tiles*/*")]
    codes = {"slump": {0: 0, 255: 1}}
    scenes = [open_pair(pair, label_codes=codes) for pair in pairs]
    store = prepare(scenes, tmp_path / "a.tiles")
    assert store.class_counts("slump").sum(0).tolist() == [3 * (4096 - 800), 3 * 800]


def test_a_rare_class_that_is_absent_beside_declared_void_is_a_warning(tmp_path):
    pairs = [
        write_pair(tmp_path, number, slump_mask(), ".tif", nodata=255)
        for number in range(3)
    ]
    store = prepare([open_pair(pair) for pair in pairs], tmp_path / "a.tiles")
    found = {f.check: f.severity for f in tiles.assess(store).findings}
    assert found["one_class"] == found["absent_class"] == "warning"
    assert "undeclared_void" not in found
    void = {"px": 3 * 800, "declared": True, "codes": [0]}
    assert store.about["void"] == {"slump": void}


def test_one_scene_with_the_rare_class_settles_the_question(tmp_path):
    masks = [slump_mask(), slump_mask(1)]
    pairs = [write_pair(tmp_path, k, mask, ".tif") for k, mask in enumerate(masks)]
    store = prepare([open_pair(pair) for pair in pairs], tmp_path / "a.tiles")
    assert store.class_counts("slump").sum(0).tolist() == [2 * (4096 - 800), 800]


def test_told_that_255_is_void_prepare_goes_on_and_the_check_warns(tmp_path):
    pair = write_pair(tmp_path, 0, slump_mask(), ".tif")
    quality = {"undeclared_void": "keep"}
    store = prepare([open_pair(pair)], tmp_path / "a.tiles", quality=quality)
    found = {f.check: f.severity for f in tiles.check_store(store.path).findings}
    assert found["undeclared_void"] == "warning"
    scene = open_pair(pair)
    scene["slump"].attrs["void_class"] = 255
    prepare([scene], tmp_path / "b.tiles")


def test_a_mask_of_channels_or_of_images_is_asked_about_too(tmp_path, make_scene):
    scene = make_scene(0).drop_vars(["ice", "sic"])
    two = np.zeros((2, 40, 30), "uint8")
    two[:, 10:] = 255
    for label in (
        {"floes": (("channel", "y", "x"), two)},
        {"melting": ((), np.uint8(255), {"flag_meanings": "no yes"})},
    ):
        scenes = [scene.assign(label), scene.assign(label).assign_attrs(scene_id="b")]
        if "melting" in label:
            scenes[1]["melting"] = ((), np.uint8(0), {"flag_meanings": "no yes"})
        with pytest.raises(LabelError, match="nothing says that 255 is void"):
            tiles.prepare(scenes, tmp_path / "a.tiles", tile_size_px=10)


@pytest.mark.parametrize(
    ("attrs", "declared"),
    [
        ({}, False),
        ({"flag_values": [0, 1], "flag_meanings": "a b"}, False),
        (class_attributes(["a", "b"]), True),
        ({"_FillValue": np.uint8(255)}, True),
        ({"missing_value": 255.0}, True),
        ({"nodata": 254}, False),
        ({"flag_values": "0, 1, 255"}, True),
    ],
)
def test_who_declares_void(make_scene, attrs, declared):
    label = make_scene(0)["ice"]
    label.attrs = attrs
    assert declares_void(label) is declared


def test_an_error_stops_prepare_unless_it_is_told(tmp_path, make_scene):
    scene = make_scene(0)
    scene["ice"][:] = 1
    scene["sic"][:] = np.nan
    with pytest.raises(LabelError) as error:
        tiles.prepare([scene], tmp_path / "a", tile_size_px=10, progress=False)
    told = {"one_class": "keep", "no_label": "keep"}
    assert str(told) in str(error.value)
    arguments = {"tile_size_px": 10, "progress": False, "quality": told}
    store = tiles.prepare([scene], tmp_path / "a", **arguments)
    assert json.loads((store.path / "quality.json").read_text())["findings"]


def test_an_error_of_the_check_stops_who_asks(tmp_path, make_scene):
    store = tiles.prepare([make_scene(0)], tmp_path / "a", tile_size_px=10)
    findings = tiles.check_store(store.path, deep=False).findings
    tiles.refuse_errors(findings)
    next((store.path / "tiles.zarr" / "ice" / "c").rglob("0")).rename(tmp_path / "lost")
    findings = tiles.check_store(store.path, deep=False).findings
    with pytest.raises(StoreError, match="lost: 1 file of array 'ice' is lost"):
        tiles.refuse_errors(findings)
    tiles.refuse_errors(findings, allow=["lost"])
