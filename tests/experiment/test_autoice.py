"""The charts of the AutoICE challenge: from files to the exact score."""

import json
import shutil
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import xarray as xr
from sklearn.metrics import f1_score, r2_score

from arcticdl.cli import main
from arcticdl.config import load_config
from arcticdl.errors import ConfigError, SplitError, TaskError
from arcticdl.evaluation.autoice import beside
from arcticdl.evaluation.autoice.score import score_tallies
from arcticdl.evaluation.autoice.tally import chart_heads, shared_charts
from arcticdl.experiment import (
    chart_scenes,
    check_options,
    describe_card,
    predict,
    robustness_card,
    score_autoice,
)
from arcticdl.experiment.data.absent import tell_absent
from arcticdl.experiment.data.ceilings import open_ceilings
from arcticdl.experiment.icecharts.panels import chart_panels
from arcticdl.inference import load_model
from arcticdl.models.card import model_heads
from arcticdl.sources import open_scene
from arcticdl.sources.charts.polygons import read_ice_chart
from arcticdl.sources.core.lazy import WindowArray
from arcticdl.tasks import read_head
from arcticdl.tiles import drop, open_store

NET = (
    "model={backbone: plain, options: {backbone_options: {width: 4, depth: 2}, "
    "decoder_options: {channels: [8, 4]}}}"
)
TINY = [
    NET,
    "tiles.size_px=64",
    "train.epochs=1",
    "train.repeats=1",
    "train.batch_size=4",
    "folds.n_splits=2",
    "train.jit_compile=false",
]

OURS = [
    "data.scenes=data/autoice/*_prep.nc",
    "folds.validation_groups=0",
    "train.early_stopping=null",
]


def run(*words):
    assert main([str(word) for word in words]) == 0


def sets(*texts):
    return [word for text in texts for word in ("--set", text)]


@pytest.fixture(scope="module")
def work(tmp_path_factory):
    """A folder of three scenes, of which the last lacks AMSR2 and the floe sizes."""
    folder = tmp_path_factory.mktemp("autoice")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        run("simulate", "data/autoice", "--schema", "ai4arctic", "--scenes", 3,
            "--size", 128)  # fmt: skip
        path = sorted(Path("data/autoice").glob("*_002_prep.nc"))[0]
        with xr.open_dataset(path, decode_cf=False) as opened:
            whole = opened.load()
        lost = [n for n in whole.data_vars if str(n).startswith("btemp")]
        whole.drop_vars([*lost, "FLOE"]).to_netcdf(path, engine="h5netcdf")
        yield folder


@pytest.fixture(scope="module")
def small(work, project_root):
    """A trained fold of the small configuration, in its folder."""
    config = project_root / "configs" / "autoice_small.yaml"
    run("prepare", config, *sets(*TINY))
    run("train", config, "--fold", 0, *sets(*TINY))
    predict("runs/autoice_small", products=[])
    return work / "runs" / "autoice_small"


def pairs(folder, variables):
    """True and predicted classes of the mapped scenes, chart by chart."""
    truth, found = {n: [] for n in variables}, {n: [] for n in variables}
    for path in sorted((folder / "maps").glob("*.nc")):
        source = folder.parents[1] / "data" / "autoice" / path.name
        scene = open_scene(source, fill_absent=True)
        with xr.open_dataset(path, mask_and_scale=False) as maps:
            for chart, name in variables.items():
                values = maps[name].values
                if values.dtype.kind == "f":
                    tenths = np.round(np.clip(values, 0, 1) * 10)
                    values = np.where(np.isnan(values), 255, tenths).astype(int)
                scored = (scene[chart].values != 255) & (values != 255)
                truth[chart].append(scene[chart].values[scored])
                found[chart].append(values[scored])
    return [{n: np.concatenate(v) for n, v in part.items()} for part in (truth, found)]


def official(truth, found):
    """The score as the challenge's starter kit computes it, by scikit-learn."""
    each = {"SIC": round(r2_score(truth["SIC"], found["SIC"]) * 100, 3)}
    for name in ("SOD", "FLOE"):
        f1 = f1_score(truth[name], found[name], average="weighted", zero_division=0)
        each[name] = round(f1 * 100, 3)
    each["combined"] = round((2 * each["SIC"] + 2 * each["SOD"] + each["FLOE"]) / 5, 3)
    return each


def test_scenes_that_lack_parts_are_learnt_from_and_named(work, project_root, capsys):
    config = project_root / "configs" / "autoice_nrt.yaml"
    settings = sets(*TINY, *OURS, "tiles.store=data/named.tiles")
    capsys.readouterr()
    run("prepare", config, *settings)
    said = capsys.readouterr().err
    assert "1 of 3 scenes lack" in said
    assert "simulated_0_002_prep: without AMSR2, FLOE" in said
    check_options(load_config(config, settings[1::2]))


def test_scenes_of_several_products_are_told_of(capsys):
    kinds = ["ready to train, 80 m"] * 2 + ["raw, 40 m"]
    tell_absent([xr.Dataset(attrs={"columns": {"product": kind}}) for kind in kinds])
    said = capsys.readouterr().err
    assert "2 ready to train, 80 m, 1 raw, 40 m" in said and "resolution_m" in said
    tell_absent([xr.Dataset(attrs={"columns": {"product": kinds[0]}}), xr.Dataset()])
    assert not capsys.readouterr().err


def test_the_recipe_argued_for_takes_a_step(work, project_root):
    config = project_root / "configs" / "autoice_recipe.yaml"
    settings = sets(*TINY, *OURS)
    run("prepare", config, *settings)
    run("train", config, "--fold", 0, *settings)
    store = open_store("data/autoice_recipe.tiles")
    assert list(store.bands[:2]) == ["HH_corrected", "HV_corrected"]
    late = ("u10m", "t2m", "skt", "season", "position")
    assert not [band for band in store.bands if band.startswith(late)]
    model = work / "runs" / "autoice_recipe" / "fold0" / "model.keras"
    heads = model_heads(load_model(model))
    assert set(chart_heads(heads)) == {"SIC", "SOD", "FLOE"}


def test_near_real_time_uses_nothing_that_comes_later(project_root):
    late = ("u10m", "v10m", "t2m", "skt", "tcwv", "tclw", "season", "position")
    paths = [project_root / "configs" / f"autoice{end}.yaml" for end in ("", "_nrt")]
    whole, early = (load_config(path) for path in paths)
    assert not [b for b in early.data.use_bands if b.startswith(late)]
    assert set(early.data.use_bands) < set(whole.data.use_bands)
    same = ("heads", "model", "folds", "train", "tiles", "strata")
    assert all(getattr(early, part) == getattr(whole, part) for part in same)


def test_the_score_is_that_of_scikit_learn_on_the_maps(small, work, capsys):
    capsys.readouterr()
    run("evaluate", small, "--score", "autoice")
    said = capsys.readouterr().out
    names = {"SIC": "SIC_class", "SOD": "SOD_class", "FLOE": "FLOE_class"}
    truth, found = pairs(small, names)
    wanted = official(truth, found)
    told = json.loads((small / "autoice.json").read_text())
    assert told["official"] == wanted
    assert f"{wanted['combined']:.1f}" in said
    for name in ("SOD", "FLOE"):
        ice = truth[name] > 0
        ours, labels = told["charts"][name], np.unique([*truth[name], *found[name]])
        macro = f1_score(truth[name], found[name], labels=labels, average="macro",
                         zero_division=0)  # fmt: skip
        assert ours["macro_f1"] == pytest.approx(macro)
        of_ice = f1_score(truth[name][ice], found[name][ice], average="weighted",
                          zero_division=0)  # fmt: skip
        assert ours["ice_only"]["weighted_f1"] == pytest.approx(of_ice)
        assert ours["support"] == len(truth[name])
    regions = told["strata"]["region"]
    assert sum(each["num_scenes"] for each in regions.values()) == told["num_scenes"]
    split = json.loads((small / "fold0" / "split.json").read_text())
    assert not set(split["train"]) & set(split["test"])
    truth, ceiling = {n: [] for n in names}, {n: [] for n in names}
    for scene_id in split["test"]:
        path = work / "data" / "autoice" / f"{scene_id}.nc"
        scene = open_scene(path, fill_absent=True, ceiling=True)
        for name in names:
            scored = scene[name].values != 255
            truth[name].append(scene[name].values[scored])
            ceiling[name].append(scene[f"{name}_ceiling"].values[scored])
    wanted = official(*({n: np.concatenate(v) for n, v in part.items()}
                        for part in (truth, ceiling)))  # fmt: skip
    assert told["ceiling"] == wanted
    assert f"SOD {wanted['SOD']:.1f}" in said and "true parameters" in said


def test_a_run_whose_files_are_gone_is_scored_without_a_ceiling(small):
    store = open_store("data/autoice_small.tiles")
    config = load_config(small / "config.yaml")
    assert set(open_ceilings(config, store)) == set(store.manifest["scene_id"])
    gone = load_config(small / "config.yaml", ["data.scenes=gone/*_prep.nc"])
    assert open_ceilings(gone, store) == {}


def test_concentration_as_a_number_and_crops_from_the_files(work, project_root):
    config = project_root / "configs" / "autoice.yaml"
    further = ("train.feed=scenes", "tiles.store=data/files.tiles")
    settings = sets(*TINY, *OURS, *further)
    run("prepare", config, *settings)
    run("train", config, "--fold", 0, *settings)
    predict("runs/autoice", products=[])
    found = score_autoice("runs/autoice")
    names = {"SIC": "SIC_value", "SOD": "SOD_class", "FLOE": "FLOE_class"}
    assert found["official"] == official(*pairs(work / "runs" / "autoice", names))


def test_the_winning_recipe_trains_on_coarser_pixels(work, project_root):
    """Its pixels are ten times as wide; here twice, so that a scene has some."""
    config = project_root / "configs" / "autoice_winner.yaml"
    coarse = ["data.grid={resolution_m: 160}", "tiles.overlap_px=0"]
    settings = sets(*TINY, *OURS, *coarse)
    run("prepare", config, *settings)
    run("train", config, "--fold", 0, *settings)
    store = open_store("data/autoice_winner.tiles")
    read = store.read(np.arange(len(store)), ["SOD"])["SOD"]
    assert set(np.unique(read)) <= {0, 1, 2, 3, 4, 5, 255}  # none is averaged
    fold = work / "runs" / "autoice_winner" / "fold0"
    assert (fold / "model.keras").is_file()
    optimizer = load_config(config).train.optimizer
    assert (optimizer.name, optimizer.options) == ("SGD", {"momentum": 0.9})


def test_charts_are_handed_on(small, work, capsys):
    out = work / "handed"
    run("charts", small, "-o", out, "--submission", out / "upload.nc")
    split = json.loads((small / "fold0" / "split.json").read_text())
    names = {"SIC": "SIC_class", "SOD": "SOD_class", "FLOE": "FLOE_class"}
    with xr.open_dataset(out / "upload.nc", mask_and_scale=False) as upload:
        assert len(upload.data_vars) == 3 * len(split["test"])
        for scene_id in split["test"]:
            stem = scene_id.removesuffix("_prep")
            with xr.open_dataset(
                small / "maps" / f"{scene_id}.nc", mask_and_scale=False
            ) as maps:
                for chart, name in names.items():
                    found = upload[f"{stem}_{chart}"]
                    assert found.dtype == "uint8"
                    np.testing.assert_array_equal(found.values, maps[name].values)
    scene_id = split["test"][0]
    folder = out / scene_id
    files = {path.name for path in folder.iterdir()}
    assert files == {"chart.nc", "chart.png", f"{scene_id}_sigrid3.zip"}
    chart = read_ice_chart(folder / f"{scene_id}_sigrid3.zip")
    assert len(chart.eggs) > 0
    assert main(["charts", str(small), "-o", str(out)]) == 1
    assert "already. Choose another place" in capsys.readouterr().err
    with pytest.raises(ConfigError, match="name other scenes"):
        chart_scenes(small, fold="all")


def test_the_mean_of_all_folds_draws_the_charts_of_a_scene(small, work, tmp_path):
    """Its concentration is the median of the means of both folds' probabilities."""
    run_dir = tmp_path / "both"
    shutil.copytree(small, run_dir, ignore=shutil.ignore_patterns("maps", "charts"))
    shutil.copytree(run_dir / "fold0", run_dir / "fold1")
    model = load_model(run_dir / "fold1" / "model.keras")
    rng = np.random.default_rng(0)
    model.set_weights([w + rng.normal(0, 0.05, w.shape) for w in model.get_weights()])
    model.save(run_dir / "fold1" / "model.keras")
    path = sorted((work / "data" / "autoice").glob("*_prep.nc"))[0]
    prob = []
    for fold in ("0", "1"):
        out = tmp_path / f"prob{fold}"
        predict(run_dir, [str(path)], out, fold=fold, products=[],
                overrides=["predict.outputs=[prob]"])  # fmt: skip
        with xr.open_dataset(next(out.glob("*.nc"))) as maps:
            prob.append(maps["SIC_prob"].values)
    mean = np.mean(prob, axis=0)
    wanted = (np.cumsum(mean, axis=0) < 0.5).sum(axis=0)
    run("charts", run_dir, path, "--fold", "all", "-o", tmp_path / "charts")
    found = {}
    for fold in ("0", "all"):
        chart_scenes(run_dir, [str(path)], tmp_path / fold, fold=fold)
        with xr.open_dataset(
            next((tmp_path / fold).glob("*/chart.nc")), mask_and_scale=False
        ) as maps:
            found[fold] = maps["SIC"].values
    told = found["all"] != 255
    np.testing.assert_array_equal(found["all"][told], wanted[told])
    assert (found["0"] != found["all"]).any()


def test_a_scene_without_charts_is_charted(small, work):
    path = sorted((work / "data" / "autoice").glob("*_prep.nc"))[0]
    bare = work / "bare" / path.name
    bare.parent.mkdir()
    with xr.open_dataset(path, decode_cf=False) as opened:
        lost = opened.drop_vars(["SIC", "SOD", "FLOE", "ice_type"]).load()
    lost.to_netcdf(bare, engine="h5netcdf")
    (folder,) = chart_scenes(small, [str(bare)], work / "without", min_area_km2=0)
    assert (folder / "chart.png").stat().st_size > 10_000


def test_a_scene_unlike_those_of_training_is_charted_where_it_is_allowed(
    small, work, capsys
):
    path = sorted((work / "data" / "autoice").glob("*_prep.nc"))[0]
    loud = work / "loud" / path.name
    loud.parent.mkdir()
    with xr.open_dataset(path, decode_cf=False) as opened:
        changed = opened.load()
    changed["u10m_rotated"] *= 1000
    changed.to_netcdf(loud, engine="h5netcdf")
    words = ["charts", str(small), str(loud), "-o", str(work / "loud_charts")]
    assert main(words) == 1
    assert "--allow scale" in capsys.readouterr().err
    run(*words, "--allow", "scale")


def test_panels_of_a_large_scene_read_one_band_strip_by_strip():
    size, read = (3000, 2400), []

    def window(bands, rows, cols):
        read.append((bands, rows.stop - rows.start))
        shape = (len(bands), rows.stop - rows.start, cols.stop - cols.start)
        return np.broadcast_to(np.arange(rows.start, rows.stop)[:, None], shape) / 1.0

    image = WindowArray((3, *size), np.float32, window).variable(("band", "y", "x"))
    scene = xr.Dataset({"image": image}, {"band": ["t2m", "HH", "HV"]})
    sod = np.zeros(size, np.uint8)
    sod[4:, 4:] = 5
    maps = xr.Dataset({"SOD": (("y", "x"), sod)})
    thin = scene["image"][0, ::4, ::4].variable.values
    assert thin.base is None or thin.base.size == thin.size  # not all that was read
    read.clear()
    figure = chart_panels(maps, scene, None)
    drawn = [ax.images[0].get_array() for ax in figure.axes if ax.images]
    assert [each.shape[:2] for each in drawn] == [(750, 600)] * 2  # one of four pixels
    first = np.asarray(drawn[1])
    assert (first[0] == first[0, 0]).all() and (first[1:, 1] != first[0, 0]).any()
    grey = np.asarray(drawn[0])[:, 0, 0].astype(int)
    assert (np.diff(grey) >= 0).all() and grey[-1] > grey[0]
    assert all(bands == [1] and rows < 1000 for bands, rows in read)


def test_another_store_is_scored_by_one_fold(small):
    with pytest.raises(ConfigError, match="run folder"):
        score_autoice("some.keras")
    with pytest.raises(SplitError, match="what it has learnt from"):
        score_autoice(small, data="data/autoice_small.tiles", fold=0)
    split = json.loads((small / "fold0" / "split.json").read_text())
    shutil.copytree("data/autoice_small.tiles", "data/others.tiles")
    drop("data/others.tiles", sorted({*split["train"], *split["validation"]}))
    found = score_autoice(small, data="data/others.tiles", fold=0)
    assert found["num_scenes"] == len(split["test"])
    assert found["charts"] == score_autoice(small)["charts"]
    assert (small / "autoice_others.json").is_file()


def test_the_card_scores_what_the_scenes_lose(small, monkeypatch):
    few = partial(beside.chart_baselines, max_samples=600)
    monkeypatch.setattr(beside, "chart_baselines", few)
    found = robustness_card(small, damages=("no AMSR2",))
    assert found["whole"] == score_autoice(small)["official"]
    (level,) = found["damages"]["no AMSR2"]["levels"]
    # As by scikit-learn, of a scene without these bands: they are the mean, 0.
    assert level["official"] != found["whole"]
    assert (small / "robustness.png").stat().st_size > 10_000
    assert json.loads((small / "robustness.json").read_text()) == found
    lines = describe_card(found)
    assert (
        found["ceiling"] == json.loads((small / "autoice.json").read_text())["ceiling"]
    )
    assert "true parameters" in lines[1]
    assert f"{level['official']['combined']:.1f}" in lines[2]
    methods = found["baselines"]
    names = ["constant", "random_forest", "otsu", "textures", "bootstrap"]
    assert list(methods) == names
    split = json.loads((small / "fold0" / "split.json").read_text())
    store = open_store("data/autoice_small.tiles")
    parts = {part: store.manifest["scene_id"].isin(split[part]).to_numpy()
             for part in ("train", "test")}  # fmt: skip
    read = {p: store.read(np.flatnonzero(m), ["SOD"])["SOD"] for p, m in parts.items()}
    seen = read["train"][read["train"] != 255]
    truth = read["test"][read["test"] != 255]
    usual = np.full(len(truth), np.bincount(seen).argmax())
    f1 = f1_score(truth, usual, average="weighted", zero_division=0)
    constant = methods["constant"]
    assert constant["whole"]["SOD"] == round(100 * f1, 3)
    # It does not look at the scene; the radar's textures do not look at AMSR2.
    for name in ("constant", "textures"):
        assert methods[name]["damages"]["no AMSR2"] == [methods[name]["whole"]]
    cold = methods["bootstrap"]
    assert cold["damages"]["no AMSR2"][0]["SIC"] < cold["whole"]["SIC"]
    assert cold["whole"]["SOD"] is None
    assert f"{methods['textures']['title']}:" in lines
    with pytest.raises(ValueError, match="Did you mean 'wind'"):
        robustness_card(small, damages=("winds",))
    monkeypatch.setattr("arcticdl.evaluation.autoice.damage.applies", lambda *_: False)
    with pytest.raises(TaskError, match="needs a damage that changes a band"):
        robustness_card(small, damages=("no AMSR2",))
    words = ["evaluate", str(small), "--score", "robustness", "--data", "a.tiles"]
    assert main(words) == 2


def test_a_chart_that_a_baseline_lacks_in_a_fold_is_not_scored_on_fewer_scenes():
    whole = {name: {"SIC": 1, "SOD": 2, "FLOE": 3} for name in "ab"}
    assert shared_charts(whole, whole) == whole
    # Fold 0 tests `a`, fold 1 `b`, in which the forest has no stage of development.
    forest = {"a": {"SIC": 4, "SOD": 5}, "b": {"SIC": 6}}
    assert shared_charts(forest, whole) == {"a": {"SIC": 4}, "b": {"SIC": 6}}
    assert shared_charts({"a": {"SIC": 4}}, whole) == {}
    assert shared_charts({"a": {"SIC": 4}, "b": {"SOD": 4}}, whole) == {}


def test_scores_of_counts_known_by_hand():
    water = np.zeros((6, 6), int)
    water[0, 0] = 90
    water[5, 5], water[5, 4] = 6, 4
    found = score_tallies({"a": {"SOD": water}}, {"region": {"a": "north"}})
    assert found["official"]["combined"] is None
    assert found["interval"] is None
    chart = found["charts"]["SOD"]
    # Old ice: precision 1, recall 0.6; over ice alone water counts no more.
    assert chart["per_class"]["old_ice"]["f1"] == pytest.approx(0.75)
    assert chart["weighted_f1"] == pytest.approx(0.9 * 1 + 0.1 * 0.75)
    assert chart["macro_f1"] == pytest.approx((1 + 0.75 + 0) / 3)
    assert chart["ice_only"]["weighted_f1"] == pytest.approx(0.75)
    assert found["strata"]["region"]["north"]["official"]["SOD"] == 97.5


def test_what_is_no_chart_is_refused():
    head = read_head("ice", {"task": "segmentation", "classes": ["a", "b"]})
    with pytest.raises(TaskError, match="heads named"):
        chart_heads({"ice": head})
    with pytest.raises(TaskError, match="6 classes of its chart"):
        chart_heads({"SOD": head})
    percent = read_head("SIC", {"task": "dense_regression", "units": "%"})
    with pytest.raises(TaskError, match="a fraction"):
        chart_heads({"SIC": percent})


def test_the_configurations_hold_folds_apart_by_drift(project_root):
    for end in ("", "_nrt", "_recipe", "_small", "_winner"):
        config = load_config(project_root / "configs" / f"autoice{end}.yaml")
        assert config.folds.drifts and config.folds.group == "region"
