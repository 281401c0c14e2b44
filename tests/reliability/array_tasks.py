"""Starts the array tasks of one run together, again and again, and compares them.

    python array_tasks.py --rounds 100 --folder DIR

Three tasks train a fold each, and a fourth asks for the fold of the first. Of the two
on one fold one must train and one be told why not, whoever comes first; every fold's
files must be as when it was trained alone. Prints one JSON line.
"""

import argparse
import json
import multiprocessing
import os
import shutil
import sys
from pathlib import Path

from kill_points import COMMANDS, contents, load_commands, make_start, must_run

FOLDS = (0, 1, 2, 0)
TAKEN = ("training", "interrupted", "is trained")
fork = multiprocessing.get_context("fork")


def train(folder, fold):
    """The words of one task."""
    return ["train", "config.yaml", "--fold", str(fold)]


def task(folder, number, barrier):
    """One array task: ends with the command's status."""
    os.chdir(folder)
    log = os.open(f"task{number}.txt", os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    os.dup2(log, 1)
    os.dup2(log, 2)
    from arcticdl.cli import main

    barrier.wait(60)
    os._exit(main(train(folder, FOLDS[number])))


def run_together(folder):
    """Starts all tasks at one moment; returns their statuses and what they said."""
    barrier = fork.Barrier(len(FOLDS))
    tasks = [
        fork.Process(target=task, args=(folder, number, barrier))
        for number in range(len(FOLDS))
    ]
    for each in tasks:
        each.start()
    for each in tasks:
        each.join()
    logs = [(folder / f"task{i}.txt").read_text() for i in range(len(FOLDS))]
    return [each.exitcode for each in tasks], logs


def judge(statuses, logs, found, wanted):
    """What is wrong with a round, or nothing."""
    if statuses[1:3] != [0, 0] or sorted([statuses[0], statuses[3]]) != [0, 1]:
        return [statuses, [log[-400:] for log in logs]]
    told = logs[0 if statuses[0] else 3]
    if not any(word in told for word in TAKEN):
        return ["told", told[-400:]]
    differing = sorted(
        name
        for name in wanted.keys() | found.keys()
        if wanted.get(name) != found.get(name)
    )
    return differing


def main():
    """Tries it as often as asked, and prints what came of it."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--folder", type=Path, required=True)
    options = parser.parse_args()
    load_commands()
    start, alone = options.folder / "start", options.folder / "alone"
    make_start(start, "train")
    made = COMMANDS["train"][1]
    shutil.copytree(start, alone)
    for fold in sorted(set(FOLDS)):
        must_run(train(alone, fold), alone)
    wanted = contents(alone, made)
    failures = []
    for _ in range(options.rounds):
        trial = options.folder / "trial"
        shutil.rmtree(trial, ignore_errors=True)
        shutil.copytree(start, trial)
        statuses, logs = run_together(trial)
        wrong = judge(statuses, logs, contents(trial, made), wanted)
        if wrong:
            failures.append(wrong)
    result = {"rounds": options.rounds, "files": len(wanted), "failures": failures}
    print(json.dumps(result))


if __name__ == "__main__":
    sys.exit(main())
