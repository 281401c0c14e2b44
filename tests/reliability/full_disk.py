"""Runs a command on a disk that fills, makes room, and calls it again.

Run where file systems may be mounted, as in a user's own namespace:

    unshare -rm python full_disk.py predict --points 10 --folder DIR

What the command needs is made once; each trial works on a copy on a small tmpfs, which
has room for a part of what the command writes. It must end with one line for the user,
and every file under its final name must be the old or the new one. Then room is made,
and the same command must bring what a run on a roomy disk brings. Prints a JSON line.
"""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

from kill_points import COMMANDS, begin, contents, run

ROOMY = "1g"
STATES = ("train",)
"""Commands whose files pass through states of their own: only the end is compared."""


def mount(folder, size):
    """Mounts an empty tmpfs."""
    folder.mkdir(exist_ok=True)
    words = ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", folder]
    subprocess.run(words, check=True)


def resize(folder, size):
    """Changes a tmpfs's size, with what it holds."""
    subprocess.run(["mount", "-o", f"remount,size={size}", folder], check=True)


def used(folder):
    """Bytes that a tmpfs holds, by whole pages."""
    found = os.statvfs(folder)
    return (found.f_blocks - found.f_bfree) * found.f_frsize


def try_with(left, start, folder, words, made, wanted):
    """One trial with ``left`` bytes of room; returns what is wrong, or how it ended."""
    old = contents(start, made)
    mount(folder, ROOMY)
    try:
        shutil.copytree(start, folder, dirs_exist_ok=True)
        resize(folder, used(folder) + left)
        status, _ = run(words, folder, log=start.parent / "log.txt")
        log = (start.parent / "log.txt").read_text()
        found = contents(folder, made)
        resize(folder, ROOMY)
        again, _ = run(words, folder, log=start.parent / "again.txt")
        finished = contents(folder, made)
    finally:
        subprocess.run(["umount", "-l", folder], check=True)
    torn = [
        name
        for name, digest in found.items()
        if digest not in (old.get(name), wanted.get(name))
        and not any(p.startswith(".") or ".partial" in p for p in Path(name).parts)
    ]
    differing = sorted(
        name
        for name in wanted.keys() | finished.keys()
        if wanted.get(name) != finished.get(name)
    )
    ends = "error:" in log and "Traceback" not in log
    wrong = status not in (0, 1) or (status == 1 and not ends) or differing
    refused = again == 1 and status == 0  # all fitted: the second call may say so
    if wrong or (torn and words[0] not in STATES) or (again and not refused):
        return [left, status, again, torn[:4], differing[:4], log[-500:]]
    return status


def main():
    """Tries one command and prints what came of it."""
    options, start = begin()
    words, made = COMMANDS[options.command]
    small = options.folder / "small"
    mount(small, ROOMY)
    shutil.copytree(start, small, dirs_exist_ok=True)
    before = used(small)
    status, _ = run(words, small, log=options.folder / "log.txt")
    if status:
        raise SystemExit((options.folder / "log.txt").read_text()[-1500:])
    needed, wanted = used(small) - before, contents(small, made)
    subprocess.run(["umount", "-l", small], check=True)
    rooms = [int(needed * i / options.points) for i in range(options.points)]
    ended = [try_with(r, start, small, words, made, wanted) for r in rooms]
    failures = [end for end in ended if isinstance(end, list)]
    result = {"command": options.command, "bytes": needed, "points": len(rooms)}
    result |= {"stopped": ended.count(1), "files": len(wanted), "failures": failures}
    print(json.dumps(result))


if __name__ == "__main__":
    sys.exit(main())
