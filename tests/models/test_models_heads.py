"""Every task's output has its form and keeps its own rule."""

import keras
import numpy as np
import pytest

from arcticdl.errors import TaskError
from arcticdl.models import build_multitask, get_card
from arcticdl.models.card import model_heads, set_card
from arcticdl.models.layers.answers import (
    Increasing,
    OrderedThresholds,
    StartFrom,
    Variance,
)
from arcticdl.tasks import TASKS

SIZES = {
    "classes": ({"num_classes": 5}, 5),
    "gaussian": ({"num_outputs": 2}, 4),
    "labels": ({"num_classes": 5}, 5),
    "ordinal": ({"num_classes": 5}, 4),
    "quantiles": ({"quantiles": (0.05, 0.5, 0.95)}, 3),
    "shares": ({"num_classes": 5}, 5),
    "values": ({"num_outputs": 2}, 2),
}
HEADS = [
    name
    for name, task in TASKS.items()
    # Detectors, and what draws members, are built by builders of their own.
    if task.target != "object" and task.kind != "members"
]


@pytest.fixture(scope="module")
def answers():
    heads = {name: {"task": name, **SIZES[TASKS[name].kind][0]} for name in HEADS}
    model = build_multitask(
        "plain",
        "unet",
        num_bands=2,
        heads=heads,
        backbone_options={"width": 4, "depth": 2},
        decoder_options={"channels": (8, 8)},
    )
    rng = np.random.default_rng(0)
    x = 10 * rng.normal(size=(3, 7, 10, 2)).astype("f4")
    return {name: np.asarray(y) for name, y in model(x).items()}


@pytest.mark.backend
@pytest.mark.parametrize("task", HEADS)
def test_output_has_the_task_s_shape(task, answers):
    channels = SIZES[TASKS[task].kind][1]
    shape = (3, 7, 10, channels) if TASKS[task].dense else (3, channels)
    assert answers[task].shape == shape
    assert answers[task].dtype == np.float32


@pytest.mark.backend
@pytest.mark.parametrize("task", ["quantile", "dense_quantile"])
def test_quantiles_never_cross(task, answers):
    assert (np.diff(answers[task], axis=-1) >= 0).all()


@pytest.mark.backend
@pytest.mark.parametrize("task", ["ordinal", "dense_ordinal"])
def test_being_above_a_higher_class_is_never_likelier(task, answers):
    assert (np.diff(answers[task], axis=-1) <= 0).all()


@pytest.mark.backend
def test_ordered_thresholds_start_one_apart_about_zero():
    out = np.asarray(OrderedThresholds(5)(np.zeros((1, 1), "f4")))
    np.testing.assert_allclose(out, [[1.5, 0.5, -0.5, -1.5]], atol=1e-5)


@pytest.mark.backend
def test_two_ordered_classes_have_one_threshold():
    out = np.asarray(OrderedThresholds(2)(np.zeros((1, 1), "f4")))
    np.testing.assert_allclose(out, [[0.0]], atol=1e-6)


@pytest.mark.backend
def test_increasing_adds_softplus_steps():
    out = np.asarray(Increasing()(np.array([[1.0, 0.0, -40.0]], "f4")))
    np.testing.assert_allclose(out, [[1.0, 1.0 + np.log(2), 1.0 + np.log(2)]], 1e-6)


@pytest.mark.backend
def test_log_variances_are_bounded_and_means_are_not():
    out = np.asarray(Variance(1)(np.array([[99.0, 99.0], [-99.0, -99.0]], "f4")))
    np.testing.assert_allclose(out, [[99.0, 10.0], [-99.0, -10.0]])


def test_heads_have_their_own_dropout():
    model = build_multitask(
        "plain",
        None,
        num_bands=1,
        regularization={"dropout": 0.1},
        heads={
            "a": {"task": "regression"},
            "b": {"task": "regression", "dropout": 0.5},
        },
        backbone_options={"width": 2, "depth": 2},
    )
    assert model.get_layer("a_dropout").rate == 0.1
    assert model.get_layer("b_dropout").rate == 0.5


@pytest.mark.parametrize(
    ("heads", "message"),
    [
        ({}, "at least one head"),
        ({"a": {"task": "segmentaton"}}, "Did you mean 'segmentation'"),
        ({"a": {"task": "segmentation"}}, "`num_classes` must be an integer"),
        ({"a": {"task": "dense_ordinal", "num_classes": 1}}, "at least 2"),
        ({"a": {"task": "dense_regression", "num_classes": 3}}, "takes 'num_outputs'"),
        ({"a": {"task": "dense_quantile", "quantiles": (0.5, 0.1)}}, "rise strictly"),
        ({"a": {"task": "dense_quantile", "quantiles": ()}}, "rise strictly"),
        ({"a": {"task": "regression"}}, "`decoder` must be None"),
    ],
)
def test_bad_heads_are_refused(heads, message):
    with pytest.raises(ValueError, match=message):
        build_multitask("plain", "unet", num_bands=1, heads=heads)


def test_loss_and_labels_are_given_by_head():
    model = build_multitask(
        "plain",
        "unet",
        num_bands=1,
        heads={"sod": {"num_classes": 3}, "sic": {"task": "dense_regression"}},
        backbone_options={"width": 2, "depth": 2},
        decoder_options={"channels": (4, 4)},
    )
    classes = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile("adam", {"sod": classes, "sic": "mse"})
    labels = {"sod": np.zeros((1, 8, 8), "i4"), "sic": np.zeros((1, 8, 8, 1), "f4")}
    history = model.fit(np.ones((1, 8, 8, 1), "f4"), labels, verbose=0).history
    assert np.isfinite(history["loss"]).all()


def tiny(heads, card=None, decoder="unet"):
    return build_multitask(
        "plain",
        decoder,
        bands=["HH"],
        heads=heads,
        card=card,
        backbone_options={"width": 2, "depth": 2},
        decoder_options={"channels": (4, 4)} if decoder else None,
    )


ICE = {"task": "segmentation", "classes": ["water", "ice"], "colors": ["#000", "#fff"]}


def test_a_feed_s_card_describes_heads_to_build():
    card = {"bands": ["HH"], "heads": {"ice": ICE, "sic": {"task": "dense_regression"}}}
    model = tiny(card["heads"], card)
    assert {n: t.shape[-1] for n, t in model.output.items()} == {"ice": 2, "sic": 1}
    heads = model_heads(model)
    assert heads["ice"].classes == ("water", "ice") and heads["sic"].units == ""


def test_the_card_says_what_the_head_is_and_keeps_the_label_s_classes():
    card = {"bands": ["HH"], "heads": {"ice": ICE}}
    model = tiny({"h": {"task": "dense_ordinal", "num_classes": 2}}, card)
    entry = get_card(model)["heads"]["ice"]
    assert entry["task"] == "dense_ordinal" and entry["num_classes"] == 2
    assert entry["classes"] == ICE["classes"] and entry["colors"] == ICE["colors"]


@pytest.mark.parametrize(
    ("head", "message"),
    [
        ({"task": "dense_regression"}, r"for the tasks \['dense_ordinal', 'segm"),
        ({"task": "segmentation", "num_classes": 3}, "2 classes, \\['water', 'ice'"),
    ],
)
def test_a_head_that_does_not_fit_its_label_is_refused(head, message):
    with pytest.raises(TaskError, match=message):
        tiny({"ice": head}, {"bands": ["HH"], "heads": {"ice": ICE}})


def test_heads_bear_the_names_of_their_labels():
    card = {"heads": {"ice": ICE, "sic": {"task": "dense_regression"}}}
    with pytest.raises(TaskError, match=r"\['ice', 'sic'\]. Received: a head 'a'"):
        tiny({"a": ICE, "sic": {"task": "dense_regression"}}, card)


def test_a_regression_of_old_with_a_map_for_output_is_dense():
    model = tiny({"sic": {"task": "dense_regression"}})
    old = {"bands": ["HH"], "heads": {"sic": {"task": "regression", "classes": []}}}
    set_card(model, old)
    assert model_heads(model)["sic"].task == "dense_regression"


def test_a_card_that_names_another_head_than_the_output_is_refused():
    model = tiny({"ice": ICE})
    set_card(model, {"heads": {"ice": {"task": "dense_quantile"}}})
    with pytest.raises(TaskError, match="of 3 channels for an output"):
        model_heads(model)


def test_a_pooled_head_needs_a_label_of_images():
    card = {"bands": ["HH"], "heads": {"ice": ICE}}
    with pytest.raises(TaskError, match="one class a pixel"):
        tiny({"ice": {"task": "classification", "num_classes": 2}}, card, None)


def test_an_answer_that_starts_from_a_band_adds_to_it_and_keeps_its_limits():
    layer = StartFrom(1, offset=0.5, scale=2.0, limits=(0.0, 1.0), gain=0.1)
    image = np.zeros((1, 1, 3, 2), "float32")
    image[0, 0, :, 1] = -0.25, 0.1, 0.3  # 0, 0.7 and 1.1 in source units
    x = np.array([[[[1.0, 2.0], [1.0, 2.0], [1.0, -2.0]]]], "float32")
    expected = np.array([[0.1, 0.2], [0.8, 0.9], [1.2, 0.9]])
    np.testing.assert_allclose(layer([x, image], training=True)[0, 0], expected, 1e-6)
    np.testing.assert_allclose(layer([x, image])[0, 0], np.clip(expected, 0, 1), 1e-6)


def test_each_value_starts_from_a_band_of_its_own():
    layer = StartFrom([2, 0], offset=[10.0, 20.0], scale=[2.0, 3.0], gain=[2.0, 3.0])
    image = np.array([[[[1.0, 7.0, -1.0]]]], "float32")
    x = np.array([[[[0.5, 0.0]]]], "float32")
    found = np.asarray(layer([x, image])).ravel()
    np.testing.assert_allclose(found, [10 - 2 + 1, 20 + 3])
    again = StartFrom.from_config(layer.get_config())
    np.testing.assert_array_equal(np.asarray(again([x, image])).ravel(), found)


def test_a_variance_gets_no_band():
    layer = StartFrom(0, limits=(0.0, 1.0), num_values=1)
    image = np.full((1, 1, 1, 1), 0.4, "float32")
    x = np.array([[[[1.0, -4.0]]]], "float32")
    np.testing.assert_allclose(np.asarray(layer([x, image])).ravel(), [0.5, -4.0])


@pytest.mark.parametrize("middle", [0, 1, 2])
def test_quantiles_rise_about_the_channel_that_is_taken_as_it_is(middle):
    x = np.array([[0.3, -1.0, 2.0]], "float32")
    found = np.asarray(Increasing(middle)(x))[0]
    softplus = np.log1p(np.exp(x[0].astype("float64")))
    assert found[middle] == x[0, middle]
    steps = softplus[[k for k in range(3) if k != middle]]
    np.testing.assert_allclose(np.diff(found), steps, rtol=1e-5)
