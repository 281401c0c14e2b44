"""Compiled forward passes: kept with the model, and like the model itself."""

import gc
import weakref
from contextlib import nullcontext

import keras
import numpy as np
import pytest
import xarray as xr
from affine import Affine
from odc.geo.geobox import GeoBox
from scipy.special import softmax

from arcticdl.inference import forward as module
from arcticdl.inference.forward import Member, build_forward
from arcticdl.inference.predictor import Predictor
from arcticdl.models import build_multitask, build_segmenter
from arcticdl.models.card import model_heads
from arcticdl.scene import BandStats, grid_coords, pixel_coords
from arcticdl.tasks import read_head
from arcticdl.tiles import Normalizer, prepare
from arcticdl.tiles.views.assemble import assemble_scene

RNG = np.random.default_rng(0)
IMAGES = RNG.normal(size=(3, 32, 32, 2)).astype("float32")
VALID = np.ones((3, 32, 32), bool)


def network(seed=0):
    keras.utils.set_random_seed(seed)
    return build_segmenter(
        "plain",
        num_bands=2,
        num_classes=3,
        backbone_options={"width": 4, "depth": 2, "full_resolution": False},
        decoder_options={"channels": [4], "output_level": 1},
    )


def passing(model, **options):
    member = Member(model, Normalizer("none", ("a", "b")))
    return build_forward([member], model_heads(model), **options)


@pytest.fixture(scope="module")
def model():
    return network()


@pytest.mark.parametrize("number", [1, 3])
def test_answers_are_the_softmax_of_the_networks_own(model, number):
    (found,) = passing(model, batch_size=3)(
        IMAGES[:number], VALID[:number], None
    ).values()
    wanted = softmax(np.asarray(model(IMAGES[:number])), axis=-1)
    assert found.shape == (number, 32, 32, 3)
    np.testing.assert_allclose(found, wanted, atol=1e-5)


def test_a_model_is_compiled_once_however_many_scenes(model, monkeypatch):
    made, kind = [], module._Answering
    monkeypatch.setattr(module, "_Answering", lambda *a: made.append(1) or kind(*a))
    fresh = network(2)
    passing(fresh)
    assert len(made) == 1
    passing(fresh, batch_size=2, tta="hflip")
    assert len(made) == 1


def test_new_weights_answer_at_once(model):
    answer = passing(model)
    (before,) = answer(IMAGES, VALID, None).values()
    weights = model.get_weights()
    model.set_weights([value + 0.1 for value in weights])
    (after,) = answer(IMAGES, VALID, None).values()
    model.set_weights(weights)
    assert np.abs(before - after).max() > 1e-3


def test_a_model_that_is_let_go_takes_its_compiled_pass_along():
    model = network(1)
    passing(model)(IMAGES, VALID, None)
    gone = weakref.ref(model)
    del model
    gc.collect()
    assert gone() is None


def test_for_xla_few_shapes_are_compiled():
    sizes = {len(module._filled(IMAGES[:1].repeat(n, axis=0), 6)) for n in range(1, 7)}
    assert sizes == {1, 2, 4, 6}


@pytest.mark.parametrize("number", [np.nan, np.inf, -np.inf])
def test_an_answer_that_is_no_number_is_refused(number):
    image = keras.Input((None, None, 2))
    model = keras.Model(image, keras.layers.Conv2D(3, 1)(image))
    weights = model.get_weights()
    weights[1][0] = number
    model.set_weights(weights)
    with pytest.raises(ValueError, match=r"finite\. Received: 3072 of 9216"):
        passing(model)(IMAGES, VALID, None)


def test_probabilities_are_refused_where_logits_are_read():
    image = keras.Input((None, None, 2))
    layer = keras.layers.Conv2D(3, 1, activation="softmax")
    model = keras.Model(image, layer(image))
    with pytest.raises(ValueError, match="must be logits"):
        passing(model)(IMAGES, VALID, None)


MEAN, STD = np.array([3.0, -1.0]), np.array([2.0, 0.5])
STATS = BandStats(("a", "b"), np.full(2, 1024), MEAN, STD, MEAN, MEAN, {})
SCALED = IMAGES * STD + MEAN  # in source units, of which IMAGES are the scaled ones


def by_image(model, **options):
    member = Member(model, Normalizer("per_image", ("a", "b")))
    forward = build_forward([member], model_heads(model), **options)

    def answer(image, valid=VALID):
        (found,) = forward(image.astype("float32"), valid, STATS).values()
        return found

    return answer


def test_an_inverted_view_is_the_image_turned_round_about_its_own_middle(model):
    found = by_image(model, tta="invert")(SCALED)
    logits = [np.asarray(model(sign * IMAGES)) for sign in (1, -1)]
    wanted = np.mean([softmax(one, axis=-1) for one in logits], axis=0)
    np.testing.assert_allclose(found, wanted, atol=1e-5)
    assert np.abs(found - softmax(logits[0], axis=-1)).max() > 1e-3


@pytest.mark.parametrize("moved", ["hflip", "d4"])
def test_inverted_views_come_beside_those_that_are_moved(model, moved):
    turned = 2 * MEAN - SCALED
    found = by_image(model, tta=f"{moved}+invert")(SCALED)
    either = [by_image(model, tta=moved)(image) for image in (SCALED, turned)]
    np.testing.assert_allclose(found, np.mean(either, axis=0), atol=1e-5)
    again = by_image(model, tta=f"{moved}+invert")(turned)
    np.testing.assert_allclose(again, found, atol=1e-5)


def test_pixels_without_data_stay_so_in_inverted_views(model):
    holes = VALID.copy()
    holes[:, 8:20, 5:9] = False
    answer = by_image(model, tta="invert")
    emptied = np.where(holes[..., None], SCALED, 1e6)
    np.testing.assert_array_equal(answer(emptied, holes), answer(SCALED, holes))


def test_inverted_views_need_the_scaling_of_each_image(model):
    with pytest.raises(ValueError, match=r"scaling 'none'\. Take tta='d4'"):
        passing(model, tta="d4+invert")


def test_inverted_views_are_refused_for_answers_that_are_values():
    image = keras.Input((None, None, 2))
    model = keras.Model(image, keras.layers.Conv2D(1, 1, name="sic")(image))
    member = Member(model, Normalizer("per_image", ("a", "b")))
    heads = {"sic": read_head("sic", {"task": "regression"})}
    with pytest.raises(ValueError, match=r"values of \['sic'\]\. Take tta='none'"):
        build_forward([member], heads, tta="invert")


def test_vectors_turn_with_the_views_of_their_picture():
    """What a wind carries is the same in each view, if it blows there as here."""
    image = keras.Input((None, None, 3))
    kernel = np.zeros((3, 3, 3, 2), "float32")  # slopes of the third band: right, up
    kernel[1, :, 2, 0], kernel[:, 1, 2, 1] = (-0.5, 0.0, 0.5), (0.5, 0.0, -0.5)
    slopes = keras.layers.Conv2D(2, 3, padding="same", use_bias=False)
    carried = keras.layers.Multiply()([slopes(image), image[..., :2]])
    summed = keras.layers.Conv2D(1, 1, use_bias=False, name="carried")
    model = keras.Model(image, summed(carried))
    slopes.set_weights([kernel])
    summed.set_weights([np.ones((1, 1, 2, 1), "float32")])
    heads = {"carried": read_head("carried", {"task": "regression"})}
    pixels = RNG.normal(size=(2, 16, 16, 3)).astype("float32")
    valid = np.ones((2, 16, 16), bool)

    def answer(tta, names=("u10", "v10", "sic")):
        member = Member(model, Normalizer("none", names))
        return build_forward([member], heads, tta=tta)(pixels, valid, None)["carried"]

    for tta in ("hflip", "d4"):
        np.testing.assert_allclose(answer(tta), answer("none"), atol=1e-5)
        other = answer(tta, ("a", "b", "sic"))
        assert np.abs(other - answer("none")).max() > 0.1


def windy(*bands, outputs=("sic", "sit")):
    """A network of two bands that answers with two values."""
    head = {"task": "dense_regression", "num_outputs": 2}
    told = {"task": "dense_regression", "outputs": list(outputs), "units": "1"}
    card = {"bands": list(bands), "heads": {"found": told}, "tile_size_px": 8,
            "normalizer": Normalizer("none", bands).to_dict()}  # fmt: skip
    return build_multitask(
        "plain", num_bands=2, heads={"found": head}, card=card,
        backbone_options={"width": 2, "depth": 1},
        decoder_options={"channels": (2,)},
    )  # fmt: skip


@pytest.mark.parametrize("stored", [False, True])
def test_vectors_do_not_turn_where_rows_run_to_the_north(tmp_path, stored):
    """There v points down in the picture, and was turned the other way."""
    predictor = Predictor(windy("u10", "v10"), tile_size_px=8, tta="d4")
    hflip = Predictor(windy("u10", "v10"), tile_size_px=8, tta="hflip")
    for step, rises in ((-40.0, False), (40.0, True)):
        box = GeoBox((8, 8), Affine(40, 0, 0, 0, step, 0), "EPSG:3413")
        scene = xr.Dataset(
            {"image": (("band", "y", "x"), np.ones((2, 8, 8), "f4"))},
            {"band": ["u10", "v10"], **grid_coords(box)},
            {"scene_id": "a", "time": "", "sensor": ""},
        )
        if stored:
            store = prepare([scene], tmp_path / f"{rises}.tiles", tile_size_px=8)
            scene, _ = assemble_scene(store, [0])
        told = pytest.raises(ValueError, match=r"u10.*'a', with rows from south")
        with told if rises else nullcontext():
            predictor.prepare(scene, None)
        hflip.prepare(scene, None)
    plain = scene[["image"]].drop_vars("spatial_ref", errors="ignore")
    plain = plain.assign_coords(pixel_coords((8, 8)))
    plain.attrs = {"scene_id": "b", "time": "", "sensor": "", "georeferenced": False}
    predictor.prepare(plain, None)  # whose rows run down


def test_answers_that_are_vectors_are_not_averaged_over_views():
    """Mirrored ones would cancel out."""
    for tta in ("hflip", "d4"):
        with pytest.raises(ValueError, match=r"\['u', 'v'\] are vectors"):
            Predictor(windy("a", "b", outputs=["u", "v"]), tta=tta)
    Predictor(windy("a", "b", outputs=["u", "x"]), tta="d4")
