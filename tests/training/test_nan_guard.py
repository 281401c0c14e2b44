"""A loss that is no number: which batch, which tile, and the weights before it."""

import keras
import numpy as np
import pytest
import xarray as xr

from arcticdl import losses
from arcticdl.errors import DivergedError
from arcticdl.tiles import prepare
from arcticdl.training import StopAtNaN, TileFeed, fit

POISONED = 5


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    rng = np.random.default_rng(0)
    ice = rng.integers(0, 2, (32, 16)).astype("uint8")
    classes = {"flag_values": [0, 1], "flag_meanings": "water ice"}
    scene = xr.Dataset(
        {
            "image": (("band", "y", "x"), rng.normal(size=(2, 32, 16)).astype("f4")),
            "ice": (("y", "x"), ice, classes),
        },
        {"band": ["HH", "HV"], "x": np.arange(16) + 0.5, "y": np.arange(32) + 0.5},
        {"scene_id": "one", "georeferenced": False},
    )
    folder = tmp_path_factory.mktemp("store")
    return prepare([scene], folder / "a.tiles", tile_size_px=8, progress=False)


class Poison:
    """Makes the label of one tile a code that is neither a class nor void."""

    def __init__(self, store):
        self.image = store.read([POISONED], ["image"])["image"][0]

    def __call__(self, image, labels, valid, rng):
        found = (image == self.image).all(axis=(1, 2, 3))
        labels["ice"][found] = 7
        return image, labels, valid


def network(rate=1e-3):
    keras.utils.set_random_seed(0)
    inputs = keras.Input((8, 8, 2))
    model = keras.Model(inputs, keras.layers.Conv2D(2, 1)(inputs))
    optimizer = keras.optimizers.SGD(rate)
    model.compile(optimizer, losses.Crossentropy(), run_eagerly=True)
    return model


def feed(store, **options):
    return TileFeed(store, np.arange(8), batch_size=2, shuffle=False, **options)


def test_a_poisoned_tile_is_named_and_the_weights_before_it_are_kept(store, tmp_path):
    poisoned = feed(store, augment=Poison(store))
    place = store.manifest.iloc[POISONED]
    name = f"tile 5 (scene one, row {place['row']}, column {place['col']})"
    folder = tmp_path / "run" / "fold0"
    model = network()
    start = model.get_weights()
    with pytest.raises(DivergedError) as caught:
        fit(model, poisoned, folder, epochs=2)
    message = str(caught.value)
    assert "batch 3 of epoch 1" in message
    assert f"1 tile has no loss: {name}." in message
    assert "tile 4" not in message
    assert "after 0 whole epochs" in message
    assert not (folder / "model.keras").exists()
    kept = keras.saving.load_model(folder / "last_good.keras", compile=False)
    for one, two in zip(start, kept.get_weights(), strict=True):
        np.testing.assert_array_equal(one, two)


def test_a_poisoned_tile_of_the_validation_is_named(store, tmp_path):
    poisoned = feed(store, augment=Poison(store))
    with pytest.raises(DivergedError, match=r"validation became nan.*: tile 5 "):
        fit(
            network(),
            feed(store),
            tmp_path / "a" / "b",
            epochs=1,
            validation_feed=poisoned,
        )


def test_a_training_that_diverges_by_itself_is_told_from_wrong_data(store, tmp_path):
    model = network()
    broken = keras.callbacks.LambdaCallback(
        on_train_batch_begin=lambda batch, logs: (
            batch == 1 and model.set_weights([w * np.nan for w in model.get_weights()])
        )
    )
    with pytest.raises(DivergedError, match="each of them has a loss, so the training"):
        fit(model, feed(store), tmp_path / "a" / "b", epochs=1, callbacks=[broken])
    assert all(np.isfinite(w).all() for w in model.get_weights())


def test_any_fit_gets_the_weights_of_the_epoch_s_begin_back():
    model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])
    model.compile("sgd", "mse")
    x = np.ones((8, 2), "float32")
    y = np.ones((8, 1), "float32")
    y[5] = np.inf
    start = model.get_weights()
    guard = StopAtNaN()
    with pytest.raises(DivergedError, match="batch 3 of epoch 1"):
        model.fit(x, y, batch_size=2, shuffle=False, verbose=0, callbacks=[guard])
    guard.restore(model)
    for one, two in zip(start, model.get_weights(), strict=True):
        np.testing.assert_array_equal(one, two)


def test_tiles_have_the_names_of_the_epoch_s_order(store):
    shuffled = TileFeed(store, np.arange(8), batch_size=2, seed=4)
    shuffled.seek(3, 1)
    named = [int(name.split()[1]) for name in shuffled.names_of(1)]
    assert named == shuffled.tiles_of(3, 2).tolist()
