"""What else a training does, where devices share every batch: resume, watch, stop."""

import importlib.util

import numpy as np
import pandas as pd
import pytest
from starting import begin, finish, interrupt, train, weights_of

NO_JAX = pytest.mark.skipif(
    importlib.util.find_spec("jaxlib") is None,
    reason="JAX is not installed (make test-devices)",
)
BACKENDS = ["tensorflow", pytest.param("jax", marks=NO_JAX)]
LONG = {
    "tensorflow": ("train.epochs=30", "train.ema=0.9"),
    "jax": ("train.epochs=30", "train.ema=0.9", "train.jit_compile=true"),
}


@pytest.mark.devices
@pytest.mark.parametrize("backend", BACKENDS)
def test_two_devices_resume_to_the_bit(prepared, backend):
    whole, _ = train(prepared, "whole", 2, *LONG[backend], backend=backend)
    process, fold_dir = begin(prepared, "stopped", 2, *LONG[backend], backend=backend)
    interrupt(process, fold_dir / "checkpoint")
    status, said = finish(process)
    assert status == 75, said
    assert not (fold_dir / "model.keras").exists()
    train(prepared, "stopped", 2, *LONG[backend], backend=backend, resume=True)
    for name, values in weights_of(whole).items():
        np.testing.assert_array_equal(weights_of(fold_dir)[name], values)
    history = (fold_dir / "history.csv").read_text()
    assert history == (whole / "history.csv").read_text()


@pytest.mark.devices
@pytest.mark.parametrize("backend", BACKENDS)
def test_gradients_are_those_of_one_device(prepared, backend):
    watch = "train.callbacks=[{name: gradients}]"
    one, two = (
        train(prepared, "watch", count, watch, backend=backend)[0] for count in (1, 2)
    )
    expected, found = (
        pd.read_csv(fold / "gradients" / "gradients.csv") for fold in (one, two)
    )
    assert found["group"].tolist() == expected["group"].tolist()
    np.testing.assert_allclose(found["ratio"], expected["ratio"], rtol=5e-3)


@pytest.mark.devices
@pytest.mark.parametrize("backend", BACKENDS)
def test_two_devices_that_diverge_try_each_tile_alone(prepared, backend):
    wrong = ("train.learning_rate=1e30", "train.clip_norm=null")
    process, fold_dir = begin(prepared, "diverged", 2, *wrong, backend=backend)
    status, said = finish(process)
    assert status == 1
    assert "each of them has a loss, so the training diverged" in said
    assert (fold_dir / "last_good.keras").exists()
