"""Stages that begin to learn later: resumed exactly, averaged and decayed rightly."""

import signal

import keras
import numpy as np
import pytest

from arcticdl.models import GradualUnfreezing, build_segmenter
from arcticdl.models.finetune import renew_optimizer, stage_layers
from arcticdl.training import Preempted, build_optimizer, fit

EPOCHS = 4


class Feed(keras.utils.PyDataset):
    """Two batches an epoch, other ones each epoch."""

    epoch = 0

    def __len__(self):
        return 2

    def __getitem__(self, index):
        rng = np.random.default_rng((self.epoch, index))
        image = rng.normal(size=(2, 8, 8, 2)).astype("float32")
        return image, (image[..., 0] > 0).astype("uint8")

    def on_epoch_end(self):
        self.epoch += 1

    def seek(self, epoch):
        self.epoch = epoch


class InterruptAfter(keras.callbacks.Callback):
    """A termination after so many batches of the whole training, or epochs."""

    def __init__(self, batches=0, epochs=0):
        super().__init__()
        self.batches, self.epochs = batches, epochs

    def on_train_batch_end(self, batch, logs=None):
        self.batches -= 1
        if self.batches == 0:
            signal.raise_signal(signal.SIGUSR1)

    def on_epoch_end(self, epoch, logs=None):
        self.epochs -= 1
        if self.epochs == 0:
            signal.raise_signal(signal.SIGUSR1)


def network(**options):
    keras.utils.set_random_seed(3)
    model = build_segmenter(
        "plain", "unet", num_bands=2, num_classes=2,
        backbone_options={"width": 2, "depth": 3},
        decoder_options={"channels": (2, 2, 2)},
    )  # fmt: skip
    optimizer = build_optimizer(0.01, num_steps=8, weight_decay=0.1, **options)
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    # To trace a step anew for every stage takes most of a minute; numbers are the same.
    model.compile(optimizer, loss, run_eagerly=True)
    return model


def numbers(model):
    every = [*model.variables, *model.optimizer.variables]
    return [np.array(keras.ops.convert_to_numpy(v)) for v in every]


@pytest.mark.parametrize("stop", [{"batches": 3}, {"epochs": 1}])
def test_stages_are_freed_alike_after_a_resume(tmp_path, stop):
    def train(model, folder, *callbacks):
        callbacks = [GradualUnfreezing(1, 1), *callbacks]
        fit(model, Feed(), folder, epochs=EPOCHS, callbacks=callbacks)
        return model

    whole = train(network(ema=0.9), tmp_path / "run" / "whole")
    folder = tmp_path / "run" / "parts"
    with pytest.raises(Preempted):
        train(network(ema=0.9), folder, InterruptAfter(**stop))
    resumed = train(network(ema=0.9), folder)
    for one, other in zip(numbers(resumed), numbers(whole), strict=True):
        np.testing.assert_array_equal(one, other)


def test_what_did_not_decay_does_not_decay_once_stages_are_freed():
    model = network()
    callback = GradualUnfreezing(1, 1)
    callback.set_model(model)
    callback.on_epoch_begin(0)
    model.train_on_batch(*Feed()[0])
    callback.on_epoch_begin(1)
    model.optimizer.build(model.trainable_variables)
    decayed = {
        variable.name
        for variable in model.trainable_variables
        if model.optimizer._use_weight_decay(variable)
    }
    assert decayed == {"kernel"}


def test_the_average_of_a_stage_begins_at_its_weights():
    model = network(ema=0.9)
    stages = stage_layers(model)
    callback = GradualUnfreezing(1, 1)
    callback.set_model(model)
    callback.on_epoch_begin(0)
    model.train_on_batch(*Feed()[0])
    callback.on_epoch_begin(1)
    freed = {v.path for layer in stages[-1] for v in layer.trainable_variables}
    means = model.optimizer._model_variables_moving_average
    found = 0
    for variable, mean in zip(model.trainable_variables, means, strict=True):
        if variable.path in freed:
            found += 1
            np.testing.assert_array_equal(mean, variable)
    assert found == len(freed) > 0


def test_a_renewed_optimizer_keeps_its_numbers():
    model = network(ema=0.9)
    model.train_on_batch(*Feed()[0])
    before = numbers(model)
    renew_optimizer(model)
    for one, other in zip(before, numbers(model), strict=True):
        np.testing.assert_array_equal(one, other)
