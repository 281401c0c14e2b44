"""Suggestions: ranked by what can be told, beside chance, and never of tests."""

import itertools
import json
from pathlib import Path

import geopandas as gpd
import numpy as np
import pandas as pd
import pytest
import rasterio
from made_loop import image_of, name_of, truth_of, write
from scipy.stats import entropy as entropy_of

from arcticdl.cli import main
from arcticdl.inference import predict_scene
from arcticdl.labelling import STRATEGIES, k_centre_greedy, rank
from arcticdl.sources import open_scene


def radius(points, centres):
    """The farthest that a point lies from its nearest centre."""
    apart = np.linalg.norm(points[:, None] - centres[None], axis=-1)
    return apart.min(axis=1).max()


def test_greedy_picks_cover_within_twice_the_best_radius():
    rng = np.random.default_rng(0)
    for _ in range(5):
        points, centres = rng.normal(size=(12, 2)), rng.normal(size=(2, 2))
        picks, distances = k_centre_greedy(points, centres, 3)
        best = min(
            radius(points, np.concatenate([centres, points[list(chosen)]]))
            for chosen in itertools.combinations(range(12), 3)
        )
        found = radius(points, np.concatenate([centres, points[picks]]))
        assert best <= found <= 2 * best + 1e-12
        assert (np.diff(distances) <= 1e-12).all()
        assert len(set(picks)) == 3


def test_equal_points_are_picked_once_each():
    picks, _ = k_centre_greedy(np.zeros((4, 2)), np.zeros((0, 2)), 9)
    assert sorted(picks) == [0, 1, 2, 3]


def test_ranks_follow_the_measures_and_chance_its_seed():
    entropy = np.array([0.2, 0.9, 0.5])
    table = rank({"entropy": entropy}, None, np.zeros((0, 0)), count=2, seed=4)
    assert table["rank_entropy"].tolist() == [3, 1, 2]
    order = np.random.default_rng(4).permutation(3)
    assert table["rank_random"].to_numpy()[order].tolist() == [1, 2, 3]
    assert "rank_coreset" not in table


@pytest.fixture(scope="module")
def suggested(trained_loop, tmp_path_factory):
    """Suggestions about two new scenes, of which one is unlike all others."""
    folder = tmp_path_factory.mktemp("suggested")
    image = image_of(truth_of(11), 11)
    write(folder / "new_1.tif", image, 11)
    odd = image.copy()
    odd[:, :32, 32:64] = 6.0 * np.random.default_rng(0).normal(size=(2, 32, 32))
    write(folder / "new_2.tif", odd, 12)
    out = folder / "out"
    files = [str(folder / f"new_{n}.tif") for n in (1, 2)]
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(trained_loop)
        words = ["suggest", "runs/loop", *files, "-n", "4", "-o", str(out)]
        assert main(words) == 0
    return folder


def test_every_strategy_is_ranked_and_the_odd_window_found(suggested):
    table = pd.read_csv(suggested / "out" / "suggestions.csv")
    assert len(table) == 18  # windows of 32 px
    assert {f"rank_{name}" for name in STRATEGIES} <= set(table)
    for name in ("entropy", "disagreement", "random"):
        assert sorted(table[f"rank_{name}"]) == list(range(1, 19))
    assert sorted(table["rank_coreset"].dropna()) == [1, 2, 3, 4]
    odd = table.query("scene_id == 'new_2' and row == 0 and col == 32").iloc[0]
    assert odd["rank_coreset"] == 1
    summary = json.loads((suggested / "out" / "summary.json").read_text())
    assert summary["strategy"] == "coreset"
    assert table["rank_coreset"].dropna().is_monotonic_increasing
    assert table["rank_coreset"].notna()[:4].all()


def test_entropy_and_disagreement_are_those_of_the_models_maps(
    suggested, trained_loop, monkeypatch
):
    monkeypatch.chdir(trained_loop)
    table = pd.read_csv(suggested / "out" / "suggestions.csv")
    row = table.query("scene_id == 'new_1' and row == 32 and col == 64").iloc[0]
    models = [f"runs/loop/fold{fold}/model.keras" for fold in (0, 1)]
    scene = open_scene(suggested / "new_1.tif").isel(y=slice(32, 64), x=slice(64, 96))
    maps = predict_scene(models, scene, outputs=("prob", "spread"), overlap_px=0)
    prob = maps["prob"].values
    wanted = entropy_of(prob, axis=0).mean() / np.log(3)
    assert row["entropy"] == pytest.approx(wanted, abs=1e-4)
    assert row["disagreement"] == pytest.approx(maps["spread"].values.mean(), abs=1e-4)


def test_outlines_lie_where_the_windows_are(suggested):
    table = gpd.read_file(suggested / "out" / "suggestions.gpkg")
    assert table.crs.to_epsg() == 3413
    ranks = table[[c for c in table if c.startswith("rank_")]].astype(float)
    assert (ranks.min(axis=1) <= 4).all()
    for row in table.itertuples():
        with rasterio.open(suggested / f"{row.scene_id}.tif") as file:
            window = rasterio.windows.Window(row.col, row.row, 32, 32)
            bounds = rasterio.windows.bounds(window, file.transform)
        assert row.geometry.bounds == pytest.approx(bounds)
    assert (suggested / "out" / "suggestions.png").stat().st_size > 10_000


def test_whole_scenes_are_ranked_by_the_mean_of_their_windows(
    suggested, trained_loop, tmp_path, monkeypatch
):
    monkeypatch.chdir(trained_loop)
    files = [str(suggested / f"new_{n}.tif") for n in (1, 2)]
    words = ["suggest", "runs/loop", *files, "--by", "scene", "-n", "1"]
    assert main([*words, "--strategy", "entropy", "-o", str(tmp_path / "s")]) == 0
    table = pd.read_csv(tmp_path / "s" / "suggestions.csv").set_index("scene_id")
    tiles = pd.read_csv(suggested / "out" / "suggestions.csv")
    means = tiles.groupby("scene_id")["entropy"].mean()
    np.testing.assert_allclose(table["entropy"].sort_index(), means, rtol=1e-5)


def test_scenes_that_a_fold_is_tested_on_are_refused(loop, capsys):
    scene = f"scenes/{name_of(0)}.tif"
    assert main(["suggest", "runs/loop", scene]) == 1
    assert "in the test part of fold" in capsys.readouterr().err
    assert not Path("runs/loop/suggestions").exists()
    for path in Path("runs/loop").glob("fold*/split.json"):
        split = json.loads(path.read_text())
        path.write_text(json.dumps({**split, "test": []}))
    assert main(["suggest", "runs/loop", scene]) == 1
    assert "has learnt from" in capsys.readouterr().err


def test_a_strategy_that_cannot_be_told_is_refused(loop, suggested, capsys):
    scene = str(suggested / "new_1.tif")
    Path("runs/loop/fold1/model.keras").unlink()
    words = ["suggest", "runs/loop", scene, "--strategy", "disagreement"]
    assert main(words) == 1
    assert "needs several trained folds" in capsys.readouterr().err
