"""Scenes mapped by array tasks, under a stand-in for Slurm."""

import os
import signal
import subprocess
import time

import pytest

ARRAY = {
    "SLURM_JOB_ID": "93",
    "SLURM_ARRAY_JOB_ID": "90",
    "SLURM_ARRAY_TASK_ID": "5",
    "SLURM_ARRAY_TASK_MIN": "4",
    "SLURM_ARRAY_TASK_COUNT": "8",
}
WORDS = ["runs/demo", "maps", "a.tif", "b c.tif"]


def test_an_array_task_maps_its_share_and_goes_on(slurm):
    job, calls = slurm("predict.sbatch", WORDS, ARRAY)
    assert job.returncode == 0
    assert job.stdout.splitlines()[0].endswith(": runs/demo, part 2/8 of the scenes")
    assert calls == [
        "python -m arcticdl.cli doctor",
        "srun python pipelines/predict.py runs/demo a.tif b c.tif -o maps "
        "--shard 2/8 --resume",
    ]


def test_a_single_job_maps_all_with_the_options_that_are_given(slurm):
    words = [*WORDS[:2], "--fold", "full", "--products", "cog"]
    job, calls = slurm("predict.sbatch", words, {"SLURM_JOB_ID": "94"})
    assert job.returncode == 0
    assert calls[1] == (
        "srun python pipelines/predict.py runs/demo --fold full --products cog "
        "-o maps --shard 1/1 --resume"
    )


@pytest.mark.parametrize("status", [1, 70])
def test_a_refusal_is_the_status_of_the_job(slurm, status):
    job, calls = slurm("predict.sbatch", WORDS, ARRAY, srun=status)
    assert job.returncode == status
    assert not [call for call in calls if call.startswith("scontrol")]


def test_before_its_time_is_up_a_task_stops_mapping_and_queues_itself(
    slurm, tmp_path, project_root
):
    slurm("predict.sbatch", WORDS, ARRAY)  # makes the stand-ins
    (tmp_path / "calls").unlink()
    work = tmp_path / "bin" / "srun"
    work.write_text(f"#!/bin/bash\necho began >> {tmp_path}/calls\nexec sleep 60\n")
    job = subprocess.Popen(
        ["bash", project_root / "pipelines" / "predict.sbatch", *WORDS],
        env={**os.environ, **ARRAY, "ARCTICDL_VENV": str(tmp_path)},
        cwd=tmp_path,
        stdout=subprocess.DEVNULL,
    )
    calls = tmp_path / "calls"
    until = time.monotonic() + 30
    while "began" not in (calls.read_text() if calls.exists() else ""):
        assert time.monotonic() < until
        time.sleep(0.05)
    job.send_signal(signal.SIGUSR1)
    assert job.wait(30) == 75
    assert calls.read_text().splitlines()[-1] == "scontrol requeue 90_5"


def test_without_a_folder_for_the_maps_nothing_begins(slurm):
    job, calls = slurm("predict.sbatch", WORDS[:1], ARRAY)
    assert job.returncode != 0 and "RUN OUT" in job.stderr
    assert not calls
