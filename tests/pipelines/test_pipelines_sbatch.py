"""The batch job under a stand-in for Slurm: what it runs, says and queues again."""

import os
import shutil
import subprocess
from functools import partial

import pytest

SCRIPTS = ("train.sbatch", "train_node.sbatch", "train_nodes.sbatch")
NODES = {"SLURM_JOB_ID": "4097", "SLURM_JOB_NODELIST": "n[07-08]"}
DOCTOR = "python -m arcticdl.cli doctor"
TASK = {"SLURM_JOB_ID": "70", "SLURM_ARRAY_JOB_ID": "70", "SLURM_ARRAY_TASK_ID": "2"}


@pytest.fixture
def submit(slurm):
    return partial(slurm, "train.sbatch", ["ice.yaml"])


@pytest.fixture
def environment(tmp_path):
    """What was set for the training, as the stand-in noted it."""
    return lambda: (tmp_path / "environment").read_text()


def test_a_preempted_task_of_an_array_queues_itself_alone(submit):
    job, calls = submit(TASK, srun=75)
    assert job.returncode == 75
    assert calls == [
        DOCTOR,
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
    job, calls = submit(TASK, python=1)
    first = job.stdout.splitlines()[0]
    assert first.endswith(f"job 70_2 on {os.uname().nodename}: ice.yaml")
    assert job.returncode == 1
    assert calls == [DOCTOR]  # a machine that cannot train trains nothing


def test_one_node_lets_all_its_devices_share_a_batch(slurm, environment):
    words = ["ice.yaml", "--set", "train.batch_size=32"]
    job, calls = slurm("train_node.sbatch", words, {"SLURM_JOB_ID": "71"})
    assert job.returncode == 0
    assert calls == [
        DOCTOR,
        "srun python pipelines/train.py ice.yaml --set train.batch_size=32 "
        "--set train.devices=auto --fold 0 --resume",
    ]
    assert environment() == "at none on jax\n"


def test_processes_of_several_nodes_meet_at_the_first(slurm, environment):
    job, calls = slurm("train_nodes.sbatch", ["ice.yaml"], NODES)
    assert job.returncode == 0
    assert calls == [
        f"srun {DOCTOR}",  # on every node
        "scontrol show hostnames n[07-08]",
        "srun --kill-on-bad-exit=0 --wait=60 python pipelines/train.py ice.yaml "
        "--set train.devices=auto --fold 0 --resume",
    ]
    assert environment() == "at n07:61441 on jax\n"


def test_a_node_that_cannot_train_ends_the_job_of_several(slurm):
    job, calls = slurm("train_nodes.sbatch", ["ice.yaml"], NODES, srun=1)
    assert job.returncode == 1
    assert calls == [f"srun {DOCTOR}"]


@pytest.mark.parametrize("script", SCRIPTS)
def test_scripts_say_how_they_are_used(submit, script, project_root, tmp_path):
    job = subprocess.run(
        ["bash", project_root / "pipelines" / script],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert job.returncode != 0
    assert "usage: sbatch" in job.stderr
    assert f"pipelines/{script} CONFIG" in job.stderr


@pytest.mark.parametrize("script", (*SCRIPTS, "tune.sbatch", "job.sh"))
def test_shellcheck_finds_nothing(script, project_root):
    if shutil.which("shellcheck") is None:
        pytest.skip("shellcheck is not installed (apt install shellcheck)")
    job = subprocess.run(
        ["shellcheck", "-x", f"pipelines/{script}"],
        cwd=project_root,
        capture_output=True,
        text=True,
        check=False,
    )
    assert job.stdout == ""
