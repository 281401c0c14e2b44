"""Cut the scenes of a configuration into a tile store.

Usage: python pipelines/prepare.py CONFIG [--set KEY.PATH=VALUE] [--overwrite]
"""

import sys

from arcticdl.cli import main

if __name__ == "__main__":
    sys.exit(main(["prepare", *sys.argv[1:]]))
