"""Objects that touch are taken apart as their shapes say, whatever the window."""

import numpy as np
import pytest
from scipy import ndimage
from skimage.morphology import diamond, h_maxima

from arcticdl.inference import connected_objects, separate_objects
from arcticdl.inference.objects.separate import check_size, half_widths
from arcticdl.simulate import floe_scene


def discs(radius, neck):
    """Two discs whose neck has this share of their width, in one mask."""
    apart = 2 * radius * np.sqrt(1 - neck**2)
    side = 2 * radius + 6
    y, x = np.mgrid[:side, : int(side + apart)]
    middle = side / 2
    near = np.hypot(y - middle, x - middle) < radius
    return near | (np.hypot(y - middle, x - middle - apart) < radius)


@pytest.fixture(scope="module")
def pack():
    """A mask of simulated floes that touch."""
    return floe_scene(256, 3, touching=0.5)["ice"].values == 1


def test_heights_are_distances_to_what_is_known_to_lie_outside(pack):
    void = np.zeros(pack.shape, bool)
    void[60:90, 40:120] = True
    mask = pack & ~void
    right = ndimage.distance_transform_edt(mask | void) - 0.5
    np.testing.assert_allclose(half_widths(mask, void)[mask], right[mask], atol=1e-4)
    assert not half_widths(mask, void)[~mask].any()


@pytest.mark.parametrize("radius", [15, 60])
@pytest.mark.parametrize(("neck", "count"), [(0.5, 2), (0.68, 2), (0.82, 1), (0.95, 1)])
def test_a_neck_narrower_than_its_share_parts_two_discs_of_any_size(
    radius, neck, count
):
    mask = discs(radius, neck)
    found = separate_objects(mask, max_neck=0.75)
    assert found.max() == count
    assert ((found > 0) == mask).all()
    if count == 2:  # the cut is the chord between the crossings of the two circles
        middle = mask.shape[1] / 2
        ends = [np.nonzero(found == n)[1] for n in (1, 2)]
        assert abs(ends[0].max() - middle) < 2
        assert abs(ends[1].min() - middle) < 2


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_there_are_as_many_objects_as_h_maxima_of_logarithms(seed):
    noise = np.random.default_rng(seed).random((60, 80))
    heights = ndimage.gaussian_filter(noise, 3) + 0.01
    mask = ndimage.gaussian_filter(noise[::-1], 4) > 0.49
    found = separate_objects(mask, landscape=heights, max_neck=0.9, min_area_px=1)
    outside = np.log(heights.min()) - 1
    logs = np.where(mask, np.log(heights), outside)
    tops = h_maxima(logs, -np.log(0.9), footprint=diamond(1))
    assert found.max() == ndimage.label(tops.astype(bool) & mask)[1] > 3


def test_objects_that_lie_within_a_window_are_those_of_the_whole_map(pack):
    whole = separate_objects(pack)
    window = np.s_[20:230, 30:250]
    part = separate_objects(pack[window])
    joined, _ = ndimage.label(pack[window])
    edge = np.concatenate([joined[0], joined[-1], joined[:, 0], joined[:, -1]])
    inside = (joined > 0) & ~np.isin(joined, edge)
    pairs = np.unique(np.stack([part[inside], whole[window][inside]]), axis=1)
    assert len(pairs[0]) == len(set(pairs[0])) == len(set(pairs[1])) > 3
    np.testing.assert_array_equal(whole, separate_objects(pack.copy()))


def test_void_is_no_shore_and_belongs_to_nothing():
    y, x = np.mgrid[:41, :41]
    disc = np.hypot(y - 20, x - 20) < 18
    void = np.hypot(y - 20, x - 24) < 8
    found = separate_objects(disc, void=void)
    assert (found[void] == -1).all()
    assert (found[disc & ~void] == 1).all()  # a ring is as wide as the disc
    strip = np.zeros((41, 41), bool)
    strip[:, 19:22] = True
    assert separate_objects(disc, void=strip).max() == 2
    assert separate_objects(np.ones((9, 9), bool)).tolist() == [[1] * 9] * 9
    assert separate_objects(np.zeros((3, 3), bool)).tolist() == [[0] * 3] * 3
    assert (separate_objects(disc, void=np.ones_like(disc)) == -1).all()


def test_a_boundary_that_a_network_sees_parts_what_has_no_neck():
    mask = np.zeros((20, 40), bool)
    mask[4:16, 4:36] = True
    prob = np.where(mask, 0.95, 0.02).astype(np.float32)
    prob[:, 20] = np.where(mask[:, 20], 0.6, 0.02)
    assert separate_objects(mask).max() == 1
    found = separate_objects(mask, landscape=prob, max_neck=0.8)
    assert found.max() == 2
    assert (found[4:16, 4:20] == 1).all()
    assert (found[4:16, 21:36] == 2).all()


def test_numbers_rise_row_by_row_and_small_objects_are_background():
    mask = np.zeros((6, 9), bool)
    mask[0:2, 6:9] = mask[3:6, 0:4] = True
    mask[3, 8] = True
    right = np.zeros((6, 9), int)
    right[0:2, 6:9], right[3:6, 0:4] = 1, 2
    np.testing.assert_array_equal(separate_objects(mask), right)
    np.testing.assert_array_equal(connected_objects(mask), right)
    assert connected_objects(mask, min_area_px=1)[3, 8] == 3
    assert connected_objects(mask, void=mask).min() == -1


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"void": np.zeros((2, 2))}, "`void` must have the shape of `mask`"),
        ({"landscape": np.full((4, 4), np.nan)}, "finite and at least 0 within `mask`"),
        ({"max_neck": 0}, "`max_neck` must be more than 0"),
        ({"max_neck": 1.2}, "at most 1. Received: max_neck=1.2"),
        ({"min_area_px": 0}, "`min_area_px` must be at least 1"),
    ],
)
def test_what_does_not_fit_is_refused_by_name(options, says):
    with pytest.raises(ValueError, match=says):
        separate_objects(np.ones((4, 4), bool), **options)


def test_maps_that_memory_would_not_hold_are_refused():
    with pytest.raises(ValueError, match="`mask` must be boolean"):
        separate_objects(np.zeros((3, 3)))
    with pytest.raises(ValueError, match=r"20000 x 20000 px\. Map parts"):
        check_size((20000, 20000))
