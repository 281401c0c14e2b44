"""Models from files: every registered class is known, also in a fresh process."""

import re
import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pytest

import arcticdl
from arcticdl.inference.load import register_classes
from arcticdl.models import build_segmenter

ROOT = Path(arcticdl.__file__).parent


def test_every_class_with_a_registered_name_is_registered():
    register_classes()
    decorated = re.compile(
        r'register_keras_serializable\(package="arcticdl"\)\n(?:class|def) (\w+)'
    )
    names = {
        name
        for package in ("augment", "losses", "metrics", "models")
        for path in (ROOT / package).rglob("*.py")
        for name in decorated.findall(path.read_text())
    }
    assert {
        "Card",
        "ConvLstm",
        "DeviceAugment",
        "Dice",
        "MeanIoU",
        "SwinBlock",
    } <= names
    known = keras.saving.get_custom_objects()
    assert not {name for name in names if f"arcticdl>{name}" not in known}


def test_a_bare_file_gives_the_same_logits_in_a_fresh_process(tmp_path):
    model = build_segmenter(
        "swin_t",
        "upernet",
        bands=["HH", "HV"],
        num_classes=3,
        backbone_options={"width": 8, "depths": (1,) * 4, "num_heads": (1,) * 4},
        decoder_options={"channels": 8},
    )
    image = np.random.default_rng(0).normal(size=(1, 40, 33, 2)).astype("float32")
    model.save(tmp_path / "best.keras")
    np.save(tmp_path / "image.npy", image)
    code = (
        "import arcticdl, numpy as np\n"
        "model = arcticdl.load_model('best.keras')\n"
        "np.save('logits.npy', model.predict(np.load('image.npy'), verbose=0))"
    )
    found = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True
    )
    assert found.returncode == 0, found.stderr
    logits = np.load(tmp_path / "logits.npy")
    np.testing.assert_array_equal(logits, model.predict(image, verbose=0))


def test_what_is_no_model_is_refused(tmp_path):
    (tmp_path / "text.keras").write_text("no model")
    with pytest.raises(ValueError, match="cannot be read as a Keras model"):
        arcticdl.load_model(tmp_path / "text.keras")
    with pytest.raises(FileNotFoundError, match="No such model"):
        arcticdl.load_model(tmp_path / "none.keras")
