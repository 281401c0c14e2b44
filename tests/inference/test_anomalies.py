"""Anomalies: errors and limits computed apart, maps on the scene, void left alone."""

import keras
import numpy as np
import pytest
import xarray as xr
from sklearn.metrics import pairwise_distances_argmin

import arcticdl
from arcticdl.inference.anomalies.fit import (
    FILE,
    Anomalies,
    fit_clusters,
    fit_limit,
    rebuild_error,
    unfitted,
)
from arcticdl.inference.anomalies.measure import Codes
from arcticdl.inference.novelty.features import weights_digest
from arcticdl.inference.novelty.saved import read_fit, write_fit
from arcticdl.models import LatentParts, build_regressor
from arcticdl.tiles import Normalizer

SIDE = 48
BANDS = ("HH", "HV")
CARD = {
    "bands": list(BANDS),
    "normalizer": Normalizer("none", BANDS).to_dict(),
    "tile_size_px": 32,
    "starts": {
        "bands": {"band": list(BANDS), "offset": [0.0, 0.0], "scale": [1.0, 2.0],
                  "gain": [1.0, 2.0], "coarse_px": 8}
    },
}  # fmt: skip


def scene_of(image, valid=None):
    found = xr.Dataset(
        {"image": (("band", "y", "x"), image.astype("float32"))},
        {"band": list(BANDS), "y": np.arange(SIDE) + 0.5, "x": np.arange(SIDE) + 0.5},
        {"scene_id": "one", "time": "", "sensor": "", "georeferenced": False},
    )
    if valid is not None:
        found["valid"] = (("y", "x"), valid)
    return found


@pytest.fixture(scope="module")
def network(tmp_path_factory):
    """An autoencoder on disk, untrained but for a last layer, with a fit beside it."""
    keras.utils.set_random_seed(0)
    model = build_regressor(
        "plain", bands=list(BANDS), num_outputs=2, name="bands", card=CARD,
        latent={"size": 3}, backbone_options={"width": 4, "depth": 2},
        decoder_options={"channels": (4, 4)},
    )  # fmt: skip
    kernel = np.random.default_rng(0).normal(size=(3, 3, 4, 2))
    model.get_layer("bands_conv").kernel.assign(kernel)
    path = tmp_path_factory.mktemp("anomalies") / "model.keras"
    model.save(path)
    centres = np.array([[0, 0, 0], [1, 1, 1]], "float32")
    found = unfitted(3)._replace(
        limit=2.0, quantile=0.9, num_scenes=2, centres=centres,
        weights=weights_digest(model),
    )  # fmt: skip
    write_fit(found, path.with_name(FILE))
    return path, model, found


def test_the_error_is_the_root_mean_square_about_each_pixel():
    rng = np.random.default_rng(0)
    image, rebuilt = rng.normal(size=(2, 2, 9, 11, 3)).astype("float32")
    valid = rng.random((2, 9, 11)) > 0.3
    image[~valid] = np.nan
    found = rebuild_error(image, rebuilt, valid, 5)
    assert found.shape == (2, 9, 11, 1)
    for n, y, x in ((0, 0, 0), (1, 4, 5), (0, 8, 10), (1, 2, 9)):
        rows, columns = slice(max(y - 2, 0), y + 3), slice(max(x - 2, 0), x + 3)
        kept = valid[n, rows, columns]
        errors = (image - rebuilt)[n, rows, columns][kept].astype(float)
        wanted = np.sqrt((errors**2).mean()) if valid[n, y, x] else 0.0
        assert found[n, y, x, 0] == pytest.approx(wanted, rel=1e-5)


def test_what_lies_in_void_changes_no_error():
    rng = np.random.default_rng(1)
    image, rebuilt = rng.normal(size=(2, 1, 8, 8, 2)).astype("float32")
    valid = rng.random((1, 8, 8)) > 0.5
    other, answer = image.copy(), rebuilt.copy()
    other[~valid], answer[~valid] = 1e6, np.inf
    with np.errstate(invalid="ignore"):
        found = rebuild_error(other, answer, valid, 3)
    np.testing.assert_array_equal(found, rebuild_error(image, rebuilt, valid, 3))


def test_each_normal_scene_has_its_share_below_the_limit_and_a_new_one_by_rank():
    rng = np.random.default_rng(2)
    beyond, repeats, count = 0, 400, 4
    for _ in range(repeats):
        levels = rng.gamma(2.0, size=count + 1)
        scenes = [level * rng.random(200) for level in levels]
        limit = fit_limit({str(n): s for n, s in enumerate(scenes[:-1])}, 0.9)
        assert max((s > limit).mean() for s in scenes[:-1]) <= 0.1 + 1e-9
        beyond += (scenes[-1] > limit).mean() > 0.1
    assert beyond / repeats == pytest.approx(1 / (count + 1), abs=0.06)


@pytest.mark.parametrize("quantile", [0.5, 0.9, 0.99])
def test_no_more_pixels_of_a_normal_scene_than_told_lie_beyond_the_limit(quantile):
    rng = np.random.default_rng(4)
    for count in range(2, 320):
        errors = rng.random(count)
        beyond = int((errors > fit_limit({"a": errors}, quantile)).sum())
        assert beyond <= count * (1 - quantile) + 1e-9


def test_clusters_are_the_nearest_centres_the_largest_first():
    rng = np.random.default_rng(3)
    codes = np.concatenate(
        [rng.normal(9, 0.1, (20, 2)), rng.normal(0, 0.1, (50, 2))]
    ).astype("float32")
    centres = fit_clusters(codes, 2)
    np.testing.assert_allclose(centres, [codes[20:].mean(0), codes[:20].mean(0)],
                               rtol=1e-4, atol=1e-5)  # fmt: skip
    shares = unfitted(1)._replace(centres=centres).shares(codes)
    np.testing.assert_array_equal(
        shares.argmax(-1), pairwise_distances_argmin(codes, centres)
    )
    assert set(np.unique(shares)) == {0.0, 1.0}


def test_error_code_and_cluster_are_mapped_beside_what_is_rebuilt(network):
    path, model, found = network
    image = np.random.default_rng(4).normal(size=(2, SIDE, SIDE))
    valid = np.ones((SIDE, SIDE), bool)
    valid[:5] = False
    outputs = ("value", "anomaly", "latent", "cluster")
    options = {"outputs": outputs, "progress": False, "tile_size_px": SIDE,
               "overlap_px": 0}  # fmt: skip
    maps = arcticdl.inference.predict_scene(path, scene_of(image, valid), **options)
    assert maps["latent"].dims == ("feature", "y", "x")
    assert maps["cluster"].attrs["flag_meanings"] == "cluster_1 cluster_2"
    for name in ("value", "anomaly", "latent"):
        assert np.isnan(maps[name].values[..., :5, :]).all()
        assert np.isfinite(maps[name].values[..., 5:, :]).all()
    assert (maps["cluster"].values[:5] == 255).all()
    scaled = np.where(valid, image, 0).astype("float32").transpose(1, 2, 0)[None]
    rebuilt = model.predict(scaled, verbose=0)
    scale = np.array([1.0, 2.0], "float32")
    error = rebuild_error(scaled / scale, rebuilt / scale, valid[None], 3)
    np.testing.assert_allclose(
        maps["anomaly"].values[5:], error[0, 5:, :, 0] / 2.0, rtol=1e-4
    )
    code = LatentParts(model).encode(scaled)
    nearest = pairwise_distances_argmin(code.reshape(-1, 3), found.centres)
    wanted = nearest.reshape(12, 12).repeat(4, 0).repeat(4, 1)
    np.testing.assert_array_equal(maps["cluster"].values[5:], wanted[5:])
    # Halfway between places the code is that of both.
    middle = maps["latent"].values[:, 22, 18:22].mean(-1)
    assert np.isfinite(middle).all()
    garbage = np.where(valid, image, 1e4)
    again = arcticdl.inference.predict_scene(path, scene_of(garbage, valid), **options)
    xr.testing.assert_equal(again.drop_attrs(), maps.drop_attrs())


def test_a_code_is_drawn_to_the_edge_of_what_is_seen(network):
    _, model, _ = network
    valid = np.zeros((1, 22, 30), bool)
    valid[:, 5:, :17] = True  # places are 4 x 4 pixels
    seen = np.zeros((1, 6, 8, 1), "float32")
    seen[:, 1:, :5] = 1
    code = seen * np.array([7.0, -2.0, 0.5], "float32")
    found = Codes(model).smoothed(code, valid)
    assert found.shape == (1, 22, 30, 3)
    np.testing.assert_allclose(
        found[valid], [[7.0, -2.0, 0.5]] * valid.sum(), rtol=1e-5
    )


def test_overlapping_windows_are_blended_without_seams_in_codes(network):
    path, *_ = network
    image = np.ones((2, SIDE, SIDE))
    maps = arcticdl.inference.predict_scene(
        path, scene_of(image), outputs=("value", "latent", "cluster"), progress=False
    )
    inner = maps["latent"].values[:, 16:32, 16:32]
    assert inner.std(axis=(1, 2)).max() < 0.2 * np.abs(inner).max()
    assert set(np.unique(maps["cluster"].values)) <= {0, 1}


def test_a_fit_is_read_as_it_was_written_and_belongs_to_its_network(network, tmp_path):
    path, model, found = network
    read = read_fit(Anomalies, path.with_name(FILE))
    for one, other in zip(read, found, strict=True):
        np.testing.assert_array_equal(one, other)
    options = {"outputs": ("anomaly",), "progress": False}
    scene = scene_of(np.zeros((2, SIDE, SIDE)))
    with pytest.raises(ValueError, match="a model in memory"):
        arcticdl.inference.predict_scene(model, scene, **options)
    with pytest.raises(ValueError, match="2 models"):
        arcticdl.inference.predict_scene([path, path], scene, **options)
    model.save(tmp_path / "model.keras")
    with pytest.raises(FileNotFoundError, match="arcticdl anomalies RUN"):
        arcticdl.inference.predict_scene(tmp_path / "model.keras", scene, **options)
    write_fit(found._replace(weights="others"), tmp_path / FILE)
    with pytest.raises(ValueError, match="own weights"):
        arcticdl.inference.predict_scene(tmp_path / "model.keras", scene, **options)
    (tmp_path / FILE).write_bytes(b"torn")
    with pytest.raises(ValueError, match="as `arcticdl anomalies` writes it"):
        read_fit(Anomalies, tmp_path / FILE)
    plain = build_regressor(
        "plain", bands=list(BANDS), backbone_options={"width": 4, "depth": 1},
        decoder_options={"channels": (4,)}, card={**CARD, "starts": {}},
    )  # fmt: skip
    with pytest.raises(ValueError, match="must be an autoencoder"):
        arcticdl.inference.predict_scene(plain, scene, **options)


def test_limits_windows_and_clusters_that_are_none_are_refused():
    for quantile in (0.0, 1.0):
        with pytest.raises(ValueError, match=f"quantile={quantile}"):
            fit_limit({"a": np.ones(3)}, quantile)
    for errors in ({}, {"a": np.zeros(3)}, {"a": np.ones(0)}):
        with pytest.raises(ValueError, match="some error"):
            fit_limit(errors, 0.9)
    for side in (0, 4):
        with pytest.raises(ValueError, match=f"window_px={side}"):
            unfitted(side)
    for number in (1, 21):
        with pytest.raises(ValueError, match=f"num_clusters={number}"):
            fit_clusters(np.ones((50, 2), "f4"), number)
    with pytest.raises(ValueError, match="3 places"):
        fit_clusters(np.ones((3, 2), "f4"), 4)
