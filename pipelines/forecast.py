"""Forecast with a trained run, beside all that needs no network.

Usage: python pipelines/forecast.py RUN [--fold K] [--out FOLDER]
"""

import sys

from arcticdl.cli import main

if __name__ == "__main__":
    sys.exit(main(["forecast", *sys.argv[1:]]))
