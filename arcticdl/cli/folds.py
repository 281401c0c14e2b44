"""Folds in processes of their own, so that no memory adds up."""

import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from arcticdl.config import Experiment, dump_config


def train_each(
    config: Experiment, folder: Path, folds: Sequence[int | str], *, overwrite: bool
) -> int:
    """Runs ``arcticdl train`` for one fold after the other.

    Args:
        config: The checked experiment.
        folder: Run folder.
        folds: Numbers of the folds.
        overwrite: Whether they replace what an earlier call wrote.

    Returns:
        The first exit status that is not 0, after which no further fold is begun.
    """
    with tempfile.TemporaryDirectory() as temporary:
        path = Path(temporary) / "config.yaml"
        path.write_text(dump_config(config), encoding="utf-8")
        for fold in folds:
            command = [sys.executable, "-m", "arcticdl.cli", "train", str(path)]
            command += ["--fold", str(fold), "--run-dir", str(folder)]
            command += ["--overwrite"] if overwrite else ["--resume"]
            status = subprocess.run(command, check=False).returncode
            if status:
                return status
    return 0
