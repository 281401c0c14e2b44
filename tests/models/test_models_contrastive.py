"""Views told apart: the loss by hand, its laws, and what void may not do."""

import keras
import numpy as np
import pytest
from keras import ops

from arcticdl import losses
from arcticdl.models import build_contrastive, build_multitask, nt_xent
from arcticdl.models.contrastive.pairs import pool_seen, spread, told_apart

pytestmark = pytest.mark.backend

CARD = {
    "bands": ["HH", "HV"],
    "heads": {
        "own": {"task": "dense_regression", "outputs": ["HH", "HV"], "units": "dB"}
    },
    "starts": {
        "own": {
            "band": ["HH", "HV"],
            "offset": [-12.0, -20.0],
            "scale": [3.0, 4.0],
            "gain": [3.0, 4.0],
        }
    },
}


def compiled(**options):
    model = build_contrastive(network(), **options)
    # Eagerly: a graph of so little takes longer to make than to run.
    model.compile(
        keras.optimizers.SGD(0.1), losses.MeanAbsoluteError(), run_eagerly=True
    )
    return model


def network(backbone="plain", decoder="unet", **options):
    keras.utils.set_random_seed(0)
    if backbone == "plain":
        options = {
            "backbone_options": {"width": 4, "depth": 2},
            "decoder_options": {"channels": (8, 4)},
        }
    heads = {"own": {"task": "dense_regression", "num_outputs": 2}}
    return build_multitask(
        backbone, decoder, heads=heads, bands=["HH", "HV"], card=CARD, **options
    )


def views(number=4, size=16, seed=0):
    rng = np.random.default_rng(seed)
    level = rng.normal(size=(number, 1, 1, 2))
    image, view = (
        (level + 0.3 * rng.normal(size=(number, size, size, 2))).astype("float32")
        for _ in range(2)
    )
    return {"image": image, "view": view}


def codes(number=5, size=8, seed=1):
    rng = np.random.default_rng(seed)
    return tuple(rng.normal(size=(number, size)).astype("float32") for _ in range(2))


def by_hand(one, other, temperature):
    """Equation 1 of SimCLR, in loops."""
    every = [code / np.linalg.norm(code) for code in np.concatenate([one, other])]
    count = len(one)
    told = []
    for i, code in enumerate(every):
        pair = (i + count) % (2 * count)
        apart = sum(
            np.exp(code @ each / temperature) for k, each in enumerate(every) if k != i
        )
        told.append(-np.log(np.exp(code @ every[pair] / temperature) / apart))
    return np.mean(told)


@pytest.mark.parametrize("temperature", [0.1, 0.5, 2.0])
def test_the_loss_is_that_written_down_by_hand(temperature):
    one, other = codes()
    found = float(nt_xent(one, other, temperature=temperature))
    assert found == pytest.approx(by_hand(one, other, temperature), rel=1e-4)
    swapped = float(nt_xent(other, one, temperature=temperature))
    assert swapped == pytest.approx(found, rel=1e-5)  # symmetric in the views
    longer = float(nt_xent(7 * one, other, temperature=temperature))
    assert longer == pytest.approx(found, rel=1e-5)  # angles alone count


def test_a_high_temperature_tells_no_code_from_another():
    one, other = codes()
    # All of 2 n - 1 codes are then as near as each other.
    found = float(nt_xent(one, other, temperature=1e6))
    assert found == pytest.approx(np.log(9), rel=1e-4)
    same = np.eye(5, 8, dtype="float32")
    strict, mild = (float(nt_xent(same, same, temperature=t)) for t in (0.1, 0.5))
    assert strict < mild  # views that are alike already


def test_what_is_not_seen_takes_no_part():
    one, other = codes()
    counts = np.float32([1, 1, 0, 1, 1])
    kept = counts > 0
    alone = by_hand(one[kept], other[kept], 0.2)
    for broken in (1.0, 1e4):
        changed = [code.copy() for code in (one, other)]
        changed[0][2], changed[1][2] = broken, -broken
        found = float(nt_xent(*changed, temperature=0.2, counts=counts))
        assert found == pytest.approx(alone, rel=1e-4)
        assert float(spread(*changed, counts=counts)) == pytest.approx(
            float(spread(one[kept], other[kept])), rel=1e-4
        )
    assert float(nt_xent(one, other, counts=np.float32([0, 1, 0, 0, 0]))) == 0.0


def test_a_batch_of_one_and_a_temperature_of_zero_are_refused():
    one = np.ones((1, 4), "float32")
    with pytest.raises(ValueError, match=r"at least two images.*a batch of one"):
        nt_xent(one, one)
    with pytest.raises(ValueError, match="`temperature` must be above 0"):
        nt_xent(*codes(), temperature=0.0)
    with pytest.raises(ValueError, match=r"must be above 0.*size=0"):
        build_contrastive(network(), size=0)
    classes = build_multitask(
        "plain", None, num_bands=2, backbone_options={"width": 4},
        heads={"kind": {"task": "classification", "num_classes": 2}},
    )  # fmt: skip
    with pytest.raises(ValueError, match="must answer for pixels"):
        build_contrastive(classes)


def test_collapse_is_measured():
    rng = np.random.default_rng(0)
    anywhere = rng.normal(size=(2000, 16)).astype("float32")
    assert float(spread(anywhere, anywhere)) == pytest.approx(1, abs=0.02)
    one = np.tile(anywhere[:1], (6, 1))
    assert float(spread(one, one)) == pytest.approx(0, abs=1e-3)
    assert float(told_apart(*codes()[:1], codes()[0])) == pytest.approx(1.0)
    # All codes are one: a view's own is one of eleven that are as near.
    assert float(told_apart(one, one)) == pytest.approx(1 / 11)


def test_features_are_averaged_over_what_is_seen_alone():
    rng = np.random.default_rng(0)
    image = rng.normal(size=(2, 6, 7, 1)).astype("float32")
    image[0, :, 4:] = 0.0
    image[1] = 0.0
    # Of a network that has padded its image to 8 by 8.
    features = rng.normal(size=(2, 4, 4, 3)).astype("float32")
    found = ops.convert_to_numpy(pool_seen(features, image, 2))
    np.testing.assert_allclose(found[0], features[0, :3, :2].mean((0, 1)), rtol=1e-5)
    np.testing.assert_array_equal(found[1], 0)


def test_all_but_the_head_learns_and_the_label_is_not_looked_at():
    model = compiled(size=8)
    before = {w.path: number(w) for w in model.network.trainable_variables}
    answer = number(model.network(views()["image"], training=False))
    wrong = np.full_like(views()["image"], 1e3)
    history = model.fit(views(), wrong, batch_size=4, epochs=4, verbose=0).history
    assert history["loss"][-1] < history["loss"][0] < 20
    assert set(history) == {"loss", "contrast", "told_apart", "spread"}
    same = [p for p, w in before.items() if np.array_equal(w, by_path(model, p))]
    assert same and all(path.startswith("own_conv/") for path in same)
    # The head begins as the bands, and stays so.
    after = model.network.predict(views()["image"], verbose=0)
    np.testing.assert_array_equal(answer, after)


def by_path(model, path):
    return next(number(w) for w in model.network.weights if w.path == path)


def number(weight):
    return np.array(ops.convert_to_numpy(weight))


def test_the_label_is_learnt_as_well_where_it_is_asked_for():
    model = compiled(reconstruct=0.5)
    told = views()
    truth = told["image"] * np.float32([3, 4]) + np.float32([-10, -20])
    answer = model(told, training=False)
    loss = float(model.compute_loss(told, truth, answer, training=False))
    found = model.evaluate(told, truth, batch_size=4, verbose=0, return_dict=True)
    assert found["compiled_loss"] == pytest.approx(1.0, rel=1e-3)  # 2 of HH, 0 of HV
    assert loss == pytest.approx(found["contrast"] + 0.5, rel=1e-3)
    assert found["loss"] == pytest.approx(loss, rel=1e-4)


def test_void_never_counts():
    model = compiled()
    told = views()
    told["view"][1] = 0.0  # nothing is seen of it
    image = told["image"].copy()
    image[1] = 99.0  # so that its first view takes no part either
    label = np.zeros_like(told["image"])
    losses_of = [
        float(model.compute_loss(each, label, model(each), training=False))
        for each in (told, {**told, "image": image})
    ]
    assert losses_of[0] == pytest.approx(losses_of[1], rel=1e-5)
    nothing = {name: np.zeros_like(view) for name, view in told.items()}
    void = np.full_like(label, np.nan)
    assert model.train_on_batch(nothing, void, return_dict=True)["loss"] == 0
    assert all(np.isfinite(number(w)).all() for w in model.weights)
    one = {name: view[:1] for name, view in told.items()}
    assert model.test_on_batch(one, label[:1], return_dict=True)["loss"] == 0


def test_a_batch_of_void_is_no_score_of_zero():
    model, told = compiled(), views()
    label = np.zeros_like(told["image"])
    names = ("contrast", "told_apart", "spread")
    alone, beside = (
        model.evaluate(
            {n: np.concatenate([v, np.zeros_like(v)])[:size] for n, v in told.items()},
            np.concatenate([label, label])[:size],
            batch_size=4,
            verbose=0,
            return_dict=True,
        )
        for size in (4, 8)
    )
    assert alone["told_apart"] > 0
    for name in names:
        assert beside[name] == pytest.approx(alone[name], rel=1e-5)


@pytest.mark.skipif(
    keras.backend.backend() != "tensorflow",
    reason="one step of each: JAX would compile every operation for it",
)
@pytest.mark.parametrize(
    ("backbone", "decoder", "options"),
    [
        ("swin_t", "unet", {"width": 12, "depths": (1, 1), "num_heads": (1, 1)}),
        ("vit_tiny", "linear", {"width": 12, "depth": 1, "num_heads": 1}),
        ("superpixel_graph", "linear", {}),
    ],
)
def test_any_backbone_learns_by_hidden_patches_and_by_views(backbone, decoder, options):
    plain = network(backbone, decoder, backbone_options=options)
    told, hidden = views(2, 64), views(2, 64)["image"]
    hidden[:, :32] = np.nan
    plain.compile("sgd", losses.MeanAbsoluteError(), run_eagerly=True)
    assert np.isfinite(plain.train_on_batch(told["image"], hidden))
    model = build_contrastive(plain)
    assert next(iter(model.places)).startswith("backbone/P")
    model.compile("sgd", losses.MeanAbsoluteError(), run_eagerly=True)
    found = model.train_on_batch(told, hidden, return_dict=True)
    assert np.isfinite(found["loss"]) and found["spread"] > 0


def test_what_is_kept_is_the_network(tmp_path):
    model = compiled(size=8)
    model.train_on_batch(views(), views()["image"])
    model.save(tmp_path / "whole.keras")
    model.network.save(tmp_path / "network.keras")
    image = views(2)["image"]
    wanted = number(model.network(image, training=False))
    whole = keras.saving.load_model(tmp_path / "whole.keras")
    alone = keras.saving.load_model(tmp_path / "network.keras")
    for kept in (alone, whole.network):
        np.testing.assert_array_equal(number(kept(image, training=False)), wanted)
    for mine, theirs in zip(model.get_weights(), whole.get_weights(), strict=True):
        np.testing.assert_array_equal(mine, theirs)
    assert not any(weight.path.startswith("coder") for weight in alone.weights)
