"""Commands side by side: order, lines, signals, failures, GPUs."""

import os
import signal
import sys
import threading
import time

import pytest

from arcticdl.cli import start
from arcticdl.cli.runs.jobs import Job, run_jobs, share_gpus

# A command that says what it sees, waits as long as told, and stops as trainings do.
STAND_IN = """
import os, pathlib, signal, sys, time
folder, name, seconds, status = sys.argv[1:]
def stop(number, frame):
    pathlib.Path(folder, name + ".got").write_text(signal.Signals(number).name)
    sys.exit(75)
signal.signal(signal.SIGTERM, stop)
signal.signal(signal.SIGUSR1, stop)
gpus = os.environ.get("CUDA_VISIBLE_DEVICES", "none")
pathlib.Path(folder, name + ".begun").write_text(f"{time.time()} {gpus}")
print("hello from", name)
time.sleep(float(seconds))
pathlib.Path(folder, name + ".done").write_text(str(time.time()))
sys.exit(int(status))
"""


def stand_in(folder, name, seconds=0.3, status=0):
    words = [str(folder), name, str(seconds), str(status)]
    return Job(name, [sys.executable, "-c", STAND_IN, *words])


def told(path):
    return path.read_text().split()


def test_no_more_than_asked_run_at_a_time_and_their_lines_bear_names(tmp_path, capfd):
    jobs = [stand_in(tmp_path, name, 0.6) for name in "abc"]
    assert run_jobs(jobs, side_by_side=2) == 0
    begun = {n: float(told(tmp_path / f"{n}.begun")[0]) for n in "abc"}
    done = {n: float(told(tmp_path / f"{n}.done")[0]) for n in "abc"}
    assert begun["b"] < done["a"]  # side by side
    assert begun["c"] > min(done["a"], done["b"])
    shown = capfd.readouterr()
    for name in "abc":
        assert f"{name} | hello from {name}" in shown.out
    assert "3 of 3 done, 0 running" in shown.err


def test_one_at_a_time_writes_to_the_terminal_itself(tmp_path, capfd):
    assert run_jobs([stand_in(tmp_path, name, 0) for name in "ab"]) == 0
    assert capfd.readouterr().out.split("\n")[:2] == ["hello from a", "hello from b"]


def test_a_job_knows_the_command_that_a_person_typed(monkeypatch, capfd):
    """Its own names a temporary file, and cannot be given again."""
    monkeypatch.setattr(sys, "argv", ["arcticdl", "train", "my config.yaml", "--quiet"])
    ask = (
        "from arcticdl.experiment.machine.environment import typed_command as typed;"
        "print(typed())"
    )
    assert run_jobs([Job("fold 0", [sys.executable, "-c", ask])]) == 0
    assert capfd.readouterr().out == "arcticdl train 'my config.yaml' --quiet\n"


def test_a_failure_lets_others_finish_and_begins_no_more(tmp_path, capfd):
    jobs = [
        stand_in(tmp_path, "a", 0, 3),
        stand_in(tmp_path, "b", 0.8),
        stand_in(tmp_path, "c"),
    ]
    assert run_jobs(jobs, side_by_side=2) == 3
    assert (tmp_path / "b.done").exists()
    assert not (tmp_path / "c.begun").exists()
    error = capfd.readouterr().err
    assert "a ended with status 3; c is not begun; what is done is kept" in error


def test_a_command_that_a_signal_killed_is_no_success(tmp_path):
    killed = Job("a", [sys.executable, "-c", "import os; os.kill(os.getpid(), 9)"])
    assert run_jobs([killed]) == 137


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGUSR1])
@pytest.mark.parametrize("side_by_side", [1, 2])
def test_a_signal_reaches_all_that_run_and_ends_with_75(tmp_path, number, side_by_side):
    running = "ab"[:side_by_side]

    def send():
        while not all((tmp_path / f"{name}.begun").exists() for name in running):
            time.sleep(0.05)
        os.kill(os.getpid(), number)

    sender = threading.Thread(target=send)
    sender.start()
    jobs = [stand_in(tmp_path, name, 20) for name in "abc"]
    before = signal.getsignal(number)
    assert run_jobs(jobs, side_by_side=side_by_side) == 75
    sender.join()
    assert signal.getsignal(number) is before
    for name in running:
        assert (tmp_path / f"{name}.got").read_text() == number.name
    assert not (tmp_path / "c.begun").exists()


@pytest.mark.parametrize("before", [None, "5,6"])
def test_a_call_that_starts_trainings_leaves_the_gpus_to_them(before, monkeypatch):
    seen = []
    monkeypatch.setattr(
        start, "start_backend", lambda: seen.append(os.environ["CUDA_VISIBLE_DEVICES"])
    )
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    if before is not None:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", before)
    start.start_without_gpus()
    assert seen == ["-1"]
    assert os.environ.get("CUDA_VISIBLE_DEVICES") == before


def test_gpus_are_shared_out_and_given_back(tmp_path, monkeypatch):
    tool = tmp_path / "bin" / "nvidia-smi"
    tool.parent.mkdir()
    tool.write_text("#!/bin/sh\nprintf '0\\n1\\n2\\n'\n")
    tool.chmod(0o755)
    path = {"PATH": str(tool.parent)}
    assert [s["CUDA_VISIBLE_DEVICES"] for s in share_gpus(2, path)] == ["0,2", "1"]
    crowded = share_gpus(4, path)
    assert [s["CUDA_VISIBLE_DEVICES"] for s in crowded] == ["0", "1", "2", "0"]
    assert {s["TF_FORCE_GPU_ALLOW_GROWTH"] for s in crowded} == {"true"}
    assert share_gpus(2, {"PATH": str(tmp_path)}) == [{}, {}]
    assert share_gpus(2, path | {"CUDA_VISIBLE_DEVICES": "-1"}) == [{}, {}]
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "5,6")
    jobs = [stand_in(tmp_path, n, s) for n, s in (("a", 0), ("b", 1.5), ("c", 0))]
    assert run_jobs(jobs, side_by_side=2) == 0
    seen = [told(tmp_path / f"{name}.begun")[1] for name in "abc"]
    assert seen == ["5", "6", "5"]  # the third takes the place of the first
