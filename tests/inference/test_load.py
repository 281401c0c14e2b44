"""Models from files: everything of ours is known, and what is not is named."""

import subprocess
import sys

import keras
import numpy as np
import pytest

from arcticdl import losses, metrics
from arcticdl.inference import load_model


@pytest.fixture
def path(tmp_path):
    inputs = keras.Input((4, 4, 2))
    model = keras.Model(inputs, keras.layers.Conv2D(3, 1)(inputs))
    loss = losses.DiceFocal()
    measures = [metrics.MeanIoU(num_classes=3), metrics.PooledLoss(loss)]
    model.compile("sgd", loss, metrics=measures)
    label = np.zeros((2, 4, 4), "uint8")
    model.fit(np.zeros((2, 4, 4, 2), "float32"), label, verbose=0)
    model.save(tmp_path / "model.keras")
    return tmp_path / "model.keras"


def test_a_fresh_process_loads_a_compiled_model(path):
    code = (
        "from arcticdl.inference import load_model\n"
        f"model = load_model({str(path)!r}, compile=True)\n"
        "assert model.loss.name == 'dice_focal', model.loss"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert found.returncode == 0, found.stderr


def test_damaged_files_are_refused(path):
    whole = path.read_bytes()
    for content in (b"", b"no model", whole[: len(whole) // 2]):
        path.write_bytes(content)
        with pytest.raises(ValueError, match="cannot be read as a Keras model"):
            load_model(path)


def test_a_class_that_nobody_imported_is_named(path):
    class Strange(keras.layers.Layer):
        def call(self, x):
            return x

    inputs = keras.Input((2,))
    keras.Model(inputs, Strange()(inputs)).save(path)
    with pytest.raises(ValueError, match=r"'Strange'.*Import the package"):
        load_model(path)
