"""Ends a command at many of its file operations, calls it again, compares the results.

Run with the counting library preloaded (see ``test_killed_anywhere.py``):

    LD_PRELOAD=killpoints.so python kill_points.py prepare --points 100 --folder DIR

What the command needs is made once; each trial works on a copy. A child process runs
the command and is killed at the chosen operation, whichever library makes it; then the
same command runs again to its end, and every file must be as after a run that nothing
interrupted. Prints one JSON line with what came of it.
"""

import argparse
import ctypes
import hashlib
import io
import json
import os
import re
import shutil
import signal
import sys
import zipfile
from pathlib import Path

CONFIG = """
name: trial
data:
  scenes: scenes/*[0-9].tif
  labels:
    ice: {{classes: {classes}, file: {{replace: {{".tif": "_labels.tif"}}}}}}
tiles: {{size_px: 32}}
folds: {{n_splits: 3}}
model:
  backbone: plain
  options:
    backbone_options: {{width: 4, depth: 3}}
    decoder_options: {{channels: [4, 4, 4]}}
predict: {{line: young_ice}}
train: {{batch_size: 4, epochs: 2, jit_compile: false, augment: [{{name: hflip}}]}}
"""
COMMANDS = {
    "prepare": (["prepare", "config.yaml"], ["data"]),
    "train": (["train", "config.yaml", "--fold", "0", "--resume"], ["runs"]),
    "predict": (["predict", "runs/trial", "--resume"], ["runs/trial/maps"]),
    "export": (
        ["export", "runs/trial", "-o", "model.onnx", "--overwrite"],
        ["model.onnx"],
    ),
    "report": (["report", "runs/trial"], ["runs/trial"]),
    "evaluate": (["evaluate", "runs/trial"], ["runs/trial"]),
    "simulate": (
        ["simulate", "made", "--scenes", "2", "--size", "64", "--charts"],
        ["made"],
    ),
    "simulate-ai4arctic": (
        ["simulate", "made", "--scenes", "2", "--size", "64", "--schema", "ai4arctic"],
        ["made"],
    ),
}
"""Command -> its words, and the files and folders that it makes."""

BEFORE = {
    "prepare": [],
    "train": ["prepare"],
    "predict": ["prepare", "train"],
    "export": ["prepare", "train"],
    "report": ["prepare", "train", "evaluate"],
    "evaluate": ["prepare", "train"],
    "simulate": [],
    "simulate-ai4arctic": [],
}
"""Command -> what must have run before."""

VARYING = ("environment.json", "speed.csv")
"""Files that hold a process number, or how long something took."""

library = ctypes.CDLL(None)


def run(words, folder, kill_at=None, log=None):
    """Runs a command in a child; returns its status and its number of operations."""
    receive, send = os.pipe()
    child = os.fork()
    if child == 0:
        status = 70
        try:
            os.close(receive)
            os.chdir(folder)
            quiet = os.open(os.devnull, os.O_WRONLY)
            said = log or folder / "log.txt"
            os.dup2(quiet, 1)
            os.dup2(os.open(said, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), 2)
            from arcticdl.cli import main

            counts = hasattr(library, "killpoints_arm")  # it is preloaded
            if counts:
                library.killpoints_arm(kill_at or 0)
            status = main(words)
            if counts:
                count = library.killpoints_count()
                library.killpoints_arm(0)
                os.write(send, str(count).encode())
        finally:
            os._exit(status)
    os.close(send)
    with os.fdopen(receive, "rb") as pipe:
        told = pipe.read()
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    return status, int(told or 0)


def must_run(words, folder):
    """Runs a command to its end."""
    status, count = run(words, folder)
    if status:
        log = (folder / "log.txt").read_text()[-1500:]
        raise SystemExit(f"{words} ended with {status}:\n{log}")
    return count


def make_start(folder, command):
    """Makes everything that a command needs."""
    from arcticdl.simulate import ICE_TYPES, simulate_scenes

    folder.mkdir(parents=True)
    simulate_scenes(folder / "scenes", num_scenes=3, size_px=64, seed=0)
    (folder / "config.yaml").write_text(CONFIG.format(classes=json.dumps(ICE_TYPES)))
    for step in BEFORE[command]:
        words = ["evaluate", "runs/trial"] if step == "evaluate" else COMMANDS[step][0]
        must_run(words, folder)
    (folder / "log.txt").unlink(missing_ok=True)


def contents(folder, made):
    """Name -> digest of every file that a command made, and of nothing that varies.

    TensorBoard's files have their time in the name, and each start adds one: of those
    it is said whether there are any.
    """
    found = {}
    for name in made:
        top = folder / name
        for path in [top, *sorted(top.rglob("*"))] if top.exists() else []:
            if path.name.startswith("events.out.tfevents"):
                found[str(path.parent.relative_to(folder))] = "curves"
            elif path.is_file() and path.suffix != ".lock":
                found[str(path.relative_to(folder))] = digest(path)
    return found


def digest(path):
    """Digest of a file; of archives without their times, of logs without seconds."""
    data = path.read_bytes()
    if path.suffix in (".keras", ".npz") or data[:2] == b"PK":
        archive = zipfile.ZipFile(io.BytesIO(data))
        parts = [(n, digest_member(n, archive.read(n))) for n in archive.namelist()]
        return hashlib.sha256(repr(parts).encode()).hexdigest()
    if path.name == "history.csv":
        return hashlib.sha256(without_seconds(data).encode()).hexdigest()
    if path.name in VARYING:
        return "varies"
    if path.suffix == ".onnx":
        return digest_onnx(path)
    if path.suffix == ".nc":
        return digest_member("data.h5", data)
    if path.suffix == ".gpkg":
        return digest_layers(path)
    return hashlib.sha256(data).hexdigest()


def digest_member(name, data):
    """Digest of a member of an archive; of HDF5 the numbers alone, not the times."""
    if name == "metadata.json":
        return "varies"
    if not name.endswith(".h5"):
        # Keras writes the addresses of objects that several layers share.
        data = re.sub(rb'"shared_object_id": \d+', b"", data)
        return hashlib.sha256(data).hexdigest()
    import h5py
    import numpy as np

    total = hashlib.sha256()
    with h5py.File(io.BytesIO(data)) as file:

        def visit(path, node):
            if isinstance(node, h5py.Dataset):
                numbers = np.ascontiguousarray(node[()])
                is_text = numbers.dtype.kind == "O"
                data = repr(numbers.tolist()).encode() if is_text else numbers.tobytes()
                total.update(path.encode() + data)

        file.visititems(visit)
    return total.hexdigest()


def digest_onnx(path):
    """Digest of a network's kinds of operation and numbers; names may differ."""
    import onnx

    graph = onnx.load(path).graph
    numbers = sorted(hashlib.sha256(t.raw_data).hexdigest() for t in graph.initializer)
    kinds = sorted(node.op_type for node in graph.node)
    return hashlib.sha256(repr((kinds, numbers)).encode()).hexdigest()


def digest_layers(path):
    """Digest of a GeoPackage's features; the file itself holds the time."""
    import pyogrio

    layers = sorted(name for name, _ in pyogrio.list_layers(path))
    tables = [pyogrio.read_dataframe(path, layer=name) for name in layers]
    parts = [(str(t.crs), t.to_wkt().to_csv()) for t in tables]
    return hashlib.sha256(repr((layers, parts)).encode()).hexdigest()


def without_seconds(data):
    """A history without the columns that tell time."""
    rows = [line.split(",") for line in data.decode().splitlines()]
    kept = [i for i, name in enumerate(rows[0]) if "second" not in name]
    return "\n".join(",".join(row[i] for i in kept) for row in rows)


def points_of(count, number):
    """Operations to be killed at, spread over nearly all: threads vary their number."""
    last = max(int(0.9 * count), 1)
    chosen = {1 + round(i * (last - 1) / max(number - 1, 1)) for i in range(number)}
    return sorted(chosen)


def load_commands():
    """Imports what the commands need, once, before any child is forked."""
    import arcticdl.cli
    import arcticdl.experiment

    for name in ("prepare", "train", "predict", "export", "evaluate"):
        getattr(arcticdl.experiment, name)


def begin():
    """Reads the words of a trial, and makes what its command needs.

    Returns:
        What was asked for, and the folder to start from.
    """
    parser = argparse.ArgumentParser()
    parser.add_argument("command", choices=sorted(COMMANDS))
    parser.add_argument("--points", type=int, default=5)
    parser.add_argument("--folder", type=Path, required=True)
    options = parser.parse_args()
    load_commands()
    start = options.folder / "start"
    make_start(start, options.command)
    return options, start


def main():
    """Tries one command and prints what came of it."""
    options, start = begin()
    words, made = COMMANDS[options.command]
    whole = options.folder / "whole"
    shutil.copytree(start, whole)
    count = must_run(words, whole)
    wanted = contents(whole, made)
    failures = []
    for point in points_of(count, options.points):
        trial = options.folder / "trial"
        shutil.rmtree(trial, ignore_errors=True)
        shutil.copytree(start, trial)
        killed, _ = run(words, trial, kill_at=point)
        again, _ = run(words, trial)
        found = contents(trial, made)
        differing = sorted(
            name
            for name in wanted.keys() | found.keys()
            if wanted.get(name) != found.get(name)
        )
        log = (trial / "log.txt").read_text()[-600:]
        # Killed after the last rename, all is there: the second call may say so.
        refused = again == 1 and "exist" in log
        if killed != -signal.SIGKILL or (again and not refused) or differing:
            failures.append([point, killed, again, differing[:6], log])
    tried = len(points_of(count, options.points))
    result = {"command": options.command, "operations": count, "points": tried}
    print(json.dumps(result | {"files": len(wanted), "failures": failures}))


if __name__ == "__main__":
    sys.exit(main())
