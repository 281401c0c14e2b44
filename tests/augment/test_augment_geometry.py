"""Movements keep image, labels, validity and vectors registered."""

import numpy as np
import pytest

from arcticdl.augment import build_policy
from arcticdl.augment.batch import Batch
from arcticdl.augment.directions import Directions
from arcticdl.augment.geometry import Affine
from arcticdl.augment.motion import Motion, move

SIZE = 32


def make_batch(num=4, size=(SIZE, SIZE), bands=2, seed=0, invalid=False):
    """An image whose band 0 repeats its label, so registration can be read off."""
    rng = np.random.default_rng(seed)
    label = rng.integers(0, 4, (num, *size)).astype(np.uint8)
    image = np.stack([label] * bands, -1).astype(np.float32)
    valid = np.ones((num, *size), bool)
    if invalid:
        valid[:, 5:9, 3:20] = False
        image[~valid] = np.nan
        label[~valid] = 255
    sic = np.where(label == 255, np.nan, label / 4).astype(np.float32)
    return image, {"ice": label, "sic": sic}, valid


def run(steps, arrays, seed=0, **options):
    return build_policy(steps, **options)(*arrays, np.random.default_rng(seed))


def assert_same(left, right):
    np.testing.assert_array_equal(left[0], right[0])
    np.testing.assert_array_equal(left[2], right[2])
    assert left[1].keys() == right[1].keys()
    for name in left[1]:
        np.testing.assert_array_equal(left[1][name], right[1][name])


@pytest.mark.parametrize("name", ["hflip", "vflip"])
def test_flip_twice_is_identity(name):
    arrays = make_batch(invalid=True)
    step = {"name": name, "p": 1.0}
    assert_same(run([step, step], arrays), arrays)
    once = run([step], arrays)
    assert not np.array_equal(once[1]["ice"], arrays[1]["ice"])
    assert_same(run([step], once), arrays)


def test_quarter_turns_match_numpy_and_close():
    arrays = make_batch(num=1)
    turned = run([{"name": "quarter_turn", "p": 1.0}], arrays, seed=3)
    candidates = [np.rot90(arrays[1]["ice"][0], k) for k in (1, 2, 3)]
    assert any(np.array_equal(turned[1]["ice"][0], c) for c in candidates)
    batch = Batch(arrays[0], {"ice": arrays[1]["ice"]}, arrays[2])
    turn = np.array([[[0.0, 1.0, 0], [-1.0, 0.0, SIZE - 1], [0, 0, 1.0]]])
    quarter = Motion(turn, (SIZE, SIZE))
    moved = move(batch, quarter, Directions())
    np.testing.assert_array_equal(moved.labels["ice"][0], np.rot90(arrays[1]["ice"][0]))
    for _ in range(3):
        moved = move(moved, quarter, Directions())
    np.testing.assert_array_equal(moved.image, arrays[0])


def test_rectangular_tiles_turn_by_180_degrees():
    arrays = make_batch(size=(16, 24))
    turned = run([{"name": "quarter_turn", "p": 1.0}], arrays)
    np.testing.assert_array_equal(turned[1]["ice"], arrays[1]["ice"][:, ::-1, ::-1])


def test_resampled_quarter_turn_agrees_with_the_exact_one():
    arrays = make_batch()
    turned = run([{"name": "rotate", "degrees": 90.0, "p": 1.0}], arrays)
    np.testing.assert_array_equal(
        turned[1]["ice"], np.rot90(arrays[1]["ice"], 1, (1, 2))
    )
    np.testing.assert_allclose(turned[0], np.rot90(arrays[0], 1, (1, 2)), atol=1e-3)


def test_translation_by_whole_pixels_is_exact_and_leaves_void():
    arrays = make_batch()
    image, labels, valid = run([{"name": "translate", "share": 0.25, "p": 1.0}], arrays)
    step = SIZE // 4
    np.testing.assert_allclose(image[:, step:, step:], arrays[0][:, :-step, :-step])
    np.testing.assert_array_equal(
        labels["ice"][:, step:, step:], arrays[1]["ice"][:, :-step, :-step]
    )
    assert (labels["ice"][:, :step] == 255).all()
    assert np.isnan(labels["sic"][:, :, :step]).all()
    assert not valid[:, :step].any()
    assert (image[~valid] == 0).all()


@pytest.mark.parametrize("name", ["hflip", "vflip", "quarter_turn"])
def test_exact_moves_keep_the_class_histogram(name):
    arrays = make_batch(invalid=True)
    _, labels, valid = run([{"name": name, "p": 1.0}], arrays)
    for sample in range(4):
        before = np.bincount(arrays[1]["ice"][sample].ravel(), minlength=256)
        after = np.bincount(labels["ice"][sample].ravel(), minlength=256)
        np.testing.assert_array_equal(before, after)
    assert valid.sum() == arrays[2].sum()


def test_shrinking_moves_classes_only_towards_void():
    """Each class keeps its share of what is not void; the rest is void."""
    size = 128
    label = np.zeros((1, size, size), np.uint8)
    label[:, ::2], label[:, :, 96:] = 1, 2
    arrays = label[..., None].astype(np.float32), {"ice": label}, label < 9
    _, labels, _ = run([{"name": "scale", "factor": 0.5, "p": 1.0}], arrays)
    assert (labels["ice"] == 255).mean() == pytest.approx(0.75, abs=0.02)
    assert (labels["ice"] == 2).sum() == pytest.approx(size * 32 / 4, rel=0.05)


def test_small_rotation_and_back_gives_the_labels_back():
    size = 64
    row, col = np.mgrid[:size, :size]
    label = ((row // 16 + col // 16) % 3).astype(np.uint8)[None]
    arrays = label[..., None].astype(np.float32), {"ice": label}, label < 9
    there = run([{"name": "rotate", "degrees": 20.0, "p": 1.0}], arrays)
    back = run([{"name": "rotate", "degrees": -20.0, "p": 1.0}], there)
    known = back[1]["ice"] != 255
    assert known.mean() > 0.7
    assert (back[1]["ice"][known] == label[known]).mean() > 0.95


def test_consecutive_movements_resample_once():
    arrays = make_batch()
    there_and_back = [
        {"name": "rotate", "degrees": 30.0, "p": 1.0},
        {"name": "rotate", "degrees": -30.0, "p": 1.0},
    ]
    image, labels, valid = run(there_and_back, arrays)
    np.testing.assert_allclose(image, arrays[0], atol=1e-4)
    np.testing.assert_array_equal(labels["ice"], arrays[1]["ice"])
    assert valid.all()


@pytest.mark.parametrize("name", ["affine", "rotate", "translate", "scale", "shear"])
def test_nothing_void_becomes_a_class_and_no_class_is_made(name):
    arrays = make_batch(invalid=True)
    arrays[1]["ice"][arrays[1]["ice"] == 2] = 255
    image, labels, valid = run([{"name": name, "p": 1.0}], arrays)
    assert set(np.unique(labels["ice"])) <= {0, 1, 3, 255}
    assert np.isfinite(image).all()
    assert (labels["ice"][~valid] == 255).all()
    assert np.isnan(labels["sic"][~valid]).all()


def test_image_and_label_stay_registered_under_affine():
    size = 96
    row, col = np.mgrid[:size, :size]
    label = (((row - 40) ** 2 + (col - 55) ** 2) < 22**2).astype(np.uint8)[None]
    arrays = label[..., None].astype(np.float32), {"ice": label}, label < 9
    image, labels, valid = run(
        [{"name": "affine", "rotate": 33.0, "scale": 1.2, "shear": 8.0, "p": 1.0}],
        arrays,
    )
    disagree = (image[..., 0] > 0.5) != (labels["ice"] == 1)
    assert disagree[valid].mean() < 0.01


def test_missing_pixels_never_bleed_into_data():
    arrays = make_batch(invalid=True)
    arrays[0][arrays[2]] = 7.0
    image, _, valid = run([{"name": "affine", "rotate": 17.0, "p": 1.0}], arrays)
    np.testing.assert_allclose(image[valid], 7.0, rtol=1e-5)


def test_p_zero_keeps_every_bit_and_input_is_never_written():
    arrays = make_batch()
    before = [arrays[0].copy(), arrays[1]["ice"].copy()]
    assert_same(run([{"name": "affine", "p": 0.0}], arrays), arrays)
    run([{"name": "affine", "p": 1.0}, {"name": "hflip", "p": 1.0}], arrays)
    np.testing.assert_array_equal(arrays[0], before[0])
    np.testing.assert_array_equal(arrays[1]["ice"], before[1])


def test_wind_turns_with_the_image():
    size = 9
    image = np.zeros((1, size, size, 3), np.float32)
    image[..., 0], image[..., 1], image[..., 2] = 5.0, 0.0, 90.0  # to the right
    valid = np.ones((1, size, size), bool)
    bands = ["u10m_rotated", "v10m_rotated", "look"]
    turned, _, _ = run(
        [{"name": "rotate", "degrees": 90.0, "p": 1.0}],
        (image, {}, valid),
        bands=bands,
        angles=["look"],
    )
    np.testing.assert_allclose(turned[0, 4, 4], [0.0, 5.0, 0.0], atol=1e-4)
    flipped, _, _ = run(
        [{"name": "hflip", "p": 1.0}], (image, {}, valid), bands=bands, angles=["look"]
    )
    np.testing.assert_allclose(flipped[0, 4, 4], [-5.0, 0.0, 270.0], atol=1e-4)


def test_wind_keeps_its_speed_under_scale_and_shear():
    rng = np.random.default_rng(1)
    image = np.broadcast_to(rng.normal(size=2), (3, 9, 9, 2)).astype(np.float32)
    step = {"name": "affine", "rotate": [-180, 180], "scale": 1.3, "shear": 20, "p": 1}
    turned, _, valid = run(
        [step], (image, {}, np.ones((3, 9, 9), bool)), vectors=[(0, 1)]
    )
    speed = np.hypot(turned[..., 0], turned[..., 1])[valid]
    np.testing.assert_allclose(speed, np.hypot(*image[0, 0, 0]), rtol=1e-5)


def test_gradient_image_and_its_vector_field_agree():
    """The gradient of a moved ramp is the moved gradient."""
    size = 41
    row, col = np.mgrid[:size, :size].astype(np.float32)
    ramp = 2 * col - 3 * row  # rises 2 to the right and 3 upwards
    up = np.full_like(ramp, 3)
    image = np.stack([ramp, np.full_like(ramp, 2), up], -1)[None]
    step = {"name": "affine", "rotate": 37.0, "scale": 1.0, "p": 1.0}
    moved, _, valid = run(
        [step], (image, {}, np.ones((1, size, size), bool)), vectors=[(1, 2)]
    )
    d_row, d_col = np.gradient(moved[0, ..., 0])
    centre = (20, 20)
    assert valid[0][centre]
    np.testing.assert_allclose(d_col[centre], moved[0, 20, 20, 1], atol=1e-3)
    np.testing.assert_allclose(-d_row[centre], moved[0, 20, 20, 2], atol=1e-3)


@pytest.mark.parametrize(
    ("arguments", "match"),
    [
        ({"rotate": [10, -10]}, "rotate"),
        ({"scale": 0.0}, "scale"),
        ({"translate": "far"}, "translate"),
        ({"p": 1.5}, "`p`"),
    ],
)
def test_affine_refuses_bad_ranges(arguments, match):
    with pytest.raises(ValueError, match=match):
        Affine(**arguments)
