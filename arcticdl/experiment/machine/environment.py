"""``environment.json``: on what, with what and from what a run was made."""

import os
import platform
import re
import shlex
import subprocess
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from arcticdl.config import Experiment
from arcticdl.doctor.accelerator import list_gpus
from arcticdl.doctor.resources import num_cores
from arcticdl.files import write_json

COMMAND = "ARCTICDL_COMMAND"
"""Variable by which a process knows the command that a person typed."""
_PACKAGES = (
    "arcticdl",
    "keras",
    "tensorflow",
    "jax",
    "torch",
    "numpy",
    "xarray",
    "rasterio",
    "zarr",
    "tensorstore",
    "scikit-learn",
)


def write_environment(folder: Path, config: Experiment, fingerprint: str) -> None:
    """Writes ``environment.json``: versions, backend, commit, hardware, seed, data.

    Args:
        folder: The run folder.
        config: The experiment, with its batch size as a number.
        fingerprint: Of the tile store.
    """
    import keras

    versions = {}
    for name in _PACKAGES:
        try:
            versions[name] = version(name)
        except PackageNotFoundError:
            continue
    environment = {
        "python": sys.version.split()[0],
        "platform": platform.platform(),
        "hardware": describe_hardware(),
        "backend": keras.backend.backend(),
        "versions": versions,
        "commit": _commit(),
        "command": typed_command(),
        "seed": config.seed,
        "batch_size": config.train.batch_size,
        "data_fingerprint": fingerprint,
    }
    write_json(folder / "environment.json", environment)


def typed_command() -> str:
    """The command that a person typed, also in the processes that it began."""
    return os.environ.get(COMMAND) or shlex.join(["arcticdl", *sys.argv[1:]])


def describe_hardware() -> dict[str, Any]:
    """What computes: processor, cores that this process may use, memory, GPUs.

    Returns:
        ``cpu`` (its model), ``cores``, ``memory_gib`` (of the machine), and ``gpus``,
        each with its name and memory as the driver tells them.
    """
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return {
        "cpu": _cpu_model(),
        "cores": num_cores(),
        "memory_gib": round(memory / 2**30, 1),
        "gpus": list_gpus(),
    }


def _cpu_model() -> str:
    """The processor's name; where the system does not tell it, its architecture."""
    try:
        text = Path("/proc/cpuinfo").read_text("utf-8", errors="replace")
    except OSError:
        text = ""
    found = re.search(r"^model name\s*:\s*(.+)$", text, re.MULTILINE)
    return found[1].strip() if found else platform.processor() or platform.machine()


def _commit() -> str | None:
    """Commit of the source tree this package runs from, ``None`` when installed."""
    source = Path(__file__).resolve().parent
    try:
        found = subprocess.run(
            ["git", "-C", str(source), "rev-parse", "HEAD"],
            capture_output=True,
            text=True,
            timeout=5,
            check=True,
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return found.stdout.strip()
