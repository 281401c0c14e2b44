"""A stand-in for Slurm, under which the scripts of jobs are run."""

import os
import subprocess

import pytest


@pytest.fixture
def slurm(tmp_path, project_root):
    """Runs a script whose commands are stand-ins; returns the job and its calls."""
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "activate").write_text(f"PATH={tmp_path}/bin:$PATH\n")

    (tmp_path / "pipelines").symlink_to(project_root / "pipelines")

    def run(script, words, variables, **statuses):
        for name in ("python", "srun", "scontrol"):
            path = tmp_path / "bin" / name
            path.write_text(
                f'#!/bin/bash\necho "{name} $*" >> {tmp_path}/calls\n'
                'case "$*" in *train.py*) '
                f'echo "at ${{JAX_COORDINATOR_ADDRESS:-none}} on $KERAS_BACKEND" '
                f">> {tmp_path}/environment;; esac\n"
                '[ "$1 $2" = "show hostnames" ] && printf "n07\\nn08\\n"\n'
                f"exit {statuses.get(name, 0)}\n"
            )
            path.chmod(0o755)
        ours = ("SLURM_", "JAX_", "KERAS_")
        kept = {k: v for k, v in os.environ.items() if not k.startswith(ours)}
        job = subprocess.run(
            ["bash", project_root / "pipelines" / script, *words],
            env={**kept, **variables, "ARCTICDL_VENV": str(tmp_path)},
            cwd=tmp_path,
            capture_output=True,
            text=True,
            check=False,
        )
        calls = tmp_path / "calls"
        return job, calls.read_text().splitlines() if calls.exists() else []

    return run
