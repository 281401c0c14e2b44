"""Workers of a search as array tasks, under a stand-in for Slurm."""

from functools import partial

import pytest

TASK = {"SLURM_JOB_ID": "80", "SLURM_ARRAY_JOB_ID": "79", "SLURM_ARRAY_TASK_ID": "3"}


@pytest.fixture
def submit(slurm):
    return partial(slurm, "tune.sbatch")


def test_a_preempted_worker_queues_itself_alone_and_keeps_its_options(submit):
    job, calls = submit(["ice.yaml", "40", "--sampler", "nsga2"], TASK, srun=75)
    assert job.returncode == 75
    assert job.stdout.splitlines()[0].endswith(": ice.yaml, 40 trials")
    assert calls == [
        "python -m arcticdl.cli doctor",
        "srun python pipelines/tune.py ice.yaml --trials 40 --sampler nsga2",
        "scontrol requeue 79_3",
    ]


@pytest.mark.parametrize("status", [0, 1, 70])
def test_a_worker_that_ended_is_not_queued_again(submit, status):
    job, calls = submit(["ice.yaml", "40"], {"SLURM_JOB_ID": "81"}, srun=status)
    assert job.returncode == status
    assert not [call for call in calls if call.startswith("scontrol")]


def test_without_a_number_of_trials_nothing_begins(submit):
    job, calls = submit(["ice.yaml"], TASK)
    assert job.returncode != 0 and "CONFIG TRIALS" in job.stderr
    assert not calls
