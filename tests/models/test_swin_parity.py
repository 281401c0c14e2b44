"""Swin and Swin-V2 give torchvision's features from torchvision's weights."""

import json
import pathlib

import numpy as np
import pytest
from torch_recipe import make_image, make_state

from arcticdl.models.convert.fill import fill
from arcticdl.models.convert.swin import build_from_swin, swin_entries

REFERENCE = pathlib.Path(__file__).parents[1] / "reference"
pytestmark = pytest.mark.backend


@pytest.mark.parametrize("num_bands", [1, 2, 3, 9, 13])
@pytest.mark.parametrize("name", ["swin", "swin_v2"])
def test_every_level_equals_torchvision(name, num_bands):
    stored = np.load(REFERENCE / f"{name}.npz")
    state = make_state(json.loads(str(stored[f"shapes_{num_bands}"])))
    model, found, _ = build_from_swin(state)
    report = fill(swin_entries(model, state), state, architecture=found)
    assert not report.missing and not report.unused
    levels = model(make_image(num_bands, 61, 77, seed=num_bands))
    assert sorted(levels) == ["P2", "P3", "P4", "P5"]
    for level, value in levels.items():
        expected = stored[f"{level}_{num_bands}"]
        assert value.shape == expected.shape
        np.testing.assert_allclose(np.asarray(value), expected, atol=1e-4, rtol=0)
