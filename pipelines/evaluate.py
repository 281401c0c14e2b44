"""Score the trained folds of a run on the scenes they did not see.

Usage: python pipelines/evaluate.py RUN [--data STORE]
"""

import sys

from arcticdl.cli import main

if __name__ == "__main__":
    sys.exit(main(["evaluate", *sys.argv[1:]]))
