"""Files become lazy scenes, or a clear refusal."""

import gc
import os
import pickle
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import rasterio
from affine import Affine
from PIL import Image

from arcticdl import open_scene
from arcticdl.errors import (
    BandNotFoundError,
    GridMismatchError,
    LabelError,
    SceneError,
    SourceError,
)
from arcticdl.scene import check_scene, scene_geobox
from arcticdl.sources.core.lazy import MAX_IDLE

POLAR = Affine(250, 0, -503272, 0, -250, 3657986)
RNG = np.random.default_rng(0)


def write_tif(path, data, transform=POLAR, crs="EPSG:3413", **profile):
    data = np.asarray(data)
    mask, tags = profile.pop("mask", None), profile.pop("tags", {})
    with rasterio.open(
        path, "w", driver="GTiff", count=len(data), height=data.shape[1],
        width=data.shape[2], dtype=data.dtype, transform=transform, crs=crs, **profile,
    ) as file:  # fmt: skip
        file.write(data)
        if mask is not None:
            file.write_mask(mask)
        for key, value in tags.items():
            setattr(file, key, value)
    return path


@pytest.mark.parametrize(
    "dtype", ["uint8", "int8", "uint16", "int16", "uint32", "int32", "float32",
              "float64", "int64"]
)  # fmt: skip
def test_geotiff_keeps_type_and_grid(tmp_path, dtype):
    data = RNG.integers(0, 100, (2, 20, 30)).astype(dtype)
    scene = open_scene(write_tif(tmp_path / "a.tif", data, tiled=True, blockxsize=16,
                                 blockysize=16))  # fmt: skip
    assert scene["image"].dtype == dtype
    assert (scene["image"].values == data).all()
    assert scene_geobox(scene).transform == POLAR
    assert scene_geobox(scene.isel(y=slice(3, 9), x=slice(5, 6))).transform == (
        POLAR @ Affine.translation(5, 3)
    )
    assert scene.attrs["scene_id"] == "a"
    assert list(scene["band"].values) == ["band_1", "band_2"]


@pytest.mark.skipif(not Path("/proc/self/fd").is_dir(), reason="counts Linux's files")
def test_many_open_scenes_hold_few_open_files(tmp_path):
    data = RNG.integers(0, 60000, (1, 8, 9)).astype("uint16")
    paths = [write_tif(tmp_path / f"{i}.tif", data + i) for i in range(100)]

    def held():
        names = (Path("/proc/self/fd") / n for n in os.listdir("/proc/self/fd"))
        return sum(tmp_path in n.resolve().parents for n in names)

    scenes = [open_scene(path) for path in paths]
    for _ in range(2):
        for number, scene in enumerate(scenes):
            np.testing.assert_array_equal(scene["image"].values, data + number)
    assert 0 < held() <= MAX_IDLE
    copied = pickle.loads(pickle.dumps(scenes[3]))
    np.testing.assert_array_equal(copied["image"].values, data + 3)
    del scenes, scene, copied
    gc.collect()
    assert held() == 0


def test_windows_are_read_from_many_threads(tmp_path):
    before = threading.active_count()
    data = RNG.integers(0, 60000, (2, 300, 310)).astype("uint16")
    scene = open_scene(write_tif(tmp_path / "a.tif", data, tiled=True, blockxsize=64,
                                 blockysize=64, compress="deflate"))  # fmt: skip
    corners = [(y, x) for y in range(0, 270, 30) for x in range(0, 280, 31)]

    def agrees(corner):
        y, x = corner
        window = scene["image"].isel(y=slice(y, y + 37), x=slice(x, x + 23)).values
        return (window == data[:, y : y + 37, x : x + 23]).all()

    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(agrees, corners * 4))
    chunked = scene["image"].chunk({"y": 100, "x": 100}).sum().compute()
    assert chunked == data.sum()
    copied = pickle.loads(pickle.dumps(scene))
    assert (copied["image"][0].values == data[0]).all()
    scene.close()
    assert threading.active_count() <= before + 8


def test_odd_indexing_agrees_with_numpy(tmp_path):
    data = RNG.integers(0, 255, (4, 40, 50)).astype("uint16")
    image = open_scene(write_tif(tmp_path / "a.tif", data))["image"]
    rows, cols = np.array([3, 30, 7]), np.array([-1, 0])
    np.testing.assert_array_equal(image[2].values, data[2])
    np.testing.assert_array_equal(image[[3, 0]].values, data[[3, 0]])
    np.testing.assert_array_equal(image[:, ::-7, 3:40:5].values, data[:, ::-7, 3:40:5])
    np.testing.assert_array_equal(
        image.isel(y=rows, x=cols).values, data[:, rows][:, :, cols]
    )
    np.testing.assert_array_equal(
        image.isel(y=slice(5, 20)).isel(y=slice(2, 4)).values, data[:, 7:9]
    )
    assert image[:, 5:5].shape == (4, 0, 50) and image[:, 5:5].values.size == 0
    assert image[1, -1, -2].item() == data[1, -1, -2]


def test_nodata_nan_mask_and_alpha_become_valid(tmp_path):
    hole = np.zeros((10, 12), bool)
    hole[2:4, 5:9] = True
    byte = np.where(hole, 0, 9).astype("uint8")[None]
    cases = {
        "nodata": write_tif(tmp_path / "n.tif", byte, nodata=0),
        "mask": write_tif(tmp_path / "m.tif", byte, mask=(~hole * 255).astype("uint8")),
        "nan": write_tif(
            tmp_path / "f.tif", np.where(hole, np.nan, 1).astype("float32")[None]
        ),
        "nan tag": write_tif(
            tmp_path / "t.tif", np.where(hole, np.nan, 1)[None], nodata=np.nan
        ),
        "alpha": write_tif(
            tmp_path / "a.tif",
            np.concatenate([byte, byte, byte, (~hole * 255).astype("uint8")[None]]),
            photometric="RGB", alpha="YES",
        ),
    }  # fmt: skip
    for name, path in cases.items():
        scene = open_scene(path)
        assert (scene["valid"].values == ~hole).all(), name
        window = scene["valid"].isel(y=slice(1, 4), x=slice(4, 6)).values
        assert (window == ~hole[1:4, 4:6]).all(), name
    assert list(open_scene(cases["alpha"])["band"].values) == ["red", "green", "blue"]
    assert "valid" not in open_scene(write_tif(tmp_path / "plain.tif", byte))
    given = open_scene(tmp_path / "plain.tif", nodata=9)
    assert (given["valid"].values == hole).all()


def test_scale_and_offset_tags_apply(tmp_path):
    raw = np.array([[[0, 1], [10, 65535]]], "uint16")
    path = write_tif(tmp_path / "s.tif", raw, nodata=0,
                     tags={"scales": (2e-5,), "offsets": (-0.1,)})  # fmt: skip
    scene = open_scene(path)
    assert scene["image"].dtype == np.float32
    np.testing.assert_allclose(scene["image"].values, raw * 2e-5 - 0.1, rtol=1e-6)
    assert (scene["valid"].values == [[False, True], [True, True]]).all()
    assert (open_scene(path, scale=False)["image"].values == raw).all()


def test_bands_are_chosen_and_named(tmp_path):
    data = np.arange(3)[:, None, None] * np.ones((3, 4, 5), "uint8")
    path = write_tif(tmp_path / "b.tif", data.astype("uint8"),
                     tags={"descriptions": ("HH", "HV", "angle")})  # fmt: skip
    assert list(open_scene(path)["band"].values) == ["HH", "HV", "angle"]
    picked = open_scene(path, bands=["angle", "HH"])
    assert picked["image"].values[:, 0, 0].tolist() == [2, 0]
    renamed = open_scene(path, bands=["b"], band_names=["a", "b", "c"])
    assert renamed["image"].values[0, 0, 0] == 1
    mapped = open_scene(path, bands=["HV"], band_names={"HV": "cross"})
    assert list(mapped["band"].values) == ["cross"]
    for wrong in ({"bands": ["VV"]}, {"band_names": ["a"]}, {"bands": []},
                  {"bands": ["HH", "HH"]}, {"band_names": {"x": "y"}}):  # fmt: skip
        with pytest.raises(BandNotFoundError, match="Received"):
            open_scene(path, **wrong)


def test_files_are_stacked_on_one_grid_only(tmp_path):
    one = write_tif(tmp_path / "s_B1.tif", np.full((1, 4, 5), 1, "uint8"), nodata=0)
    two = write_tif(tmp_path / "s_B2.tif", np.full((1, 4, 5), 2, "uint16"))
    stacked = open_scene([two, one])
    assert list(stacked["band"].values) == ["s_B2", "s_B1"]
    assert stacked["image"].dtype == np.uint16
    assert stacked["image"].values[:, 0, 0].tolist() == [2, 1]
    assert stacked["valid"].values.all()
    found = open_scene(str(tmp_path / "s_B?.tif"), band_names=["x", "y"], bands=["y"])
    assert found["image"].values.max() == 2
    write_tif(tmp_path / "t_B3.tif", np.zeros((1, 4, 5), "uint8"),
              transform=POLAR @ Affine.translation(0.25, 0))  # fmt: skip
    with pytest.raises(GridMismatchError, match=r"GeoBox\(.*GeoBox\("):
        open_scene([one, tmp_path / "t_B3.tif"])
    with pytest.raises(FileNotFoundError, match="No file matches"):
        open_scene(str(tmp_path / "*.jp2"))


def test_labels_carry_classes_and_are_checked(tmp_path):
    image = write_tif(tmp_path / "i.tif", np.zeros((1, 6, 7), "uint8"))
    codes = RNG.integers(0, 3, (1, 6, 7)).astype("uint8")
    codes[0, 0] = 255
    label = write_tif(tmp_path / "l.tif", codes, nodata=255)
    classes, colors = ("open water", "young", "old"), ("#0000ff", "#aa28f0", "#b46432")
    scene = open_scene(image, labels={"sod": (label, classes, colors)}, group="fram")
    check_scene(scene, ["sod"])
    assert (scene["sod"].values == codes[0]).all()
    assert scene["sod"].attrs == {
        "flag_values": [0, 1, 2],
        "flag_meanings": "open_water young old",
        "flag_colors": "#0000ff #aa28f0 #b46432",
        "void_class": 255,
    }
    assert scene.attrs["group"] == "fram"
    # The file is named: of a hundred scenes nobody knew which one.
    with pytest.raises(LabelError, match=rf"Received: \[2\].* In {label}\."):
        open_scene(image, labels={"sod": (label, ("water", "ice"))})
    late = open_scene(image, labels={"sod": (label, ("a", "b"))}, check_labels=False)
    with pytest.raises(LabelError, match=rf"label_codes.* In {label}\."):
        late["sod"].values  # noqa: B018
    mapped = open_scene(image, labels={"ice": (label, ("water", "ice"))},
                        label_codes={0: 0, (1, 2): 1, 255: 255})  # fmt: skip
    assert (mapped["ice"].values == np.where(codes[0] == 255, 255, codes[0] > 0)).all()
    with pytest.raises(LabelError, match=r"values \[1, 2\]"):
        open_scene(image, labels={"ice": (label, ("w",))},
                   label_codes={"ice": {0: 0, 255: 255}})  # fmt: skip
    shifted = write_tif(tmp_path / "x.tif", codes,
                        transform=POLAR @ Affine.translation(0.5, 0))  # fmt: skip
    with pytest.raises(GridMismatchError, match=rf"GeoBox\(.*GeoBox\(.* In {shifted}"):
        open_scene(image, labels={"sod": shifted})
    small = tmp_path / "y.npy"
    np.save(small, codes[0, :4])
    with pytest.raises(LabelError, match="shape"):
        open_scene(image, labels={"sod": small})
    with pytest.raises(LabelError, match="taken"):
        open_scene(image, labels={"valid": label})
    with pytest.raises(LabelError, match="differ"):
        open_scene(image, labels={"sod": (label, ("a", "a", "b"))})
    with pytest.raises(SceneError, match="path, classes"):
        open_scene(image, labels={"sod": (label, "water")})


def test_nodata_of_an_integer_label_is_void(tmp_path):
    image = write_tif(tmp_path / "i.tif", np.zeros((1, 3, 4), "uint8"))
    raw = np.array([[[-1, 0, 1, 2]] * 3], "int16")
    label = write_tif(tmp_path / "l.tif", raw, nodata=-1)
    scene = open_scene(image, labels={"sod": (label, ("a", "b", "c"))})
    assert scene["sod"].dtype == np.uint8
    assert scene["sod"].values[0].tolist() == [255, 0, 1, 2]
    sic = write_tif(tmp_path / "f.tif", np.array([[[np.nan, 0.5]]], "float32"))
    image = write_tif(tmp_path / "j.tif", np.zeros((1, 1, 2), "uint8"))
    values = open_scene(image, labels={"sic": sic})["sic"].values
    assert np.isnan(values[0, 0]) and values[0, 1] == 0.5


def test_png_and_jpeg_open_as_plain_images(tmp_path):
    grey = RNG.integers(0, 255, (12, 9), "uint8")
    alpha = np.full_like(grey, 255)
    alpha[3, 4] = 0
    Image.fromarray(np.dstack([grey] * 3 + [alpha])).save(tmp_path / "i.png")
    line = np.full((12, 9, 3), 255, "uint8")
    line[5] = 0
    Image.fromarray(line).save(tmp_path / "l.png")
    scene = open_scene(
        tmp_path / "i.png",
        bands=["gray"],
        band_names=["B2"],
        labels={"front": (tmp_path / "l.png", ("other", "front"))},
        label_codes={0: 1, 255: 0},
    )
    assert scene.attrs["georeferenced"] is False
    assert scene["x"].values[0] == 0.5
    assert list(scene["band"].values) == ["B2"]
    assert (scene["image"].values[0] == grey).all()
    assert (scene["valid"].values == (alpha > 0)).all()
    assert (scene["front"].values == (line[..., 0] == 0)).all()
    plain = write_tif(tmp_path / "plain.tif", grey[None])
    assert (open_scene(plain, bands=["gray"])["image"].values[0] == grey).all()
    one = open_scene(tmp_path / "i.png", band_names=["B2"])  # as saved in colour
    assert (one["image"].values == scene["image"].values).all()
    assert (one["valid"].values == scene["valid"].values).all()
    colour = np.dstack([grey, grey, 255 - grey])
    Image.fromarray(colour).save(tmp_path / "c.png")
    assert (open_scene(tmp_path / "c.png")["image"].values[2] == 255 - grey).all()
    with pytest.raises(SourceError, match="in colour"):
        open_scene(tmp_path / "c.png", bands=["gray"])
    with pytest.raises(SourceError, match="bring an image of one band"):
        open_scene(tmp_path / "c.png", band_names=["B2"])
    with pytest.raises(LabelError, match="channels differ"):
        open_scene(tmp_path / "i.png", labels={"a": (tmp_path / "c.png", ("a",))})
    Image.fromarray(grey).save(tmp_path / "g.jpg")
    assert list(open_scene(tmp_path / "g.jpg", bands="grey")["band"].values) == ["grey"]
    indices = Image.fromarray(grey % 3).convert("P")
    indices.putdata((grey % 3).ravel().tolist())
    indices.save(tmp_path / "p.png")
    palette = open_scene(tmp_path / "p.png")
    assert palette["image"].shape == (1, 12, 9)


def test_npy_arrays_are_mapped(tmp_path):
    images = RNG.integers(0, 255, (5, 20, 21), "uint8")
    masks = (images > 100).astype("uint8")
    np.save(tmp_path / "x.npy", images)
    np.save(tmp_path / "y.npy", masks)
    labels = {"pond": (tmp_path / "y.npy", ("ice", "pond"))}
    scene = open_scene(tmp_path / "x.npy", index=3, group="flight", labels=labels)
    assert scene.attrs["scene_id"] == "x_0003"
    assert (scene["image"].values[0] == images[3]).all()
    assert (scene["pond"].values == masks[3]).all()
    cube = RNG.random((7, 6, 13)).astype("float32")
    cube[2, 3, 4] = np.nan
    np.save(tmp_path / "c.npy", cube)
    scene = open_scene(tmp_path / "c.npy", bands=["band_5", "band_1"])
    np.testing.assert_array_equal(scene["image"].values[0], cube[..., 4])
    assert not scene["valid"].values[2, 3] and scene["valid"].values.sum() == 41
    pickled = pickle.loads(pickle.dumps(scene))
    assert pickled["image"].shape == (2, 7, 6)
    first = open_scene(tmp_path / "c.npy", index=None, channels="first")
    assert first["image"].shape == (7, 6, 13)
    for options in ({"index": 9}, {"index": None}):
        with pytest.raises(SourceError, match="index"):
            np.save(tmp_path / "big.npy", np.zeros((5, 70, 71)))
            open_scene(tmp_path / "big.npy", **options)


def test_an_array_whose_bands_may_lie_first_is_refused_until_told(tmp_path):
    """A tile (band, y, x) was taken for one of three rows and of 64 bands."""
    tile = RNG.random((3, 64, 64)).astype("float32")
    np.save(tmp_path / "t.npy", tile)
    for options in ({}, {"index": None}):
        with pytest.raises(SourceError, match=r"`channels='first'`.*\(3, 64, 64\)"):
            open_scene(tmp_path / "t.npy", **options)
    told = open_scene(tmp_path / "t.npy", channels="first")
    np.testing.assert_array_equal(told["image"].values, tile)
    last = open_scene(tmp_path / "t.npy", channels="last")
    np.testing.assert_array_equal(last["image"].values, np.moveaxis(tile, -1, 0))
    third = open_scene(tmp_path / "t.npy", index=2)
    np.testing.assert_array_equal(third["image"].values, tile[2:])


def test_arrays_of_npz_archives_are_read_by_name(tmp_path):
    cube = RNG.random((12, 9, 8)).astype("float32")
    cube[2, 3, 4] = np.nan
    path = tmp_path / "train_000001.npz"
    np.savez_compressed(path, image=cube, place=np.arange(3))
    names = ["red", "green", "blue", "ndvi", "height", "relief", "nir", "ndwi"]
    scene = open_scene(path, band_names=names, bands=["nir", "red"], array="image")
    assert scene.attrs["scene_id"] == "train_000001"
    np.testing.assert_array_equal(scene["image"].values[0], cube[..., 6])
    part = scene["image"].isel(y=slice(3, 7), x=slice(2, 5)).values[1]
    np.testing.assert_array_equal(part, cube[3:7, 2:5, 0])
    assert pickle.loads(pickle.dumps(scene))["image"].shape == (2, 12, 9)
    whole = open_scene(path, array="image")["valid"].values
    assert not whole[2, 3] and whole.sum() == 12 * 9 - 1
    for array in (None, "images"):
        with pytest.raises(SourceError, match=r"\['image', 'place'\]"):
            open_scene(path, array=array)
    with pytest.raises(SourceError, match=r"y, x"):
        open_scene(path, array="place")
    np.savez(tmp_path / "one.npz", cube)
    assert open_scene(tmp_path / "one.npz")["image"].shape == (8, 12, 9)
    np.save(tmp_path / "c.npy", cube)
    with pytest.raises(SourceError, match=r"of an \.npz archive"):
        open_scene(tmp_path / "c.npy", array="image")
    content = path.read_bytes()
    (tmp_path / "cut.npz").write_bytes(content[: len(content) // 2])
    with pytest.raises(SourceError, match=r"cut\.npz"):
        open_scene(tmp_path / "cut.npz", array="image")
    np.savez(tmp_path / "o.npz", image=np.array([{}], dtype=object))
    with pytest.raises(SourceError, match=r"o\.npz"):
        open_scene(tmp_path / "o.npz")


def test_times_are_utc_text(tmp_path):
    path = write_tif(tmp_path / "a.tif", np.zeros((1, 2, 2), "uint8"))
    scene = open_scene(path, time="2022-04-13T15:07:59+02:00", sensor="x")
    assert scene.attrs["time"] == "2022-04-13T13:07:59Z"
    of_exif = open_scene(path, time="2022:04:13 15:07:59")
    assert of_exif.attrs["time"] == "2022-04-13T15:07:59Z"
    with pytest.raises(SceneError, match="time"):
        open_scene(path, time="yesterday noon")


def test_wrong_requests_are_refused(tmp_path):
    path = write_tif(tmp_path / "a.tif", np.zeros((1, 2, 2), "uint8"))
    with pytest.raises(FileNotFoundError):
        open_scene(tmp_path / "no.tif")
    with pytest.raises(ValueError, match="geotiff"):
        open_scene(path, reader="hdf9")
    (tmp_path / "note.txt").write_text("hello")
    with pytest.raises(SourceError, match="of no kind"):
        open_scene(tmp_path / "note.txt")
    with pytest.raises(SourceError, match="a folder"):
        open_scene(tmp_path)
    with pytest.raises(ValueError, match="valid_from"):
        open_scene(path, valid_from="most")
    with pytest.raises(FileNotFoundError, match="none"):
        open_scene([])


@pytest.mark.parametrize(
    "transform",
    [
        Affine(1e30, 0, 0, 0, -1, 0),
        Affine(1, 0, 9e12, 0, -1, 0),
        Affine(float("inf"), 0, 0, 0, -1, 0),
        Affine(1, 2, 0, 2, 4, 0),
    ],
)
def test_absurd_transforms_are_refused(tmp_path, transform):
    path = write_tif(tmp_path / "a.tif", np.zeros((1, 4, 5), "uint8"), transform)
    with pytest.raises(SourceError, match=r"nowhere|not lie on the Earth"):
        open_scene(path)


def test_absurd_sizes_are_refused(tmp_path):
    path = tmp_path / "huge.tif"
    with rasterio.open(path, "w", driver="GTiff", width=1_500_000, height=2, count=1,
                       dtype="uint8", sparse_ok=True, transform=POLAR):  # fmt: skip
        pass
    with pytest.raises(SourceError, match="1000000 px"):
        open_scene(path)


def test_truncated_files_are_refused_by_name(tmp_path):
    data = RNG.integers(0, 255, (1, 400, 400)).astype("uint8")
    path = write_tif(tmp_path / "a.tif", data, tiled=True, blockxsize=64, blockysize=64)
    path.write_bytes(path.read_bytes()[:90_000])
    with pytest.raises(SourceError, match=r"a\.tif"):
        open_scene(path)["image"].values  # noqa: B018
    np.save(tmp_path / "b.npy", data)
    whole = (tmp_path / "b.npy").read_bytes()
    (tmp_path / "b.npy").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(SourceError, match=r"b\.npy"):
        open_scene(tmp_path / "b.npy")
    np.save(tmp_path / "o.npy", np.array([{}], dtype=object), allow_pickle=True)
    with pytest.raises(SourceError, match="Python objects"):
        open_scene(tmp_path / "o.npy")
