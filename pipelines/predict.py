"""Map whole scenes with a trained run.

Usage: python pipelines/predict.py RUN INPUT... -o OUT [--fold K]
"""

import sys

from arcticdl.cli import main

if __name__ == "__main__":
    sys.exit(main(["predict", *sys.argv[1:]]))
