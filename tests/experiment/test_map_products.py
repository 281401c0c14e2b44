"""Products by `arcticdl predict`: beside the maps, all at once, gone on with later."""

import gc
import json
import shutil
import weakref
from pathlib import Path
from zipfile import ZipFile

import keras
import numpy as np
import pyproj
import pytest
import rasterio
import xarray as xr
from matplotlib.figure import Figure

import arcticdl
from arcticdl.cli import main
from arcticdl.config.predict import PredictConfig
from arcticdl.experiment import products as module
from arcticdl.inference import Predictor
from arcticdl.inference import predict as predict_module
from arcticdl.inference.output import MapFile
from arcticdl.models import build_segmenter
from arcticdl.tiles import Normalizer

CARD = {
    "bands": ["HH", "HV"],
    "normalizer": Normalizer("none", ("HH", "HV")).to_dict(),
    "tile_size_px": 32,
    "heads": {
        "ice": {
            "task": "segmentation",
            "classes": ["water", "ice"],
            "colors": ["#0064ff", "#ffffff"],
        }
    },
}


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    """A file of a model whose answer is known: ice where HV > HH."""
    network = build_segmenter(
        "plain", num_bands=2, num_classes=2, card=CARD,
        backbone_options={"width": 2, "depth": 1},
        decoder_options={"channels": (2,)},
    )  # fmt: skip
    carded = network.get_layer("card")(network.input)
    answer = keras.layers.Activation("linear", name="ice")(carded)
    path = tmp_path_factory.mktemp("model") / "model.keras"
    keras.Model(network.input, answer).save(path)
    return str(path)


@pytest.fixture
def scene(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return write_scene("scene.tif", time="2020-03-01T00:00:00Z")


def write_scene(path, **tags):
    image = np.random.default_rng(0).normal(size=(2, 60, 50)).astype("float32")
    with rasterio.open(
        path, "w", driver="GTiff", height=60, width=50, count=2, dtype="float32",
        crs="EPSG:3413", transform=rasterio.Affine(80, 0, -6e5, 0, -80, -1.6e6),
    ) as file:  # fmt: skip
        file.write(image)
        file.descriptions = ("HH", "HV")
        file.update_tags(**tags)
    return path


def names(folder="maps"):
    return {path.name for path in Path(folder).iterdir()}


MAPS = {"scene.tif", "scene_confidence.tif"}


def test_products_stand_beside_the_maps(model, scene):
    asked = "cog,netcdf,polygons,stac"
    assert main(["predict", model, scene, "-o", "maps", "--products", asked]) == 0
    assert names() == MAPS | {
        "scene.nc", "scene.stac.json", "scene_polygons.gpkg", "scene_polygons.parquet",
    }  # fmt: skip
    with rasterio.open("maps/scene.tif") as file, rasterio.open(scene) as source:
        codes, image = file.read(1), source.read()
        assert file.tags(ns="IMAGE_STRUCTURE")["LAYOUT"] == "COG"
        digest = file.tags()["arcticdl_models"]
    np.testing.assert_array_equal(codes, image[1] > image[0])
    found = xr.open_dataset("maps/scene.nc")
    assert found.attrs["arcticdl_models"] == digest
    assert found["class"].attrs["standard_name"] == "sea_ice_classification"
    item = json.loads(Path("maps/scene.stac.json").read_text())
    assert item["properties"]["arcticdl_models"] == digest
    assert {"class", "netcdf", "polygons"} <= set(item["assets"])


def test_a_product_that_a_finished_scene_lacks_is_made_of_its_maps(
    model, scene, monkeypatch
):
    assert main(["predict", model, scene, "-o", "maps"]) == 0
    assert names() == MAPS | {"scene.png"}
    before = Path("maps/scene_confidence.tif").stat().st_mtime_ns

    def no_network(*_, **__):
        raise AssertionError("the network ran")

    monkeypatch.setattr(module, "fill_maps", no_network)
    again = ["predict", model, scene, "-o", "maps", "--resume", "--products"]
    assert main([*again, "zarr,png"]) == 0
    assert names() == MAPS | {"scene.png", "scene.zarr"}
    assert Path("maps/scene_confidence.tif").stat().st_mtime_ns == before
    assert main([*again, "cog"]) == 0
    with rasterio.open("maps/scene.tif") as file:
        assert file.tags(ns="IMAGE_STRUCTURE")["LAYOUT"] == "COG"


def test_nothing_of_a_scene_is_kept_once_it_is_mapped(model, scene, monkeypatch):
    scenes = [shutil.copy(scene, f"scene{number}.tif") for number in range(4)]
    arrays, alive = [], []

    def watched(*args, **kwargs):
        gc.collect()
        alive.append(sum(kept() is not None for kept in arrays))
        for row, answers, valid in rows(*args, **kwargs):
            arrays.extend(weakref.ref(array) for array in (*answers.values(), valid))
            yield row, answers, valid

    rows = predict_module.finished_rows
    monkeypatch.setattr(predict_module, "finished_rows", watched)
    assert main(["predict", model, *scenes, "-o", "maps", "--products", "png"]) == 0
    gc.collect()
    assert len(arrays) >= 8 and alive == [0, 0, 0, 0]
    assert not any(kept() is not None for kept in arrays)
    assert not any(isinstance(kept, Figure) for kept in gc.get_objects())


def test_maps_of_other_views_are_not_gone_on_with(model, scene, capsys):
    words = ["predict", model, scene, "-o", "maps", "--products", ""]
    assert main([*words, "--tta", "hflip"]) == 0
    assert main([*words, "--resume"]) == 1
    assert "other models, views, thresholds" in capsys.readouterr().err
    assert main([*words, "--resume", "--tta", "hflip"]) == 0


def test_several_scenes_go_on_where_a_killed_call_stopped(model, scene, monkeypatch):
    other = write_scene("other.tif")
    words = ["predict", model, scene, other, "-o", "maps", "--products", "zarr"]
    made = module.SceneWriter._make_products
    count = []

    def killed(self, *args):
        made(self, *args)
        count.append(1)
        if len(count) == 2:
            raise KeyboardInterrupt

    monkeypatch.setattr(module.SceneWriter, "_make_products", killed)
    assert main(words) != 0
    done = MAPS | {"scene.zarr"}
    assert names() == done
    assert main([*words, "--resume"]) == 0
    rest = {name.replace("scene", "other") for name in done}
    assert names() == done | rest and len(count) == 3


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--products", "cog,poligons"], "Did you mean 'polygons'?"),
        (["--products", "stac"], "needs the time of the scene"),
    ],
)
def test_what_cannot_be_made_is_refused_before_the_network_runs(
    model, scene, capsys, monkeypatch, words, message
):
    monkeypatch.delattr(module, "fill_maps")
    timeless = write_scene("timeless.tif")
    inputs = [scene, timeless] if "stac" in words else [scene]
    assert main(["predict", model, *inputs, "-o", "maps", *words]) == 1
    assert message in capsys.readouterr().err
    assert not Path("maps").exists()


def test_files_of_others_are_refused_before_the_network_runs(
    model, scene, capsys, monkeypatch
):
    monkeypatch.delattr(module, "fill_maps")
    Path("maps").mkdir()
    Path("maps/scene.nc").write_text("mine")
    words = ["predict", model, scene, "-o", "maps", "--products", "netcdf"]
    assert main(words) == 1
    assert "maps/scene.nc exist already" in capsys.readouterr().err
    assert Path("maps/scene.nc").read_text() == "mine"


@pytest.fixture
def swath(tmp_path, monkeypatch):
    """A file of a scene whose pixels have a latitude and a longitude each."""
    monkeypatch.chdir(tmp_path)
    rows, cols = np.meshgrid(np.arange(60), np.arange(50), indexing="ij")
    image = np.random.default_rng(0).normal(size=(2, 60, 50)).astype("float32")
    xr.Dataset(
        {"HH": (("y", "x"), image[0]), "HV": (("y", "x"), image[1])},
        {
            "lat": (("y", "x"), 80 + 0.001 * rows, {"units": "degrees_north"}),
            "lon": (("y", "x"), 5 + 0.006 * cols, {"units": "degrees_east"}),
        },
    ).to_netcdf("pass.nc")
    return "pass.nc", image


def test_a_swath_is_mapped_in_its_own_geometry(model, swath, capsys):
    path, image = swath
    words = ["predict", model, path, "-o"]
    assert main([*words, "maps", "--products", "netcdf,png"]) == 0
    assert names() == {"pass.nc", "pass.png"}
    found = xr.open_dataset("maps/pass.nc")
    np.testing.assert_array_equal(found["class"], image[1] > image[0])
    with xr.open_dataset(path) as given:
        np.testing.assert_array_equal(found["lat"], given["lat"])
    assert main([*words, "maps", "--resume", "--products", "zarr"]) == 0
    assert names() == {"pass.nc", "pass.png", "pass.zarr"}
    assert main([*words, "one.tif"]) == 1
    assert "written as NetCDF" in capsys.readouterr().err
    assert main([*words, "maps2", "--products", "cog"]) == 1
    assert "needs maps on a regular grid" in capsys.readouterr().err
    assert not Path("maps2").exists() and not Path("one.tif").exists()


def test_maps_of_a_swath_are_brought_to_a_grid_if_asked(model, swath, monkeypatch):
    """Each pixel of the grid has the class of the swath's pixel that it lies on."""
    path, image = swath
    options = PredictConfig(grid={"resolution_m": 100.0})
    predictor = Predictor(model, jit_compile=False)
    writer = module.SceneWriter(
        predictor, [Path(model)], products=["cog", "netcdf"], tags={},
        grid=options.grid.model_dump(), overlap_px=None, resume=True, overwrite=False,
    )  # fmt: skip
    scene = arcticdl.open_scene(path)
    target = Path("maps") / f"pass{writer.ending(scene)}"
    assert target.name == "pass.tif"
    writer.check(scene, target)
    writer.write_all([scene], [target])
    assert names() == {"pass.tif", "pass_confidence.tif", "pass.nc"}
    with rasterio.open(target) as file:
        codes, crs, move = file.read(1), file.crs, file.transform
    assert crs.to_epsg() == 3413 and move.a == 100.0
    rows, cols = np.nonzero(codes != 255)
    assert len(rows) > 1000
    to_lonlat = pyproj.Transformer.from_crs(3413, 4326, always_xy=True)
    lon, lat = to_lonlat.transform(*(move @ (cols + 0.5, rows + 0.5)))
    row, col = (lat - 80) / 0.001, (lon - 5) / 0.006
    clear = (np.abs(row % 1 - 0.5) > 0.1) & (np.abs(col % 1 - 0.5) > 0.1)
    right = (image[1] > image[0])[row.round().astype(int), col.round().astype(int)]
    np.testing.assert_array_equal(codes[rows, cols][clear], right[clear])
    monkeypatch.setattr(module, "fill_maps", None)  # the network need not run again
    writer.products = {"polygons": {}}
    made = writer.write_all([scene], [target])
    assert [file.name for file in made][1:] == [
        "pass_polygons.gpkg", "pass_polygons.parquet"
    ]  # fmt: skip
    with pytest.raises(ValueError, match="by the product 'netcdf'"):
        writer.check(scene, target.with_suffix(".nc"))


@pytest.fixture
def scenes(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return [write_scene(f"scene{number}.tif") for number in range(3)]


def mapped(folder):
    return {path.name: path.read_bytes() for path in Path(folder).glob("*.tif")}


def test_parts_of_the_scenes_are_together_all_of_them(model, scenes):
    words = ["predict", model, *scenes, "--products", ""]
    assert main([*words, "-o", "whole"]) == 0
    for part, expected in (("1/2", 4), ("2/2", 6)):
        assert main([*words, "-o", "parts", "--shard", part]) == 0
        assert len(names("parts")) == expected
    assert mapped("parts") == mapped("whole")
    assert main([*words, "-o", "none", "--shard", "4/4"]) == 0  # more tasks than scenes
    assert not Path("none").exists()


@pytest.mark.parametrize("shard", ["0/2", "3/2", "2", "a/b", "-1/2", "1/0"])
def test_a_part_that_is_none_is_refused(shard, model, scenes, capsys):
    assert main(["predict", model, *scenes, "-o", "maps", f"--shard={shard}"]) == 1
    assert not Path("maps").exists()
    (told,) = capsys.readouterr().err.splitlines()
    assert told.endswith(f"such as 1/8 to 8/8. Received: {shard}")


def test_parts_whose_files_would_be_the_same_are_refused(model, scenes, capsys):
    Path("b").mkdir()
    again = write_scene("b/scene0.tif")
    words = ["predict", model, scenes[0], again, "-o", "maps", "--shard", "1/2"]
    assert main(words) == 1
    assert "Inputs share the names ['scene0']" in capsys.readouterr().err
    assert not Path("maps").exists()


def test_a_call_that_was_cut_off_goes_on_to_the_same_bytes(model, scenes, monkeypatch):
    words = ["predict", model, *scenes, "--products", ""]
    assert main([*words, "-o", "whole"]) == 0
    write, left = MapFile.write_rows, iter(range(8))  # 6 a scene

    def cut_off(*given):
        if next(left, None) is None:
            raise KeyboardInterrupt
        write(*given)

    monkeypatch.setattr(MapFile, "write_rows", cut_off)
    assert main([*words, "-o", "maps"]) == 130
    assert names() == {"scene0.tif", "scene0_confidence.tif"}
    began = Path("maps/scene0.tif").stat().st_mtime_ns
    monkeypatch.setattr(MapFile, "write_rows", write)
    assert main([*words, "-o", "maps", "--resume"]) == 0
    assert mapped("maps") == mapped("whole")
    assert Path("maps/scene0.tif").stat().st_mtime_ns == began


def test_an_empty_scene_is_refused_and_those_before_it_are_kept(model, scenes, capsys):
    with rasterio.open(scenes[1], "r+") as file:
        file.write(np.full((2, 60, 50), np.nan, "float32"))
    assert main(["predict", model, *scenes, "-o", "maps", "--products", ""]) == 1
    told = [t for t in capsys.readouterr().err.splitlines() if t.startswith("error")]
    assert len(told) == 1 and "'scene1' holds no valid pixel" in told[0]
    assert names() == {"scene0.tif", "scene0_confidence.tif"}


def test_bands_in_another_order_make_the_same_map(model, scenes):
    with rasterio.open(scenes[0]) as file:
        image, profile = file.read(), file.profile
    with rasterio.open("turned.tif", "w", **profile) as file:
        file.write(image[::-1])
        file.descriptions = ("HV", "HH")
    words = ["predict", model, scenes[0], "turned.tif", "-o", "maps", "--products", ""]
    assert main(words) == 0
    assert mapped("maps")["turned.tif"] == mapped("maps")["scene0.tif"]


def test_the_model_is_loaded_once(model, scene, monkeypatch):
    loaded, load = [], keras.saving.load_model

    def counted(path, **how):
        loaded.append(path)
        return load(path, **how)

    monkeypatch.setattr(keras.saving, "load_model", counted)
    assert main(["predict", model, scene, "-o", "maps", "--products", ""]) == 0
    assert list(map(str, loaded)) == [model]


def test_a_picture_that_cannot_be_made_leaves_no_file_of_any_scene(
    model, scene, monkeypatch, capsys
):
    """The second scene is mapped already when the first one's picture fails."""
    other, begun = write_scene("other.tif"), module.SceneWriter._begin
    hidden = []

    def watched(self, *args):
        found = begun(self, *args)
        hidden.append(found.folder)
        return found

    def fails(*_, **__):
        raise OSError("No space left on device")

    monkeypatch.setattr(module.SceneWriter, "_begin", watched)
    monkeypatch.setattr(module, "write_products", fails)
    assert main(["predict", model, scene, other, "-o", "maps"]) == 1
    assert "No space left" in capsys.readouterr().err
    assert len(hidden) == 2 and names() == set()
    assert list(Path("maps").iterdir()) == []


TASK = r"\"task\": \"segmentation\""


def test_a_card_of_an_unknown_task_is_told(model, scene, capsys):
    """It ended with a KeyError."""
    with ZipFile(model) as file:
        parts = {name: file.read(name) for name in file.namelist()}
    told = parts["config.json"].decode()
    parts["config.json"] = told.replace(TASK, TASK.replace("segmentation", "of_2030"))
    assert parts["config.json"] != told
    with ZipFile("newer.keras", "w") as file:
        for name, content in parts.items():
            file.writestr(name, content)
    assert main(["predict", "newer.keras", scene, "-o", "maps"]) == 1
    assert "of_2030" in capsys.readouterr().err
