"""What a denoiser learns from: drawn anew each epoch, the same whenever it is asked."""

import keras
import numpy as np
import pytest

from arcticdl import losses, simulate, tiles, training
from arcticdl.models import build_denoiser, build_sampler
from arcticdl.models.diffusion.schedule import clean_of, cosine_schedule
from arcticdl.training import AnswerScaling, NoisedFeed, TileFeed, measure_answers
from arcticdl.training.feed import undo

pytestmark = pytest.mark.backend

STEPS = 20


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    scenes = [simulate.coarse_scene(32, index=k) for k in range(2)]
    scenes[0]["fine"][:3] = np.nan
    path = tmp_path_factory.mktemp("noised") / "coarse.tiles"
    return tiles.prepare(scenes, path, tile_size_px=16, progress=False)


@pytest.fixture
def scaling(store):
    mean, std = measure_answers(store, range(8), "fine", "btemp_36_5v")
    feed = plain(store)
    undone = undo(["btemp_36_5v"], feed.normalizer)
    told = {key: value[0] for key, value in undone.items()}
    return AnswerScaling(mean, std, band=0, **told)


def plain(store, **options):
    return TileFeed(
        store, range(8), batch_size=3, labels=["fine"], prefetch=0, **options
    )


def test_answers_are_scaled_by_what_the_band_lacks(store, scaling):
    read = store.read(range(8))
    rest = read["fine"].astype(float) - read["image"][..., 0]
    known = rest[np.isfinite(rest)]
    assert scaling.mean == pytest.approx(known.mean())
    assert scaling.std == pytest.approx(known.std())
    image, label = plain(store, shuffle=False)[0]
    wanted = (rest[:3] - known.mean()) / known.std()
    np.testing.assert_allclose(scaling.scaled(image, label), wanted, atol=1e-4)
    with pytest.raises(ValueError, match="all alike"):
        measure_answers(_Constant(store), range(8), "fine")


class _Constant:
    def __init__(self, store):
        self.store, self.bands = store, store.bands

    def read(self, *given):
        read = self.store.read(*given)
        return read | {"fine": np.ones_like(read["fine"])}


def test_noisy_answer_and_velocity_tell_the_answer(store, scaling):
    feed = NoisedFeed(plain(store, shuffle=False), scaling, num_steps=STEPS)
    told, velocity = feed[0]
    image, label = feed.feed[0]
    np.testing.assert_array_equal(told["image"], image)
    number = (told["step"] * STEPS).round().astype(int)
    assert number.min() >= 1
    signal, scale = (t[number][:, None, None] for t in cosine_schedule(STEPS))
    clean = clean_of(told["noisy"][..., 0], velocity, signal, scale)
    np.testing.assert_allclose(clean, scaling.scaled(image, label), atol=1e-4)
    np.testing.assert_array_equal(np.isnan(velocity), np.isnan(label))
    assert np.isfinite(told["noisy"]).all()


def test_noise_is_new_each_epoch_but_for_validation(store, scaling):
    drawn = {}
    for fixed in (False, True):
        feed = NoisedFeed(plain(store, shuffle=False), scaling, fixed=fixed)
        first = feed[1][0]["noisy"]
        np.testing.assert_array_equal(feed[1][0]["noisy"], first)
        feed.seek(1)
        drawn[fixed] = np.array_equal(feed[1][0]["noisy"], first)
    assert drawn == {False: False, True: True}


def test_an_epoch_that_goes_on_draws_what_it_would_have_drawn(store, scaling):
    feed = NoisedFeed(plain(store), scaling)
    feed.seek(3)
    whole = [feed[k][0]["noisy"] for k in range(3)]
    feed.seek(3, 1)
    np.testing.assert_array_equal(feed[0][0]["noisy"], whole[1])
    assert feed.names_of(0)[0].startswith("tile ")


def test_training_goes_on_to_the_bit_and_writes_what_answers(store, scaling, tmp_path):
    def trained(folder, *epochs):
        for count in epochs:
            keras.utils.set_random_seed(0)
            denoiser = build_denoiser(
                "plain",
                num_bands=2,
                backbone_options={"width": 4, "depth": 1},
                decoder_options={"channels": (4,)},
            )
            optimizer = training.build_optimizer(0.01, num_steps=6, ema=0.5)
            denoiser.compile(optimizer, losses.MeanSquaredError())
            feed = NoisedFeed(plain(store), scaling, num_steps=STEPS)
            scaled = {"mean": scaling.mean, "std": scaling.std}
            card = {**feed.card, "diffusion": scaled}
            options = {"num_members": 2, "num_steps": STEPS, "sampling_steps": 2}
            model = build_sampler(denoiser, name="fine", card=card, **options)
            training.fit(denoiser, feed, folder, epochs=count, answering=model)
        return keras.models.load_model(folder / "model.keras")

    whole = trained(tmp_path / "a" / "fold0", 2)
    parts = trained(tmp_path / "b" / "fold0", 1, 2)
    for one, other in zip(whole.weights, parts.weights, strict=True):
        np.testing.assert_array_equal(np.asarray(one), np.asarray(other))
    image = np.zeros((1, 16, 16, 2), "float32")
    np.testing.assert_array_equal(whole(image), parts(image))
