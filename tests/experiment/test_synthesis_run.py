"""Scenes made of label maps, and styles of other scenes: from files to trained runs."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import rasterio
import yaml

from arcticdl import experiment, open_scene
from arcticdl.cli import main
from arcticdl.config import load_config
from arcticdl.errors import ConfigError, SplitError
from arcticdl.experiment.data.anchors import Anchor, find_attributes
from arcticdl.experiment.synthesis.ground import outside, scenes_of, trained_windows
from arcticdl.experiment.synthesis.maps import Source, draw_map
from arcticdl.experiment.synthesis.styles import with_styles
from arcticdl.tiles import open_store
from arcticdl.tiles.folds.made import made_tiles

TINY = (
    "model.options={backbone_options: {width: 4, depth: 1}, "
    "decoder_options: {channels: [4]}}",
    "model.diffusion={steps: 20, sampling_steps: 2, members: 2}",
    "train.epochs=1",
    "train.repeats=1",
    "train.batch_size=4",
    "tiles.size_px=32",
)
NEXT = (
    "name=draw_hv",
    "label=HV",
    "data.condition={label: ice_type, bands: [incidence_angle, HH]}",
)
ICE = """\
name: ice
data:
  scenes: data/few/*[0-9].tif
  use_bands: [HH, HV]
  labels:
    ice_type:
      file: {replace: {.tif: _labels.tif}}
      classes: [open water, new ice, young ice, thin first-year ice,
        thick first-year ice, old ice]
  synthetic: data/few_made/*[0-9].tif
tiles: {size_px: 32}
folds: {n_splits: 2}
model:
  backbone: plain
  options: {backbone_options: {width: 4, depth: 1}, decoder_options: {channels: [4]}}
train:
  epochs: 1
  batch_size: 4
  jit_compile: false
  augment: [{name: style, to: {sensor: simulated Sentinel-1 EW}, how: moments}]
"""


def sets(*texts):
    return [word for text in texts for word in ("--set", text)]


def run(*words):
    assert main([str(word) for word in words]) == 0


def read(path):
    with rasterio.open(path) as source:
        return source.read(), source.tags(), source.descriptions, source.transform


@pytest.fixture(scope="module")
def made(tmp_path_factory, project_root):
    """Two generators of one fold, six scenes that they made, and who learns of them."""
    folder = tmp_path_factory.mktemp("made")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        run("simulate", "data/few", "--scenes", 4, "--size", 64)
        config = project_root / "configs" / "draw.yaml"
        for words in (sets(*TINY), sets(*TINY, *NEXT)):
            run("prepare", config, *words)
            run("train", config, "--fold", 0, *words)
        to = ("--out", "data/few_made", "--scenes", 6, "--seed", 3)
        run("synthesize", "runs/draw", "runs/draw_hv", *to)
        Path("ice.yaml").write_text(ICE)
        run("prepare", "ice.yaml")
        run("train", "ice.yaml", "--fold", 0)
    return folder


@pytest.fixture(autouse=True)
def here(made, monkeypatch):
    monkeypatch.chdir(made)


def test_generators_see_classes_and_draw_a_band():
    store = open_store("data/draw_hv.tiles")
    names = [f"is_{n}" for n in ("open_water", "new_ice", "young_ice")]
    assert list(store.bands[:3]) == names and len(store.bands) == 8
    assert store.bands[-2:] == ("incidence_angle", "HH")
    read_ = store.read(np.arange(len(store)))
    shown, valid = read_["image"][..., :6], read_["valid"]
    np.testing.assert_array_equal(shown[valid].sum(-1), 1)
    assert np.isnan(read_["HV"][~valid]).all() and np.isfinite(read_["HV"][valid]).all()
    tile = store.manifest.iloc[0]
    image, _, bands, _ = read(f"data/few/{tile.scene_id}.tif")
    window = np.s_[tile.row : tile.row + 32, tile.col : tile.col + 32]
    hv, hh = (image[bands.index(band)][window] for band in ("HV", "HH"))
    np.testing.assert_array_equal(read_["HV"][0][valid[0]], hv[valid[0]])
    np.testing.assert_array_equal(read_["image"][0, ..., -1][valid[0]], hh[valid[0]])
    codes = read(f"data/few/{tile.scene_id}_labels.tif")[0][0][window]
    np.testing.assert_array_equal(shown[0].argmax(-1)[valid[0]], codes[valid[0]])


def test_made_scenes_say_what_they_were_made_from_and_bear_their_labels():
    about = json.loads(Path("data/few_made/draw_f0_s3.json").read_text())
    split = json.loads(Path("runs/draw/fold0/split.json").read_text())
    assert about["made_from"] == split["train"]
    assert [g["band"] for g in about["generators"]] == ["HH", "HV"]
    for name, told in about["scenes"].items():
        image, tags, bands, place = read(f"data/few_made/{name}.tif")
        codes = read(f"data/few_made/{name}_labels.tif")[0][0]
        assert tags["made_from"].split("; ") == split["train"]
        assert set(bands) == {"HH", "HV", "incidence_angle"}
        assert image.shape == (3, 32, 32) and codes.shape == (32, 32)
        np.testing.assert_array_equal(np.isnan(image[0]), codes == 255)
        assert told["map_of"] in split["train"]
        _, own, _, there = read(f"data/few/{told['map_of']}.tif")
        col, row = ~there * (place.c, place.f)
        assert 0 <= round(row) <= 32 and 0 <= round(col) <= 32
        assert tags["group"] == own.get("group", told["map_of"])
    assert (
        len({read(f"data/few_made/{n}.tif")[0].tobytes() for n in about["scenes"]}) == 6
    )


def test_the_same_seed_makes_the_same_scenes_and_the_map_reaches_the_image():
    again = experiment.synthesize(
        ["runs/draw", "runs/draw_hv"], "data/again", count=2, seed=3
    )
    for path in again:
        np.testing.assert_array_equal(
            read(path)[0], read(f"data/few_made/{path.name}")[0]
        )
    with pytest.raises(FileExistsError):
        experiment.synthesize(["runs/draw"], "data/again", count=2, seed=3)


def test_fewer_scenes_leave_none_of_an_earlier_call(tmp_path):
    """Those beyond the new number stayed, were trained on, and no record named them."""
    out = tmp_path / "made"
    options = {"seed": 4, "size_px": 16}
    first = experiment.synthesize(["runs/draw"], out, count=4, **options)
    others = experiment.synthesize(["runs/draw"], out, count=1, seed=5, size_px=16)
    own = out / "draw_f0_s4_0009.tif"  # named alike, and no made scene
    own.write_bytes(scenes_of_few()[0].read_bytes())
    named = first[3]  # a made one that somebody has put something of his own for
    named.write_bytes(own.read_bytes())
    again = experiment.synthesize(
        ["runs/draw"], out, count=2, overwrite=True, **options
    )
    left = {path.name for path in out.glob("*[0-9].tif")}
    assert left == {path.name for path in (*again, *others, own, named)}
    labels = {path.name for path in out.glob("*_labels.tif")}
    kept = {f"{path.stem}_labels.tif" for path in (*again, *others, named)}
    assert labels == kept
    told = json.loads((out / "draw_f0_s4.json").read_text())["scenes"]
    assert list(told) == [path.stem for path in again]
    (out / "draw_f0_s5.json").write_text("[]")
    with pytest.raises(FileExistsError, match="tell what `arcticdl synthesize`"):
        experiment.synthesize(["runs/draw"], out, seed=5, overwrite=True, size_px=16)


def test_made_scenes_have_the_columns_of_the_table_of_their_maps(tmp_path):
    """They had none: a condition on a column left every made tile out."""
    rows = [f"data/few/{p.name},{n},f:{n}ä" for n, p in enumerate(scenes_of_few())]
    Path("few.csv").write_text("\n".join(["path,flight,eo:seen", *rows]), "utf-8")
    config = yaml.safe_load(Path("runs/draw/config.yaml").read_text())
    config["data"] |= {"scenes": None, "table": {"file": "few.csv", "path": "path"}}
    shutil.copytree("runs/draw", tmp_path / "draw")
    Path(tmp_path, "draw", "config.yaml").write_text(yaml.safe_dump(config))
    out = tmp_path / "made"
    experiment.synthesize([tmp_path / "draw"], out, count=3, size_px=16)
    told = json.loads((out / "draw_f0_s0.json").read_text())["scenes"]
    numbers = {path.stem: n for n, path in enumerate(scenes_of_few())}
    for name, one in told.items():
        columns = open_scene(out / f"{name}.tif").attrs["columns"]
        number = numbers[one["map_of"]]
        assert columns["flight"] == str(number)
        assert columns["eo:seen"] == f"f:{number}ä"


def scenes_of_few():
    return sorted(Path("data/few").glob("*[0-9].tif"))


def test_made_scenes_train_the_fold_of_their_generator_alone():
    split = json.loads(Path("runs/ice/fold0/split.json").read_text())
    made = {f"draw_f0_s3_{k:04d}" for k in range(6)}
    assert made < set(split["train"]) and not made & set(split["test"])
    store = open_store("data/ice.tiles")
    assert made_tiles(store.manifest).sum() == 6
    config = load_config("ice.yaml")
    with pytest.raises(SplitError, match=r"fold 1, for which none .* was made"):
        experiment.train(config, 1)
    with pytest.raises(SplitError, match="none of"):  # of half the training scenes
        half = load_config("ice.yaml", ("folds.train_fraction=0.5",))
        experiment.split_folds(half, store, [0])
    without = open_store("data/draw.tiles")  # which trained as if none were asked for
    with pytest.raises(SplitError, match="which was prepared without any"):
        experiment.split_folds(config, without, [0])
    held = load_config("ice.yaml", ("folds.validation_groups=1",))
    with pytest.raises(SplitError, match="Synthetic scenes train a fold only if"):
        experiment.split_folds(held, store, [0])


def test_what_generators_saw_is_told_apart(tmp_path):
    """What validated one counted as learnt, so that no fold could take its scenes."""
    parts = {"train": ["a", "b"], "validation": ["c"], "test": ["d"]}
    runs = []
    for name, before in (("hh", ["a", "e"]), ("hv", [])):
        folder = tmp_path / name / "fold0"
        folder.mkdir(parents=True)
        told = parts | {"before": before}
        (folder / "split.json").write_text(json.dumps(told), encoding="utf-8")
        runs.append(str(folder.parent))
    seen = scenes_of(runs, 0)
    assert seen.learnt == {"a", "b", "e"}  # what it started from teaches as well
    assert seen.chosen_on == {"c"} and seen.train == {"a", "b"}
    (folder / "split.json").write_text(json.dumps(parts | {"validation": ["b"]}))
    with pytest.raises(ConfigError, match="whose parts differ"):
        scenes_of(runs, 0)
    with pytest.raises(ConfigError, match="cut scenes, such as 'b'"):
        scenes_of(runs[1:], 0)


def test_ground_that_trained_no_generator_lends_no_map():
    """The whole of a scene did at first, also what lay in the buffer of a test."""
    config = load_config("runs/draw/config.yaml")
    (windows,) = trained_windows({"runs/draw": config}, 0)
    split = json.loads(Path("runs/draw/fold0/split.json").read_text())
    assert sorted(windows) == split["train"]
    name = split["train"][0]
    assert not outside(name, (64, 64), [windows]).any()
    some = {name: windows[name][:1]}
    left = outside(name, (64, 64), [windows, some])
    assert left.sum() == 64 * 64 - 32 * 32 and not left[some[name][0]].any()
    assert outside("none", (4, 4), [windows]).all()


def test_made_scenes_are_appended_and_take_nothing_from_their_names(tmp_path):
    text = Path("ice.yaml").read_text().replace("few_made", "few_more")
    Path("more.yaml").write_text(text.replace("name: ice", "name: more"))
    experiment.synthesize(["runs/draw"], "data/few_more", count=1, size_px=32)
    config = load_config("more.yaml", ("data.use_bands=[HH]", "train.augment=[]"))
    experiment.prepare(config)
    experiment.synthesize(["runs/draw"], "data/few_more", count=1, seed=1)
    growth = experiment.append(config)
    assert growth.new == ("draw_f0_s1_0000",) and not growth.gone
    anchor = Anchor("data/few_more/draw_f0_s1_0000.tif", made=True)
    data = config.data.model_copy(update={"attributes": {"group": r"_(\d{4})"}})
    assert find_attributes(data, anchor, needed=True) == {}


def test_observed_scenes_are_no_synthetic_ones():
    config = load_config("ice.yaml", ("data.synthetic=data/few/*0[0-9].tif",))
    with pytest.raises(ConfigError, match="without the tag `made_from`"):
        experiment.open_scenes(config)
    config = load_config("ice.yaml", ("data.synthetic=data/none/*.tif",))
    with pytest.raises(FileNotFoundError, match="synthesize"):
        experiment.open_scenes(config)


def test_what_makes_no_scenes_is_refused():
    for runs, match in (
        (["runs/ice"], "task dense_ensemble"),
        (["runs/draw_hv", "runs/draw"], "come after those"),
        (["runs/draw", "runs/draw"], "a band of its own"),
    ):
        with pytest.raises(ConfigError, match=match):
            experiment.synthesize(runs, "data/no", count=1)
    with pytest.raises(ConfigError, match="side of a training scene"):
        experiment.synthesize(["runs/draw"], "data/no", count=1, size_px=128)
    with pytest.raises(FileNotFoundError, match="no model of fold 1"):
        experiment.synthesize(["runs/draw"], "data/no", count=1, fold=1)
    with pytest.raises(ValueError, match="`count`"):
        experiment.synthesize(["runs/draw"], "data/no", count=0)
    assert not Path("data/no").exists()


@pytest.mark.parametrize(
    ("words", "match"),
    [
        (["data.condition=ice"], r"one class of each pixel: \['ice_type'\]"),
        (["data.condition={label: ice_type, bands: [HH]}"], "which 'HH' is to draw"),
        (["data.synthetic=data/made/*.tif"], "do not go with `condition`"),
    ],
)
def test_bad_conditions_are_refused(project_root, words, match):
    with pytest.raises(ConfigError, match=match):
        load_config(project_root / "configs" / "draw.yaml", tuple(words))


def test_maps_are_turned_and_mixed_windows_of_their_sources():
    rng = np.random.default_rng(0)
    codes = [np.full((40, 50), number, np.uint8) for number in (0, 1)]
    codes[0][:, :5] = 255
    sources = [Source(f"s{n}", c, c[None].astype("f4")) for n, c in enumerate(codes)]
    for _ in range(20):
        drawn = draw_map(sources, 16, 0.0, rng)
        there = sources[drawn.number].codes[drawn.rows, drawn.cols]
        assert sorted(drawn.codes.ravel()) == sorted(there.ravel())
        np.testing.assert_array_equal(drawn.bands[0], drawn.codes)  # turned alike
        assert drawn.mixed is None
        mixed = draw_map(sources, 16, 1.0, rng)
        assert mixed.mixed == f"s{1 - mixed.number}"
        share = (mixed.codes == 1 - mixed.number).mean()
        assert 0 < share <= 0.6


def test_styles_are_drawn_of_training_tiles_alone():
    store = open_store("data/draw.tiles")
    ids = store.manifest["scene_id"].to_numpy()
    tiles = np.flatnonzero(ids != ids[0])
    step = {"name": "style", "to": {"scene_id": ids[-1]}}
    (found,) = with_styles([step], store, tiles)
    fits = ids[tiles] == ids[-1]
    assert found["images"].shape == (int(fits.sum()), 32, 32, 7)
    assert found["own"].shape == (int((~fits).sum()), 32, 32, 7)
    with pytest.raises(ConfigError, match="never taken of what is held out"):
        with_styles([{"name": "style", "to": {"scene_id": ids[0]}}], store, tiles)
    with pytest.raises(ConfigError, match="must name columns"):
        with_styles([{"name": "style", "to": {"saison": "summer"}}], store, tiles)
    assert with_styles([{"name": "style"}], store, tiles) == [{"name": "style"}]
    alone = tiles[fits]
    with pytest.raises(ConfigError, match="training tiles to be changed"):
        with_styles([step | {"how": "quantiles"}], store, alone)


def test_a_configuration_names_styles_and_gives_no_images():
    config = load_config("ice.yaml", ("train.augment=[{name: style, images: [1]}]",))
    with pytest.raises(ConfigError, match="images"):
        experiment.check_options(config)
