"""All checks of the machine, one after the other."""

import os
from collections.abc import Callable, Mapping
from pathlib import Path

from arcticdl.doctor import (
    accelerator,
    allocator,
    extensions,
    resources,
    software,
)
from arcticdl.doctor.finding import Finding


def check_machine(environ: Mapping[str, str] | None = None) -> list[Finding]:
    """Looks at everything that an experiment needs of its machine.

    Takes some seconds, since the backend is started once, in a process of its own.

    Args:
        environ: Environment variables; those of this process by default.

    Returns:
        The findings: Python, packages, plug-ins, backend, GPU, libraries, memory,
        allocator, disk, cache, threads, open files, GDAL, projections, sample data.
    """
    environ = os.environ if environ is None else environ
    probe = accelerator.probe_backend(environ)
    num_gpus = accelerator.count_gpus()
    has_wheels = accelerator.has_cuda_wheels(str(probe.get("backend")))
    checks: dict[str, Callable[[], Finding]] = {
        "python": software.check_python,
        "packages": software.check_packages,
        "plug-ins": extensions.check_plugins,
        "backend": lambda: accelerator.check_backend(probe),
        "gpu": lambda: accelerator.check_gpu(probe, environ, num_gpus, has_wheels),
        "libraries": lambda: accelerator.check_libraries(environ, has_wheels),
        "memory": lambda: resources.check_memory(resources.available_memory(environ)),
        "allocator": lambda: allocator.check_allocator(environ),
        "disk": lambda: resources.check_disk(Path.cwd()),
        "cache": lambda: resources.check_cache(environ),
        "threads": lambda: resources.check_threads(environ, resources.num_cores()),
        "open files": resources.check_open_files,
        "gdal": software.check_gdal,
        "projections": lambda: software.check_projections(environ),
        "sample data": lambda: software.check_sample_data(environ),
    }
    return [_guarded(name, check) for name, check in checks.items()]


def _guarded(name: str, check: Callable[[], Finding]) -> Finding:
    try:
        return check()
    except Exception as error:  # a check that breaks has found something
        return Finding(name, "warn", f"cannot be looked at: {error}")
