"""A training of two networks goes on to the bit, with the optimiser's part of each."""

import keras
import numpy as np
import pytest

from arcticdl import losses
from arcticdl.models import build_adversarial, build_multitask
from arcticdl.training import build_optimizer, fit

CARD = {
    "bands": ["HH"],
    "heads": {"clean": {"task": "dense_regression", "outputs": [""], "units": "dB"}},
    "starts": {
        "clean": {"band": ["HH"], "offset": [0.0], "scale": [1.0], "gain": [1.0]}
    },
}


class Pairs(keras.utils.PyDataset):
    """Two batches an epoch, with void in each."""

    epoch = 0

    def __len__(self):
        return 2

    def __getitem__(self, index):
        rng = np.random.default_rng((self.epoch, index))
        image = rng.normal(size=(2, 8, 8, 1)).astype("float32")
        truth = np.round(image[..., 0])
        truth[:, :2] = np.nan
        return image, truth

    def on_epoch_end(self):
        self.epoch += 1

    def seek(self, epoch):
        self.epoch = epoch


class Interrupted(keras.callbacks.Callback):
    def on_epoch_begin(self, epoch, logs=None):
        if epoch == 1:
            raise KeyboardInterrupt


def compiled():
    keras.utils.set_random_seed(1)
    generator = build_multitask(
        "plain",
        "unet",
        heads={"clean": {"task": "dense_regression", "num_outputs": 1}},
        bands=["HH"],
        card=CARD,
        backbone_options={"width": 4, "depth": 1},
        decoder_options={"channels": (4,)},
    )
    model = build_adversarial(generator, width=4, depth=2, weight=0.1)
    model.compile(
        build_optimizer(0.01, num_steps=4),
        losses.MeanAbsoluteError(),
        run_eagerly=True,  # a graph of so little takes longer to make than to run
    )
    return model


def test_a_training_of_both_goes_on_to_the_bit(tmp_path):
    whole = compiled()
    folder = tmp_path / "run" / "whole"
    fit(whole, Pairs(), folder, epochs=2, answering=whole.generator)
    parts = tmp_path / "run" / "parts"
    with pytest.raises(KeyboardInterrupt):
        fit(compiled(), Pairs(), parts, epochs=2, callbacks=[Interrupted()])
    resumed = compiled()
    fit(resumed, Pairs(), parts, epochs=2, answering=resumed.generator)
    for one, other in zip(
        (*whole.variables, *whole.optimizer.variables),
        (*resumed.variables, *resumed.optimizer.variables),
        strict=True,
    ):
        np.testing.assert_array_equal(
            *(keras.ops.convert_to_numpy(v) for v in (one, other))
        )
    moments = [v for v in whole.optimizer.variables if "scores_kernel_" in v.path]
    assert moments and all(np.any(keras.ops.convert_to_numpy(v)) for v in moments)
    image, _ = Pairs()[0]
    answers = [
        keras.saving.load_model(f / "model.keras").predict(image, verbose=0)
        for f in (folder, parts)
    ]
    np.testing.assert_array_equal(*answers)
    head = (folder / "history.csv").read_text().splitlines()[0]
    assert "discriminator_loss" in head and "adversarial_loss" in head
