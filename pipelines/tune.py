"""Search settings; several such processes work side by side on one study.

Usage: python pipelines/tune.py CONFIG --trials N [--sampler tpe] [--storage URL]
"""

import sys

from arcticdl.cli import main

if __name__ == "__main__":
    sys.exit(main(["tune", *sys.argv[1:]]))
