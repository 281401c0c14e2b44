"""The batch job under a stand-in for Slurm: what it runs, says and queues again."""

import os
from functools import partial

import pytest

TASK = {"SLURM_JOB_ID": "70", "SLURM_ARRAY_JOB_ID": "70", "SLURM_ARRAY_TASK_ID": "2"}


@pytest.fixture
def submit(slurm):
    return partial(slurm, "train.sbatch", ["ice.yaml"])


def test_a_preempted_task_of_an_array_queues_itself_alone(submit):
    job, calls = submit(TASK, srun=75)
    assert job.returncode == 75
    assert calls == [
        "arcticdl doctor",
        "srun python pipelines/train.py ice.yaml --fold 2 --resume",
        "scontrol requeue 70_2",
    ]


def test_a_preempted_single_job_queues_itself(submit):
    job, calls = submit({"SLURM_JOB_ID": "71"}, srun=75)
    assert job.returncode == 75
    assert calls[1:] == [
        "srun python pipelines/train.py ice.yaml --fold 0 --resume",
        "scontrol requeue 71",
    ]


@pytest.mark.parametrize("status", [0, 1, 70])
def test_a_job_that_ended_is_not_queued_again(submit, status):
    job, calls = submit(TASK, srun=status)
    assert job.returncode == status
    assert not [call for call in calls if call.startswith("scontrol")]


def test_the_log_begins_with_job_node_and_configuration(submit):
    job, calls = submit(TASK, arcticdl=1)
    first = job.stdout.splitlines()[0]
    assert first.endswith(f"job 70_2 on {os.uname().nodename}: ice.yaml")
    assert job.returncode == 1
    assert calls == ["arcticdl doctor"]  # a machine that cannot train trains nothing
