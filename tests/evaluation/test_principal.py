"""Principal components beside an autoencoder, against NumPy's own decomposition."""

import numpy as np
import pytest

from arcticdl import simulate, tiles
from arcticdl.evaluation.baselines.beside import score_baselines
from arcticdl.evaluation.restored.principal import (
    from_blocks,
    principal_baseline,
    to_blocks,
)
from arcticdl.tasks import read_head

SIDE = 8
HEAD = {"task": "dense_regression", "outputs": ["HH", "HV"], "units": "dB"}


@pytest.fixture(scope="module")
def sea(tmp_path_factory):
    """Two scenes of the open sea, each its own label; one has a strip without data."""
    scenes = [simulate.iceberg_scene(32, index=k, num_icebergs=0) for k in range(2)]
    valid = np.ones((32, 32), bool)
    valid[:3] = False
    scenes[1]["valid"] = (("y", "x"), valid)
    for scene in scenes:
        bands = scene["image"].rename(band="channel").assign_attrs(units="dB")
        scene["bands"] = bands.where(scene.get("valid", True))
    scenes = [scene.drop_vars("icebergs") for scene in scenes]
    path = tmp_path_factory.mktemp("principal") / "sea.tiles"
    return tiles.prepare(scenes, path, tile_size_px=32, progress=False)


def started(size):
    return {"band": ["HH", "HV"], "offset": [-20.0, -30.0], "scale": [2.0, 3.0],
            "gain": [2.0, 3.0], "coarse_px": 8,
            "latent": {"size": size, "kind": "plain", "stride": SIDE}}  # fmt: skip


def scored(store, size, train=(0,), test=(0,)):
    found = principal_baseline(
        store, train, test, store.labels["bands"], read_head("bands", HEAD),
        started(size),
    )  # fmt: skip
    return found["principal"]


def test_blocks_are_put_together_as_they_were_cut():
    image = np.random.default_rng(0).normal(size=(19, 25, 2))
    blocks = to_blocks(image, 8)
    assert blocks.shape == (12, 128)
    np.testing.assert_array_equal(from_blocks(blocks, image.shape, 8), image)
    np.testing.assert_array_equal(blocks[1].reshape(8, 8, 2), image[:8, 8:16])


def test_what_is_lost_in_training_are_the_directions_left_out(sea):
    scaled = (sea.read([0])["image"][0].astype(float) - [-20, -30]) / [2.0, 3.0]
    blocks = to_blocks(scaled, SIDE)
    left = np.linalg.svd(blocks - blocks.mean(0), compute_uv=False)[3:] ** 2
    result = scored(sea, 3)
    assert result["title"] == "principal components, 3 for 8 x 8 px"
    errors = [
        result["scores"]["per_output"][band]["rmse"] / scale
        for band, scale in (("HH", 2.0), ("HV", 3.0))
    ]
    found = np.square(errors).sum() * 32 * 32
    assert found == pytest.approx(left.sum(), rel=1e-4)


def test_void_is_not_scored_and_all_directions_lose_nothing(sea):
    result = scored(sea, 15, train=(0,), test=(1,))
    assert result["num_pixels"] == 2 * 29 * 32 or result["num_pixels"] == 29 * 32
    assert scored(sea, 16)["scores"]["rmse"] == pytest.approx(0, abs=1e-4)
    none = principal_baseline(
        sea, (0,), (1,), sea.labels["bands"], read_head("bands", HEAD), started(17)
    )
    assert none == {}  # training has 16 blocks


def test_nothing_that_sees_the_image_stands_beside_an_autoencoder(sea):
    found = score_baselines(
        sea, [0], [1], sea.labels["bands"], read_head("bands", HEAD), start=started(4)
    )
    assert set(found) == {"constant", "principal"}


def test_a_code_of_more_numbers_than_the_rebuilt_bands_have_loses_nothing(sea):
    start = started(0) | {"latent": {"size": 9, "kind": "plain", "stride": 2}}
    label, head = sea.labels["bands"], read_head("bands", HEAD)
    result = principal_baseline(sea, (0,), (1,), label, head, start)["principal"]
    assert result["title"] == "principal components, 8 for 2 x 2 px"
    assert result["scores"]["rmse"] == pytest.approx(0, abs=1e-4)
