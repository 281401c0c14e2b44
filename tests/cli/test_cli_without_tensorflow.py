"""On JAX nothing asks for TensorFlow: the whole chain, with its import refused."""

import importlib.util
import os
import subprocess
import sys

import pytest

pytestmark = pytest.mark.backend

REFUSE = """
import sys

class Refuse:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in ("tensorflow", "tensorflow_text", "tf_keras"):
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

sys.meta_path.insert(0, Refuse())
"""

CHAIN = """
import sys
from arcticdl.cli import main

config, *words = sys.argv[1:]
for line in [
    ["simulate", "data/demo", "--scenes", "2", "--size", "64"],
    ["prepare", config, *words],
    ["train", config, "--fold", "0", *words],
    ["evaluate", "runs/demo"],
    ["predict", "runs/demo", "--fold", "0"],
    ["report", "runs/demo"],
]:
    assert main(line) == 0, line
import keras
assert keras.backend.backend() == "jax" and "tensorflow" not in sys.modules
"""

TINY = (
    "model={backbone: plain, options: {backbone_options: {width: 4, depth: 2}, "
    "decoder_options: {channels: [8, 4]}}}",
    "train={batch_size: 2, epochs: 1, augment: [{name: vflip}], ema: 0.9}",
    "tiles.size_px=32",
    "folds={n_splits: 2}",
    "predict={overlap_px: 8}",
    "baselines=false",
)


@pytest.mark.skipif(
    importlib.util.find_spec("jax") is None, reason="needs JAX: make test-jax"
)
def test_the_chain_runs_on_jax_where_tensorflow_cannot_be_imported(
    tmp_path, project_root
):
    (tmp_path / "sitecustomize.py").write_text(REFUSE)
    paths = [str(tmp_path), str(project_root)]
    words = [word for text in TINY for word in ("--set", text)]
    config = str(project_root / "configs" / "demo.yaml")
    done = subprocess.run(
        [sys.executable, "-c", CHAIN, config, *words],
        cwd=tmp_path,
        env={
            **os.environ,
            "KERAS_BACKEND": "jax",
            "PYTHONPATH": os.pathsep.join(paths),
        },
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-4000:]
    assert list((tmp_path / "runs" / "demo" / "maps").glob("*.tif"))
    assert (tmp_path / "runs" / "demo" / "report.html").is_file()
    assert list((tmp_path / "runs/demo/fold0/tensorboard/train").glob("events.*"))
