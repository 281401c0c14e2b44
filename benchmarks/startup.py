"""CPU seconds before a command does its work, beside the floor of `import keras`.

Usage: python benchmarks/startup.py [--rounds 5]

Runs each line in a process of its own, all of them in turn, and prints the median of
user and system time, its ratio to `import keras`, and which heavy packages were loaded.
"""

import argparse
import resource
import statistics
import subprocess
import sys

HEAVY = (
    "keras", "tensorflow", "sklearn", "scipy", "matplotlib", "geopandas", "pandas",
    "xarray", "rasterio", "zarr", "tensorstore",
)  # fmt: skip

TELL = (
    "import atexit, sys; atexit.register(lambda: print('LOADED', *(m for m in "
    f"{HEAVY} if m in sys.modules), file=sys.stderr)); "
)

STORE = (
    "from arcticdl import tiles; tiles.open_store, tiles.prepare, tiles.Normalizer, "
    "tiles.audit_folds, tiles.SPLITTERS['group'](5)"
)

LINES = {
    "import keras": "import keras",
    "import arcticdl": "import arcticdl",
    "tiles: stores, splitters, audit": STORE,
    "arcticdl --help": ["--help"],
    "arcticdl train --help": ["train", "--help"],
    "arcticdl weights list": ["weights", "list"],
    "arcticdl doctor": ["doctor"],
    "prepare, no such file": ["prepare", "nowhere.yaml"],
    "train, no such file": ["train", "nowhere.yaml"],
    "evaluate, no such run": ["evaluate", "nowhere"],
    "predict, no such run": ["predict", "nowhere", "scene.tif"],
    "export, no such run": ["export", "nowhere"],
    "calibrate, no such run": ["calibrate", "nowhere"],
    "suggest, no such run": ["suggest", "nowhere", "scene.tif"],
    "check, no such store": ["check", "nowhere.tiles"],
    "report, no such run": ["report", "nowhere"],
}


def spend(line):
    """CPU seconds of a line, and the heavy packages it loaded."""
    code = line
    if isinstance(line, list):
        code = (
            f"import runpy; sys.argv = {['arcticdl', *line]!r}; "
            "runpy.run_module('arcticdl.cli', run_name='__main__')"
        )
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    told = subprocess.run(
        [sys.executable, "-c", TELL + code], capture_output=True, text=True
    )
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    loaded = [t for t in told.stderr.splitlines() if t.startswith("LOADED")][-1]
    spent = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return spent, loaded.split()[1:]


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    spent, loaded = {name: [] for name in LINES}, {}
    for _ in range(options.rounds):
        for name, line in LINES.items():
            seconds, loaded[name] = spend(line)
            spent[name].append(seconds)
    floor = statistics.median(spent["import keras"])
    print("| line | CPU s | of `import keras` | loads |\n|---|---|---|---|")
    for name, values in spent.items():
        middle = statistics.median(values)
        said = ", ".join(loaded[name]) or "nothing heavy"
        print(f"| `{name}` | {middle:.2f} | {middle / floor:.2f} | {said} |")


if __name__ == "__main__":
    main()
