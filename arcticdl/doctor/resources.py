"""Memory, disk, cache, threads and open files: what the machine grants."""

import os
import re
import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path

from arcticdl.doctor.finding import Finding, Status

_GIB = 1024**3


def check_memory(available: int) -> Finding:
    """Judges the memory that this process may still take.

    Args:
        available: Bytes.

    Returns:
        The finding; ``fail`` below 1 GiB, ``warn`` below 4.
    """
    message = f"{available / _GIB:.1f} GiB available"
    if available >= 4 * _GIB:
        return Finding("memory", "ok", message)
    status: Status = "fail" if available < _GIB else "warn"
    way_out = "ask for more (SLURM: --mem=16G), or lower batch_size and tile size"
    return Finding("memory", status, message, way_out)


def available_memory(environ: Mapping[str, str]) -> int:
    """Takes the least of what the machine, the container and SLURM allow.

    Args:
        environ: Environment variables.

    Returns:
        Bytes that this process may still take.
    """
    limits = []
    meminfo = Path("/proc/meminfo")
    if meminfo.is_file():
        found = re.search(r"MemAvailable:\s+(\d+) kB", meminfo.read_text())
        limits += [int(found[1]) * 1024] if found else []
    if not limits:
        limits.append(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"))
    root = Path("/sys/fs/cgroup")
    for limit, used in (
        (root / "memory.max", root / "memory.current"),
        (root / "memory/memory.limit_in_bytes", root / "memory/memory.usage_in_bytes"),
    ):
        # "max" says that there is no limit; so does a number beyond any memory.
        if limit.is_file() and (text := limit.read_text().strip()).isdigit():
            limits.append(int(text) - int(used.read_text()))
    granted = environ.get("SLURM_MEM_PER_NODE", "")
    if granted.isdigit():
        limits.append(int(granted) * 1024**2)
    return max(min(limits), 0)


def check_disk(folder: Path) -> Finding:
    """Judges the space where stores and runs will be written.

    Args:
        folder: Any folder of that disk.

    Returns:
        The finding; ``fail`` below 1 GiB, ``warn`` below 10.
    """
    free = shutil.disk_usage(folder).free
    message = f"{free / _GIB:.1f} GiB free in {folder}"
    if free >= 10 * _GIB:
        return Finding("disk", "ok", message)
    status: Status = "fail" if free < _GIB else "warn"
    way_out = "work in a folder with more space (on clusters: scratch, not home)"
    return Finding("disk", status, message, way_out)


def check_cache(environ: Mapping[str, str]) -> Finding:
    """Tries to write where Keras keeps its settings and downloaded weights.

    Args:
        environ: Environment variables: ``KERAS_HOME``.

    Returns:
        The finding; ``fail`` where it cannot be written to.
    """
    home = environ.get("KERAS_HOME")
    folder = Path(home) if home else Path.home() / ".keras"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=folder):
            pass
    except OSError as error:
        way_out = "name a folder that you may write to in KERAS_HOME"
        return Finding("cache", "fail", f"cannot write to {folder}: {error}", way_out)
    return Finding("cache", "ok", f"{folder} is writable")


def num_cores() -> int:
    """Counts the cores that this process may use, not those of the machine.

    Returns:
        Their number, at least 1.
    """
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def check_threads(environ: Mapping[str, str], cores: int) -> Finding:
    """Compares the thread settings with the cores that this process may use.

    Args:
        environ: Environment variables: ``OMP_NUM_THREADS`` and the like.
        cores: Cores that this process may use.

    Returns:
        The finding; ``warn`` where more threads are asked for, or one core is all.
    """
    granted = environ.get("SLURM_CPUS_PER_TASK", "")
    usable = min(cores, int(granted)) if granted.isdigit() else cores
    message = f"{usable} cores usable"
    for name in ("OMP_NUM_THREADS", "TF_NUM_INTRAOP_THREADS", "MKL_NUM_THREADS"):
        value = environ.get(name, "")
        if value.isdigit() and int(value) > usable:
            message = f"{name}={value}, but {message}: threads will wait for each other"
            return Finding("threads", "warn", message, f"export {name}={usable}")
    if "SLURM_JOB_ID" in environ and usable < 2:
        way_out = "ask for more (--cpus-per-task=8): reading tiles needs cores too"
        return Finding("threads", "warn", message, way_out)
    return Finding("threads", "ok", message)


def check_open_files() -> Finding:
    """Judges how many files this process may hold open.

    Returns:
        The finding; ``warn`` below 1024.
    """
    import resource

    limit, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if 0 <= limit < 1024:
        message = f"only {limit} open files allowed"
        return Finding("open files", "warn", message, "ulimit -n 4096")
    return Finding("open files", "ok", "unlimited" if limit < 0 else f"{limit} allowed")
