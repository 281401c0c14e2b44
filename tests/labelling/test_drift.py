"""Drift: distances that are known, scale errors named, and a status for scripts."""

import json
from pathlib import Path

import numpy as np
import pytest
import yaml
from made_loop import image_of, truth_of, write
from scipy import stats

from arcticdl.cli import main
from arcticdl.labelling import compare_band, distances, likely_scale


def normal(seed, size=4000, mean=0.0):
    return np.random.default_rng(seed).normal(mean, 2.0, size)


def test_a_shift_is_its_own_distance():
    values = normal(0)
    found = distances(values, values + 3.0)
    assert found.wasserstein == pytest.approx(3.0)
    assert found.in_std == pytest.approx(3.0 / values.std())
    same = distances(values, values)
    assert (same.wasserstein, same.ks, same.psi) == (0.0, 0.0, 0.0)


def test_distances_are_those_of_scipy_and_of_the_formula():
    old, new = normal(1), normal(2, 1500, mean=1.0)
    found = distances(old, new)
    assert found.wasserstein == pytest.approx(stats.wasserstein_distance(old, new))
    assert found.ks == pytest.approx(stats.ks_2samp(old, new).statistic)
    edges = np.quantile(old, np.arange(1, 10) / 10)
    shares = [
        np.histogram(part, [-np.inf, *edges, np.inf])[0] / len(part)
        for part in (old, new)
    ]
    psi = sum((n - t) * np.log(n / t) for t, n in zip(*shares, strict=True))
    assert found.psi == pytest.approx(psi, rel=0.01)


def scenes(number, first=0, mean=0.0, wobble=0.3):
    rng = np.random.default_rng(first)
    return {
        f"s{first + k}": normal(first + k, 800, mean + rng.normal(0, wobble))
        for k in range(number)
    }


def test_scenes_like_those_of_training_have_not_drifted():
    drifted = [
        compare_band(scenes(8, 20 * k), scenes(4, 1000 + 20 * k), num_resamples=50)
        for k in range(6)
    ]
    assert sum(one["drifted"] for one in drifted) == 0
    assert all(one["likely"] is None for one in drifted)


def test_shifted_scenes_have_drifted_by_what_they_were_shifted():
    training, new = scenes(8), scenes(4, 100)
    moved = {name: values + 4.0 for name, values in new.items()}
    found = compare_band(training, moved, num_resamples=100)
    old = np.concatenate(list(training.values()))
    wanted = stats.wasserstein_distance(old, np.concatenate(list(moved.values())))
    assert found["drifted"]
    assert found["wasserstein"] == pytest.approx(wanted)
    assert found["interval"][0] < found["in_std"] < found["interval"][1]
    assert found["usual"] == pytest.approx(
        max(
            stats.wasserstein_distance(
                np.concatenate([v for k, v in training.items() if k != name]), values
            )
            for name, values in training.items()
        )
        / old.std()
    )
    assert not compare_band(training, moved, limit=9.0, num_resamples=20)["drifted"]


REFLECTANCE = np.random.default_rng(5).uniform(0.02, 0.9, 3000)
DECIBELS = np.random.default_rng(6).normal(-18.0, 4.0, 3000)


@pytest.mark.parametrize(
    ("training", "new", "likely"),
    [
        (REFLECTANCE, REFLECTANCE[::2] * 10_000, "10000 times too large"),
        (REFLECTANCE * 10_000, REFLECTANCE[::2], "10000 times too small"),
        (REFLECTANCE, REFLECTANCE[1::2] * 255, "255 times too large"),
        (DECIBELS, 10 ** (DECIBELS[::2] / 10), "linear power in place of decibels"),
        (10 ** (DECIBELS / 10), DECIBELS[::2], "decibels in place of linear power"),
        (DECIBELS, 10 ** (DECIBELS / 20), "linear amplitude in place of decibels"),
        (DECIBELS + 270, DECIBELS - 3.15, "degrees Celsius in place of kelvin"),
        (DECIBELS, DECIBELS + 9.0, None),
    ],
)
def test_the_scale_error_that_explains_a_drift_is_named(training, new, likely):
    assert likely_scale(training, new, 0.3) == likely


@pytest.fixture(scope="module")
def compared(trained_loop, tmp_path_factory):
    """New scenes as in training, and the same with one band in other units."""
    folder = tmp_path_factory.mktemp("drift")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(trained_loop)
        found = {}
        for kind, factor in (("usual", 1.0), ("scaled", 1000.0)):
            files = []
            for number in (21, 23):
                image = image_of(truth_of(number), number)
                image[1] *= factor
                files.append(str(folder / f"{kind}_melt_{number % 10}.tif"))
                write(files[-1], image, number)
            words = ["drift", "runs/loop", *files, "-o", str(folder / kind)]
            words += ["--limit", "0.5"]  # the fold has two training scenes
            found[kind] = main(words)
    return folder, found


def test_the_exit_status_tells_scripts_of_drift(compared):
    _, status = compared
    assert status == {"usual": 0, "scaled": 3}


def test_the_report_names_band_and_factor(compared):
    folder, _ = compared
    report = json.loads((folder / "scaled" / "drift.json").read_text())
    one, two = report["bands"]["band_1"], report["bands"]["band_2"]
    assert not one["drifted"] and one["likely"] is None
    assert two["drifted"] and two["likely"] == "1000 times too large"
    page = (folder / "scaled" / "drift.html").read_text()
    assert "band_2 by" in page and "likely 1000 times too large" in page
    assert "http" not in page.replace("http-equiv", "")


def test_answers_are_compared_with_held_out_scenes(compared, trained_loop):
    folder, _ = compared
    report = json.loads((folder / "usual" / "drift.json").read_text())
    split = json.loads((trained_loop / "runs/loop/fold0/split.json").read_text())
    assert report["held_out"] == split["test"]
    assert report["training_scenes"] == len(split["train"])
    shares = report["answers"]["shares"]
    assert sum(shares["new"]) == pytest.approx(1)
    assert sum(shares["difference"]) == pytest.approx(0, abs=1e-9)
    # The scenes are drawn with shares of 0.4, 0.35 and 0.25.
    np.testing.assert_allclose(shares["new"], [0.4, 0.35, 0.25], atol=0.12)
    assert 0.5 < report["answers"]["confidence"]["new"][0] < 1


def test_strata_are_compared_with_their_own_kind(compared, trained_loop):
    folder, _ = compared
    report = json.loads((folder / "usual" / "drift.json").read_text())
    split = json.loads((trained_loop / "runs/loop/fold0/split.json").read_text())
    melting = sum(name.startswith("melt") for name in split["train"])
    told = {(s["column"], s["stratum"]): s for s in report["strata"]}
    assert set(told) == {("season", "melt"), ("sensor", "A")}
    assert {s["num_training"] for s in told.values()} == {melting}
    assert {s["num_new"] for s in told.values()} == {2}


def test_what_cannot_be_compared_is_refused(loop, capsys, compared):
    folder, _ = compared
    scene = str(folder / "usual_melt_1.tif")
    assert main(["drift", "runs/loop", scene, "--limit", "-1"]) == 1
    assert "a positive `limit`" in capsys.readouterr().err
    assert main(["drift", "runs/loop", "absent.tif"]) == 1
    assert "absent.tif" in capsys.readouterr().err
    assert main(["drift", "runs/loop", scene, "--fold", "7"]) == 1
    assert "one of the trained folds" in capsys.readouterr().err


def test_scenes_that_tell_no_season_have_no_strata(loop, compared):
    folder, _ = compared
    for path in (Path("loop.yaml"), Path("runs/loop/config.yaml")):
        tree = yaml.safe_load(path.read_text())
        tree["data"] |= {"attributes": {}, "rename": {}}
        path.write_text(yaml.safe_dump(tree))
    assert main(["prepare", "loop.yaml", "--overwrite"]) == 0
    scene = str(folder / "usual_melt_1.tif")
    assert main(["drift", "runs/loop", scene, "--limit", "5"]) == 0
    assert json.loads(Path("runs/loop/drift/drift.json").read_text())["strata"] == []
