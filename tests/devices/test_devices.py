"""Several devices give what one device gives, whatever is void where."""

import importlib.util
import json
from types import SimpleNamespace

import numpy as np
import pytest
from starting import finish, read_history, start, train, weights_of

from arcticdl.errors import ConfigError
from arcticdl.training.devices import placement

NO_JAX = pytest.mark.skipif(
    importlib.util.find_spec("jaxlib") is None,
    reason="JAX is not installed (make test-devices)",
)
BACKENDS = ["tensorflow", pytest.param("jax", marks=NO_JAX)]
TOLERANCE = 2e-6
"""Of one step, relative: float32 sums in another order."""


def differences(*words, backend, cwd, **environ):
    process = start("laws.py", *words, backend=backend, cwd=cwd, **environ)
    status, said = finish(process)
    assert status == 0, said
    return json.loads(said.splitlines()[-1])


def test_losses_under_two_replicas_divide_by_all_that_is_scored(tmp_path):
    names = ["Crossentropy weighted", "DiceFocal weighted", "Dice sum", "Huber"]
    found = differences("losses", *names, backend="tensorflow", cwd=tmp_path)
    assert set(found) == set(names)
    assert max(found.values()) < TOLERANCE, found


@pytest.mark.devices
@pytest.mark.parametrize("backend", BACKENDS)
def test_every_loss_has_the_value_and_gradient_of_one_device(backend, tmp_path):
    found = differences("losses", backend=backend, cwd=tmp_path)
    assert len(found) > 30
    assert max(found.values()) < TOLERANCE, found


@pytest.mark.devices
def test_a_strategy_that_sums_by_copies_serves_as_well(tmp_path):
    found = differences(
        "losses",
        backend="tensorflow",
        cwd=tmp_path,
        SUMS_BY="HierarchicalCopyAllReduce",
    )
    assert max(found.values()) < TOLERANCE, found


@pytest.mark.devices
def test_collectives_that_would_wait_for_each_other_are_refused(tmp_path):
    process = start(
        "laws.py",
        *("losses", "Huber"),
        backend="tensorflow",
        cwd=tmp_path,
        SUMS_BY="default",
    )
    status, said = finish(process)
    assert status == 1
    assert "The strategy must sum by copies" in said


@pytest.mark.devices
def test_every_metric_adds_up_over_replicas(tmp_path):
    found = differences("metrics", backend="tensorflow", cwd=tmp_path)
    assert len(found) > 15
    assert max(found.values()) < TOLERANCE, found


TWO_HEADS = "heads={ice: {}, twin: {loss: {name: Crossentropy}}}"
RECIPES = {
    "plain": (),
    "gradnorm": (
        TWO_HEADS,
        "label=null",
        "loss=null",
        "train.head_weights={name: gradnorm}",
    ),
    "uncertainty": (
        TWO_HEADS,
        "label=null",
        "loss=null",
        "train.head_weights={name: uncertainty}",
    ),
    "ema": (
        "train.ema=0.9",
        "train.remat=true",
        "train.callbacks=[{name: images, options: {every: 1}}]",
    ),
}
ON_JAX = {
    "accumulate": ("train.accumulate=2", "train.jit_compile=true"),
    "ranking": ("loss={name: LovaszSoftmax}", "train.jit_compile=true"),
}


@pytest.mark.devices
@pytest.mark.parametrize(
    ("backend", "recipe"),
    [("tensorflow", name) for name in RECIPES]
    + [pytest.param("jax", name, marks=NO_JAX) for name in RECIPES | ON_JAX],
)
def test_a_training_on_two_devices_is_that_on_one(prepared, backend, recipe):
    settings = (RECIPES | ON_JAX)[recipe]
    one, _ = train(prepared, recipe, 1, *settings, backend=backend)
    two, said = train(prepared, recipe, 2, *settings, backend=backend)
    assert "devices: 2 cpu, each with a part of every batch" in said
    for name, values in read_history(one).items():
        # Keras weighs batches of a validation by their tiles, void ones that fill the
        # last batch up included.
        rtol = 1e-2 if name.startswith("val") and name.endswith("loss") else 2e-3
        np.testing.assert_allclose(
            read_history(two)[name], values, rtol=rtol, atol=1e-4
        )
    several = weights_of(two)
    for name, values in weights_of(one).items():
        np.testing.assert_allclose(several[name], values, rtol=2e-3, atol=2e-4)


def test_more_devices_than_there_are_are_refused():
    with pytest.raises(ConfigError, match=r"not be more than the backend sees.* 99"):
        placement.place(99)


def test_a_batch_that_devices_cannot_share_evenly_is_refused():
    with pytest.raises(ConfigError, match=r"9 tiles for 4 devices. Take 8"):
        placement.Placement(num_local=2, num_processes=2).share(9)
    assert placement.Placement(num_local=2, num_processes=2).share(8) == 4


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"jit_compile": True}, "train.jit_compile"),
        ({"accumulate": 2}, "train.accumulate"),
        ({"loss": "LovaszSoftmax"}, r"rank the pixels of a batch, \['lovasz_softmax'"),
        ({"scaled": True}, "mixed_float16"),
        ({"callback": "unfreeze"}, "train.unfreeze"),
        ({"callback": "swa"}, "train.swa"),
        ({"latent": "variational"}, "model.options.latent"),
    ],
)
def test_what_replicas_would_compute_otherwise_is_refused(monkeypatch, change, message):
    import keras

    from arcticdl import losses
    from arcticdl.models import GradualUnfreezing, LatentCode
    from arcticdl.training import build_optimizer
    from arcticdl.training.averages.swa import WeightAverage

    monkeypatch.setattr(placement, "num_replicas", lambda model: 2)
    model = keras.Sequential([keras.Input((4, 4, 2)), keras.layers.Conv2D(3, 1)])
    if "latent" in change:
        inputs = keras.Input((4, 4, 6)), keras.Input((4, 4, 1))
        model = keras.Model(inputs, LatentCode(change["latent"])(list(inputs)))
    accumulate = change.get("accumulate", 1)
    optimizer = build_optimizer(num_steps=9, accumulate=accumulate)
    if "scaled" in change:
        optimizer = keras.optimizers.LossScaleOptimizer(optimizer)
    model.compile(
        optimizer,
        losses.LOSSES[change.get("loss", "DiceFocal")](),
        jit_compile=change.get("jit_compile", False),
    )
    callbacks = {"unfreeze": GradualUnfreezing(), "swa": WeightAverage(None, start=1)}
    given = [callbacks[change["callback"]]] if "callback" in change else []
    with pytest.raises(ConfigError, match=message) as error:
        placement.check_replicas(model, given)
    assert "KERAS_BACKEND=jax" in str(error.value)


def test_a_batch_size_is_not_found_on_several_devices(monkeypatch):
    from arcticdl.experiment.devices.fold import check_together

    here = placement.Placement(num_local=4)
    monkeypatch.setattr(placement, "place", lambda devices: here)
    config = SimpleNamespace(train=SimpleNamespace(batch_size="auto", devices=4))
    with pytest.raises(ConfigError, match=r"Received: auto. Find it .* 4\."):
        check_together(config)
