"""Labels of whole images, and of several channels a pixel."""

import json

import numpy as np
import pandas as pd
import pytest
import xarray as xr

from arcticdl import tiles
from arcticdl.errors import LabelError
from arcticdl.scene import check_scene, label_names
from arcticdl.tiles import sampling
from arcticdl.tiles.quality import store_check

SIZE = 10
ONE = {"one_class": "keep", "no_label": "keep", "undeclared_void": "keep"}


def build_scene(make_scene, number):
    """A scene with labels of every kind beside those of a pixel and one value."""
    rng = np.random.default_rng(100 + number)
    scene = make_scene(number)[["image", "valid", "ice"]]
    floes = rng.integers(0, 2, (2, 40, 30)).astype("uint8")
    floes[0, :4], floes[1, 20:, 10:] = 255, 255
    drift = rng.normal(size=(2, 40, 30)).astype("float32")
    drift[1, :, :10] = np.nan
    stage = {"flag_values": [0, 1, 2], "flag_meanings": "young first_year old"}
    scene["floes"] = (("channel", "y", "x"), floes)
    axis = ("drift_channel", "y", "x")
    scene["drift"] = (axis, drift, {"units": "m s-1", "flag_meanings": "u v"})
    scene["stage"] = ((), np.uint8([0, 2, 255][number]), stage)
    scene["extent"] = ((), np.float32([0.25, np.nan, 0.5][number]), {"units": "km2"})
    weather = np.uint8([[1, 0], [0, 255], [1, 1]])[number]
    scene["weather"] = ("channel", weather)
    area = np.float32([[1, 2, 3], [4, np.nan, 6], [7, 8, 9]])[number]
    scene["area"] = ("area_channel", area)
    return scene.assign_coords(channel=["brash ice", "pancake"])


@pytest.fixture(scope="module")
def scenes(make_scene):
    return [build_scene(make_scene, number) for number in range(3)]


@pytest.fixture(scope="module")
def store(tmp_path_factory, scenes):
    path = tmp_path_factory.mktemp("targets") / "all.tiles"
    return tiles.prepare(scenes, path, tile_size_px=SIZE, progress=False)


def cut(scenes, name):
    """(tile, y, x, ...) by NumPy alone: rows of tiles from the top, left to right."""
    found = []
    for scene in scenes:
        values = np.moveaxis(np.atleast_3d(scene[name].values.T).T, 0, -1)
        for row in range(0, 40, SIZE):
            for col in range(0, 30, SIZE):
                found.append(values[row : row + SIZE, col : col + SIZE])
    return np.stack(found)


def test_what_a_label_is_comes_from_its_axes_and_attributes(store):
    found = {
        name: (i.dtype, i.target, i.num_channels, i.classes, i.units)
        for name, i in store.labels.items()
    }
    two = ("brash_ice", "pancake")
    assert found == {
        "ice": ("uint8", "pixel", 0, ("water", "thin_ice", "thick_ice"), ""),
        "floes": ("uint8", "pixel", 2, two, ""),
        "drift": ("float32", "pixel", 2, ("u", "v"), "m s-1"),
        "stage": ("uint8", "image", 0, ("young", "first_year", "old"), ""),
        "extent": ("float32", "image", 0, (), "km2"),
        "weather": ("uint8", "image", 2, two, ""),
        "area": ("float32", "image", 3, ("0", "1", "2"), ""),
    }


def test_labels_of_channels_are_read_as_they_were_cut(store, scenes):
    pixels = store.read(np.arange(36), ["floes", "drift"])
    assert pixels["floes"].dtype == "uint8" and pixels["drift"].dtype == "float32"
    np.testing.assert_array_equal(pixels["floes"], cut(scenes, "floes"))
    np.testing.assert_array_equal(pixels["drift"], cut(scenes, "drift"))


def test_labels_of_an_image_are_those_of_each_of_its_tiles(store):
    pixels = store.read([0, 13, 25, 12])
    assert pixels["stage"].dtype == pixels["weather"].dtype == "uint8"
    assert pixels["stage"].tolist() == [0, 2, 255, 2]
    assert pixels["weather"].tolist() == [[1, 0], [0, 255], [1, 1], [0, 255]]
    nan = np.nan
    np.testing.assert_array_equal(pixels["extent"], np.float32([0.25, nan, 0.5, nan]))
    expected = np.float32([[1, 2, 3], [4, nan, 6], [7, 8, 9], [4, nan, 6]])
    np.testing.assert_array_equal(pixels["area"], expected)
    assert pixels["area"].dtype == "float32"
    batch = next(store.stream([[13]], labels=["stage"]))
    assert set(batch) == {"image", "valid", "stage"} and batch["stage"] == [2]


def test_counts_are_of_classes_channels_and_images(store, scenes):
    floes, drift = cut(scenes, "floes"), cut(scenes, "drift")
    shown = store.read(np.arange(36), ["valid"])["valid"]
    assert ((floes == 1).any(-1) & ~shown).any()  # where no image is, none counts
    floes = np.where(shown[..., None], floes, 255)
    np.testing.assert_array_equal(store.class_counts("floes"), (floes == 1).sum((1, 2)))
    scored = np.isfinite(drift) & shown[..., None]
    np.testing.assert_array_equal(store.class_counts("drift"), scored.sum((1, 2)))
    known = (floes != 255).any(-1).sum((1, 2))
    np.testing.assert_array_equal(store.scored_counts("floes"), known)
    assert store.class_counts("stage")[[0, 12, 24]].tolist() == [
        [1, 0, 0],
        [0, 0, 1],
        [0, 0, 0],
    ]
    assert store.class_counts("extent")[[0, 12, 24]].tolist() == [[1], [0], [1]]
    assert store.class_counts("weather")[[0, 12, 24]].tolist() == [
        [1, 0],
        [0, 0],
        [1, 1],
    ]
    assert store.scored_counts("weather").tolist() == [1] * 36
    assert store.class_counts("area")[[0, 12]].tolist() == [[1, 1, 1], [1, 0, 1]]
    stats = tiles.compute_stats(store, np.arange(24))
    assert stats.class_counts["stage"].tolist() == [12, 0, 12]
    assert (
        stats.class_counts["floes"].tolist()
        == (floes[:24] == 1).sum((0, 1, 2)).tolist()
    )


def test_image_labels_stand_in_the_manifest(store):
    table = pd.read_parquet(store.path / "manifest.parquet")
    assert table["label_stage"].iloc[[0, 12, 24]].tolist() == [0, 2, 255]
    assert table["label_weather_1"].iloc[[0, 12, 24]].tolist() == [0, 255, 1]
    assert (
        np.isnan(table["label_area_1"].iloc[12]) and table["label_area_2"].iloc[0] == 3
    )
    about = json.loads((store.path / "store.json").read_text("utf-8"))
    assert about["labels"][0].keys() == {"name", "dtype", "classes", "colors"}
    with pytest.raises(ValueError, match="`label` must be of whole images"):
        store.image_labels("ice")


def test_a_store_of_targets_becomes_a_dataset(store):
    data = store.to_xarray()
    assert data["floes"].dims == ("tile", "y", "x", "floes_channel")
    assert data["floes"].sel(floes_channel="pancake").shape == (36, SIZE, SIZE)
    assert data["weather"].dims == ("tile", "weather_channel")
    assert data["stage"].values[[0, 12, 24]].tolist() == [0, 2, 255]


def test_an_image_label_that_was_changed_is_damage(tmp_path, scenes):
    path = tmp_path / "a.tiles"
    store = tiles.prepare(scenes[:2], path, tile_size_px=SIZE, progress=False)
    assert store_check.damaged_tiles(store) == []
    store.manifest.loc[5, "label_stage"] = 1
    assert store_check.damaged_tiles(store) == [5]


def test_appending_gives_the_store_of_all_scenes_at_once(tmp_path, store, scenes):
    path = tmp_path / "grown.tiles"
    tiles.prepare(scenes[:1], path, tile_size_px=SIZE, progress=False, quality=ONE)
    grown = tiles.append(path, scenes[1:], progress=False)
    assert grown.fingerprint == store.fingerprint
    assert grown.read([25])["weather"].tolist() == [[1, 1]]


def test_selection_and_quality_know_the_labels_of_images(tmp_path, scenes):
    arguments = {"tile_size_px": SIZE, "progress": False, "min_label_fraction": 0.5}
    store = tiles.prepare(scenes, tmp_path / "a", labels=["stage"], **arguments)
    assert store.manifest["scene_id"].unique().tolist() == ["scene_0", "scene_1"]
    wanted = {"require_classes": {"stage": ["old"]}}
    store = tiles.prepare(scenes, tmp_path / "b", **arguments, **wanted, quality=ONE)
    assert store.manifest["scene_id"].unique().tolist() == ["scene_1"]
    checks = {f.check: f for f in tiles.assess(store).findings}
    assert checks["one_class"].message.startswith("label 'stage'")
    assert "no image of ['young', 'first_year']" in str(
        [f.message for f in tiles.assess(store).findings]
    )


def test_a_label_unknown_everywhere_is_an_error(tmp_path, scenes):
    scene = scenes[2].assign(floes=scenes[2]["floes"] * 0 + np.uint8(255))
    arguments = {"tile_size_px": SIZE, "progress": False}
    with pytest.raises(LabelError, match="'stage' has no scored image at all"):
        tiles.prepare([scene], tmp_path / "a", **arguments)
    told = {"no_label": "keep"}
    store = tiles.prepare([scene], tmp_path / "a", **arguments, quality=told)
    found = [f.message for f in tiles.assess(store).findings if f.check == "no_label"]
    assert found == [
        "label 'floes' has no scored pixel at all.",
        "label 'stage' has no scored image at all.",
    ]


def test_class_weights_of_channels_are_refused(store):
    for label in ("floes", "drift", "extent"):
        with pytest.raises(ValueError, match="one class each"):
            sampling.class_balance_weights(store, [0], label)
    index = np.arange(36)
    weights = sampling.class_balance_weights(store, index, "stage")
    assert weights[[0, 12, 24]].tolist() == [2, 2, 0]


def test_codes_outside_yes_and_no_are_refused(tmp_path, scenes):
    scene = scenes[0].copy(deep=True)
    scene["floes"][0, 5, 5] = 2
    with pytest.raises(LabelError, match=r"0\.\.\.1, or 255.*\{'2': 1\}"):
        tiles.prepare([scene], tmp_path / "a", tile_size_px=SIZE, progress=False)
    scene = scenes[0].assign(stage=((), np.uint8(7), scenes[0]["stage"].attrs))
    with pytest.raises(LabelError, match=r"'stage' must be 0\.\.\.2"):
        tiles.prepare([scene], tmp_path / "b", tile_size_px=SIZE, progress=False)


def test_scenes_whose_units_differ_do_not_make_one_store(tmp_path, scenes):
    other = scenes[1].copy()
    other["extent"] = other["extent"].assign_attrs(units="m2")
    with pytest.raises(LabelError, match="equal labels"):
        tiles.prepare([scenes[0], other], tmp_path / "a", tile_size_px=SIZE)


def test_the_scene_contract_knows_every_kind_of_label(scenes):
    assert label_names(check_scene(scenes[0])) == (
        "ice",
        "floes",
        "drift",
        "stage",
        "extent",
        "weather",
        "area",
    )
    bare = scenes[0][["image", "valid"]].drop_vars("channel", errors="ignore")
    noted = bare.assign(crs=((), 0, {"grid_mapping_name": "polar"}), note=((), "x"))
    assert label_names(check_scene(noted)) == ()


@pytest.mark.parametrize(
    ("dims", "shape", "attrs", "message"),
    [
        (("y", "x", "channel"), (40, 30, 2), {}, "leading axis"),
        (("x", "y"), (30, 40), {}, r"must be \(y, x\)"),
        (("channel", "y", "x"), (2, 40, 30), {"flag_meanings": "a"}, "every channel"),
        (("channel",), (2,), {"flag_meanings": "a a"}, "every channel"),
    ],
)
def test_labels_of_another_form_are_refused(make_scene, dims, shape, attrs, message):
    scene = make_scene(0)
    scene["odd"] = xr.Variable(dims, np.zeros(shape, "uint8"), attrs)
    with pytest.raises(LabelError, match=message):
        check_scene(scene)


def test_no_channel_may_hide_the_count_of_scored_pixels(tmp_path, make_scene):
    scene = make_scene(0)
    scene["odd"] = ("channel", np.zeros(1, "uint8"), {"flag_meanings": "scored"})
    with pytest.raises(LabelError, match="must not be called 'scored'"):
        tiles.prepare([scene], tmp_path / "a", tile_size_px=SIZE, progress=False)
