"""What keeping freed memory is worth to each command, beside other allocators.

    python benchmarks/allocator.py [--rounds 5] [--commands prepare train ...]
    python benchmarks/allocator.py --commands train --preload LIBRARY

Simulates the demo (six scenes of 512 px, a U-Net of 7.9 million weights) in a folder
that goes away, then runs each command in a process of its own: as the C library comes
(``ARCTICDL_MALLOC=system``), with memory kept as the commands do it, and with each
library that is preloaded. The ways take turns in every round; medians are printed.
"""

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

CONFIG = Path(__file__).parents[1] / "configs" / "demo.yaml"
SHORT = ["--set", "train.epochs=1", "--set", "train.repeats=3"]
COMMANDS = {
    "prepare": ["prepare", str(CONFIG), "--overwrite"],
    "train": ["train", str(CONFIG), "--fold", "1", "--overwrite", *SHORT],
    "evaluate": ["evaluate", "runs/demo", "--fold", "1"],
    "predict": [
        "predict",
        "runs/demo",
        "data/demo/SCENE",
        "--fold",
        "1",
        "--overwrite",
    ],
}


def spend(words: list[str], environ: dict[str, str]) -> tuple[float, ...]:
    """User, system and wall seconds, page faults and MiB of memory of a command."""
    started = time.perf_counter()
    child = subprocess.Popen(
        [sys.executable, "-m", "arcticdl.cli", *words],
        env=environ,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
    )
    said = child.stderr.read()
    _, status, used = os.wait4(child.pid, 0)
    if status:
        raise SystemExit(f"{' '.join(words)}: {said.decode()[-2000:]}")
    wall = time.perf_counter() - started
    return used.ru_utime, used.ru_stime, wall, used.ru_minflt, used.ru_maxrss / 1024


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument(
        "--commands", nargs="+", choices=COMMANDS, default=list(COMMANDS)
    )
    parser.add_argument("--preload", nargs="*", default=[], metavar="LIBRARY")
    options = parser.parse_args()
    bare = {k: v for k, v in os.environ.items() if not k.startswith("MALLOC_")}
    bare |= {"PYTHONPATH": str(CONFIG.parents[1])}
    ways = {"as it comes": {"ARCTICDL_MALLOC": "system"}, "kept": {}}
    ways |= {Path(file).name: {"LD_PRELOAD": file} for file in options.preload}
    spent = {}
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        demo = ["simulate", "data/demo", "--scenes", "6", "--size", "512"]
        spend(demo, bare)
        for name in ("prepare", "train"):
            spend(COMMANDS[name], bare)
        scene = min(Path("data/demo").glob("*[0-9].tif")).name
        for number in range(options.rounds):
            for way, extra in ways.items():
                # All commands of a way in a row: `evaluate` keeps what it finds done.
                for name in options.commands:
                    words = [word.replace("SCENE", scene) for word in COMMANDS[name]]
                    spent.setdefault((name, way), []).append(
                        spend(words, {**bare, **extra})
                    )
            print(f"round {number + 1} of {options.rounds}", file=sys.stderr)
    print("| command | memory | user s | system s | wall s | faults | peak MiB |")
    print("|---|---|---|---|---|---|---|")
    for name, way in sorted(spent, key=lambda both: options.commands.index(both[0])):
        user, system, wall, faults, peak = map(
            statistics.median, zip(*spent[name, way], strict=True)
        )
        print(
            f"| `{name}` | {way} | {user:.1f} | {system:.2f} | {wall:.1f} "
            f"| {faults:,.0f} | {peak:.0f} |"
        )


if __name__ == "__main__":
    main()
