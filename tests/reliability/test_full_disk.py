"""A disk that fills stops a command by one line, tears nothing, and is no dead end.

The default suite tries the quick commands; ``make test-reliability`` tries all of them.
"""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent
LONG = os.environ.get("ARCTICDL_RELIABILITY") == "1"
QUICK = ("simulate", "simulate-ai4arctic", "prepare")
COMMANDS = (*QUICK, "train", "evaluate", "predict", "export", "report")
POINTS = 20 if LONG else 3


@pytest.fixture(scope="module")
def own_mounts():
    """How a process gets file systems of its own to mount."""
    words = ["unshare", "--map-root-user", "--mount"]
    if shutil.which("unshare") is None or subprocess.run([*words, "true"]).returncode:
        pytest.skip("this machine lets no process mount file systems of its own")
    return words


@pytest.mark.timeout(3000)
@pytest.mark.parametrize("command", COMMANDS if LONG else QUICK)
def test_a_full_disk_tears_nothing_and_the_same_call_goes_on(
    command, own_mounts, tmp_path
):
    program = [sys.executable, HERE / "full_disk.py", command]
    done = subprocess.run(
        [*own_mounts, *program, "--points", str(POINTS), "--folder", tmp_path],
        env={**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    result = json.loads(done.stdout.splitlines()[-1])
    assert result["points"] == POINTS and result["bytes"] > 0 and result["files"] > 0
    assert not result["failures"]
    assert result["stopped"] > 0
