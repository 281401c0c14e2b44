"""The data section: tables, further sources, regions, times, labels of many kinds."""

import json
from contextlib import nullcontext
from pathlib import Path

import geopandas as gpd
import keras
import numpy as np
import pandas as pd
import pytest
import rasterio
import yaml
from PIL import Image
from rasterio.transform import from_origin
from shapely import box, to_geojson

from arcticdl.config import DataConfig, load_config
from arcticdl.config.sources import TableConfig
from arcticdl.errors import (
    ConfigError,
    GridMismatchError,
    LabelError,
    StoreError,
)
from arcticdl.experiment import append, open_prepared, open_scenes, prepare, train
from arcticdl.experiment.build import _build_policy
from arcticdl.experiment.data.anchors import find_anchors
from arcticdl.experiment.data.prepared import check_prepared
from arcticdl.experiment.data.recipe import differences, recipe_of
from arcticdl.experiment.data.table import read_table
from arcticdl.experiment.scenes import open_configured
from arcticdl.tiles import drop
from arcticdl.training import TileFeed

SIZE, STEP = 16, 100.0
CLASSES = ["water", "ice"]


def write(path, values, *, step=STEP, origin=(0.0, 0.0), crs="EPSG:3413", **tags):
    """A GeoTIFF of (band, y, x) values; its upper left corner at the origin."""
    values = np.asarray(values)
    bands, rows, cols = values.shape
    profile = {
        "driver": "GTiff",
        "width": cols,
        "height": rows,
        "count": bands,
        "dtype": values.dtype,
        "crs": crs,
        "transform": from_origin(*origin, step, step),
    }
    path = Path(path)
    path.parent.mkdir(exist_ok=True, parents=True)
    with rasterio.open(path, "w", **profile) as file:
        file.write(values)
        file.update_tags(**tags)


def ramp(scale=1.0):
    """A band whose value is the easting of the pixel's centre, in km times scale."""
    x_km = (np.arange(SIZE) + 0.5) * STEP / 1000
    return np.broadcast_to(x_km * scale, (1, SIZE, SIZE)).astype("float32")


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for number, name in enumerate("ab"):
        time = f"2022-04-1{number}T06:00:00Z"
        write(f"sar/{name}.tif", ramp(), time=time)
        ice = (ramp() > 0.8).astype("uint8")
        write(f"ice/{name}.tif", ice, time=time.replace("06:00", "08:00"))


def configure(labels=None, **data):
    """The experiment of a `data` section, with an ice mask beside each scene."""
    mask = {"classes": CLASSES, "file": {"replace": {"sar/": "ice/"}}}
    tree = {
        "name": "tiny",
        "data": {
            **({} if "table" in data else {"scenes": "sar/*.tif"}),
            "bands": ["HH"],
            "labels": {"ice": mask} if labels is None else labels,
            **data,
        },
        "tiles": {"size_px": 8},
        "folds": {"n_splits": 2},
    }
    Path("config.yaml").write_text(yaml.safe_dump(tree))
    return load_config("config.yaml")


def first(config):
    return open_scenes(config)[0]


def test_a_coarser_source_is_interpolated_onto_the_scene():
    # 400 m pixels of a plane are interpolated to the plane itself, borders aside.
    x_km = (np.arange(-2, 8) + 0.5) * 0.4
    coarse = np.broadcast_to(x_km * 10, (1, 10, 10)).astype("float32")
    write("amsr2.tif", coarse, step=400, origin=(-800, 800))
    scene = first(configure(align=[{"file": "amsr2.tif", "bands": ["btemp"]}]))
    assert scene["band"].values.tolist() == ["HH", "btemp"]
    np.testing.assert_allclose(
        scene["image"].sel(band="btemp").values, ramp(10.0)[0], atol=1e-5
    )


def test_of_several_files_the_one_nearest_in_time_is_taken():
    for day, value in ((9, 1.0), (10, 2.0), (12, 3.0)):
        field = np.full((1, SIZE, SIZE), value, "float32")
        write(f"pm/{day}.tif", field, time=f"2022-04-{day:02d}T07:00:00Z")
    source = {"file": "pm/*.tif", "bands": ["pm"], "max_time_gap_h": 24}
    scenes = open_scenes(configure(align=[source]))
    assert [float(s["image"][1, 0, 0]) for s in scenes] == [2.0, 2.0]  # 1 h, 23 h off
    with pytest.raises(ConfigError, match=r"within 3 h .* Nearest: pm.10.tif, 23.0 h"):
        open_scenes(configure(align=[source | {"max_time_gap_h": None}]))


def test_a_source_without_a_file_or_of_a_taken_name_is_refused():
    with pytest.raises(FileNotFoundError, match=r"dem\.tif"):
        first(configure(align=[{"file": "dem.tif"}]))
    write("dem.tif", ramp())
    with pytest.raises(ValueError, match="HH"):
        first(configure(align=[{"file": "dem.tif", "bands": ["HH"]}]))


def test_what_lies_outside_a_region_is_void():
    area = gpd.GeoDataFrame(geometry=[box(0, -1600, 800, 0)], crs="EPSG:3413")
    area.to_crs("EPSG:3995").to_file("area.gpkg")
    scene = first(configure(region="area.gpkg"))
    inside = np.zeros((SIZE, SIZE), bool)
    inside[:, :8] = True
    np.testing.assert_array_equal(scene["valid"].values, inside)
    np.testing.assert_array_equal(scene["ice"].values == 255, ~inside)
    store = prepare(configure(region="area.gpkg"))
    assert store.manifest.groupby("col")["valid_fraction"].mean().to_dict() == {0: 1.0}


@pytest.mark.parametrize("with_labels", [True, False])
def test_what_lies_outside_a_region_is_no_gap(with_labels):
    area = gpd.GeoDataFrame(geometry=[box(0, -1600, 800, 0)], crs="EPSG:3413")
    area.to_file("area.gpkg")
    values = ramp().copy()
    values[0, 4:9, 2:5] = np.nan
    write("sar/a.tif", values, time="2022-04-10T06:00:00Z")
    label = {"band": ["HH"], "restores": ["HH"], "units": "km"}
    gaps = {"share": 0.3, "size_px": 4}
    config = configure({"clear": label}, region="area.gpkg", gaps=gaps)
    (anchor, _) = find_anchors(config.data)
    scene = open_configured(config.data, anchor, with_labels=with_labels)
    inside = np.zeros((SIZE, SIZE), bool)
    inside[:, :8] = True
    np.testing.assert_array_equal(scene["valid"].values, inside)
    gap = scene["image"].sel(band="gap").values == 1
    if with_labels:
        learnt = np.isfinite(scene["clear"].values[0])
        np.testing.assert_array_equal(learnt, inside & gap & np.isfinite(values[0]))
    else:  # what is seen beyond the region tells of gaps within it
        np.testing.assert_array_equal(gap, np.isnan(values[0]))


def test_a_region_does_not_hide_that_255_may_be_a_class():
    for name in "ab":
        write(f"ice/{name}.tif", (ramp() > 0.4).astype("uint8") * np.uint8(255))
    area = gpd.GeoDataFrame(geometry=[box(0, -1600, 800, 0)], crs="EPSG:3413")
    area.to_file("area.gpkg")
    with pytest.raises(LabelError, match="nothing says that 255 is void"):
        prepare(configure(region="area.gpkg"))


def test_scenes_are_brought_to_a_grid_with_their_labels():
    scene = first(configure(grid={"resolution_m": 200}))
    assert scene["image"].shape == (1, 8, 8)
    assert scene["ice"].values[0].tolist() == [0, 0, 0, 0, 1, 1, 1, 1]
    half = ramp()[0].reshape(8, 2, 8, 2).mean((1, 3))
    np.testing.assert_allclose(scene["image"].values[0], half, atol=1e-6)


def table(**columns):
    rows = {"path": ["sar/a.tif", "sar/b.tif"], "mask": ["ice/a.tif", "ice/b.tif"]}
    return pd.DataFrame(rows | columns)


BY_COLUMN = {"ice": {"classes": CLASSES, "file": {"column": "mask"}}}


@pytest.mark.parametrize("kind", ["csv", "parquet"])
def test_a_table_tells_scenes_labels_and_attributes(kind):
    rows = table(flight=[3, 4], season=["melt", None], scene_id=["one", "two"])
    name = f"lists.{kind}"
    rows.to_csv(name, index=False) if kind == "csv" else rows.to_parquet(name)
    config = configure(BY_COLUMN, table=name)
    scenes = open_scenes(config)
    assert [s.attrs["scene_id"] for s in scenes] == ["one", "two"]
    assert [s.attrs.get("season") for s in scenes] == ["melt", None]
    manifest = prepare(config).manifest
    assert manifest.groupby("scene_id")["flight"].first().to_dict() == {
        "one": "3",
        "two": "4",
    }
    assert manifest["mask" if "mask" in manifest else "flight"].notna().all()
    assert "mask" not in manifest


def test_files_of_a_table_are_seen_from_its_folder():
    Path("lists").mkdir()
    rows = table().map(lambda cell: f"../{cell}")
    rows.to_csv("lists/scenes.csv", index=False, sep=";")
    assert len(open_scenes(configure(BY_COLUMN, table="lists/scenes.csv"))) == 2


def test_items_of_a_catalogue_are_scenes_of_the_named_assets():
    for name in "ab":
        write(f"sar/{name}_HV.tif", ramp(2.0))
    items = [
        {
            "type": "Feature",
            "id": name.upper(),
            "properties": {
                "datetime": f"2022-04-1{n}T06:00:00Z",
                "platform": "sentinel-1a",
                "proj:shape": [16, 16],
            },
            "assets": {
                "hh": {"href": f"sar/{name}.tif"},
                "hv": {"href": f"sar/{name}_HV.tif"},
                "chart": {"href": f"ice/{name}.tif"},
            },
        }
        for n, name in enumerate("ab")
    ]
    Path("items.json").write_text(
        json.dumps({"type": "FeatureCollection", "features": items})
    )
    labels = {"ice": {"classes": CLASSES, "file": {"column": "chart"}}}
    told = {"file": "items.json", "path": ["hh", "hv"]}
    scenes = open_scenes(configure(labels, table=told, bands=["HH", "HV"]))
    assert [s.attrs["scene_id"] for s in scenes] == ["A", "B"]
    assert scenes[1].attrs["time"] == "2022-04-11T06:00:00Z"
    assert scenes[1].attrs["columns"]["platform"] == "sentinel-1a"
    np.testing.assert_allclose(scenes[0]["image"].values[1], ramp(2.0)[0])


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"path": ["sar/a.tif", None]}, "column 'path' of every scene"),
        ({"mask": ["ice/a.tif", None]}, "column 'mask' of every scene"),
        ({"path": ["sar/a.tif", "sar/none.tif"]}, "No such scene"),
    ],
)
def test_a_table_with_a_hole_is_refused(columns, message):
    table(**columns).to_csv("scenes.csv", index=False)
    with pytest.raises((ConfigError, FileNotFoundError), match=message):
        open_scenes(configure(BY_COLUMN, table="scenes.csv"))


def test_what_is_no_table_is_refused():
    Path("scenes.json").write_text('{"type": "Topology"}')
    with pytest.raises(ConfigError, match="STAC items"):
        open_scenes(configure(BY_COLUMN, table="scenes.json"))
    table().rename(columns={"path": "file"}).to_csv("scenes.csv", index=False)
    with pytest.raises(ConfigError, match=r"must name columns .*'file', 'mask'"):
        open_scenes(configure(BY_COLUMN, table="scenes.csv"))
    with pytest.raises(ConfigError, match="name columns of `table`"):
        configure(BY_COLUMN)
    with pytest.raises(ConfigError, match="one of `scenes` and `table`"):
        configure(BY_COLUMN, table="scenes.csv", scenes="sar/*.tif")


def test_a_map_of_another_hour_is_refused_or_void():
    scene = first(configure())
    assert scene.attrs["columns"]["ice_time_gap_h"] == 2.0
    mask = {"classes": CLASSES, "file": {"replace": {"sar/": "ice/"}}}
    late = {"ice": mask | {"max_time_gap_h": 1.5}}
    with pytest.raises(LabelError, match=r"2\.0 h off 2022-04-10T06:00:00Z"):
        first(configure(late))
    late["ice"]["beyond_gap"] = "void"
    assert (first(configure(late))["ice"].values == 255).all()
    late["ice"]["max_time_gap_h"] = float("inf")
    assert set(np.unique(first(configure(late))["ice"].values)) == {0, 1}


def test_the_gap_of_each_map_stands_in_the_manifest():
    assert prepare(configure()).manifest["ice_time_gap_h"].tolist() == [2.0] * 8


def test_several_classes_may_hold_in_one_pixel():
    for name in "ab":
        layers = np.zeros((2, SIZE, SIZE), "uint8")
        layers[0, :4], layers[1, 2:6], layers[:, 15] = 1, 1, 255
        write(f"kinds/{name}.tif", layers)
    kinds = {
        "classes": ["pond", "ridge"],
        "several": True,
        "file": {"replace": {"sar/": "kinds/"}},
    }
    config = configure({"kinds": kinds})
    assert config.task_of("kinds") == "dense_multilabel"
    store = prepare(config)
    found = store.read([0], ["kinds"])["kinds"][0]
    assert (
        found[:, 0].tolist()
        == [[1, 0]] * 2 + [[1, 1]] * 2 + [[0, 1]] * 2 + [[0, 0]] * 2
    )
    assert store.labels["kinds"].classes == ("pond", "ridge")
    last = store.read([2], ["kinds"])["kinds"][0]
    assert (last[7] == 255).all()
    assert not (last[:7] == 255).any()


def test_a_layer_that_is_no_yes_or_no_is_refused():
    for name in "ab":
        write(f"kinds/{name}.tif", np.full((2, SIZE, SIZE), 7, "uint8"))
    kinds = {
        "classes": ["pond", "ridge"],
        "several": True,
        "file": {"replace": {"sar/": "kinds/"}},
    }
    with pytest.raises(LabelError, match=r"yes \(1\) or no \(0\).*\[7\]"):
        first(configure({"kinds": kinds}))["kinds"].load()
    kinds["classes"] = ["pond", "ridge", "lead"]
    with pytest.raises(LabelError, match="one band for each of its 3 classes"):
        first(configure({"kinds": kinds}))


def test_a_column_lists_the_classes_of_a_whole_image():
    table(kinds=["pond; ridge", "ridge"]).to_csv("scenes.csv", index=False)
    kinds = {"classes": ["pond", "ridge"], "several": True, "attribute": "kinds"}
    config = configure({"kinds": kinds}, table="scenes.csv")
    assert config.task_of("kinds") == "multilabel"
    store = prepare(config)
    assert store.read([0], ["kinds"])["kinds"].tolist() == [[1, 1]]
    assert store.read([7], ["kinds"])["kinds"].tolist() == [[0, 1]]
    table(kinds=["pond; lead", "ridge"]).to_csv("scenes.csv", index=False)
    with pytest.raises(LabelError, match="lead"):
        open_scenes(config)


def test_intervals_of_raw_values_are_codes():
    values = np.tile(np.uint8([0, 7, 128, 255]), (1, SIZE, SIZE // 4))
    for name in "ab":
        write(f"jpeg/{name}.tif", values)
    mask = {
        "classes": CLASSES,
        "file": {"replace": {"sar/": "jpeg/"}},
        "codes": {"0-7": 0, "248-255": 1, 128: "void"},
    }
    scene = first(configure({"ice": mask}))
    assert scene["ice"].values[0, :4].tolist() == [0, 0, 255, 1]
    with pytest.raises(ConfigError, match="codes"):
        configure({"ice": mask | {"codes": {"low": 0}}})


def test_a_new_scene_is_mapped_without_its_row():
    table(flight=[3, 4]).to_csv("scenes.csv", index=False)
    write("sar/c.tif", ramp())
    config = configure(BY_COLUMN, table="scenes.csv")
    from arcticdl.experiment.data.anchors import find_anchors
    from arcticdl.experiment.scenes import open_configured

    new, known = find_anchors(config.data, ["sar/c.tif", "sar/b.tif"])
    assert (new.row, known.row["flight"]) == ({}, "4")
    assert open_configured(config.data, new, with_labels=False)["image"].shape[0] == 1
    needs_more = configure(
        BY_COLUMN, table="scenes.csv", align=[{"file": {"column": "mask"}}]
    )
    with pytest.raises(ConfigError, match=r"no scene of `data\.table`"):
        open_configured(needs_more.data, new, with_labels=False)


def test_each_image_of_an_archive_is_a_scene():
    images = np.arange(3 * SIZE * SIZE, dtype="uint16").reshape(3, SIZE, SIZE)
    np.savez("many.npz", tir=images, pond=(images % 2).astype("uint8"))
    label = {"file": "many.npz", "options": {"array": "pond"}, "classes": ["a", "b"]}
    config = configure({"pond": label}, scenes="many.npz", each_index=True,
                       bands=None, reader_options={"array": "tir"})  # fmt: skip
    anchors = find_anchors(config.data)
    assert [a.scene_id for a in anchors] == [f"many_00{k}" for k in range(3)]
    scene = open_configured(config.data, anchors[2])
    np.testing.assert_array_equal(scene["image"].values, images[2:])
    np.testing.assert_array_equal(scene["pond"].values, images[2] % 2)


@pytest.mark.parametrize(
    "text, row",
    [
        ("path\nscene_a.tif\n", {}),  # no mark to part cells by
        ("\ufeffpath,group\nscene_a.tif,north\n", {"group": "north"}),  # of Excel
        ('"path";"a, b"\nscene_a.tif;2,5\n;\n', {"a, b": "2,5"}),
        ("group\tpath\nfar north\tscene_a.tif\n", {"group": "far north"}),
    ],
)
def test_tables_are_read_as_people_save_them(text, row):
    Path("told.csv").write_text(text, encoding="utf-8")
    found = read_table(TableConfig(file="told.csv"))
    assert found == [{"path": "scene_a.tif", **row}]


@pytest.mark.parametrize(
    "text, told",
    [("path,path\na,b\n", "'path'.* come twice"),
     ("path,group\na.tif,1,2\n", "line 2 has more cells")],
)  # fmt: skip
def test_tables_whose_cells_have_no_column_are_refused(text, told):
    Path("bad.csv").write_text(text)
    with pytest.raises(ConfigError, match=told):
        read_table(TableConfig(file="bad.csv"))


def test_whole_numbers_without_classes_are_a_quantity():
    """Thickness in cm was stored as codes of 255 classes, and refused from 255 on."""
    rng = np.random.default_rng(0)
    for name in "ab":
        cm = rng.integers(-40, 900, (1, SIZE, SIZE), "int16")
        cm[0, :3] = -999
        write(f"ice/{name}.tif", cm, time=f"2022-04-1{'ab'.index(name)}T08:00:00Z")
        with rasterio.open(f"ice/{name}.tif", "r+") as file:
            file.nodata = -999
    depth = {"file": {"replace": {"sar/": "ice/"}}, "units": "cm"}
    config = configure({"depth": depth})
    scene = open_scenes(config)[1]
    want = np.where(cm[0] == -999, np.nan, cm[0]).astype("float32")
    np.testing.assert_array_equal(scene["depth"].values, want)
    assert scene["depth"].attrs["time"] == "2022-04-11T08:00:00Z"
    info = prepare(config).labels["depth"]
    assert info.is_float and not info.classes and info.units == "cm"
    percent = rng.integers(0, 101, (1, SIZE, SIZE), "uint8")
    percent[0, 0] = 255
    for name in "ab":
        write(f"ice/{name}.tif", percent)
    found = open_scenes(config)[0]["depth"].values
    assert np.isnan(found[0]).all() and (found[1:] == percent[0, 1:]).all()


def test_a_quantity_has_the_unit_of_its_file():
    """Metres were called centimetres, and per cent fractions, without a word."""
    for name in "ab":
        write(f"ice/{name}.tif", ramp())
        with rasterio.open(f"ice/{name}.tif", "r+") as file:
            file.units = ("m",)
    depth = {"file": {"replace": {"sar/": "ice/"}}}
    for same in ("m", "metres", "dB"):  # UDUNITS knows no dB, which may be anything
        config = configure({"depth": depth | {"units": same}})
        assert open_scenes(config)[0]["depth"].attrs["units"] == same
    assert open_scenes(configure({"depth": depth}))[0]["depth"].attrs["units"] == "m"
    with pytest.raises(LabelError, match=r"Received: 'cm', and 'm' in the file"):
        open_scenes(configure({"depth": depth | {"units": "cm"}}))
    itself = {"band": "depth", "units": "1"}
    with pytest.raises(LabelError, match=r"labels.itself.units.*'1', and 'm' in"):
        open_scenes(configure({"itself": itself}, scenes="ice/*.tif", bands=["depth"]))


@pytest.mark.parametrize("step", ["quarter_turn", "hflip"])
def test_vectors_turn_only_in_pictures_whose_rows_run_south(step):
    """In a file whose rows run north, v points down: its turns were the other way."""
    configure({}, bands=["u10", "v10"], scenes="wind/*.tif")
    told = (f"train.augment=[{{name: {step}}}]",)
    for name, down, refused in (("a", -STEP, False), ("b", STEP, step != "hflip")):
        write(f"wind/{name}.tif", np.concatenate([ramp(), ramp(2.0)]))
        with rasterio.open(f"wind/{name}.tif", "r+") as file:
            file.transform = rasterio.Affine(STEP, 0, 0, 0, down, 0)
        config = load_config("config.yaml", told)
        store = prepare(config, overwrite=True)
        with (
            pytest.raises(ConfigError, match=r"u10.*`data\.grid`")
            if refused
            else (nullcontext())
        ):
            assert _build_policy(config, store, np.arange(len(store))) is not None


def test_one_map_goes_with_each_image_of_an_array():
    images = np.arange(2 * SIZE * SIZE, dtype="uint16").reshape(2, SIZE, SIZE)
    np.save("two.npy", images)
    label = {"classes": CLASSES, "file": "ice/a.tif"}
    for scene in open_scenes(configure({"ice": label}, scenes="two.npy",
                                       each_index=True)):  # fmt: skip
        np.testing.assert_array_equal(scene["ice"], (ramp()[0] > 0.8))


@pytest.mark.parametrize(
    "label",
    [
        {"classes": CLASSES, "several": True, "file": "shifted.tif"},
        {"outputs": ["depth", "age"], "file": "shifted.tif"},
        None,
    ],
)
def test_maps_of_the_right_shape_in_another_place_are_refused(label):
    """Masks, several classes and several quantities were taken by their shape alone."""
    both = np.concatenate([ramp(), ramp()]) > 0.8
    write("shifted.tif", both.astype("uint8"), origin=(STEP, 0.0))
    told = {} if label else {"void": {"file": "shifted.tif"}}
    config = configure({"more": label} if label else None, **told)
    what = "Label `more`" if label else "The mask `data.void`"
    with pytest.raises(GridMismatchError, match=f"{what} must lie on the grid"):
        open_scenes(config)
    write("shifted.tif", both.astype("uint8"))
    assert len(open_scenes(config)) == 2


def test_an_interrupted_store_is_not_gone_on_with_once_files_have_changed(monkeypatch):
    """Counts of the old map were told of tiles with the new one."""
    config = configure()

    def stop(*args):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("arcticdl.tiles.write.ShardWriter.write", stop)
        with pytest.raises(KeyboardInterrupt):
            prepare(config)
    with monkeypatch.context() as patch:  # while all is as it was, it is gone on with
        patch.setattr("arcticdl.tiles.writing.scan_all.scan_scene", None)
        patch.setattr("arcticdl.tiles.write.ShardWriter.write", stop)
        with pytest.raises(KeyboardInterrupt):
            prepare(config)
    mended = (ramp() > 1.2).astype("uint8")
    write("ice/b.tif", mended, time="2022-04-11T08:00:00Z")
    with pytest.raises(StoreError, match="before their files changed"):
        prepare(config)
    store = prepare(config, overwrite=True)
    tiles = np.flatnonzero(store.manifest["scene_id"] == "b")
    written = int(store.read(tiles, ["ice"])["ice"].sum())
    assert written == store.class_counts("ice")[tiles, 1].sum() == mended.sum()


@pytest.mark.parametrize("name", ["ice type", "ice:type", ".ice", "a/b", "_", ""])
def test_a_label_that_cannot_name_a_folder_is_refused_before_any_file_is_read(name):
    with pytest.raises(ConfigError, match="a name that can name a folder"):
        configure({name: {"classes": CLASSES, "file": "ice/a.tif"}})


def test_a_file_whose_name_looks_like_a_pattern_is_found():
    write("sar/x[1].tif", ramp())
    (anchor,) = find_anchors(configure({}, scenes="sar/x[1].tif").data)
    assert anchor.path == "sar/x[1].tif"


def test_what_learnt_from_an_array_of_images_maps_single_ones():
    images = np.arange(3 * SIZE * SIZE, dtype="uint8").reshape(3, SIZE, SIZE)
    np.save("many.npy", images)
    np.save("one.npy", images[1])
    Image.fromarray(images[1]).save("one.png")
    write("one.tif", images[1:2])
    data = configure({}, scenes="many.npy", each_index=True, bands=["thermal"]).data
    assert [a.scene_id for a in find_anchors(data)] == [f"many_00{k}" for k in range(3)]
    for path in ("one.npy", "one.png", "one.tif"):
        (anchor,) = find_anchors(data, [path])
        assert anchor.scene_id == "one"
        scene = open_configured(data, anchor, with_labels=False)
        np.testing.assert_array_equal(scene["image"].values, images[1:2])
        assert scene["band"].values.tolist() == ["thermal"]


def test_a_place_that_no_split_knows_is_mapped_but_not_trained_on():
    write("sar/c.tif", ramp())
    write("ice/c.tif", (ramp() > 0.8).astype("uint8"))
    places = {"a": "Sverdrup", "b": "Jakobshavn"}
    config = configure(attributes={"group": r"(\w)\.tif"}, rename={"group": places})
    from arcticdl.experiment.data.anchors import find_anchors
    from arcticdl.experiment.scenes import open_configured

    anchors = find_anchors(config.data, ["sar/a.tif", "sar/c.tif"])
    groups = [
        open_configured(config.data, anchor, with_labels=False).attrs["group"]
        for anchor in anchors
    ]
    assert groups == ["Sverdrup", "c"]
    with pytest.raises(ConfigError, match=r"rename\.group` has no entry for 'c'"):
        open_scenes(config)


def test_unlabelled_scenes_are_tiles_and_batches_of_images():
    config = configure({})
    store = prepare(config)
    assert store.labels == {}
    feed = TileFeed(store, np.arange(len(store)), batch_size=4, shuffle=False)
    (image,) = feed[0]
    pixels = store.read(np.arange(len(store)), ["image"])["image"]
    expected = (pixels[:4] - pixels.mean()) / pixels.std()
    np.testing.assert_allclose(image, expected, atol=1e-4)
    model = keras.Sequential([keras.layers.Conv2D(2, 1)])
    assert model.predict(feed, verbose=0).shape == (len(store), 8, 8, 2)
    with pytest.raises(ConfigError, match="nothing to learn"):
        train(config)
    with pytest.raises(ConfigError, match="need a label under"):
        load_config("config.yaml", ("task=segmentation",))


def test_a_scene_without_an_optional_map_is_void_throughout():
    Path("ice/b.tif").unlink()
    mask = {"classes": CLASSES, "file": {"replace": {"sar/": "ice/"}}}
    with pytest.raises(
        FileNotFoundError, match=r"beside the scene sar/b\.tif: ice/b.*none"
    ):
        prepare(configure({"ice": mask}))
    store = prepare(configure({"ice": {**mask, "optional": True}}))
    ids = store.manifest["scene_id"].to_numpy()
    labels = store.read(np.arange(len(store)), ["ice"])["ice"]
    assert (labels[ids == "b"] == 255).all() and (labels[ids == "a"] != 255).all()
    assert (store.scored_counts("ice")[ids == "b"] == 0).all()
    with pytest.raises(ConfigError, match="`optional` is of a `file`"):
        configure({"ice": {"carried": "ice", "optional": True}})


def test_a_store_is_known_by_what_made_it_and_not_by_where_its_files_lay():
    """One that was moved is the same; other codes, areas or rules make another."""

    def recipe(folder, codes, edge=1000.0):
        Path(folder).mkdir(exist_ok=True)
        Path(f"{folder}/area.json").write_text(to_geojson(box(0, 0, edge, 9)))
        file = {"replace": {".tif": "_ice.tif"}}
        label = {"file": file, "classes": CLASSES, "codes": codes}
        data = {"scenes": f"{folder}/*.tif", "region": f"{folder}/area.json"}
        return recipe_of(DataConfig(**data, labels={"ice": label}))

    held = json.loads(json.dumps(recipe("here", {"0-5": 0, "6-9": 1})))
    found = [
        list(differences(recipe(*asked), held, ["ice"]))
        for asked in (
            ("there", {"0-5": 0, "6-9": 1}),
            ("there", {"0-4": 0, "5-9": 1}),
            ("there", {"0-5": 0, "6-9": 1}, 900.0),
        )
    ]
    assert found[0] == [] and not list(differences(recipe("here", None), "ab0f", []))
    codes = {"0-4": 0, "5-9": 1}, {"0-5": 0, "6-9": 1}
    assert found[1] == [("data.labels.ice.codes", *codes)]
    assert [key for key, *_ in found[2]] == ["the content of data.region"]
    asked = recipe("there", {"0-5": 0, "6-9": 1}, 900.0)
    asked["data"].pop("content of region")  # the file is not where tiles are trained
    assert list(differences(asked, held, ["ice"])) == []


def test_scenes_are_appended_by_the_same_configuration():
    config = configure()
    prepare(config)
    with pytest.raises(FileNotFoundError, match="without --append"):
        append(configure(bands=["HH"]).model_copy(update={"name": "none"}))
    for kind in ("sar", "ice"):
        Path(f"{kind}/c.tif").write_bytes(Path(f"{kind}/a.tif").read_bytes())
    grown = append(config)
    assert grown.new == ("c",) and not grown.gone and not grown.dropped
    drop(config.store_path, ["b"])
    Path("sar/a.tif").unlink()
    again = append(config)
    assert (again.new, again.gone, again.dropped) == ((), ("a",), ("b",))
    assert set(again.store.scenes) == {"a", "c"}
    tiles = config.tiles.model_copy(update={"overlap_px": 2})
    with pytest.raises(ConfigError, match=r"\['tiles.overlap_px'\] differ"):
        append(config.model_copy(update={"tiles": tiles}))
    data = config.data.model_copy(update={"reader_options": {"sensor": "x"}})
    with pytest.raises(ConfigError, match=r"\['data.reader_options'\] differ"):
        append(config.model_copy(update={"data": data}))


def test_a_file_of_labels_may_grow_with_the_scenes_that_are_appended():
    """Else no scene could be added where one file has the outlines of all."""

    def draw(*areas):
        table = gpd.GeoDataFrame(geometry=list(areas), crs="EPSG:3413")
        table.to_file("ice.gpkg")

    near, far = box(0, -1600, 800, 0), box(10000, -800, 11600, 0)
    draw(near)
    config = configure({"ice": {"classes": CLASSES, "file": {"path": "ice.gpkg"}}})
    prepare(config)
    draw(near, far)
    store = open_prepared(config)
    with pytest.raises(StoreError, match=r"content of data\.labels\.ice\.file"):
        check_prepared(config, store)
    write("sar/c.tif", ramp(), origin=(10000, 0))
    store = append(config).store
    ids = store.manifest["scene_id"].to_numpy()
    maps = store.read(np.arange(len(store)), ["ice"])["ice"]
    assert [maps[ids == name].mean() for name in "abc"] == [0.5, 0.5, 0.5]
    check_prepared(config, open_prepared(config))
    draw(near)
    assert append(config).new == ()  # nothing was cut by it
    with pytest.raises(StoreError, match=r"content of data\.labels\.ice\.file"):
        check_prepared(config, open_prepared(config))


def test_a_condition_in_the_configuration_selects_tiles():
    config = configure()
    prepare(config)
    some = {"select": "scene_id == 'a'"}
    chosen = config.model_copy(update={"tiles": config.tiles.model_copy(update=some)})
    store = open_prepared(chosen)
    assert set(store.manifest["scene_id"]) == {"a"} == set(store.scenes)
    wrong = config.tiles.model_copy(update={"select": "scene == 'a'"})
    with pytest.raises(ConfigError, match=r"`tiles.select`.*Did you mean 'scene_id'"):
        open_prepared(config.model_copy(update={"tiles": wrong}))
