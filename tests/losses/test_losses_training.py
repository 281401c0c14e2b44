"""Losses in ``model.fit``: compiled, in mixed precision, saved and loaded."""

import keras
import numpy as np
import pytest

from arcticdl import losses
from arcticdl.testing.losses import make_case, value_and_gradient

pytestmark = pytest.mark.backend
SIZE_PX, NUM_CLASSES = 512, 3
PLACES = losses.DetectionLoss  # tests/losses/test_losses_detection.py trains these


@pytest.fixture(name="half_precision")
def _half_precision():
    before = keras.mixed_precision.dtype_policy()
    keras.mixed_precision.set_dtype_policy("mixed_float16")
    yield
    keras.mixed_precision.set_dtype_policy(before)


def _batch():
    rng = np.random.default_rng(0)
    image = rng.normal(size=(1, SIZE_PX, SIZE_PX, 1)).astype("float32")
    label = rng.integers(0, NUM_CLASSES, (1, SIZE_PX, SIZE_PX)).astype("uint8")
    label[:, :100] = 255
    return image, label


def _weak_labels(label):
    polygon = np.zeros(label.shape, "float32")
    polygon[:, SIZE_PX // 2 :] = 1
    shares = [np.full(label.shape, share, "float32") for share in (0.5, 0.3, 0.2)]
    code = label.astype("float32")
    dominant = np.stack([code, np.full(label.shape, 0.8, "float32")], axis=-1)
    return np.stack([polygon, *shares], axis=-1), dominant


def _segmentation_losses():
    return {
        "bootstrapped": losses.BootstrappedCrossentropy(),
        "boundary": losses.Boundary(radius_px=2),
        "centerline": losses.CenterlineDice(num_iterations=1, classes=[2]),
        "dice_focal": losses.DiceFocal(),
        "earth_mover": losses.EarthMover(),
        "focal_tversky": losses.FocalTversky(),
        "hard": losses.Crossentropy(hard_fraction=0.2, label_smoothing=0.1),
        "hinge": losses.Hinge(),
        "jaccard": losses.Jaccard(pool="sample"),
        "lovasz": losses.LovaszSoftmax(),
        "symmetric": losses.SymmetricCrossentropy(),
    }


def test_all_train_under_xla_in_half_precision_at_512_px(half_precision):
    image, label = _batch()
    shares, dominant = _weak_labels(label)
    bounds = np.stack([label / 255.0, label / 254.0 + 0.01], axis=-1)
    of_classes = _segmentation_losses()
    y_true = dict.fromkeys(of_classes, label)
    parts = dict(of_classes)
    parts |= {"proportion": losses.Proportion(), "ordinal": losses.CumulativeOrdinal()}
    parts |= {"dominance": losses.DominanceCrossentropy()}
    y_true |= {"proportion": shares, "ordinal": label, "dominance": dominant}
    values = {"huber": losses.Huber(), "interval": losses.Interval()}
    y_true |= {"huber": label / 255.0, "interval": bounds}
    inputs = keras.Input((SIZE_PX, SIZE_PX, 1))
    logits = keras.layers.Conv2D(NUM_CLASSES, 1, name="head")(inputs)
    assert logits.dtype == "float16"
    outputs = dict.fromkeys(parts, logits) | dict.fromkeys(values, logits[..., :1])
    model = keras.Model(inputs, outputs)
    # Small steps: half of the point is that nothing overflows on the way back.
    model.compile(keras.optimizers.SGD(1e-3), loss=parts | values, jit_compile=True)
    before = [w.numpy() for w in model.trainable_weights]
    history = model.fit(image, y_true, epochs=2, batch_size=1, verbose=0).history
    assert set(history) == {"loss", *(f"{name}_loss" for name in parts | values)}
    assert np.isfinite([history[name] for name in history]).all()
    moved = [
        np.abs(w.numpy() - b).max() for w, b in zip(model.weights, before, strict=True)
    ]
    assert np.isfinite(moved).all() and max(moved) > 0


@pytest.mark.parametrize(
    "name",
    [n for n in sorted(losses.LOSSES) if not issubclass(losses.LOSSES[n], PLACES)],
)
def test_each_is_finite_under_xla_in_half_precision_at_512_px(name):
    loss = losses.LOSSES[name]()
    rng = np.random.default_rng(0)
    case = make_case(loss, rng, (1, SIZE_PX, SIZE_PX))
    label = case.with_void(rng.random(case.elements) < 0.2)
    y_pred = case.y_pred.astype("float16")
    y_pred[:, :9] = 6e4 * np.sign(y_pred[:, :9])  # half precision ends at 65504
    value, gradient = value_and_gradient(
        loss, label, y_pred, dtype="float16", jit_compile=True
    )
    assert gradient.dtype == "float16"
    assert np.isfinite(value) and value > 0
    assert np.isfinite(gradient).all() and np.abs(gradient).max() > 0


def _small_model(num_channels=2):
    inputs = keras.Input((None, None, 1))
    return keras.Model(
        inputs, keras.layers.Conv2D(num_channels, 3, padding="same")(inputs)
    )


def _small_batch():
    rng = np.random.default_rng(1)
    image = rng.normal(size=(4, 12, 10, 1)).astype("float32")
    label = (image[..., 0] > 0).astype("uint8")
    label[:, :, :3] = 255
    return image, label


@pytest.mark.parametrize(
    "loss",
    [
        losses.DiceFocal(),
        losses.Sum([losses.Crossentropy(), losses.Boundary(radius_px=2)], [1, 0.1]),
    ],
    ids=["dice_focal", "sum"],
)
def test_a_model_learns_and_comes_back_from_its_file(loss, tmp_path):
    keras.utils.set_random_seed(0)
    image, label = _small_batch()
    model = _small_model()
    model.compile(keras.optimizers.Adam(0.1), loss=loss)
    history = model.fit(image, label, epochs=12, verbose=0).history["loss"]
    assert history[-1] < 0.5 * history[0]
    model.save(tmp_path / "model.keras")
    again = keras.models.load_model(tmp_path / "model.keras")
    assert again.evaluate(image, label, verbose=0) == pytest.approx(
        model.evaluate(image, label, verbose=0)
    )


def test_sample_weights_of_pixels_reach_the_loss():
    image, label = _small_batch()
    model = _small_model()
    model.compile(loss=losses.DiceFocal())
    weight = np.ones(label.shape, "float32")
    weight[:, :6] = 0
    weighted = model.evaluate(image, label, sample_weight=weight, verbose=0)
    label[:, :6] = 255
    assert weighted == pytest.approx(model.evaluate(image, label, verbose=0))
