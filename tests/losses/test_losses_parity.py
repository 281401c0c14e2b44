"""The same numbers as torch, smp, torchvision, MONAI, scikit-learn, SciPy, Keras.

The values of the torch world come from ``tests/reference/make_losses_reference.py``.
"""

from pathlib import Path

import keras
import numpy as np
import pytest
from scipy.ndimage import distance_transform_edt
from sklearn import metrics

from arcticdl import losses
from arcticdl.losses.boundary import signed_distance

STORED = np.load(Path(__file__).parents[1] / "reference" / "losses.npz")
LOGITS, LABEL, VOID = STORED["logits"], STORED["label"], STORED["void"]
MASKED = np.where(VOID, 255, LABEL)
YES, ONE = (LABEL > 0).astype("uint8"), LOGITS[..., :1]
YES_MASKED = np.where(VOID, 255, YES)
FIRST, SECOND, THIRD = (LOGITS[..., i] for i in range(3))

CASES = [
    ("crossentropy", losses.Crossentropy(), MASKED, LOGITS),
    (
        "crossentropy_weighted",
        losses.Crossentropy(class_weights=[0.5, 1.0, 2.0]),
        MASKED,
        LOGITS,
    ),
    (
        "crossentropy_smoothed",
        losses.Crossentropy(label_smoothing=0.1),
        MASKED,
        LOGITS,
    ),
    ("crossentropy_binary", losses.Crossentropy(), YES, ONE),
    ("focal_binary", losses.Focal(), YES, ONE),
    ("focal_binary_void", losses.Focal(), YES_MASKED, ONE),
    ("dice", losses.Dice(), MASKED, LOGITS),
    ("dice_smooth", losses.Dice(smooth=2.0), LABEL, LOGITS),
    ("dice_binary", losses.Dice(), YES_MASKED, ONE),
    ("jaccard", losses.Jaccard(), LABEL, LOGITS),
    ("tversky", losses.Tversky(), LABEL, LOGITS),
    ("generalized_dice", losses.Dice(generalized=True), LABEL, LOGITS),
    (
        "generalized_dice_sample",
        losses.Dice(generalized=True, pool="sample"),
        LABEL,
        LOGITS,
    ),
    ("lovasz", losses.LovaszSoftmax(), MASKED, LOGITS),
    ("lovasz_sample", losses.LovaszSoftmax(pool="sample"), MASKED, LOGITS),
    ("lovasz_hinge", losses.LovaszSoftmax(), YES_MASKED, ONE),
    (
        "centerline",
        losses.CenterlineDice(num_iterations=4),
        STORED["line"],
        STORED["line_logits"],
    ),
    ("huber", losses.Huber(delta=0.7), SECOND, FIRST),
    ("gaussian", losses.GaussianLikelihood(), THIRD, LOGITS[..., :2]),
    ("giou", losses.BoxGIoU(), STORED["boxes"], STORED["guess"]),
]


@pytest.mark.backend
@pytest.mark.parametrize(
    ("name", "loss", "y_true", "y_pred"), CASES, ids=[case[0] for case in CASES]
)
def test_equal_to_the_torch_world(name, loss, y_true, y_pred):
    assert float(loss(y_true, y_pred)) == pytest.approx(float(STORED[name]), rel=2e-5)


@pytest.mark.backend
def test_focal_tversky_shapes_each_class_where_smp_shapes_their_mean():
    loss = losses.FocalTversky()
    each = np.asarray(losses.Tversky(reduction="none")(LABEL, LOGITS))
    assert float(loss(LABEL, LOGITS)) == pytest.approx(np.mean(each**0.75), rel=1e-5)
    assert float(STORED["focal_tversky"]) == pytest.approx(each.mean() ** 0.75, 1e-5)


@pytest.fixture(name="scored")
def _scored():
    return LABEL[~VOID].astype(int), LOGITS[~VOID].astype("float64")


def test_equal_to_scikit_learn(scored):
    label, logits = scored
    prob = np.exp(logits) / np.exp(logits).sum(-1, keepdims=True)
    assert float(losses.Crossentropy()(MASKED, LOGITS)) == pytest.approx(
        metrics.log_loss(label, prob / prob.sum(-1, keepdims=True)), rel=1e-5
    )
    assert float(losses.Hinge()(MASKED, LOGITS)) == pytest.approx(
        metrics.hinge_loss(label, logits, labels=[0, 1, 2]), rel=1e-5
    )


def test_overlaps_of_hard_predictions_equal_scikit_learn(scored):
    label, logits = scored
    predicted = logits.argmax(-1)
    certain = 200.0 * np.eye(3, dtype="float32")[LOGITS.argmax(-1)]
    f1 = metrics.f1_score(label, predicted, average="macro")
    assert float(losses.Dice()(MASKED, certain)) == pytest.approx(1 - f1, rel=1e-5)
    iou = metrics.jaccard_score(label, predicted, average="macro")
    for loss in (losses.Jaccard(), losses.LovaszSoftmax()):
        assert float(loss(MASKED, certain)) == pytest.approx(1 - iou, rel=1e-5)


def test_regressions_equal_scikit_learn():
    y_true = np.where(VOID, np.nan, FIRST)
    label, pred = FIRST[~VOID], SECOND[~VOID]
    pairs = [
        (losses.MeanSquaredError(), metrics.mean_squared_error(label, pred)),
        (losses.MeanAbsoluteError(), metrics.mean_absolute_error(label, pred)),
        (
            losses.Quantile([0.2]),
            metrics.mean_pinball_loss(label, pred, alpha=0.2),
        ),
    ]
    for loss, expected in pairs:
        y_pred = SECOND[..., None] if loss.prediction_form == "quantiles" else SECOND
        assert float(loss(y_true, y_pred)) == pytest.approx(expected, rel=1e-5)


def test_equal_to_keras_without_void():
    one_hot = np.eye(3, dtype="float32")[LABEL]
    prob = np.exp(LOGITS) / np.exp(LOGITS).sum(-1, keepdims=True)
    focal = keras.losses.CategoricalFocalCrossentropy(alpha=1.0, from_logits=True)
    assert float(losses.Focal()(LABEL, LOGITS)) == pytest.approx(
        float(focal(one_hot, LOGITS)), rel=1e-5
    )
    dice = keras.losses.Dice()
    assert float(losses.Dice(pool="all")(LABEL, LOGITS)) == pytest.approx(
        float(dice(one_hot, prob)), rel=1e-5
    )
    for own, theirs in (
        (losses.LogCosh(), keras.losses.LogCosh()),
        (losses.Huber(), keras.losses.Huber()),
    ):
        assert float(own(FIRST, SECOND)) == pytest.approx(float(theirs(FIRST, SECOND)))


def test_signed_distance_equals_scipy_within_its_radius():
    rng = np.random.default_rng(3)
    inside = np.zeros((24, 20), bool)
    inside[4:15, 3:12] = True
    inside ^= rng.random(inside.shape) < 0.02
    radius = 5
    outer, inner = (distance_transform_edt(mask) for mask in (~inside, inside))
    expected = np.where(inside, 0.5 - inner, outer - 0.5)
    limit = radius - 0.5
    expected = np.clip(expected, -limit, limit) / limit
    plane = inside.astype("float32")[None, ..., None]
    value = np.asarray(signed_distance(plane, np.ones_like(plane), radius))
    np.testing.assert_allclose(value[0, ..., 0], expected, atol=1e-6)


def test_the_edge_of_void_is_no_boundary():
    inside = np.zeros((1, 1, 9, 1), "float32")
    inside[0, 0, :4] = 1
    scored = np.ones_like(inside)
    scored[0, 0, 4:6] = 0  # the pixels next to the class are void
    value = np.asarray(signed_distance(inside, scored, 8))[0, 0, :, 0] * 7.5
    np.testing.assert_allclose(value[:4], [-5.5, -4.5, -3.5, -2.5], atol=1e-5)
    np.testing.assert_allclose(value[6:], [2.5, 3.5, 4.5], atol=1e-5)
