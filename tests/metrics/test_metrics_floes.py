"""Floe sizes and lead fractions against shapes whose measures are known."""

import math

import numpy as np
import pytest

from arcticdl.metrics import floe_sizes, lead_fraction


def test_of_a_rectangle_it_is_its_perimeter_over_pi():
    label = np.zeros((20, 30), np.uint8)
    label[2:5, 3:12] = 1
    found = floe_sizes(label, [1], pixel_m=50.0)
    assert found["diameter_m"] == pytest.approx([2 * (3 + 9) / math.pi * 50])
    assert found["area_px"].tolist() == [27]


def test_of_a_disc_it_is_the_diameter():
    rows, cols = np.mgrid[:201, :201]
    label = ((rows - 100) ** 2 + (cols - 100) ** 2 <= 80**2).astype(np.uint8)
    (size,) = floe_sizes(label, [1])["diameter_m"]
    assert size == pytest.approx(161, rel=0.01)  # pixels reach half a pixel further


def test_of_any_shape_it_is_the_mean_over_all_directions():
    rng = np.random.default_rng(0)
    label = np.zeros((60, 60), np.uint8)
    label[10:50, 28:31] = 1
    for row, col in rng.integers(10, 50, (6, 2)):
        label[row, min(28, col) : max(31, col)] = 1
    found = floe_sizes(label, [1])
    rows, cols = np.nonzero(label)
    corners = np.concatenate(
        [np.stack([cols + dx, rows + dy], -1) for dx in (0, 1) for dy in (0, 1)]
    )
    angles = np.linspace(0, np.pi, 2000, endpoint=False)
    widths = np.ptp(corners @ np.stack([np.cos(angles), np.sin(angles)]), axis=0)
    assert found["diameter_m"] == pytest.approx([widths.mean()], rel=1e-5)


def test_floes_that_are_cut_or_small_are_left_out_and_counted():
    label = np.zeros((30, 30), np.uint8)
    label[0:3, 5:9] = 1  # reaches the frame
    label[10:14, 10:14] = 1
    label[12, 14] = 255  # void beside it, by a side
    label[20, 2:6] = 1  # four pixels
    label[20:22, 20:23] = 2  # six pixels, of another class of ice
    label[22, 22] = 1  # the same floe
    found = floe_sizes(label, [1, 2])
    assert found["area_px"].tolist() == [7]
    assert (found["num_cut"], found["num_small"]) == (2, 1)
    none = floe_sizes(np.full((4, 4), 255, np.uint8), [1])
    assert none["diameter_m"].size == none["num_cut"] == none["num_small"] == 0


def test_leads_are_a_share_of_the_pack_alone():
    label = np.array([[0, 0, 1, 1], [1, 3, 255, 1]])
    assert lead_fraction(label, [3], [1]) == pytest.approx(1 / 5)
    assert math.isnan(lead_fraction(label, [7], [8]))
