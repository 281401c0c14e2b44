"""The batch job under a stand-in for Slurm: what it runs, says and queues again."""

import os
import subprocess

import pytest

TASK = {"SLURM_JOB_ID": "70", "SLURM_ARRAY_JOB_ID": "70", "SLURM_ARRAY_TASK_ID": "2"}


@pytest.fixture
def submit(tmp_path, project_root):
    """Runs the script where every command is a stand-in; returns status, log, calls."""
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "activate").write_text(f"PATH={tmp_path}/bin:$PATH\n")

    def run(variables, **statuses):
        for name in ("arcticdl", "srun", "scontrol"):
            path = tmp_path / "bin" / name
            path.write_text(
                f'#!/bin/bash\necho "{name} $*" >> {tmp_path}/calls\n'
                f"exit {statuses.get(name, 0)}\n"
            )
            path.chmod(0o755)
        kept = {k: v for k, v in os.environ.items() if not k.startswith("SLURM_")}
        job = subprocess.run(
            ["bash", project_root / "pipelines" / "train.sbatch", "ice.yaml"],
            env={**kept, **variables, "ARCTICDL_VENV": str(tmp_path)},
            cwd=tmp_path,
            capture_output=True,
            text=True,
            check=False,
        )
        return job, (tmp_path / "calls").read_text().splitlines()

    return run


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
