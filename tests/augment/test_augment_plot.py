"""The picture of a policy: as many panels as draws, one stretch, soft labels too."""

import numpy as np
import pytest

from arcticdl.augment import build_policy
from arcticdl.plots import show_augmented


def samples(num=2, size=16):
    rng = np.random.default_rng(0)
    label = rng.integers(0, 3, (num, size, size)).astype(np.uint8)
    label[:, :2] = 255
    return label[..., None].astype(np.float32), label


def panels(figure):
    return [ax.images[0].get_array() for ax in figure.axes]


def test_two_rows_a_sample_and_one_column_a_draw():
    image, label = samples()
    policy = build_policy([{"name": "hflip", "p": 1.0}])
    figure = show_augmented(policy, image, label, num_draws=2)
    pictures = panels(figure)
    assert len(pictures) == 2 * 2 * 3
    np.testing.assert_array_equal(pictures[0][:, ::-1], pictures[1])
    np.testing.assert_array_equal(pictures[3][:, ::-1], pictures[4])


def test_brighter_is_drawn_brighter():
    image, label = samples()
    policy = build_policy([{"name": "gain", "factor": 2.0, "p": 1.0}])
    pictures = panels(show_augmented(policy, image, label, num_draws=1))
    assert pictures[1].mean() > pictures[0].mean()


def test_crops_and_mixed_labels_are_drawn():
    image, label = samples()
    steps = [{"name": "crop", "size_px": 8}, {"name": "mixup", "num_classes": 3}]
    figure = show_augmented(
        build_policy(steps), image, {"ice": label}, classes=["a", "b", "c"]
    )
    assert panels(figure)[1].shape == (8, 8, 3)


def test_arrays_that_do_not_fit_are_refused():
    image, label = samples()
    with pytest.raises(ValueError, match="num_draws"):
        show_augmented(build_policy([]), image, label, num_draws=0)
    with pytest.raises(ValueError, match="labels"):
        show_augmented(build_policy([]), image, label[:, 1:])
