"""The loss of all batches is the loss of one batch of everything."""

import keras
import numpy as np
import pytest

from arcticdl import losses, metrics

pytestmark = pytest.mark.backend
RNG = np.random.default_rng(5)
LABEL = RNG.integers(0, 3, (8, 6, 6)).astype("uint8")
LABEL[4:] = 255  # four labelled tiles, four void ones
LABEL[:, 0] = 255
LOGITS = RNG.normal(size=(8, 6, 6, 3)).astype("float32")
EXACT = {
    "crossentropy": losses.Crossentropy(class_weights=[1.0, 2.0, 0.5]),
    "dice": losses.Dice(class_weights=[1.0, 0.0, 3.0]),
    "dice_all": losses.Dice(pool="all"),
    "dice_focal": losses.DiceFocal(),
    "dice_sample": losses.Dice(pool="sample"),
    "generalized": losses.Dice(generalized=True),
    "sum_reduction": losses.Focal(reduction="sum"),
    "tversky": losses.FocalTversky(smooth=1.0),
}


def pooled(loss, sizes):
    metric, start = metrics.PooledLoss(loss), 0
    for size in sizes:
        part = slice(start, start + size)
        metric.update_state(LABEL[part], LOGITS[part])
        start += size
    return float(metric.result())


@pytest.mark.parametrize("name", sorted(EXACT))
def test_batches_of_any_size_have_the_loss_of_one_batch(name):
    loss = EXACT[name]
    whole = float(loss(LABEL, LOGITS))
    assert pooled(loss, [8]) == pytest.approx(whole, rel=1e-5)
    assert pooled(loss, [1] * 8) == pytest.approx(whole, rel=1e-5)
    assert pooled(loss, [3, 5]) == pytest.approx(whole, rel=1e-5)


def test_what_has_no_sums_is_averaged_by_what_is_scored():
    # Void tiles add nothing, whatever the batches.
    for loss in (losses.LovaszSoftmax(), losses.Crossentropy(hard_fraction=0.5)):
        assert pooled(loss, [4]) == pytest.approx(pooled(loss, [4, 4]), rel=1e-6)


def test_a_loss_of_keras_is_averaged_by_samples():
    loss = keras.losses.SparseCategoricalCrossentropy(
        from_logits=True, ignore_class=255
    )
    metric = metrics.PooledLoss(keras.losses.MeanSquaredError())
    metric.update_state(np.zeros((3, 1)), np.ones((3, 1)))
    metric.update_state(np.zeros((1, 1)), 3 * np.ones((1, 1)))
    assert float(metric.result()) == pytest.approx((3 + 9) / 4)
    assert metrics.PooledLoss(losses.Sum([loss, losses.Dice()])) is not None


def test_nothing_scored_is_nan_and_a_wrong_label_too():
    metric = metrics.PooledLoss(losses.DiceFocal())
    metric.update_state(np.full((1, 4), 255), np.zeros((1, 4, 3), "float32"))
    assert np.isnan(float(metric.result()))
    metric.update_state(np.array([[7, 0, 0, 0]]), np.zeros((1, 4, 3), "float32"))
    assert np.isnan(float(metric.result()))
    metric.reset_state()
    metric.update_state(LABEL, LOGITS)
    assert float(metric.result()) == pytest.approx(
        float(losses.DiceFocal()(LABEL, LOGITS)), rel=1e-5
    )


def test_early_stopping_sees_one_loss_whatever_the_batches(tmp_path):
    loss = losses.DiceFocal()
    inputs = keras.Input((6, 6, 3))
    model = keras.Model(inputs, keras.layers.Conv2D(3, 1)(inputs))
    model.compile("sgd", loss, metrics=[metrics.PooledLoss(loss)])
    found = [
        model.evaluate(LOGITS, LABEL, batch_size=size, verbose=0, return_dict=True)
        for size in (8, 1)
    ]
    assert found[0]["loss"] == pytest.approx(2 * found[1]["loss"], rel=0.2)
    assert found[0]["pooled_loss"] == pytest.approx(found[1]["pooled_loss"], rel=1e-5)
    assert found[0]["pooled_loss"] == pytest.approx(found[0]["loss"], rel=1e-5)
    stopping = keras.callbacks.EarlyStopping("val_pooled_loss", patience=1)
    model.fit(
        LOGITS, LABEL, validation_data=(LOGITS, LABEL), epochs=2, verbose=0,
        callbacks=[stopping],
    )  # fmt: skip
    assert stopping.best == pytest.approx(
        model.evaluate(LOGITS, LABEL, verbose=0, return_dict=True)["pooled_loss"],
        rel=1e-5,
    )
    model.save(tmp_path / "model.keras")
    again = keras.saving.load_model(tmp_path / "model.keras")
    assert again.evaluate(LOGITS, LABEL, verbose=0, return_dict=True)[
        "pooled_loss"
    ] == pytest.approx(stopping.best, rel=1e-5)
