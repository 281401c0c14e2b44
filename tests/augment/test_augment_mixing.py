"""Mixing moves image, labels and validity together; crops and bends as well."""

import numpy as np
import pytest

from arcticdl.augment import build_policy
from arcticdl.augment.batch import Batch
from arcticdl.augment.mixing import one_hot, paste_over

MIXING = ["classmix", "copy_paste", "cutmix", "mixup"]


def samples(num=6, size=24, seed=0):
    """Each sample's image repeats its label plus 10 times its number."""
    rng = np.random.default_rng(seed)
    label = rng.integers(0, 3, (num, size // 6, size // 6)).astype(np.uint8)
    label = label.repeat(6, 1).repeat(6, 2)
    number = np.arange(num)[:, None, None]
    image = (label + 10.0 * number).astype(np.float32)[..., None]
    sic = (label / 2 + number).astype(np.float32)
    valid = np.ones(label.shape, bool)
    label[:, :3], sic[:, :3], valid[:, :2] = 255, np.nan, False
    return image, {"ice": label, "sic": sic}, valid


def run(step, arrays, seed=0):
    policy = build_policy([{"p": 1.0, **step}])
    return policy(*arrays, np.random.default_rng(seed))


@pytest.mark.parametrize("name", ["classmix", "copy_paste", "cutmix"])
def test_pasted_pixels_bring_label_image_and_validity_along(name):
    arrays = samples()
    step = {"name": name, "label": "ice"} if name != "cutmix" else {"name": name}
    if name == "copy_paste":
        step |= {"seam": "none", "classes": [2]}
    image, labels, valid = run(step, arrays)
    assert not np.array_equal(image, arrays[0])
    source = np.rint(labels["sic"] - labels["ice"] / 2)  # the sample a pixel came from
    known = labels["ice"] != 255
    np.testing.assert_array_equal(known, ~np.isnan(labels["sic"]))
    expected = labels["ice"] + 10 * source
    np.testing.assert_array_equal(image[known, 0], expected[known])
    assert (source[known] != np.arange(6)[:, None, None].repeat(24, 1).repeat(24, 2)[
        known
    ]).any()  # fmt: skip
    assert valid[known].all()


@pytest.mark.parametrize("name", MIXING)
def test_nothing_void_becomes_a_class(name):
    arrays = samples()
    arrays[1].pop("sic")
    arrays[1]["ice"][:] = 255
    options = {"mixup": {"num_classes": 3}}.get(name, {})
    labels = run({"name": name, **options}, arrays)[1]
    if name == "mixup":
        assert np.isnan(labels["ice"]).all()
    else:
        assert (labels["ice"] == 255).all()


@pytest.mark.parametrize("name", MIXING)
def test_a_batch_of_one_and_p_zero_change_nothing(name):
    options = {"mixup": {"num_classes": 3}}.get(name, {})
    for arrays, p in ((samples(num=1), 1.0), (samples(), 0.0)):
        arrays[1].pop("sic")
        image, labels, valid = run({"name": name, "p": p, **options}, arrays)
        np.testing.assert_array_equal(image, arrays[0])
        np.testing.assert_array_equal(valid, arrays[2])
        if name != "mixup":
            np.testing.assert_array_equal(labels["ice"], arrays[1]["ice"])


def test_cutmix_replaces_the_share_asked_for():
    arrays = samples(num=40, size=48)
    arrays[2][:] = True
    image = run({"name": "cutmix", "share": 0.25}, arrays)[0]
    number = image[..., 0] // 10
    replaced = (number != np.arange(40)[:, None, None]).mean((1, 2))
    assert replaced.mean() == pytest.approx(0.25, abs=0.02)
    assert replaced.std() < 0.05


def test_classmix_pastes_whole_classes():
    arrays = samples()
    arrays[1].pop("sic")
    image = run({"name": "classmix"}, arrays)[0]
    for sample in range(6):
        number = image[sample, 3:, :, 0] // 10
        others = np.unique(number[number != sample])
        assert len(others) == 1
        other = arrays[1]["ice"][int(others[0]), 3:]
        pasted = number == others[0]
        for code in np.unique(other):
            share = pasted[other == code].mean()
            assert share in (0.0, 1.0)


def test_copy_paste_raises_the_rare_class_only():
    arrays = samples(num=8)
    arrays[1].pop("sic")
    before = (arrays[1]["ice"] == 2).sum()
    labels = run({"name": "copy_paste", "classes": [2]}, arrays)[1]
    assert (labels["ice"] == 2).sum() > before
    for code in (0, 1):
        assert (labels["ice"] == code).sum() < (arrays[1]["ice"] == code).sum()
    # Where nothing was pasted, everything stays.
    changed = labels["ice"] != arrays[1]["ice"]
    assert (labels["ice"][changed] == 2).all()


def test_context_comes_along():
    arrays = samples()
    arrays[1].pop("sic")
    step = {"name": "copy_paste", "classes": [2], "seam": "none"}
    tight, wide = run(step, arrays)[0], run({**step, "context_px": 2}, arrays)[0]
    assert (wide != arrays[0]).sum() > (tight != arrays[0]).sum()


def pasted(seam, seam_px=3.0):
    shape = (1, 20, 20)
    ground = Batch(np.zeros((*shape, 1), np.float32), {"a": np.zeros(shape, np.uint8)},
                   np.ones(shape, bool))  # fmt: skip
    top = Batch(np.ones((*shape, 1), np.float32), {"a": np.ones(shape, np.uint8)},
                np.ones(shape, bool))  # fmt: skip
    paste = np.zeros(shape, bool)
    paste[:, :, 10:] = True
    return paste_over(ground, top, paste, seam, seam_px)


def test_feathered_seam_is_a_ramp_and_labels_stay_sharp():
    out = pasted("feather")
    row = out.image[0, 5, :, 0]
    np.testing.assert_allclose(row[9] + row[10], 1, atol=1e-6)
    assert (np.diff(row) >= 0).all()
    assert row[6] == 0
    assert row[13] == 1
    np.testing.assert_array_equal(out.labels["a"][0, 5], np.arange(20) >= 10)
    np.testing.assert_array_equal(row > 0.5, out.labels["a"][0, 5] == 1)


def test_void_seam_hides_the_cut():
    out = pasted("void", seam_px=2.0)
    np.testing.assert_array_equal(out.labels["a"][0, 5], [0] * 8 + [255] * 4 + [1] * 8)
    assert set(np.unique(out.image)) == {0, 1}


def test_mixup_blends_labels_into_shares():
    arrays = samples()
    image, labels, valid = run(
        {"name": "mixup", "alpha": 1.0, "num_classes": {"ice": 3}}, arrays
    )
    shares = labels["ice"]
    assert shares.shape == (6, 24, 24, 3)
    known = ~np.isnan(shares).any(-1)
    np.testing.assert_array_equal(known, np.isfinite(labels["sic"]))
    np.testing.assert_allclose(shares[known].sum(-1), 1, rtol=1e-5)
    # Image, shares and the float label are one and the same blend.
    index = (shares * np.arange(3)).sum(-1)
    number = labels["sic"] - index / 2
    np.testing.assert_allclose(
        image[known, 0], (index + 10 * number)[known], rtol=1e-3, atol=1e-3
    )
    assert valid[:, 2:].all()
    assert not valid[:, :2].any()


def test_mixup_keeps_samples_that_were_not_drawn():
    arrays = samples(num=30)
    image, labels, _ = run(
        {"name": "mixup", "p": 0.5, "num_classes": 3}, arrays, seed=2
    )
    kept = (image == arrays[0]).all((1, 2, 3))
    assert 5 < kept.sum() < 25
    np.testing.assert_array_equal(
        labels["ice"][kept], one_hot(arrays[1]["ice"][kept], 3)
    )


def test_mixing_refuses_what_it_cannot_know():
    arrays = samples()
    with pytest.raises(ValueError, match="num_classes"):
        run({"name": "mixup"}, arrays)
    with pytest.raises(ValueError, match="class codes"):
        run({"name": "mixup", "num_classes": 2}, arrays)
    with pytest.raises(ValueError, match="`label`"):
        run({"name": "classmix", "label": "sod"}, arrays)
    with pytest.raises(ValueError, match="seam"):
        run({"name": "classmix", "seam": "glue"}, arrays)
    with pytest.raises(ValueError, match="alpha"):
        run({"name": "mixup", "alpha": 0}, arrays)
    with pytest.raises(ValueError, match="classes"):
        run({"name": "copy_paste", "classes": []}, arrays)


def test_crop_cuts_without_resampling():
    arrays = samples()
    image, labels, valid = run({"name": "crop", "size_px": [10, 12]}, arrays)
    assert image.shape == (6, 10, 12, 1)
    assert labels["ice"].shape == valid.shape == (6, 10, 12)
    known = labels["ice"] != 255
    number = np.arange(6)[:, None, None]
    np.testing.assert_array_equal(
        image[known, 0], (labels["ice"] + 10.0 * number)[known]
    )
    with pytest.raises(ValueError, match="fit into"):
        run({"name": "crop", "size_px": 30}, arrays)


def test_resized_crop_brings_nothing_from_outside():
    arrays = samples()
    arrays[2][:] = True
    arrays[1]["ice"][:] = 1
    _, labels, valid = run({"name": "resized_crop", "share": [0.3, 1.0]}, arrays)
    assert valid.all()
    assert (labels["ice"] == 1).all()


def test_elastic_moves_by_the_amplitude_and_keeps_registration():
    size = 96
    row, col = np.mgrid[:size, :size].astype(np.float32)
    label = (col > 48).astype(np.uint8)[None].repeat(4, 0)
    image = np.stack([row, col, (col > 48).astype(np.float32)], -1)[None].repeat(4, 0)
    valid = np.ones(label.shape, bool)
    step = {"name": "elastic", "amplitude_px": 3.0, "smooth_px": 12.0}
    out, labels, inside = run(step, (image, {"ice": label}, valid))
    shift = out[..., :2] - image[..., :2]
    rms = np.sqrt((shift[inside] ** 2).sum(-1).mean())
    assert rms == pytest.approx(3.0, rel=0.15)
    agree = (out[..., 2] > 0.5) == (labels["ice"] == 1)
    assert agree[inside].mean() > 0.995
    assert (labels["ice"][~inside] == 255).all()
    # No fold: columns keep their order along every row.
    middle = out[:, 20:-20, 20:-20, 1]
    assert (np.diff(middle, axis=2) > -0.2).all()
