"""Values that can be computed on paper."""

import numpy as np
import pytest

from arcticdl import losses

LN2, LN3 = np.log(2.0), np.log(3.0)
pytestmark = pytest.mark.backend


def logits(*prob_rows):
    """One row of pixels whose softmax is the rows given: ``(1, pixel, class)``."""
    return np.log(np.array([prob_rows], "float32"))


def image(*prob_rows):
    return logits(*prob_rows)[:, None]


def value(loss, y_true, y_pred, weight=None):
    return float(loss(np.array(y_true), np.array(y_pred, "float32"), weight))


# Three scored pixels and a void one; the probabilities of the labels are 1/2, 1/4, 1.
PROB = [[0.5, 0.5], [0.75, 0.25], [0.0001, 0.9999], [0.3, 0.7]]
LABEL = [[0, 1, 1, 255]]


def test_crossentropy_is_the_mean_of_the_scored_pixels():
    expected = (LN2 + 2 * LN2 - np.log(0.9999)) / 3
    assert value(losses.Crossentropy(), LABEL, logits(*PROB)) == pytest.approx(expected)


def test_reductions_differ_by_the_number_of_scored_pixels():
    pred = logits(*PROB)
    mean = value(losses.Crossentropy(), LABEL, pred)
    total = value(losses.Crossentropy(reduction="sum"), LABEL, pred)
    each = losses.Crossentropy(reduction="none")(np.array(LABEL), pred)
    assert total == pytest.approx(3 * mean)
    np.testing.assert_allclose(
        np.asarray(each), [[LN2, 2 * LN2, -np.log(0.9999), 0.0]], atol=1e-6
    )


def test_class_weights_say_how_much_a_pixel_counts():
    loss = losses.Crossentropy(class_weights=[1.0, 3.0])
    expected = (LN2 + 3 * 2 * LN2 - 3 * np.log(0.9999)) / 7
    assert value(loss, LABEL, logits(*PROB)) == pytest.approx(expected)


def test_pixel_weights_enter_numerator_and_denominator():
    weight = np.array([[1.0, 2.0, 0.0, 5.0]])
    expected = (LN2 + 2 * 2 * LN2) / 3
    assert value(losses.Crossentropy(), LABEL, logits(*PROB), weight) == pytest.approx(
        expected
    )


def test_smoothing_spreads_the_label_over_all_classes():
    loss = losses.Crossentropy(label_smoothing=0.2)
    expected = -0.9 * np.log(0.75) - 0.1 * np.log(0.25)
    assert value(loss, [[0]], logits([0.75, 0.25])) == pytest.approx(expected)


def test_hard_pixels_alone_count():
    loss = losses.Crossentropy(hard_fraction=1 / 3)  # one of three
    assert value(loss, LABEL, logits(*PROB)) == pytest.approx(2 * LN2)


def test_soft_labels_weigh_the_logs():
    soft = [[[0.25, 0.75], [np.nan, 0.0], [0.0, 0.0]]]
    pred = logits([0.5, 0.5], [0.9, 0.1], [0.9, 0.1])
    assert value(losses.Crossentropy(), soft, pred) == pytest.approx(LN2)


def test_binary_form_takes_one_logit():
    pred = np.log(np.array([[[3.0], [3.0]]]))  # p = 3/4
    loss = losses.Crossentropy()
    assert value(loss, [[1, 255]], pred) == pytest.approx(-np.log(0.75), rel=1e-6)
    assert value(loss, [[0, 255]], pred) == pytest.approx(2 * LN2, rel=1e-6)
    weighted = losses.Crossentropy(class_weights=[1.0, 3.0])
    both = (3 * -np.log(0.75) + 2 * LN2) / 4
    assert value(weighted, [[1, 0]], pred) == pytest.approx(both, rel=1e-6)


def test_multilabel_scores_each_channel_with_its_own_void():
    pred = np.log(np.array([[[3.0, 1.0, 1.0]]]))
    loss = losses.Crossentropy(multilabel=True)
    assert value(loss, [[[1, 0, 255]]], pred) == pytest.approx(
        (-np.log(0.75) + LN2) / 2, rel=1e-6
    )


def test_focal_fades_what_is_right():
    # (1 - 1/2)^2 ln 2 and (3/4)^2 2 ln 2
    expected = (0.25 * LN2 + 0.5625 * 2 * LN2) / 2
    pred = logits(*PROB)
    label = [[0, 1, 255, 255]]
    assert value(losses.Focal(), label, pred) == pytest.approx(expected)
    assert value(losses.Focal(gamma=0.0), label, pred) == pytest.approx(1.5 * LN2)
    assert value(losses.Focal(gamma=0.5), label, pred) == pytest.approx(
        (0.5**0.5 * LN2 + 0.75**0.5 * 2 * LN2) / 2
    )


# Class 0: I = 1/2, P = 1/2 + 3/4, T = 1; class 1: I = 1/4, P = 3/4, T = 1.
TWO = logits([0.5, 0.5], [0.75, 0.25], [0.9, 0.1])
TWO_LABEL = [[0, 1, 255]]


def test_dice_is_a_mean_over_classes():
    expected = 1 - (2 * 0.5 / 2.25 + 2 * 0.25 / 1.75) / 2
    assert value(losses.Dice(), TWO_LABEL, TWO) == pytest.approx(expected)


def test_dice_leaves_absent_classes_out():
    # Class 1 does not occur: only class 0 is scored.
    assert value(losses.Dice(), [[0, 0, 255]], TWO) == pytest.approx(
        1 - 2 * 1.25 / (1.25 + 2)
    )


def test_dice_of_a_weightless_class_is_left_out():
    loss = losses.Dice(class_weights=[0.0, 1.0])
    assert value(loss, TWO_LABEL, TWO) == pytest.approx(1 - 2 * 0.25 / 1.75)


def test_dice_pools():
    label = np.array([[0, 1, 255], [0, 255, 255]])
    pred = np.concatenate([TWO, TWO])
    # Sample 1 scores pixel 0 alone: I = 1/2, P = 1/2, T = 1, class 1 absent.
    one, two, three = 1 - 1 / 2.25, 1 - 0.5 / 1.75, 1 - 1 / 1.5
    sample = value(losses.Dice(pool="sample"), label, pred)
    assert sample == pytest.approx((one + two + three) / 3)
    batch = value(losses.Dice(pool="batch"), label, pred)
    assert batch == pytest.approx(1 - (2 / (1.75 + 2) + 0.5 / (1.25 + 1)) / 2)
    everything = value(losses.Dice(pool="all"), label, pred)
    assert everything == pytest.approx(1 - 2 * 1.25 / (3 + 3))


def test_generalized_dice_weighs_by_inverse_squared_size():
    pred = logits([0.5, 0.5], [0.75, 0.25], [1.0, 1e-30])
    label = [[0, 1, 0]]  # T = 2 and 1, weights 1/4 and 1
    both = 0.25 * 1.5 + 1 * 0.25
    total = 0.25 * (2.25 + 2) + 1 * (0.75 + 1)
    assert value(losses.Dice(generalized=True), label, pred) == pytest.approx(
        1 - 2 * both / total
    )


def test_jaccard_and_tversky():
    jaccard = 1 - (0.5 / (1.25 + 1 - 0.5) + 0.25 / (0.75 + 1 - 0.25)) / 2
    assert value(losses.Jaccard(), TWO_LABEL, TWO) == pytest.approx(jaccard)
    as_jaccard = losses.Tversky(alpha=1.0, beta=1.0)
    assert value(as_jaccard, TWO_LABEL, TWO) == pytest.approx(jaccard)
    as_dice = losses.Tversky(alpha=0.5, beta=0.5)
    assert value(as_dice, TWO_LABEL, TWO) == pytest.approx(
        value(losses.Dice(), TWO_LABEL, TWO)
    )
    # Class 0: FP 3/4, FN 1/2; class 1: FP 1/2, FN 3/4.
    each = [
        1 - 0.5 / (0.5 + 0.3 * 0.75 + 0.7 * 0.5),
        1 - 0.25 / (0.25 + 0.3 * 0.5 + 0.7 * 0.75),
    ]
    assert value(losses.Tversky(), TWO_LABEL, TWO) == pytest.approx(np.mean(each))
    assert value(losses.FocalTversky(), TWO_LABEL, TWO) == pytest.approx(
        np.mean(np.power(each, 0.75))
    )


def test_sums_are_weighted():
    parts = [losses.Crossentropy(), losses.Dice()]
    one, two = (value(part, TWO_LABEL, TWO) for part in parts)
    total = value(losses.Sum(parts, [2.0, 0.5]), TWO_LABEL, TWO)
    assert total == pytest.approx(2 * one + 0.5 * two)
    both = losses.DiceCrossentropy(dice_weight=0.5, crossentropy_weight=2.0)
    assert value(both, TWO_LABEL, TWO) == pytest.approx(total)
    focal = losses.DiceFocal(gamma=1.0)
    assert value(focal, TWO_LABEL, TWO) == pytest.approx(
        two + value(losses.Focal(gamma=1.0), TWO_LABEL, TWO)
    )


def test_lovasz_is_one_less_jaccard_for_hard_predictions():
    pred = 60.0 * np.eye(2)[[[0, 0, 1, 1]]]
    label = [[0, 1, 1, 255]]
    # Class 0: 1 of 2 in the union; class 1: 1 of 2.
    assert value(losses.LovaszSoftmax(), label, pred) == pytest.approx(0.5)


def test_lovasz_by_hand():
    # Class 0 of labels (0, 1): errors 1/2 (of class 0) and 3/4 (not); sorted 3/4,
    # 1/2. The Jaccard loss of the first alone is 1 - 1/2, of both 1.
    # Class 1: errors 1/2 (not) and 3/4 (of class 1): losses 1 and then 1.
    class_0 = 0.75 * 0.5 + 0.5 * 0.5
    class_1 = 0.75 * 1.0 + 0.5 * 0.0
    assert value(losses.LovaszSoftmax(), TWO_LABEL, TWO) == pytest.approx(
        (class_0 + class_1) / 2
    )


def test_boundary_is_least_inside_and_saturates():
    label = [[[0, 0, 0, 1, 1, 1]]]
    # Distances of class 1, radius 2: +1, +1, +0.5/1.5, and the same below 0.
    distance = np.array([1.0, 1.0, 1 / 3, -1 / 3, -1.0, -1.0])
    loss = losses.Boundary(radius_px=2, class_weights=[0.0, 1.0])
    right = 60.0 * np.eye(2)[label]
    assert value(loss, label, right) == pytest.approx(distance[3:].sum() / 6)
    wrong = 60.0 * np.eye(2)[[[[1, 1, 1, 0, 0, 0]]]]
    assert value(loss, label, wrong) == pytest.approx(distance[:3].sum() / 6)


def test_centerline_dice_of_one_line():
    label = np.zeros((1, 5, 5), int)
    label[0, 2] = 1
    # The skeleton of a line one pixel wide is the line: of the label's five pixels
    # the prediction finds three, and all of its own lie on the label.
    found = label.copy()
    found[0, :, 3:] = 0
    loss = losses.CenterlineDice(smooth=1.0)
    precision, sensitivity = 1.0, (3 + 1) / (5 + 1)
    expected = 1 - 2 * precision * sensitivity / (precision + sensitivity)
    pred = 60.0 * np.eye(2)[found]
    assert value(loss, label, pred) == pytest.approx(expected, abs=1e-6)
    assert value(loss, label, 60.0 * np.eye(2)[label]) == pytest.approx(0, abs=1e-6)


REGRESSION = [
    (losses.MeanSquaredError(), (1 + 9) / 2),
    (losses.MeanAbsoluteError(), 2.0),
    (losses.Huber(), (0.5 + 2.5) / 2),
    (losses.LogCosh(), (np.log(np.cosh(1.0)) + np.log(np.cosh(3.0))) / 2),
]


@pytest.mark.parametrize(("loss", "expected"), REGRESSION)
def test_regression_leaves_nan_out(loss, expected):
    y_true, y_pred = [[1.0, 255.0, np.nan]], [[2.0, 252.0, 9.0]]
    assert value(loss, y_true, y_pred) == pytest.approx(expected, rel=1e-5)
    assert value(loss, [[1, 5, 255]], [[2.0, 2.0, 9.0]]) == pytest.approx(
        expected, rel=1e-5
    )
    column = np.array(y_pred)[..., None]
    assert value(loss, y_true, column) == pytest.approx(expected, rel=1e-5)


def test_quantile_prices_both_sides():
    loss = losses.Quantile([0.1, 0.9])
    pred = [[[1.0, 1.0], [9.0, 9.0]]]
    assert value(loss, [[3.0, np.nan]], pred) == pytest.approx((0.2 + 1.8) / 2)
    assert value(loss, [[0.0, np.nan]], pred) == pytest.approx((0.9 + 0.1) / 2)


def test_gaussian_likelihood():
    pred = [[[1.0, np.log(4.0)], [0.0, 0.0]]]
    expected = 0.5 * (np.log(4.0) + 4.0 / 4.0)
    assert value(losses.GaussianLikelihood(), [[3.0, np.nan]], pred) == pytest.approx(
        expected
    )


def test_earth_mover_counts_classes_apart():
    label, pred = [[0, 255]], logits([0.5, 0.25, 0.25], [0.1, 0.1, 0.8])
    # Expected distance 0.25 x 1 + 0.25 x 2; cumulative gaps 1/2 and 1/4.
    assert value(losses.EarthMover(order=1), label, pred) == pytest.approx(0.75)
    assert value(losses.EarthMover(), label, pred) == pytest.approx(0.25 + 0.0625)


def test_cumulative_ordinal_asks_every_threshold():
    pred = np.log(np.array([[[3.0, 1 / 3], [1.0, 1.0]]]))  # P(> k) = 3/4, 1/4
    loss = losses.CumulativeOrdinal()
    assert value(loss, [[1, 255]], pred) == pytest.approx(-np.log(0.75), rel=1e-6)
    assert value(loss, [[2, 255]], pred) == pytest.approx(
        (-np.log(0.75) + 2 * LN2) / 2, rel=1e-6
    )


def test_hinge():
    pred = [[[1.0, 0.5, -2.0], [0.0, 0.0, 9.0]]]
    assert value(losses.Hinge(), [[0, 255]], pred) == pytest.approx(0.5)
    assert value(losses.Hinge(), [[2, 255]], pred) == pytest.approx(4.0)
    assert value(losses.Hinge(), [[1, 0]], [[[0.25], [0.25]]]) == pytest.approx(1.0)


def test_boxes():
    label = [[[0.0, 0, 2, 2], [np.nan] * 4, [-1.0] * 4]]
    beside = [[[3.0, 0, 5, 2], [0, 0, 1, 1], [0, 0, 1, 1]]]
    half = [[[0.0, 0, 1, 2], [0, 0, 1, 1], [0, 0, 1, 1]]]
    assert value(losses.BoxIoU(), label, half) == pytest.approx(0.5)
    assert value(losses.BoxIoU(), label, beside) == pytest.approx(1.0)
    # Hull 5 x 2 with a gap of 1 x 2.
    assert value(losses.BoxGIoU(), label, beside) == pytest.approx(1.2)


def test_interval_costs_the_distance_to_it():
    bounds = [[[0.2, 0.4], [0.2, 0.4], [0.2, 0.4], [np.nan, 0.4]]]
    pred = [[0.1, 0.3, 0.7, 0.9]]
    square = losses.Interval(from_logits=False)
    assert value(square, bounds, pred) == pytest.approx((0.01 + 0 + 0.09) / 3)
    logit = np.log(np.array([[0.1, 0.3, 0.7, 0.9]]) / (1 - np.array(pred)))
    assert value(losses.Interval(), bounds, logit) == pytest.approx(0.1 / 3, rel=1e-5)


def test_interval_lies_around_values_where_a_width_is_told():
    label, pred = [[0.3, 0.3, 0.3, np.nan]], [[0.1, 0.35, 0.7, 0.9]]
    loss = losses.Interval(from_logits=False, half_width=0.1)
    assert value(loss, label, pred) == pytest.approx((0.01 + 0 + 0.09) / 3)
    tenths = losses.Interval(from_logits=False, half_width=0.5, power=1)
    codes = np.array([[3, 255]], "uint8")  # integers are void by their code
    assert value(tenths, codes, [[4.0, 9.0]]) == pytest.approx(0.5)
    assert value(loss, label, np.array(pred)[..., None]) == pytest.approx(0.1 / 3)


def test_proportion_compares_polygon_means():
    shares = [0.75, 0.25]
    label = [[[0, *shares], [0, *shares], [3, 0.5, 0.5], [255, 1, 0]]]
    pred = logits([0.9, 0.1], [0.6, 0.4], [0.75, 0.25], [0.5, 0.5])
    kl = 0.5 * np.log(0.5 / 0.75) + 0.5 * np.log(0.5 / 0.25)
    assert value(losses.Proportion(), label, pred) == pytest.approx(kl / 3, rel=1e-4)
    l1 = losses.Proportion(divergence="l1", weigh_by="polygon")
    assert value(l1, label, pred) == pytest.approx(0.5 / 2, rel=1e-4)


def test_proportion_leaves_the_pixels_of_a_polygon_free():
    label = [[[0, 0.5, 0.5], [0, 0.5, 0.5]]]
    one = value(losses.Proportion(), label, logits([1, 1e-9], [1e-9, 1]))
    other = value(losses.Proportion(), label, logits([1e-9, 1], [1, 1e-9]))
    assert one == pytest.approx(other) == pytest.approx(0.0, abs=1e-6)


def test_dominance_weighs_by_share():
    label = [[[0, 1.0], [1, 0.5], [0, np.nan], [255, 1.0]]]
    loss = losses.DominanceCrossentropy()
    assert value(loss, label, logits(*PROB)) == pytest.approx(
        (LN2 + 0.5 * 2 * LN2) / 1.5
    )
    strict = losses.DominanceCrossentropy(min_share=0.65)
    assert value(strict, label, logits(*PROB)) == pytest.approx(LN2)


def test_bootstrapped_mixes_label_and_opinion():
    pred = logits([0.75, 0.25])
    entropy = -0.75 * np.log(0.75) - 0.25 * np.log(0.25)
    soft = losses.BootstrappedCrossentropy(label_share=0.8)
    expected = 0.8 * 2 * LN2 + 0.2 * entropy
    assert value(soft, [[1]], pred) == pytest.approx(expected)
    hard = losses.BootstrappedCrossentropy(label_share=0.8, opinion="hard")
    expected = 0.8 * 2 * LN2 - 0.2 * np.log(0.75)
    assert value(hard, [[1]], pred) == pytest.approx(expected)


def test_symmetric_adds_the_reverse():
    loss = losses.SymmetricCrossentropy(alpha=0.1, beta=1.0, log_zero=-4.0)
    expected = 0.1 * 2 * LN2 + 4.0 * 0.75
    assert value(loss, [[1]], logits([0.75, 0.25])) == pytest.approx(expected)


def test_smoothing_with_class_weights_is_pytorch_s():
    # torch.nn.CrossEntropyLoss(weight, label_smoothing), as its documentation and
    # aten/src/ATen/native/LossNLL.cpp have it: the smooth part of a pixel is weighed by
    # every class's own weight, the mean is by the weights of the labels.
    rng = np.random.default_rng(0)
    pred = rng.normal(size=(1, 12, 4)).astype("float32")
    label = rng.integers(0, 4, (1, 12))
    weight, smoothing = np.array([1.0, 2.0, 0.5, 4.0]), 0.2
    log_prob = pred[0] - np.log(np.exp(pred[0]).sum(-1, keepdims=True))
    own = -weight[label[0]] * log_prob[np.arange(12), label[0]]
    smooth = -(log_prob * weight).sum(-1)
    total = weight[label[0]].sum()
    expected = (
        1 - smoothing
    ) * own.sum() / total + smoothing / 4 * smooth.sum() / total
    loss = losses.Crossentropy(class_weights=weight.tolist(), label_smoothing=smoothing)
    assert value(loss, label, pred) == pytest.approx(expected, rel=1e-5)
    old = (1 - smoothing) * own - smoothing / 4 * weight[label[0]] * log_prob.sum(-1)
    assert abs(old.sum() / total - expected) > 1e-3  # what one weight a pixel gives


def test_smoothing_leaves_a_class_of_weight_0_out():
    loss = losses.Crossentropy(class_weights=[0.0, 3.0], label_smoothing=0.2)
    # The second pixel alone: 0.9 of its own class, nothing of the other.
    expected = -0.9 * np.log(0.25)
    assert value(loss, [[0, 1]], logits([0.5, 0.5], [0.75, 0.25])) == pytest.approx(
        expected
    )
