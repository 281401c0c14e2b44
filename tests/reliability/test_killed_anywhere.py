"""Commands that are killed at any file operation are finished by the same call.

``make test-reliability`` tries many more points than the default suite.
"""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent
POINTS = {"prepare": 100, "train": 20, "predict": 20, "export": 20, "report": 20}
"""Command -> operations at which it is killed by ``make test-reliability``."""

LONG = os.environ.get("ARCTICDL_RELIABILITY") == "1"


@pytest.fixture(scope="module")
def library(tmp_path_factory):
    """The library that counts file operations and kills at a chosen one."""
    compiler = shutil.which("gcc") or shutil.which("cc")
    if compiler is None or not sys.platform.startswith("linux"):
        pytest.skip("needs a C compiler on Linux, to stand before the C library")
    built = tmp_path_factory.mktemp("killpoints") / "killpoints.so"
    command = [compiler, "-shared", "-fPIC", "-O1", "-o", built]
    subprocess.run([*command, HERE / "killpoints.c", "-ldl"], check=True)
    return built


@pytest.mark.timeout(3000)
@pytest.mark.parametrize("command", POINTS)
def test_the_same_call_finishes_what_was_killed(command, library, tmp_path):
    points = POINTS[command] if LONG else 5
    done = subprocess.run(
        [
            sys.executable,
            HERE / "kill_points.py",
            command,
            "--points",
            str(points),
            "--folder",
            tmp_path,
        ],
        env={**os.environ, "LD_PRELOAD": str(library), "TF_CPP_MIN_LOG_LEVEL": "3"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    result = json.loads(done.stdout.splitlines()[-1])
    # A report is one file, and all of its few operations are tried.
    assert result["points"] == min(points, int(0.9 * result["operations"]))
    assert result["files"] > 0 and not result["failures"]
