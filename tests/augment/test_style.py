"""Styles of other images: what is taken over, what stays, and of which images."""

import numpy as np
import pytest

from arcticdl.augment import build_policy
from arcticdl.augment.style.transfer import match_moments, swap_amplitude


def pictures(shape=(32, 24, 2), seed=0, level=-15.0):
    rng = np.random.default_rng(seed)
    return rng.normal(level, 3.0, shape).astype(np.float32)


def spectra(*images):
    return [np.fft.fft2(image, axes=(0, 1)) for image in images]


def test_low_amplitudes_are_those_of_the_style_and_all_else_stays():
    image, style = pictures(), pictures(seed=1, level=-9.0)
    every, beta = np.ones(image.shape[:2], bool), 0.3
    found = swap_amplitude(image, every, style, every, beta)
    before, other, after = spectra(image, style, found)
    near = [np.abs(np.fft.fftfreq(n)) < beta / 2 for n in image.shape[:2]]
    low = near[0][:, None] & near[1]
    assert 1 < low.sum() < low.size
    np.testing.assert_allclose(np.abs(after[low]), np.abs(other[low]), rtol=1e-3)
    np.testing.assert_allclose(after[~low], before[~low], atol=2e-3)
    turned = np.angle(after[low] / before[low])
    np.testing.assert_allclose(turned, 0, atol=1e-3)  # edges stay where they are


def test_no_frequency_changes_nothing_and_all_give_the_amplitudes_of_the_style():
    image, style = pictures(), pictures(seed=1)
    every = np.ones(image.shape[:2], bool)
    assert swap_amplitude(image, every, style, every, 0.0) is image
    same = swap_amplitude(image, every, image.copy(), every, 0.5)
    np.testing.assert_allclose(same, image, atol=1e-4)


def test_the_mean_comes_with_its_sign():
    image, style = pictures(level=-15), pictures(seed=1, level=20)
    every = np.ones(image.shape[:2], bool)
    found = swap_amplitude(image, every, style, every, 1e-9)
    np.testing.assert_allclose(found.mean((0, 1)), style.mean((0, 1)), rtol=1e-4)
    np.testing.assert_allclose(found.std((0, 1)), image.std((0, 1)), rtol=1e-4)


def test_moments_are_those_of_the_valid_pixels_of_the_style():
    image, style = pictures(), 2 * pictures(seed=1, level=4)
    valid, there = np.ones((2, *image.shape[:2]), bool)
    valid[:5], there[:, :9] = False, False
    image[:5], style[:, :9] = 1e4, np.nan
    found = match_moments(image, valid, style, there)
    np.testing.assert_allclose(found[valid].mean(0), style[there].mean(0), rtol=1e-4)
    np.testing.assert_allclose(found[valid].std(0), style[there].std(0), rtol=1e-4)
    np.testing.assert_array_equal(found[:5], image[:5])


def test_quantiles_of_all_images_map_values_and_an_image_keeps_what_sets_it_apart():
    rng = np.random.default_rng(0)
    own = rng.normal(-15, 3, (20, 16, 16, 2)).astype(np.float32)
    own[:10] += 6  # bright images and dark ones
    images = (0.5 * own[::-1] + 4).astype(np.float32)  # as another sensor has them
    images[:, :2] = np.nan
    valid = np.ones((2, 16, 16), bool)
    valid[:, :3] = False
    step = {"name": "style", "to": {"sensor": "other"}, "how": "quantiles", "p": 1.0}
    policy = build_policy([{**step, "images": images, "own": own}])
    found, _, _ = policy(own[[0, -1]], {}, valid, rng)
    off = np.abs(found - (0.5 * own[[0, -1]] + 4))[valid]
    assert np.quantile(off, 0.97) < 0.4  # but for the ends, which few pixels tell
    np.testing.assert_array_equal(found[~valid], own[[0, -1]][~valid])
    with pytest.raises(ValueError, match="`own` must hold"):
        build_policy([{**step, "images": images}])(own[:1], {}, valid[:1], rng)
    pair = np.stack([pictures(), pictures(seed=1, level=5)])
    every = np.ones(pair.shape[:3], bool)
    swap = build_policy([{"name": "style", "how": "quantiles", "p": 1.0}])
    swapped, _, _ = swap(pair, {}, every, rng)
    ranks = np.linspace(0.05, 0.95, 7)
    for one, other in zip(swapped, pair[::-1], strict=True):
        wanted = np.quantile(other, ranks, (0, 1))
        np.testing.assert_allclose(np.quantile(one, ranks, (0, 1)), wanted, atol=0.3)


@pytest.mark.parametrize("how", ["amplitude", "moments"])
def test_void_counts_for_nothing_and_stays(how):
    image, style = pictures((2, 32, 24, 2)), pictures((1, 40, 20, 2), seed=1, level=0)
    style[:, 7] = np.nan
    valid = np.ones(image.shape[:3], bool)
    valid[:, :6] = False
    label = np.zeros(image.shape[:3], np.uint8)
    step = {"name": "style", "to": {"season": "summer"}, "how": how, "p": 1.0}
    policy = build_policy([{**step, "images": style}])
    found, labels, still = policy(
        image, {"ice": label}, valid, np.random.default_rng(0)
    )
    other = np.where(valid[..., None], image, np.float32(1e6))
    again, _, _ = policy(other, {"ice": label}, valid, np.random.default_rng(0))
    np.testing.assert_array_equal(found[valid], again[valid])
    np.testing.assert_array_equal(found[~valid], image[~valid])
    assert np.isfinite(found).all() and abs(found[valid].mean()) < 2
    np.testing.assert_array_equal(labels["ice"], label)
    np.testing.assert_array_equal(still, valid)


@pytest.mark.parametrize("how", ["amplitude", "moments", "quantiles"])
def test_bands_that_a_sensor_did_not_see_do_not_touch_the_others(how):
    """Quantiles failed, no band changed, or one missing pixel took its whole band."""
    image = pictures((2, 16, 16, 2))
    image[0, :4, :, 1] = np.nan  # valid by the other band
    style, own = pictures((3, 16, 16, 2), 1, level=-5), pictures((3, 16, 16, 2), 2)
    own[..., 0], style[0, ..., 0] = np.nan, np.nan
    own = own if how == "quantiles" else None
    every = np.ones((2, 16, 16), bool)
    step = {"name": "style", "to": {"sensor": "other"}, "how": how, "p": 1.0}
    policy = build_policy([{**step, "images": style, "own": own}])
    found, _, _ = policy(image, {}, every, np.random.default_rng(0))
    np.testing.assert_array_equal(np.isnan(found), np.isnan(image))
    assert np.abs(np.nanmean(found[..., 1], (1, 2)) + 5).max() < 1
    if how == "quantiles":
        np.testing.assert_array_equal(found[..., 0], image[..., 0])
    lacking = build_policy([{**step, "images": style[:1], "own": own}])
    found, _, _ = lacking(image, {}, every, np.random.default_rng(0))
    np.testing.assert_array_equal(found[..., 0], image[..., 0])
    assert np.abs(np.nanmean(found[..., 1], (1, 2)) + 5).max() < 1


def test_samples_of_which_no_label_is_known_stay_as_they_are():
    image = np.stack([pictures(), pictures(seed=1)])
    label = np.zeros(image.shape[:3], np.uint8)
    label[1] = 255
    step = {"name": "style", "to": {"sensor": "other"}, "how": "moments", "p": 1.0}
    policy = build_policy([{**step, "images": pictures((1, 32, 24, 2), 2, level=5)}])
    every = np.ones(label.shape, bool)
    found, _, _ = policy(image, {"ice": label}, every, np.random.default_rng(0))
    assert np.abs(found[0] - image[0]).min() > 1
    np.testing.assert_array_equal(found[1], image[1])


def test_without_to_the_style_is_that_of_another_sample():
    image = np.stack([pictures(), pictures(seed=1, level=5)])
    valid = np.ones(image.shape[:3], bool)
    policy = build_policy([{"name": "style", "how": "moments", "p": 1.0, "bands": [1]}])
    found, _, _ = policy(image, {}, valid, np.random.default_rng(0))
    swapped = image[::-1, ..., 1].mean((1, 2))
    np.testing.assert_allclose(found[..., 1].mean((1, 2)), swapped, rtol=1e-4)
    np.testing.assert_array_equal(found[..., 0], image[..., 0])


def test_half_the_strength_goes_half_the_way():
    image, style = pictures((1, 16, 16, 1)), pictures((1, 16, 16, 1), 1, level=5)
    step = {"name": "style", "to": {"sensor": "other"}, "p": 1.0, "images": style}
    valid, means = np.ones((1, 16, 16), bool), []
    for strength in (0, 0.5, 1):
        policy = build_policy([{**step, "strength": strength, "beta": 0.05}])
        means.append(policy(image, {}, valid, np.random.default_rng(0))[0].mean())
    assert means[0] == image.mean()
    assert means[1] == pytest.approx((means[0] + means[2]) / 2, rel=1e-4)


def test_bad_styles_are_refused():
    image, valid = pictures((1, 16, 16, 2)), np.ones((1, 16, 16), bool)
    rng = np.random.default_rng(0)
    asked = {"name": "style", "to": {"season": "summer"}, "p": 1.0}
    with pytest.raises(ValueError, match=r"`images` must hold"):
        build_policy([asked])(image, {}, valid, rng)
    one_band = build_policy([{**asked, "images": image[..., :1]}])
    with pytest.raises(ValueError, match="of the bands of the batch"):
        one_band(image, {}, valid, rng)
    for wrong in ({"how": "colours"}, {"beta": 2}, {"strength": [0.5, 0.1]}):
        with pytest.raises(ValueError, match=next(iter(wrong))):
            build_policy([{**asked, **wrong}])
