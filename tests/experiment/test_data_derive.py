"""`data.derive`: bands made of bands, from the YAML to the tile store."""

from pathlib import Path

import numpy as np
import pytest
import rasterio
import yaml
from rasterio.transform import from_origin

from arcticdl.config import load_config
from arcticdl.errors import ConfigError, StoreError
from arcticdl.experiment import open_scenes, prepare
from arcticdl.tiles.write import ShardWriter

SIZE, STEP = 16, 100.0
RNG = np.random.default_rng(0)
HH, HV = RNG.uniform(-20, -5, (2, SIZE, SIZE)).astype("float32")
DEM = np.broadcast_to(30.0 * np.arange(SIZE), (1, SIZE, SIZE)).astype("float32")


def write(path, values, units):
    profile = {
        "driver": "GTiff",
        "width": SIZE,
        "height": SIZE,
        "count": len(values),
        "dtype": values.dtype,
        "crs": "EPSG:3413",
        "transform": from_origin(0, -1e6, STEP, STEP),
    }
    Path(path).parent.mkdir(exist_ok=True)
    with rasterio.open(path, "w", **profile) as file:
        file.write(values)
        file.units = units
        file.update_tags(time="2022-06-13T15:00:00Z")


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in "ab":
        write(f"sar/{name}.tif", np.stack([HH, HV]), ["dB", "dB"])
        write(f"ice/{name}.tif", (HH > -10).astype("uint8")[None], [""])
    write("dem.tif", DEM, ["m"])


def configure(**data):
    label = {"classes": ["water", "ice"], "file": {"replace": {"sar/": "ice/"}}}
    base = {"scenes": "sar/*.tif", "bands": ["HH", "HV"], "labels": {"ice": label}}
    tree = {
        "name": "tiny",
        "data": base | data,
        "tiles": {"size_px": 8},
        "folds": {"n_splits": 2},
    }
    Path("config.yaml").write_text(yaml.safe_dump(tree))
    return load_config("config.yaml")


def test_derived_bands_lie_in_the_store_though_no_scene_file_holds_them():
    config = configure(
        align=[{"file": "dem.tif", "bands": ["dem"]}],
        derive=[
            {"formula": "ratio", "of": ["HV", "HH"], "name": "HV_HH"},
            {"formula": "slope"},
            {"formula": "min_sun_elevation", "degrees": 1},
        ],
        use_bands=["HV_HH", "slope"],
    )
    store = prepare(config)
    assert list(store.bands) == ["HV_HH", "slope"]
    tiles = store.read(np.arange(len(store)), ["image"])["image"]
    for tile, row, col in zip(
        tiles, store.manifest["row"], store.manifest["col"], strict=True
    ):
        want = (HV - HH)[row : row + 8, col : col + 8]
        np.testing.assert_allclose(tile[..., 0], want, atol=1e-5)
    inner = open_scenes(config)[0]["image"].values[1, 1:-1, 1:-1]
    np.testing.assert_allclose(inner, np.degrees(np.arctan(0.3)), atol=1e-3)


def test_a_rule_of_a_label_may_use_a_derived_band():
    rules = [{"name": "ice", "where": {"HH_power": [0.1, 1]}}]
    rules.append({"name": "water", "where": {"HH_power": [0, 1]}})
    config = configure(
        derive=[{"formula": "power", "of": ["HH"]}],
        labels={"ice": {"classes": ["water", "ice"], "rules": rules}},
        use_bands=["HH"],
    )
    scene = open_scenes(config)[0]
    assert scene["band"].values.tolist() == ["HH"]
    np.testing.assert_array_equal(scene["ice"].values, HH >= -10)


@pytest.mark.parametrize(
    ("step", "message"),
    [
        (
            {"formula": "ratoi", "of": ["HV", "HH"]},
            r"data\.derive\.0.*Did you mean 'ra",
        ),
        ({"formula": "ratio"}, r"data\.derive\.0.*must give \['of'\]"),
        ({"formula": "slope", "bnads": {}}, r"data\.derive\.0.*Did you mean 'bands'"),
    ],
)
def test_a_wrong_step_is_refused_before_a_scene_is_looked_for(step, message):
    config = configure(derive=[step], scenes="nowhere/*.tif")
    with pytest.raises(ConfigError, match=message):
        prepare(config)


def test_a_store_that_was_begun_is_not_finished_by_another_formula(monkeypatch):
    """Bands and shapes are the same, and the pixels would be of two kinds."""

    def corrected(slope_db):
        step = {"formula": "db", "of": ["HH"], "name": "x", "floor_db": slope_db}
        power = {"formula": "power", "of": ["HH"], "name": "p"}
        return configure(derive=[power, step | {"of": ["p"]}], use_bands=["x"])

    def full(self, name, first, values):
        raise OSError("no space left")

    with monkeypatch.context() as patch:
        patch.setattr(ShardWriter, "_write_array", full)
        with pytest.raises(OSError, match="no space left"):
            prepare(corrected(-60))
    with pytest.raises(StoreError, match="same plan only"):
        prepare(corrected(-8))
    store = prepare(corrected(-60))
    pixels = store.read(np.arange(len(store)), ["image"])["image"]
    assert pixels.min() < -15  # a floor of -8 dB would have cut it
