"""Labels in every form a user has them, and what is refused."""

import keras
import numpy as np
import pytest

from arcticdl import losses

pytestmark = pytest.mark.backend
RNG = np.random.default_rng(5)
LABEL = RNG.integers(0, 3, (2, 4, 4)).astype("uint8")
LABEL[:, :2] = 255
LOGITS = RNG.normal(size=(2, 4, 4, 3)).astype("float32")


@pytest.mark.parametrize("dtype", ["uint8", "int16", "int32", "int64", "float32"])
@pytest.mark.parametrize("name", ["DiceFocal", "Crossentropy", "EarthMover"])
def test_labels_of_any_dtype_with_or_without_a_last_axis(name, dtype):
    loss = losses.LOSSES[name]()
    expected = float(loss(LABEL, LOGITS))
    assert float(loss(LABEL.astype(dtype), LOGITS)) == expected
    assert float(loss(LABEL[..., None].astype(dtype), LOGITS)) == expected


def test_one_hot_labels_equal_codes():
    one_hot = np.eye(3)[np.where(LABEL == 255, 0, LABEL)] * (LABEL != 255)[..., None]
    for name in ("DiceFocal", "Crossentropy", "LovaszSoftmax", "Hinge", "EarthMover"):
        loss = losses.LOSSES[name]()
        assert float(loss(one_hot, LOGITS)) == pytest.approx(float(loss(LABEL, LOGITS)))


def test_one_channel_is_binary_whether_or_not_multilabel():
    label, logit = np.minimum(LABEL, 1), LOGITS[..., :1]
    expected = float(losses.Crossentropy()(label, logit))
    for y_true in (label, label[..., None]):
        loss = losses.Crossentropy(multilabel=True)
        assert float(loss(y_true, logit)) == expected


def test_nan_marks_void_in_float_codes():
    nan = np.where(LABEL == 255, np.nan, LABEL)
    loss = losses.DiceFocal()
    assert float(loss(nan, LOGITS)) == float(loss(LABEL, LOGITS))


def test_another_void_code_and_none():
    loss = losses.Crossentropy(void_class=9)
    assert float(loss(np.where(LABEL == 255, 9, LABEL), LOGITS)) == pytest.approx(
        float(losses.Crossentropy()(LABEL, LOGITS))
    )
    everything = losses.Crossentropy(void_class=None)
    assert np.isnan(float(everything(LABEL, LOGITS)))


@pytest.mark.parametrize("wrong", [3, 254, 1.5, -1])
@pytest.mark.parametrize(
    "name", ["DiceFocal", "Crossentropy", "LovaszSoftmax", "Boundary", "EarthMover"]
)
def test_a_code_that_is_no_class_makes_the_loss_nan(name, wrong):
    label = LABEL.astype("float32")
    label[1, 3, 3] = wrong
    assert np.isnan(float(losses.LOSSES[name]()(label, LOGITS)))


def test_wrong_weak_labels_make_the_loss_nan():
    shares = np.tile(np.array([0.0, 0.5, 0.2, 0.2], "float32"), (2, 4, 4, 1))
    assert np.isnan(float(losses.Proportion()(shares, LOGITS)))
    many = np.tile(np.array([64.0, 0.5, 0.25, 0.25], "float32"), (2, 4, 4, 1))
    assert np.isnan(float(losses.Proportion(max_polygons=64)(many, LOGITS)))
    bounds = np.tile(np.array([0.6, 0.4], "float32"), (2, 4, 4, 1))
    assert np.isnan(float(losses.Interval()(bounds, LOGITS[..., 0])))
    percent = np.stack([np.zeros((2, 4, 4)), np.full((2, 4, 4), 65.0)], -1)
    assert np.isnan(float(losses.DominanceCrossentropy()(percent, LOGITS)))
    box = np.array([[[1.0, 0.0, 0.0, 1.0]]])
    assert np.isnan(float(losses.BoxIoU()(box, box)))


def test_sample_weights_by_sample_and_by_pixel_agree():
    loss = losses.DiceFocal()
    by_pixel = np.broadcast_to(np.array([1.0, 3.0])[:, None, None], LABEL.shape)
    by_sample = float(loss(LABEL, LOGITS, np.array([1.0, 3.0])))
    assert by_sample == pytest.approx(float(loss(LABEL, LOGITS, by_pixel)))
    with_axis = float(loss(LABEL, LOGITS, by_pixel[..., None]))
    assert by_sample == pytest.approx(with_axis)
    assert by_sample != pytest.approx(float(loss(LABEL, LOGITS)))


def test_a_weight_of_two_equals_the_pixel_twice():
    for name in ("DiceFocal", "LovaszSoftmax", "Jaccard", "Hinge"):
        loss = losses.LOSSES[name]()
        weight = np.ones(LABEL.shape)
        weight[:, 3] = 2.0
        twice = np.concatenate([LABEL, LABEL[:, 3:]], axis=1)
        twice_logits = np.concatenate([LOGITS, LOGITS[:, 3:]], axis=1)
        expected = float(loss(twice, twice_logits))
        assert float(loss(LABEL, LOGITS, weight)) == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("policy", ["mixed_float16", "mixed_bfloat16", "float16"])
def test_a_dtype_policy_rounds_no_label(policy):
    before = keras.mixed_precision.dtype_policy()
    expected = float(losses.DiceFocal()(LABEL, LOGITS))
    try:
        keras.mixed_precision.set_dtype_policy(policy)
        value = losses.DiceFocal()(LABEL, LOGITS)
    finally:
        keras.mixed_precision.set_dtype_policy(before)
    assert float(value) == expected


def test_a_dice_over_half_a_million_half_precision_pixels_is_finite():
    label = np.zeros((2, 512, 512), "uint8")
    label[:, ::2] = 1
    logits = keras.ops.zeros((2, 512, 512, 2), dtype="float16")
    # p = 1/2 everywhere: each class has I = T / 2 and P = T.
    assert float(losses.Dice()(label, logits)) == pytest.approx(0.5)


REFUSED = [
    (lambda: losses.Crossentropy(class_weights=[1.0, -1.0]), "`class_weights`"),
    (lambda: losses.Crossentropy(class_weights=[0.0, 0.0]), "`class_weights`"),
    (lambda: losses.Crossentropy(reduction="avg"), "`reduction` must be one of"),
    (lambda: losses.Crossentropy(label_smoothing=2.0), "`label_smoothing` must lie"),
    (lambda: losses.Crossentropy(hard_fraction=0.0), "`hard_fraction` must lie"),
    (lambda: losses.Crossentropy(void_class=0.5), "`void_class` must be an integer"),
    (lambda: losses.Dice(pool="class"), r"`pool` must be one of \['all', 'batch'"),
    (lambda: losses.Dice(pool="all", generalized=True), "`generalized` weighs"),
    (lambda: losses.Quantile([0.5, 1.5]), "`quantiles` must lie between"),
    (lambda: losses.EarthMover(order=3), "`order` must be 1 or 2"),
    (lambda: losses.Interval(power=3), "`power` must be 1 or 2"),
    (lambda: losses.Interval(half_width=-0.1), "`half_width` must"),
    (lambda: losses.GaussianLikelihood(log_variance_range=(1, 0)), "least, largest"),
    (lambda: losses.Proportion(max_polygons=300), "`max_polygons` must lie"),
    (lambda: losses.Sum([]), "`losses` needs at least one"),
    (lambda: losses.Sum([losses.Dice()], [1.0, 2.0]), "one number for each"),
    (lambda: losses.Sum([losses.Dice(reduction="none")]), "must be reduced"),
]


@pytest.mark.parametrize(("build", "message"), REFUSED)
def test_bad_arguments_are_refused(build, message):
    with pytest.raises(ValueError, match=message):
        build()


def test_a_sum_of_what_is_no_loss_is_refused():
    with pytest.raises(TypeError, match=r"must be a keras\.losses\.Loss"):
        losses.Sum([lambda a, b: 0.0])


MISFITS = [
    (losses.Crossentropy(), LABEL[:, :3], LOGITS, "`y_true` must be class codes"),
    (losses.Crossentropy(), LABEL[:, 0], LOGITS, "`y_true` must be class codes"),
    (losses.Crossentropy(multilabel=True), LABEL, LOGITS, "`y_true` must be maps"),
    (losses.Crossentropy(class_weights=[1, 2]), LABEL, LOGITS, "one weight a class"),
    (losses.Boundary(), LABEL[:, 0], LOGITS[:, 0], "needs images"),
    (losses.CenterlineDice(classes=[3]), LABEL, LOGITS, "`classes` must name"),
    (losses.EarthMover(), LABEL, LOGITS[..., :1], "two ordered classes"),
    (losses.CumulativeOrdinal(), LOGITS, LOGITS, "`y_true` must be class codes"),
    (losses.MeanSquaredError(), LABEL, LOGITS, "needs `y_true`"),
    (losses.Quantile(), LABEL, LOGITS[..., :2], "needs `y_true`"),
    (losses.BoxIoU(), LOGITS, LOGITS, "must be boxes"),
    (losses.Interval(), LABEL, LOGITS, "must be bounds"),
    (losses.Proportion(), LABEL, LOGITS, "polygon number and shares"),
    (losses.DominanceCrossentropy(), LABEL, LOGITS, "class code and share"),
]


@pytest.mark.parametrize(("loss", "y_true", "y_pred", "message"), MISFITS)
def test_labels_that_do_not_fit_are_refused(loss, y_true, y_pred, message):
    with pytest.raises(ValueError, match=message):
        loss(y_true, y_pred)


def test_weights_with_too_many_axes_are_refused():
    with pytest.raises(ValueError, match="`sample_weight` must have one weight"):
        losses.Crossentropy()(LABEL, LOGITS, np.ones((2, 4, 4, 3)))


@pytest.mark.parametrize("name", ["Crossentropy", "DiceFocal", "CumulativeOrdinal"])
def test_of_300_classes_none_is_taken_for_void(name):
    ordinal = name == "CumulativeOrdinal"
    logits = np.zeros((1, 2, 2, 299 if ordinal else 300), "float32")
    label = np.full((1, 2, 2), 255)
    with pytest.raises(ValueError, match="which of more than 255 classes is one"):
        losses.LOSSES[name]()(label, logits)
    for void_class in (None, -1):
        assert float(losses.LOSSES[name](void_class=void_class)(label, logits)) > 0
