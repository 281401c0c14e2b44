import json
import os
import platform
import stat
import subprocess
import sys
import tomllib
from pathlib import Path
from types import SimpleNamespace

import pytest

from arcticdl import doctor
from arcticdl.doctor import Finding, accelerator, allocator, resources, software

SEEN = {"backend": "tensorflow", "version": "2", "keras": "3", "gpus": ["GPU:0"]}
NONE = SEEN | {"gpus": []}
JOB = {"SLURM_JOB_ID": "7"}
ROOT = Path(__file__).resolve().parents[1]


@pytest.mark.parametrize(
    "probe, environ, present, status, said",
    [
        (SEEN, {}, 1, "ok", "1 visible"),
        (NONE, {}, 0, "ok", "runs on the CPU"),
        (NONE, {}, 1, "warn", "sees 0 of 1 present"),
        (NONE, JOB | {"SLURM_GPUS_ON_NODE": "1"}, 1, "fail", "granted by SLURM"),
        (NONE, JOB | {"SLURM_JOB_GPUS": "0,2-3"}, 4, "fail", "0 of 3"),
        (SEEN, JOB | {"SLURM_GPUS_ON_NODE": "2"}, 2, "warn", "1 of 2"),
        (SEEN, JOB | {"SLURM_GPUS_ON_NODE": "1"}, 4, "ok", "1 visible"),
        (NONE, JOB, 0, "ok", "CPU"),
        (NONE, JOB | {"SLURM_GPUS": "a100:2,v100:1"}, 0, "fail", "0 of 3 granted"),
        (NONE, JOB | {"SLURM_GPUS_PER_NODE": "a100:4"}, 0, "fail", "0 of 4 granted"),
        (
            NONE,
            JOB | {"SLURM_GPUS": "8", "SLURM_JOB_NUM_NODES": "2"},
            0,
            "ok",
            "runs on the CPU",
        ),
        (NONE, {"CUDA_VISIBLE_DEVICES": "0,1"}, 0, "fail", "2 granted by CUDA_VISIBLE"),
        (NONE, {"CUDA_VISIBLE_DEVICES": "GPU-5f1c-01"}, 0, "fail", "0 of 1 granted"),
        (SEEN, {"CUDA_VISIBLE_DEVICES": "3"}, 4, "ok", "1 visible"),
        ({"error": "boom"}, JOB | {"SLURM_JOB_GPUS": "0"}, 1, "fail", "0 of 1"),
    ],
)
def test_gpus_seen_are_compared_with_those_granted(
    probe, environ, present, status, said
):
    finding = accelerator.check_gpu(probe, environ, present)
    assert finding.status == status
    assert said in finding.message
    assert bool(finding.way_out) == (status != "ok")


def test_gpus_hidden_by_hand_are_named_as_such():
    finding = accelerator.check_gpu(NONE, {"CUDA_VISIBLE_DEVICES": "-1"}, 1)
    assert "CUDA_VISIBLE_DEVICES" in finding.way_out
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    for backend, extra in {"tensorflow": "cuda", "jax": "jax-cuda"}.items():
        seen = NONE | {"backend": backend}
        way_out = accelerator.check_gpu(seen, {}, 1, False).way_out
        assert way_out == f"pip install 'arcticdl[{extra}]'"
        assert extra in extras["optional-dependencies"]
    assert "LD_LIBRARY_PATH" in accelerator.check_gpu(NONE, {}, 1, True).way_out


def test_gpus_are_counted_by_nvidia_smi_where_the_driver_says_nothing(
    tmp_path, monkeypatch
):
    if Path("/proc/driver/nvidia/gpus").is_dir():
        pytest.skip("the driver of this machine says it itself")
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    assert accelerator.count_gpus() == 0
    tool = tmp_path / "nvidia-smi"
    tool.write_text("#!/bin/sh\necho 'GPU 0: A100 (UUID: x)'\necho 'GPU 1: A100'\n")
    tool.chmod(0o755)
    assert accelerator.count_gpus() == 2


def test_wheels_of_cuda_are_those_of_the_backend(monkeypatch):
    def install(name):
        found = [SimpleNamespace(metadata={"Name": name})]
        monkeypatch.setattr(accelerator.metadata, "distributions", lambda: found)

    install("nvidia-cublas-cu12")
    assert accelerator.has_cuda_wheels("tensorflow")
    assert not accelerator.has_cuda_wheels("jax")  # which needs its plug-in
    install("jax_cuda12_plugin")
    assert accelerator.has_cuda_wheels("jax")


def test_a_backend_that_does_not_start_is_a_finding():
    environ = dict(os.environ) | {"KERAS_BACKEND": "nonsense"}
    probe = accelerator.probe_backend(environ)
    finding = accelerator.check_backend(probe)
    assert finding.status == "fail"
    assert "nonsense" in finding.message and "KERAS_BACKEND" in finding.way_out
    assert accelerator.check_backend(SEEN).status == "ok"


def test_a_foreign_cuda_before_the_wheels_is_warned_of(tmp_path):
    environ = {"LD_LIBRARY_PATH": f"/opt/lib:{tmp_path}"}
    (tmp_path / "libcuda.so.1").touch()  # the driver's
    assert accelerator.check_libraries(environ, True).status == "ok"
    (tmp_path / "libcudnn.so.9").touch()
    assert accelerator.check_libraries(environ, True).status == "warn"
    assert accelerator.check_libraries(environ, False).status == "ok"
    own = {"LD_LIBRARY_PATH": "/x/site-packages/nvidia/cudnn/lib"}
    assert accelerator.check_libraries(own, True).status == "ok"


@pytest.mark.parametrize(
    "gib, status", [(0.5, "fail"), (2, "warn"), (4, "ok"), (100, "ok")]
)
def test_memory_and_disk_are_judged_by_what_is_left(gib, status, monkeypatch, tmp_path):
    assert resources.check_memory(int(gib * 1024**3)).status == status
    free = int(2.5 * gib * 1024**3) if gib != 0.5 else 1024
    usage = type("Usage", (), {"free": free})
    monkeypatch.setattr(resources.shutil, "disk_usage", lambda _: usage)
    assert resources.check_disk(tmp_path).status == status


def test_threads_beyond_the_granted_cores_are_warned_of():
    assert resources.check_threads({}, 8).status == "ok"
    environ = JOB | {"SLURM_CPUS_PER_TASK": "4", "OMP_NUM_THREADS": "16"}
    finding = resources.check_threads(environ, 64)
    assert finding.status == "warn"
    assert finding.way_out == "export OMP_NUM_THREADS=4"
    assert "--cpus-per-task" in resources.check_threads(JOB, 1).way_out


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_cache_without_write_access_fails(tmp_path):
    tmp_path.chmod(stat.S_IRUSR | stat.S_IXUSR)
    assert resources.check_cache({"KERAS_HOME": str(tmp_path)}).status == "fail"


def test_a_cache_that_is_a_file_fails_and_a_folder_is_left_as_it_was(tmp_path):
    file = tmp_path / "file"
    file.touch()
    finding = resources.check_cache({"KERAS_HOME": str(file)})
    assert finding.status == "fail" and "KERAS_HOME" in finding.way_out
    folder = tmp_path / "folder"
    assert resources.check_cache({"KERAS_HOME": str(folder)}).status == "ok"
    assert list(folder.iterdir()) == []


def test_sample_data_may_be_absent_but_not_named_wrongly(tmp_path):
    assert software.check_sample_data({}).status == "ok"
    named = {"ARCTICDL_SAMPLE_DATA": str(tmp_path)}
    assert software.check_sample_data(named).status == "ok"
    wrong = {"ARCTICDL_SAMPLE_DATA": str(tmp_path / "absent")}
    assert software.check_sample_data(wrong).status == "warn"


def test_a_foreign_projection_database_is_named(monkeypatch):
    def broken(*_, **__):
        raise RuntimeError("proj.db contains DATABASE.LAYOUT.VERSION.MINOR = 2")

    monkeypatch.setattr("pyproj.Transformer.from_crs", broken)
    finding = software.check_projections({"PROJ_LIB": "/opt/conda/share/proj"})
    assert finding.status == "fail"
    assert finding.way_out == "unset PROJ_LIB"


def test_whole_machine_is_looked_at_and_nothing_raises(monkeypatch, capsys):
    monkeypatch.setattr(accelerator, "probe_backend", lambda _: SEEN)
    monkeypatch.setattr(accelerator, "count_gpus", lambda: 1)

    def broken(_):
        raise OSError("no such device")

    monkeypatch.setattr(resources, "check_disk", broken)
    findings = doctor.check_machine({})
    by_status = {status: [] for status in ("ok", "warn", "fail")}
    for finding in findings:
        by_status[finding.status].append(finding)
    assert len(findings) == 15
    assert any("no such device" in f.message for f in by_status["warn"])
    assert {f.name for f in by_status["ok"]} >= {"python", "packages", "gdal", "gpu"}
    text = json.dumps([finding.to_dict() for finding in findings])
    assert json.loads(text)[0]["name"] == "python"
    doctor.show(
        [*findings, Finding("odd", "fail", "a [bracket]", "pip install 'x[y]'")]
    )
    shown = capsys.readouterr().out
    assert "a [bracket]" in shown and "x[y]" in shown


def test_only_failures_stop_a_job_script():
    ok, warn, fail = (Finding("x", s, "") for s in ("ok", "warn", "fail"))
    assert doctor.exit_code([ok, warn]) == 0
    assert doctor.exit_code([ok, fail]) == 1
    assert doctor.exit_code([]) == 0


PROBE = """
import os, resource, sys
from arcticdl.doctor.allocator import keep_memory
keep_memory(["--debug", "train"])
import numpy as np
first = None
for step in range(9):
    block = np.ones(2_000_000)
    more = block + 1
    del block, more
    faults = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    first = faults if step == 1 else first
print(os.environ.get("ARCTICDL_MALLOC"), os.getpid(), faults - first)
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="not glibc")
def test_memory_that_is_kept_is_not_faulted_in_anew():
    plain = {k: v for k, v in os.environ.items() if not k.startswith("MALLOC_")}
    plain |= {"NUMPY_MADVISE_HUGEPAGE": "0"}
    found = {}
    for switch in ("", "system"):
        with subprocess.Popen(
            [sys.executable, "-c", PROBE],
            env=plain | {"ARCTICDL_MALLOC": switch},
            stdout=subprocess.PIPE,
            text=True,
        ) as process:
            told, pid, faults = process.communicate()[0].split()
        assert told == (switch or "kept")
        assert int(pid) == process.pid  # begun anew, and still the same process
        found[switch] = int(faults)
    # Seven steps of 32 MB are 57,000 pages of 4 KiB, unless they are kept.
    assert found[""] < found["system"] / 20


def test_commands_that_only_tell_are_not_begun_anew(monkeypatch):
    begun = []
    monkeypatch.setattr(allocator.os, "execve", lambda *args: begun.append(args))
    monkeypatch.setattr(allocator, "why_not", lambda: "")
    monkeypatch.delenv("ARCTICDL_MALLOC", raising=False)
    for words in ([], ["--version"], ["doctor"], ["weights", "list"]):
        allocator.keep_memory(words)
    assert not begun
    allocator.keep_memory(["--debug", "train", "x.yaml"])
    ((program, words, environ),) = begun
    assert words == [program, *sys.orig_argv[1:]]
    assert environ["MALLOC_ARENA_MAX"] == "1"
    monkeypatch.setenv("ARCTICDL_MALLOC", "kept")
    allocator.keep_memory(["train"])
    assert len(begun) == 1


@pytest.mark.parametrize(
    ("environ", "maps", "told"),
    [
        ({"ARCTICDL_MALLOC": "system"}, "", "asks for it"),
        ({"MALLOC_ARENA_MAX": "1"}, "", "MALLOC_ARENA_MAX says how"),
        ({"GLIBC_TUNABLES": "glibc.malloc.trim_threshold=1"}, "", "GLIBC_TUNABLES"),
        ({}, "7f /usr/lib/libtcmalloc.so.4", "tcmalloc is loaded"),
    ],
)
def test_an_allocator_that_was_chosen_is_left_alone(environ, maps, told, monkeypatch):
    monkeypatch.setattr(allocator.platform, "libc_ver", lambda: ("glibc", "2.36"))
    assert told in allocator.why_not(environ, maps)
    assert allocator.why_not({}, "") == ""
    kept = {"ARCTICDL_MALLOC": "kept", "MALLOC_ARENA_MAX": "1"}
    assert allocator.why_not(kept, "") == ""
    monkeypatch.setattr(allocator.platform, "libc_ver", lambda: ("", ""))
    assert "not glibc" in allocator.why_not({}, "")
