"""Leads of a forecast by one network: told which lead it is, or rolled out."""

import keras
import numpy as np
import pytest

from arcticdl.models import build_multitask
from arcticdl.models.layers.space_time import SpaceTimeTransformer

BANDS = ("sic_t-1", "sic", "anomaly_t-1", "anomaly", "climatology_t1",
         "climatology_t2", "persistence_t1", "persistence_t2", "season_sin",
         "season_cos", "latitude")  # fmt: skip
QUANTILES = {"task": "dense_quantile", "quantiles": [0.1, 0.5, 0.9]}
MONTH_H = 730.5


def card(**changes):
    """A card as the feed of a store of forecasts describes itself."""
    starts = {
        f"sic_t{k}": {"band": f"persistence_t{k}", "offset": 0.0, "scale": 1.0,
                      "limits": [0.0, 1.0]}
        for k in (1, 2)
    }  # fmt: skip
    known = {"bands": list(BANDS), "num_times": 2, "num_context": 9, "starts": starts,
             "step_h": MONTH_H, "normalizer": {"method": "none"}}  # fmt: skip
    return known | changes


def build(leads, head=QUANTILES, *, names=("sic_t1", "sic_t2"), **changes):
    keras.utils.set_random_seed(0)
    heads = head if "task" not in head else dict.fromkeys(names, head)
    return build_multitask(
        "plain",
        heads=heads,
        card=card(**changes),
        series={"leads": leads},
        backbone_options={"width": 4, "depth": 1},
        decoder_options={"channels": (4,)},
    )


def stir(model, scale=0.3):
    """The model or layer with weights with which every band matters."""
    rng = np.random.default_rng(1)
    for weight in model.trainable_weights:
        weight.assign(rng.normal(0, scale, weight.shape))
    return model


@pytest.fixture(scope="module")
def image():
    """Two dates, and the context that they have."""
    rng = np.random.default_rng(0)
    x = rng.uniform(0.2, 0.8, (2, 6, 5, len(BANDS))).astype("float32")
    for step in (1, 2):
        x[..., BANDS.index(f"persistence_t{step}")] = x[..., BANDS.index("sic")]
    return x


def band(x, name):
    return x[..., BANDS.index(name)]


@pytest.mark.backend
@pytest.mark.parametrize("leads", ["conditioned", "rollout"])
def test_a_network_that_mends_nothing_answers_persistence(leads, image, tmp_path):
    model = build(leads)
    answers = model.predict_on_batch(image)
    assert list(answers) == ["sic_t1", "sic_t2"]
    for answer in answers.values():
        np.testing.assert_array_equal(answer[..., 1], band(image, "sic"))
    stir(model).save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    for name, answer in model.predict_on_batch(image).items():
        np.testing.assert_array_equal(loaded.predict_on_batch(image)[name], answer)


@pytest.mark.backend
def test_a_step_that_adds_adds_at_each_step(image):
    model = build("rollout", {"task": "dense_regression"})
    one = next(layer for layer in model.layers if isinstance(layer, keras.Model))
    one.get_layer("answer_conv").bias.assign([0.5])  # a tenth of it is added
    answers = model.predict_on_batch(image)
    now = band(image, "sic")[..., None]
    np.testing.assert_allclose(answers["sic_t1"], now + 0.05, atol=1e-6)
    np.testing.assert_allclose(answers["sic_t2"], now + 0.10, atol=1e-6)


@pytest.mark.backend
def test_a_rollout_is_its_step_called_again_on_its_own_answer(image):
    model = stir(build("rollout"))
    one = next(layer for layer in model.layers if isinstance(layer, keras.Model))
    answers = model.predict_on_batch(image)
    first = answers["sic_t1"][..., 1]
    year = 8766.0 / MONTH_H
    turn = 2 * np.pi / year
    sine, cosine = band(image, "season_sin"), band(image, "season_cos")
    second = np.stack([
        band(image, "sic"), first,
        band(image, "anomaly"), first - band(image, "climatology_t1"),
        band(image, "climatology_t2"), first,
        sine * np.cos(turn) + cosine * np.sin(turn),
        cosine * np.cos(turn) - sine * np.sin(turn),
        band(image, "latitude"),
    ], axis=-1)  # fmt: skip
    expected = one.predict_on_batch(second)
    np.testing.assert_allclose(answers["sic_t2"], expected, atol=1e-5)
    assert np.abs(first - band(image, "sic")).max() > 1e-3


@pytest.mark.backend
def test_a_conditioned_lead_sees_its_own_context_alone(image):
    model = stir(build("conditioned"))
    changed = image.copy()
    changed[..., BANDS.index("climatology_t2")] += 0.5
    before, after = model.predict_on_batch(image), model.predict_on_batch(changed)
    np.testing.assert_array_equal(before["sic_t1"], after["sic_t1"])
    assert np.abs(before["sic_t2"] - after["sic_t2"]).max() > 1e-5
    # With one context for both, the leads are told apart by their own band.
    same = image.copy()
    same[..., BANDS.index("climatology_t2")] = band(image, "climatology_t1")
    answers = model.predict_on_batch(same)
    assert np.abs(answers["sic_t1"] - answers["sic_t2"]).max() > 1e-5


@pytest.mark.backend
def test_a_rollout_is_trained_through_its_own_answers(image):
    """The loss of the second lead alone depends on the first answer, and moves it."""
    model = build("rollout", {"task": "dense_regression"})
    model.compile(keras.optimizers.SGD(1.0), {"sic_t2": "mse"}, jit_compile=False)
    truth = band(image, "sic")[..., None]
    before = model.predict_on_batch(image)["sic_t1"]
    model.train_on_batch(image, {"sic_t2": truth + 0.2})
    assert (model.predict_on_batch(image)["sic_t1"] > before).mean() > 0.9


@pytest.mark.parametrize(
    ("leads", "changes", "message"),
    [
        ("twice", {}, "series.leads"),
        ("rollout", {"names": ("sic_t2",)}, "leave out a step"),
        ("rollout", {"normalizer": {"method": "zscore"}}, "normaliser 'zscore'"),
        ("rollout", {"num_context": 7}, "several bands a date"),
        ("conditioned", {"num_context": 0, "starts": {}}, "for forecasts"),
        ("conditioned", {"names": ("sic",)}, "for forecasts"),
        (
            "conditioned",
            {"head": {"sic_t1": QUANTILES, "sic_t2": {"task": "dense_regression"}}},
            "must be alike",
        ),
    ],
)
def test_what_cannot_share_a_network_is_refused(leads, changes, message):
    with pytest.raises(ValueError, match=message):
        build(leads, **changes)


@pytest.mark.backend
def test_a_transformer_knows_the_order_of_times_and_reaches_as_far_as_a_window():
    x = np.random.default_rng(0).normal(size=(1, 3, 8, 4, 8)).astype("float32")
    layer = SpaceTimeTransformer(num_heads=2, window_size=4)
    layer.build(x.shape)
    answer = np.asarray(stir(layer)(x))
    assert answer.shape == (1, 8, 4, 8)
    turned = np.asarray(layer(x[:, [1, 0, 2]]))
    assert np.abs(turned - answer).max() > 1e-5
    moved = x.copy()
    moved[:, 0, 0, 0] *= -1  # an early time of one place of the upper window
    change = np.abs(np.asarray(layer(moved)) - answer).max((0, 3))
    assert (change[:4] > 0).all() and (change[4:] == 0).all()


def test_a_transformer_refuses_channels_that_heads_cannot_share():
    with pytest.raises(ValueError, match="multiple of `num_heads`"):
        SpaceTimeTransformer(3)(np.zeros((1, 2, 4, 4, 8), "float32"))
