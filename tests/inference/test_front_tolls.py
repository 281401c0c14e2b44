"""The way of tracing fronts that the other glaciers choose, worked out by hand."""

import importlib.util
from pathlib import Path

import pandas as pd
import pytest

SCRIPT = Path(__file__).parents[2] / "benchmarks/calving_front.py"


@pytest.fixture(scope="module")
def fronts():
    spec = importlib.util.spec_from_file_location("benchmark_fronts", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def _rows(distances):
    return pd.DataFrame(
        [
            {"image": f"{group}{i}", "group": group, "rule": rule, "mean": px}
            for (group, rule), each in distances.items()
            for i, px in enumerate(each)
        ]
    )


DISTANCES = {
    ("a", "near"): [1.0, 1.0, 90.0],  # the median is 1: one stray does not choose
    ("a", "far"): [3.0, 3.0, 3.0],
    ("b", "near"): [6.0],
    ("b", "far"): [2.0],
    ("c", "near"): [4.0, 4.0],
    ("c", "far"): [4.0, 9.0],
}


def test_each_glacier_has_the_line_that_the_others_choose(fronts, capsys):
    chosen = fronts.cross_fit(_rows(DISTANCES)).set_index("image")["mean"]
    # For a: b and c have medians of 6 and 4 (near), 2 and 6.5 (far): far, 4.25.
    # For b: a and c have 1 and 4 (near), 3 and 6.5 (far): near. For c: 3.5 and 2.5.
    assert chosen.to_dict() == {
        **{"a0": 3.0, "a1": 3.0, "a2": 3.0},
        "b0": 6.0,
        **{"c0": 4.0, "c1": 9.0},
    }
    assert "all glaciers choose near" in capsys.readouterr().out  # 11 / 3 and 11.5 / 3


def test_a_line_that_is_missed_is_no_near_one(fronts):
    lost = DISTANCES | {("c", "near"): [float("nan"), 0.0]}
    assert fronts.choose(_rows(lost)) == "far"


def test_pairs_leave_out_what_one_side_lacks(fronts):
    told = fronts.nearer(pd.Series([2.0, 2.0, -1.0, float("nan")]))
    assert told.startswith("nearer in 2 of 3 images, median 2.00 px nearer (-1.00 to")
    assert "mean 1.00 px nearer" in told
