"""Simulated clouds: they cover what is asked, in patches, and hide nothing else."""

import numpy as np
import pytest
from scipy import ndimage, stats

from arcticdl import simulate
from arcticdl.scene import check_scene

BANDS = ["B03", "B08"]


def masks(share, number=6, shape=(96, 128)):
    rng = np.random.default_rng(4)
    return [simulate.cloud_mask(shape, share, rng) for _ in range(number)]


@pytest.mark.parametrize("share", [0.01, 0.25, 0.9])
def test_clouds_cover_the_share_to_a_pixel(share):
    for mask in masks(share):
        assert mask.sum() == round(share * mask.size)


def test_clouds_are_ragged_patches_and_no_noise():
    drawn = masks(0.3)
    for mask in drawn:
        near = np.corrcoef(mask[:, 3:].ravel(), mask[:, :-3].ravel())[0, 1]
        far = np.corrcoef(mask[:, 80:].ravel(), mask[:, :-80].ravel())[0, 1]
        assert near > 0.6 and abs(far) < 0.6
    areas, rims = [], []
    for mask in drawn:
        parts, count = ndimage.label(np.pad(mask, 1))
        for number in range(1, count + 1):
            part = parts == number
            rim = sum(np.count_nonzero(np.diff(part, axis=a)) for a in (0, 1))
            areas.append(part.sum())
            rims.append(rim)
    large = np.array(areas) > 20
    # Perimeters grow as area to half of a dimension above that of smooth rims, 1.
    slope = stats.linregress(np.log(np.array(areas)[large]), np.log(rims)[large]).slope
    assert 1.1 < 2 * slope < 1.7


@pytest.mark.parametrize("share", [0.0, 1.0, float("nan")])
def test_nothing_and_everything_are_no_masks(share):
    rng = np.random.default_rng(0)
    with pytest.raises(ValueError, match=rf"above 0 and below 1.*share={share}"):
        simulate.cloud_mask((8, 8), share, rng)
    with pytest.raises(ValueError, match=rf"above 0 and below 1.*share={share}"):
        simulate.hide_clouds(simulate.cloudy_scene(16), BANDS, share)


def test_what_is_beneath_clouds_is_what_is_seen_beside_them():
    scene = check_scene(simulate.cloudy_scene(64, seed=3, index=6))
    valid = scene["valid"].values
    image, clear = scene["image"].values, scene["clear"].values
    np.testing.assert_array_equal(image[:, valid], clear[:, valid])
    assert np.isnan(image[:, ~valid]).all() and np.isfinite(clear).all()
    assert scene.identical(simulate.cloudy_scene(64, seed=3, index=6))


def test_fast_ice_stays_and_other_ice_drifts():
    def likeness(place):
        first, last = (
            simulate.cloudy_scene(96, index=place * 4 + day)["clear"].values[1]
            for day in (0, 3)
        )
        return np.corrcoef(first.ravel(), last.ravel())[0, 1]

    assert likeness(0) > 0.75 > likeness(1)


def test_hidden_pixels_are_gaps_and_the_others_stay_to_the_bit():
    scene = simulate.cloudy_scene(64, index=1)
    hidden = simulate.hide_clouds(scene, BANDS, 0.4, reach_px=64)
    gap = hidden["image"].sel(band="gap").values.astype(bool)
    before, after = scene["image"].values, hidden["image"].sel(band=BANDS).values
    assert np.isnan(after[:, gap]).all()
    np.testing.assert_array_equal(after[:, ~gap], before[:, ~gap])
    assert gap[~scene["valid"].values].all() and hidden["valid"].values.all()
    # Clouds are drawn without regard to those that are there.
    observed = scene["valid"].values
    assert gap[observed].mean() == pytest.approx(0.4, abs=0.15)
    again = simulate.hide_clouds(scene, BANDS, 0.4, reach_px=64)
    other = simulate.hide_clouds(scene, BANDS, 0.4, reach_px=64, seed=1)
    assert hidden.identical(again) and not hidden.identical(other)
