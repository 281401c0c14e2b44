"""Work that is repeated: array tasks that meet, and what a long run holds.

The default suite lets the tasks meet once; ``make test-reliability`` does it a hundred
times, and watches memory over 150 epochs and 400 maps.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent
LONG = os.environ.get("ARCTICDL_RELIABILITY") == "1"


def run(program, *words):
    """What a program of this folder prints last, as JSON."""
    done = subprocess.run(
        [sys.executable, HERE / program, *map(str, words)],
        env={**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    return json.loads(done.stdout.splitlines()[-1])


@pytest.mark.timeout(5400)
def test_array_tasks_that_start_together_train_as_each_alone(tmp_path):
    rounds = 100 if LONG else 1
    result = run("array_tasks.py", "--rounds", rounds, "--folder", tmp_path)
    assert result["rounds"] == rounds and result["files"] > 10
    assert not result["failures"]


@pytest.mark.skipif(not LONG, reason="watched by `make test-reliability`")
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")
@pytest.mark.timeout(3000)
@pytest.mark.parametrize(("command", "times"), [("train", 150), ("predict", 400)])
def test_nothing_grows_over_many_epochs_and_maps(command, times, tmp_path):
    result = run("growth.py", command, "--times", times, "--folder", tmp_path)
    assert not result["left"] and result["samples"] > 100
    for name in ("threads", "files"):
        assert result[name][-1] <= result[name][2] + 2
    assert result["resident_mib"][-1] <= 1.05 * result["resident_mib"][2]
