"""Starting what is tested in processes of its own, and reading what it wrote."""

import os
import signal
import socket
import subprocess
import sys
import time
import zipfile
from pathlib import Path

import h5py
import numpy as np

HERE = Path(__file__).parent
ROOT = HERE.parents[1]


def start(script, *words, backend, cwd, **environ):
    """Starts a script of this folder in a process of its own."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("JAX_", "SLURM_"))}
    path = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
    fixed = {"KERAS_BACKEND": backend, "PYTHONPATH": path, "TF_CPP_MIN_LOG_LEVEL": "3"}
    fixed |= {"JAX_PLATFORMS": "cpu", "CUDA_VISIBLE_DEVICES": "-1"}  # whatever is there
    return subprocess.Popen(
        [sys.executable, HERE / script, *map(str, words)],
        env={**kept, **fixed, **environ},
        cwd=cwd,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def finish(process):
    """Waits for a process; returns its status and what it said."""
    said, _ = process.communicate(timeout=300)
    return process.returncode, said


def together(count, *words, cwd, **environ):
    """Starts a command in processes that train together."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{free.getsockname()[1]}"
    common = {"JAX_COORDINATOR_ADDRESS": address, "SLURM_NTASKS": str(count), **environ}
    return [
        start(
            "run.py", 1, *words, backend="jax", cwd=cwd, SLURM_PROCID=str(k), **common
        )
        for k in range(count)
    ]


def interrupt(process, checkpoint, number=signal.SIGUSR1):
    """Tells a process to stop, once it has written a checkpoint; waits for it."""
    deadline = time.monotonic() + 200
    while not any(checkpoint.glob("*.npz")) and time.monotonic() < deadline:
        time.sleep(0.02)
    process.send_signal(number)


def read_history(folder):
    """{name: values} of a fold that was trained."""
    rows = (folder / "history.csv").read_text().splitlines()
    names = rows[0].split(",")
    table = np.array([[float(x) for x in row.split(",")] for row in rows[1:]])
    return dict(zip(names, table.T, strict=True))


def weights_of(fold_dir):
    with (
        zipfile.ZipFile(fold_dir / "model.keras") as file,
        file.open("model.weights.h5") as part,
        h5py.File(part) as weights,
    ):
        found = {}
        weights.visititems(
            lambda name, item: (
                found.update({name: item[()]}) if hasattr(item, "shape") else None
            )
        )
    return {n: v for n, v in found.items() if not n.startswith("optimizer")}


def begin(prepared, name, devices, *settings, backend, resume=False):
    """Starts a training where the CPU is two devices; returns it and its fold."""
    words = ["--set", f"train.devices={devices}"]
    words += [word for setting in settings for word in ("--set", setting)]
    words += ["--resume"] if resume else []
    folder = f"runs/{name}-{backend}-{devices}"
    command = ["train", "two.yaml", "--fold", 0, "--run-dir", folder, *words]
    process = start("run.py", 2, *command, backend=backend, cwd=prepared)
    return process, prepared / folder / "fold0"


def train(prepared, name, devices, *settings, **options):
    """The same to its end; returns the fold and what was said."""
    process, fold_dir = begin(prepared, name, devices, *settings, **options)
    status, said = finish(process)
    assert status == 0, said
    return fold_dir, said
