"""Movements are one map, read once, where the result looks."""

import tracemalloc
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from scipy import ndimage, stats

from arcticdl.augment import build_policy
from arcticdl.augment.noise_field import normal_noise

SIZE = 40
TURN = {"name": "affine", "rotate": 23.0, "scale": 1.1, "translate": 0.05, "p": 1.0}


def smooth_images(num=2, size=SIZE, bands=1, seed=0):
    rng = np.random.default_rng(seed)
    noise = rng.normal(size=(num, size, size, bands))
    return ndimage.gaussian_filter(noise, (0, 2, 2, 0)).astype(np.float32)


def source_positions(angle=23.0, scale=1.1, share=0.05, size=SIZE):
    """Where the pixels of an image moved by `TURN` come from: rows and columns."""
    turn, middle = np.deg2rad(angle), (size - 1) / 2
    row, col = np.mgrid[:size, :size] - middle - share * size
    # Counter-clockwise as seen, rows downwards; its inverse turns clockwise.
    cols = (np.cos(turn) * col - np.sin(turn) * row) / scale
    rows = (np.sin(turn) * col + np.cos(turn) * row) / scale
    return rows + middle, cols + middle


def run(steps, image, labels=None, valid=None, seed=0):
    valid = np.ones(image.shape[:3], bool) if valid is None else valid
    rng = np.random.default_rng(seed)
    return build_policy(steps)(image, labels or {}, valid, rng)


@pytest.mark.parametrize("bands", [1, 2, 3, 4, 5, 8])
def test_any_number_of_bands_is_interpolated_as_scipy_does(bands):
    image = smooth_images(bands=bands)
    moved, _, valid = run([TURN], image)
    where = source_positions()
    expected = [
        ndimage.map_coordinates(image[0, ..., band], where, order=1, mode="nearest")
        for band in range(bands)
    ]
    inside = np.stack(where)
    inside = ((inside > -0.49) & (inside < SIZE - 0.51)).all(0)
    assert valid[0][inside].all()
    np.testing.assert_allclose(
        moved[0][inside], np.stack(expected, -1)[inside], atol=2e-5
    )
    assert (moved[0][~valid[0]] == 0).all()


@pytest.mark.parametrize(
    "dtype", ["uint8", "bool", "int16", "int32", "float32", "float64", "int64"]
)
@pytest.mark.parametrize("channels", [(), (3,)])
def test_labels_of_any_type_are_those_of_the_nearest_pixels(dtype, channels):
    rng = np.random.default_rng(1)
    label = rng.integers(0, 100, (1, SIZE, SIZE, *channels)).astype(dtype)
    image = label.reshape(1, SIZE, SIZE, -1)[..., :1].astype(np.float32)
    _, labels, valid = run([TURN], image, {"ice": label})
    rows, cols = (np.floor(p + 0.5).astype(int) for p in source_positions())
    inside = (rows >= 0) & (rows < SIZE) & (cols >= 0) & (cols < SIZE)
    np.testing.assert_array_equal(valid[0], inside)
    assert labels["ice"].dtype == dtype
    np.testing.assert_array_equal(
        labels["ice"][0][inside], label[0][rows[inside], cols[inside]]
    )


@pytest.mark.parametrize("moves", [[], [TURN], [{"name": "quarter_turn", "p": 1.0}]])
def test_a_crop_gives_a_window_of_what_the_whole_tile_would_be(moves):
    image = smooth_images(num=3)
    label = (image[..., 0] > 0).astype(np.uint8)
    whole = run(moves, image, {"ice": label})
    crop = {"name": "crop", "size_px": [17, 24]}
    cut = run([*moves, crop], image, {"ice": label})
    assert cut[0].shape == (3, 17, 24, 1)
    windows = [
        (slice(top, top + 17), slice(left, left + 24))
        for top in range(SIZE - 16)
        for left in range(SIZE - 23)
    ]
    for sample in range(3):
        same = [
            w
            for w in windows
            if np.allclose(whole[0][sample][w], cut[0][sample], atol=1e-4)
        ]
        assert len(same) == 1
        agree = whole[1]["ice"][sample][same[0]] == cut[1]["ice"][sample]
        assert agree.mean() > 0.995
        assert (whole[2][sample][same[0]] == cut[2][sample]).mean() > 0.995


def test_what_moves_after_a_crop_looks_beyond_the_window_not_beyond_the_tile():
    image = np.ones((4, 64, 64, 1), np.float32)
    crop = {"name": "crop", "size_px": 16}
    half = {"name": "scale", "factor": 0.5, "p": 1.0}
    _, _, valid = run([crop, half], image, seed=1)
    assert valid.mean() > 0.8  # the window's own pixels would fill a quarter
    _, _, alone = run([half], image)
    assert alone.mean() == pytest.approx(0.25, abs=0.02)


def test_missing_data_stays_missing_and_void_void_in_a_turned_window():
    rng = np.random.default_rng(3)
    valid = ndimage.gaussian_filter(rng.normal(size=(2, SIZE, SIZE)), (0, 3, 3)) > -0.05
    image = np.full((2, SIZE, SIZE, 2), np.nan, np.float32)
    image[valid] = 7.0
    label = np.where(valid, 1, 255).astype(np.uint8)
    steps = [TURN, {"name": "crop", "size_px": 24}]
    moved, labels, seen = run(steps, image, {"ice": label}, valid)
    assert 0.2 < seen.mean() < 0.95
    np.testing.assert_allclose(moved[seen], 7.0, rtol=1e-5)
    assert (moved[~seen] == 0).all()
    np.testing.assert_array_equal(labels["ice"] == 1, seen)


STEPS = [
    {"name": "hflip"},
    TURN | {"p": 0.7},
    {"name": "crop", "size_px": 24},
    {"name": "gamma"},
    {"name": "offset"},
    {"name": "noise"},
    {"name": "blur"},
]


def test_threads_side_by_side_give_what_one_gives():
    image = smooth_images(num=4, bands=3)
    alone = [run(STEPS, image, seed=seed) for seed in range(8)]
    with ThreadPoolExecutor(4) as pool:
        together = list(pool.map(lambda seed: run(STEPS, image, seed=seed), range(8)))
    for one, other in zip(alone, together, strict=True):
        np.testing.assert_array_equal(one[0], other[0])


@pytest.mark.parametrize("first", range(len(STEPS)))
def test_what_comes_in_is_not_written_to_whatever_comes_first(first):
    image = smooth_images(num=3, bands=2)
    label = np.zeros(image.shape[:3], np.uint8)
    valid = np.ones(image.shape[:3], bool)
    for array in (image, label, valid):
        array.flags.writeable = False
    steps = [{"p": 1.0, **step} for step in STEPS[first:] + STEPS[:first]]
    moved = run(steps, image, {"ice": label}, valid)
    assert not np.shares_memory(moved[0], image)


def test_a_crop_costs_what_it_keeps():
    image = smooth_images(num=4, size=256)
    label = np.zeros(image.shape[:3], np.uint8)
    steps = [TURN, {"name": "crop", "size_px": 64}, {"name": "noise", "p": 1.0}]
    run(steps, image, {"ice": label})
    tracemalloc.start()
    run(steps, image, {"ice": label})
    touched = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert touched < 0.5 * image.nbytes


def test_noise_of_16_bits_is_normal():
    noise = normal_noise((100, 300, 7), np.random.default_rng(0)).ravel()
    assert noise.dtype == np.float32
    assert stats.kstest(noise, "norm").pvalue > 0.01
    assert stats.kurtosis(noise) == pytest.approx(0, abs=0.03)
    beside = np.corrcoef(noise[1:], noise[:-1])[0, 1]
    assert abs(beside) < 0.01
