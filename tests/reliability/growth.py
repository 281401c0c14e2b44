"""Watches a command's memory, threads and open files while it repeats its work.

    python growth.py train --times 50 --folder DIR      # epochs
    python growth.py predict --times 50 --folder DIR    # maps, in one call

Linux's own counts of the process are read ten times a second. Prints one JSON line with
the median of each fifth of the time; in the first two all is still being compiled.
"""

import argparse
import json
import os
import shutil
import statistics
import sys
import time
from pathlib import Path

from kill_points import BEFORE, COMMANDS, CONFIG, load_commands, must_run

INTERVAL_S = 0.1


def make_start(folder, command, times):
    """Writes scenes and a configuration, and runs what must come before."""
    from arcticdl.simulate import ICE_TYPES, simulate_scenes

    folder.mkdir(parents=True)
    simulate_scenes(folder / "scenes", num_scenes=3, size_px=64, seed=0)
    config = CONFIG.format(classes=json.dumps(ICE_TYPES))
    epochs = times if command == "train" else 1
    config = config.replace("epochs: 2", f"epochs: {epochs}")
    (folder / "config.yaml").write_text(config)
    for step in BEFORE[command]:
        must_run(COMMANDS[step][0], folder)


def words_of(command, folder, times):
    """The command that repeats its work so often."""
    if command == "train":
        return ["train", "config.yaml", "--fold", "0"]
    first = sorted((folder / "scenes").glob("*[0-9].tif"))[0]
    (folder / "new").mkdir()
    names = [f"new/scene_{number:03d}.tif" for number in range(times)]
    for name in names:
        shutil.copy(first, folder / name)
    return ["predict", "runs/trial", *names, "-o", "maps"]


def sample(process):
    """Resident MiB, threads and open files of a process."""
    status = Path(f"/proc/{process}/status").read_text()
    fields = dict(line.split(":", 1) for line in status.splitlines())
    resident = int(fields["VmRSS"].split()[0]) / 1024
    return resident, int(fields["Threads"]), len(os.listdir(f"/proc/{process}/fd"))


def watch(words, folder):
    """Runs a command in a child; returns its status, and samples over its time."""
    child = os.fork()
    if child == 0:
        os.chdir(folder)
        log = os.open("log.txt", os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        os.dup2(log, 1)
        os.dup2(log, 2)
        from arcticdl.cli import main

        os._exit(main(words))
    samples = []
    while True:
        ended, status = os.waitpid(child, os.WNOHANG)
        if ended:
            return os.waitstatus_to_exitcode(status), samples
        try:
            samples.append(sample(child))
        except (OSError, KeyError):  # it ends at this moment
            continue
        time.sleep(INTERVAL_S)


def main():
    """Watches one command and prints what it held."""
    parser = argparse.ArgumentParser()
    parser.add_argument("command", choices=["train", "predict"])
    parser.add_argument("--times", type=int, default=10)
    parser.add_argument("--folder", type=Path, required=True)
    options = parser.parse_args()
    load_commands()
    start = options.folder / "start"
    make_start(start, options.command, options.times)
    words = words_of(options.command, start, options.times)
    status, samples = watch(words, start)
    if status:
        raise SystemExit((start / "log.txt").read_text()[-1500:])
    fifth = len(samples) // 5
    parts = [samples[k * fifth : (k + 1) * fifth] for k in range(5)]
    held = {
        name: [round(statistics.median(s[i] for s in part)) for part in parts]
        for i, name in enumerate(("resident_mib", "threads", "files"))
    }
    left = [str(p.relative_to(start)) for p in start.rglob(".part*")]
    result = {"command": options.command, "times": options.times, "left": left}
    print(json.dumps(result | {"samples": len(samples)} | held))


if __name__ == "__main__":
    sys.exit(main())
