"""What a GeoTIFF says of its scene and its classes is taken up, or refused."""

import numpy as np
import pytest
import rasterio
from affine import Affine

from arcticdl import open_scene
from arcticdl.errors import LabelError
from arcticdl.simulate import simulate_scenes

POLAR = Affine(250, 0, -503272, 0, -250, 3657986)
CODES = np.array([[0, 1, 2], [2, 1, 255]], "uint8")


def write(path, data, tags=None, band_tags=None, colormap=None):
    with rasterio.open(
        path, "w", driver="GTiff", count=1, height=2, width=3, dtype=data.dtype,
        crs="EPSG:3413", transform=POLAR, nodata=255,
    ) as file:  # fmt: skip
        file.write(data, 1)
        file.update_tags(**(tags or {}))
        file.update_tags(1, **(band_tags or {}))
        if colormap:
            file.write_colormap(1, colormap)
    return path


def test_simulated_labels_and_scenes_say_what_they_are(tmp_path):
    (path,) = simulate_scenes(tmp_path, num_scenes=1, size_px=64, progress=False)
    label = path.with_name(f"{path.stem}_labels.tif")
    with rasterio.open(label) as file:
        tags, band_tags, codes = file.tags(), file.tags(1), file.read(1)
    scene = open_scene(path, labels={"ice_type": label})
    attrs = scene["ice_type"].attrs
    assert attrs["flag_values"] == [int(v) for v in band_tags["flag_values"].split()]
    assert attrs["flag_meanings"] == band_tags["flag_meanings"]
    assert attrs["flag_colors"] == band_tags["flag_colors"]
    assert (scene["ice_type"].values == codes).all()
    assert scene.attrs["time"] == tags["time"]
    assert scene.attrs["sensor"] == tags["sensor"]
    assert scene.attrs["scene_id"] == path.stem
    assert open_scene(path, time="2020-01-01").attrs["time"] == "2020-01-01T00:00:00Z"


def test_predicted_maps_and_commas(tmp_path):
    image = write(tmp_path / "i.tif", np.zeros((2, 3), "uint8"))
    named = {"class_0": "open water", "class_1": "young ice", "class_2": "old ice"}
    colors = {0: (0, 0, 255, 255), 1: (170, 40, 240, 255), 2: (180, 100, 50, 255)}
    label = write(tmp_path / "m.tif", CODES, named, colormap=colors)
    attrs = open_scene(image, labels={"sod": label})["sod"].attrs
    assert attrs == {
        "flag_values": [0, 1, 2],
        "flag_meanings": "open_water young_ice old_ice",
        "flag_colors": "#0000ff #aa28f0 #b46432",
        "void_class": 255,
    }
    commas = {"flag_values": "0, 1, 2, 255", "flag_meanings": "a b c nothing"}
    label = write(tmp_path / "c.tif", CODES, band_tags=commas)
    found = open_scene(image, labels={"sod": label})["sod"]
    expected = {"flag_values": [0, 1, 2], "flag_meanings": "a b c", "void_class": 255}
    assert found.attrs == expected
    assert found.values[1, 2] == 255


def test_told_classes_win_over_carried_ones(tmp_path):
    image = write(tmp_path / "i.tif", np.zeros((2, 3), "uint8"))
    tags = {"flag_values": "0 1 2", "flag_meanings": "a b c"}
    label = write(tmp_path / "l.tif", CODES, band_tags=tags)
    told = open_scene(image, labels={"sod": (label, ("x", "y", "z"))})
    assert told["sod"].attrs["flag_meanings"] == "x y z"
    mapped = open_scene(
        image, labels={"ice": label}, label_codes={0: 0, (1, 2): 1, 255: 255}
    )
    assert "flag_meanings" not in mapped["ice"].attrs
    assert mapped["ice"].values[0].tolist() == [0, 1, 1]


@pytest.mark.parametrize(
    "tags",
    [
        {"flag_values": "0 1", "flag_meanings": "a b c"},
        {"flag_values": "0 1 x", "flag_meanings": "a b c"},
        {"flag_meanings": "a b c", "flag_colors": "#000000"},
    ],
)
def test_carried_classes_that_do_not_fit_are_refused(tmp_path, tags):
    image = write(tmp_path / "i.tif", np.zeros((2, 3), "uint8"))
    label = write(tmp_path / "l.tif", CODES, band_tags=tags)
    assert open_scene(label)["image"].shape == (1, 2, 3)
    with pytest.raises(LabelError, match=r"one class.*\(path, classes\)"):
        open_scene(image, labels={"sod": label})


def test_codes_outside_the_carried_classes_are_refused(tmp_path):
    image = write(tmp_path / "i.tif", np.zeros((2, 3), "uint8"))
    tags = {"flag_values": "0 1", "flag_meanings": "a b"}
    label = write(tmp_path / "l.tif", CODES, band_tags=tags)
    with pytest.raises(LabelError, match=r"Received: \[2\]"):
        open_scene(image, labels={"sod": label})


def test_foreign_tags_are_left_alone(tmp_path):
    tags = {"time": "noon", "TIFFTAG_SOFTWARE": "x", "region": "fram"}
    scene = open_scene(write(tmp_path / "i.tif", CODES, tags))
    assert scene.attrs["region"] == "fram"
    assert "time" not in scene.attrs and "TIFFTAG_SOFTWARE" not in scene.attrs
    odd = write(tmp_path / "o.tif", CODES, {"time": "2022-13-45"})
    assert "time" not in open_scene(odd).attrs
