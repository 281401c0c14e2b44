"""The backend, the GPUs it sees, and the libraries between them."""

import json
import re
import shutil
import subprocess
import sys
from collections.abc import Mapping
from importlib import metadata
from pathlib import Path
from typing import Any

from arcticdl.doctor.finding import Finding, Status

_PROBE_TIMEOUT_S = 180
# The backend is asked in a process of its own: a broken CUDA library ends it, not us.
_PROBE = """
import json, os
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
import keras
name = keras.backend.backend()
if name == "tensorflow":
    import tensorflow as backend
    gpus = [d.name for d in backend.config.list_physical_devices("GPU")]
elif name == "jax":
    import jax as backend
    gpus = [str(d) for d in backend.devices() if d.platform != "cpu"]
else:
    import torch as backend
    gpus = [backend.cuda.get_device_name(i) for i in range(backend.cuda.device_count())]
found = {"backend": name, "version": backend.__version__, "keras": keras.__version__}
print("PROBE" + json.dumps(found | {"gpus": gpus}))
"""


def probe_backend(environ: Mapping[str, str]) -> dict[str, Any]:
    """Starts Keras in a process of its own and asks what it sees.

    Args:
        environ: Environment variables of that process.

    Returns:
        ``backend``, ``version``, ``keras``, ``gpus`` (names), or ``error``: the last
        line that the process left.
    """
    try:
        done = subprocess.run(
            [sys.executable, "-c", _PROBE],
            env=dict(environ),
            capture_output=True,
            text=True,
            timeout=_PROBE_TIMEOUT_S,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return {"error": f"no answer within {_PROBE_TIMEOUT_S} s"}
    for line in done.stdout.splitlines():
        if line.startswith("PROBE"):
            return json.loads(line.removeprefix("PROBE"))
    last = [line for line in done.stderr.splitlines() if line.strip()][-1:]
    return {"error": last[0].strip() if last else f"ended with {done.returncode}"}


def check_backend(probe: Mapping[str, Any]) -> Finding:
    """Says which backend computes, or why none does.

    Args:
        probe: What `probe_backend` found.

    Returns:
        The finding; ``fail`` where Keras does not start.
    """
    if "error" in probe:
        return Finding(
            "backend",
            "fail",
            f"Keras does not start: {probe['error']}",
            "install a backend (`pip install tensorflow`), or name an installed one in "
            "KERAS_BACKEND (jax, tensorflow, torch)",
        )
    message = f"Keras {probe['keras']} on {probe['backend']} {probe['version']}"
    return Finding("backend", "ok", message)


def check_gpu(
    probe: Mapping[str, Any],
    environ: Mapping[str, str],
    num_present: int,
    has_wheels: bool = False,
) -> Finding:
    """Compares the GPUs that the backend sees with those granted and present.

    Args:
        probe: What `probe_backend` found.
        environ: Environment variables: ``SLURM_*``, ``CUDA_VISIBLE_DEVICES``, by which
            other schedulers say what they granted.
        num_present: GPUs in the machine.
        has_wheels: Whether CUDA was installed as Python wheels.

    Returns:
        The finding; ``fail`` where none of those that were granted is seen, ``warn``
        where some are missing or those of the machine lie idle.
    """
    seen = list(probe.get("gpus", []))
    granted, by = find_grant(environ)
    wanted = num_present if granted is None else granted
    if seen and len(seen) >= wanted:
        return Finding("gpu", "ok", f"{len(seen)} visible: {', '.join(seen)}")
    if not wanted:
        return Finding("gpu", "ok", "none: training runs on the CPU")
    origin = "present" if granted is None else f"granted by {by}"
    status: Status = "warn" if granted is None or seen else "fail"
    message = f"the backend sees {len(seen)} of {wanted} {origin}"
    way_out = _way_to_gpus(str(probe.get("backend")), environ, has_wheels)
    return Finding("gpu", status, message, way_out)


def _way_to_gpus(backend: str, environ: Mapping[str, str], has_wheels: bool) -> str:
    hidden = environ.get("CUDA_VISIBLE_DEVICES")
    if hidden is not None and hidden.strip() in ("", "-1"):
        return f"unset CUDA_VISIBLE_DEVICES (now {hidden!r}), which hides them"
    wheels = {"tensorflow": "arcticdl[cuda]", "jax": "arcticdl[jax-cuda]"}
    if not has_wheels and backend in wheels:
        return f"pip install '{wheels[backend]}'"
    if has_wheels:
        folders = ":".join(sorted({str(p.parent) for p in _cuda_libraries()}))
        return f"export LD_LIBRARY_PATH={folders or '.../site-packages/nvidia/*/lib'}"
    return f"install the CUDA build of {backend}, and the driver that it asks for"


def _cuda_libraries() -> list[Path]:
    import site

    roots = (Path(root) / "nvidia" for root in site.getsitepackages())
    return [p for root in roots for p in root.glob("*/lib/lib*.so*")]


def find_grant(environ: Mapping[str, str]) -> tuple[int | None, str]:
    """Reads how many GPUs of this node a scheduler granted, and where it says so.

    Args:
        environ: Environment variables.

    Returns:
        Their number, ``None`` without a word about it; and who said it.

    Example:
        >>> find_grant({"SLURM_JOB_ID": "7", "SLURM_JOB_GPUS": "0,2-3"})
        (3, 'SLURM')
        >>> find_grant({"CUDA_VISIBLE_DEVICES": "0,1"})
        (2, 'CUDA_VISIBLE_DEVICES')
    """
    if "SLURM_JOB_ID" in environ:
        if listed := environ.get("SLURM_JOB_GPUS") or environ.get("SLURM_STEP_GPUS"):
            return _count_listed(listed), "SLURM"
        names = ["SLURM_GPUS_ON_NODE", "SLURM_GPUS_PER_NODE"]
        if environ.get("SLURM_JOB_NUM_NODES", "1") == "1":
            names.append("SLURM_GPUS")  # of the whole job
        for name in names:  # a number, or numbers by kind: a100:2,v100:1
            counts = re.findall(r"(\d+)(?:,|$)", environ.get(name, ""))
            if counts:
                return sum(map(int, counts)), "SLURM"
    listed = environ.get("CUDA_VISIBLE_DEVICES", "").strip()
    if listed in ("", "-1", "NoDevFiles"):
        return None, ""
    return _count_listed(listed), "CUDA_VISIBLE_DEVICES"


def _count_listed(listed: str) -> int:
    """Counts a list such as ``0,2-3``."""
    total = 0
    for part in listed.split(","):
        first, _, last = part.partition("-")
        both = first.isdigit() and last.isdigit()  # not so in GPU-5f1c-..., a name
        total += int(last) - int(first) + 1 if both else 1
    return total


def count_gpus() -> int:
    """Counts the NVIDIA GPUs in the machine, visible or not, without any library.

    Returns:
        Their number, as the driver tells it, or else ``nvidia-smi``.
    """
    folder = Path("/proc/driver/nvidia/gpus")
    if folder.is_dir():
        return len(list(folder.iterdir()))
    tool = shutil.which("nvidia-smi")
    if tool is None:
        return 0
    try:
        done = subprocess.run(
            [tool, "-L"], capture_output=True, text=True, timeout=30, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return 0
    return sum(line.startswith("GPU ") for line in done.stdout.splitlines())


def list_gpus() -> list[str]:
    """Names and memory of the NVIDIA GPUs in the machine, as ``nvidia-smi`` tells them.

    Returns:
        One entry a GPU, such as ``"NVIDIA H100 80GB HBM3, 81559 MiB"``; none where the
        tool is absent or fails.
    """
    tool = shutil.which("nvidia-smi")
    if tool is None:
        return []
    query = [tool, "--query-gpu=name,memory.total", "--format=csv,noheader"]
    try:
        done = subprocess.run(
            query, capture_output=True, text=True, timeout=30, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return []
    if done.returncode:
        return []
    return [line.strip() for line in done.stdout.splitlines() if line.strip()]


def check_libraries(environ: Mapping[str, str], has_wheels: bool) -> Finding:
    """Looks for CUDA libraries of the system that stand before those of the wheels.

    Args:
        environ: Environment variables.
        has_wheels: Whether CUDA was installed as wheels (``nvidia-...``).

    Returns:
        The finding; ``warn`` where there are some.
    """
    entries = [p for p in environ.get("LD_LIBRARY_PATH", "").split(":") if p]
    # The driver's own folder belongs there; it has none of what the wheels bring.
    foreign = [p for p in entries if "site-packages" not in p and _has_cuda(Path(p))]
    if has_wheels and foreign:
        return Finding(
            "libraries",
            "warn",
            f"LD_LIBRARY_PATH puts {foreign[0]} before the CUDA of the wheels",
            "unset LD_LIBRARY_PATH, or do not load the cluster's CUDA module",
        )
    kind = "CUDA from wheels" if has_wheels else "no CUDA wheels"
    path = f"LD_LIBRARY_PATH has {len(entries)} entries" if entries else "no path set"
    return Finding("libraries", "ok", f"{kind}; {path}")


def _has_cuda(folder: Path) -> bool:
    kinds = ("cudart", "cublas", "cudnn")
    return any(any(folder.glob(f"lib{kind}*.so*")) for kind in kinds)


def has_cuda_wheels(backend: str = "tensorflow") -> bool:
    """Says whether CUDA was installed as Python wheels, for the backend that computes.

    Args:
        backend: JAX has a plug-in of its own beside NVIDIA's wheels.

    Returns:
        Whether a distribution of that kind is there.
    """
    wanted = "jax-cuda" if backend == "jax" else "nvidia-c"
    names = (d.metadata["Name"] or "" for d in metadata.distributions())
    return any(name.lower().replace("_", "-").startswith(wanted) for name in names)
