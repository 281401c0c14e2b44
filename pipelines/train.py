"""Train one fold, or all of them.

Usage: python pipelines/train.py CONFIG [--fold K | --fold all] [--resume]
"""

import sys

from arcticdl.cli import main

if __name__ == "__main__":
    sys.exit(main(["train", *sys.argv[1:]]))
