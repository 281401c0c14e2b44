"""Radiometry, radar and optics: the physics asked for, labels left alone."""

import numpy as np
import pytest

from arcticdl.augment import AUGMENTATIONS, build_policy
from arcticdl.augment.sar import draw_subswaths, speckle

RADIOMETRY = [
    "band_dropout", "blur", "gain", "gamma", "haze", "incidence_slope", "invert",
    "noise", "noise_floor", "offset", "scalloping", "sensor_dropout", "speckle",
    "subswath_seams", "sun_angle", "thermal_residue",
]  # fmt: skip


def scene(num=3, size=48, bands=2, level=-18.0, std=3.0, seed=0):
    rng = np.random.default_rng(seed)
    image = rng.normal(level, std, (num, size, size, bands)).astype(np.float32)
    label = rng.integers(0, 3, (num, size, size)).astype(np.uint8)
    label[:, :5] = 255
    valid = np.ones((num, size, size), bool)
    valid[:, 20:24, 10:30] = False
    return image, {"ice": label}, valid


def run(step, arrays, seed=0, **options):
    policy = build_policy([{"p": 1.0, **step}], **options)
    return policy(*arrays, np.random.default_rng(seed))


@pytest.mark.parametrize("name", RADIOMETRY)
def test_radiometry_moves_no_label_and_no_validity(name):
    arrays = scene()
    image, labels, valid = run({"name": name}, arrays)
    np.testing.assert_array_equal(labels["ice"], arrays[1]["ice"])
    np.testing.assert_array_equal(valid, arrays[2])
    assert not np.array_equal(image, arrays[0])


@pytest.mark.parametrize("name", sorted(set(RADIOMETRY) - {"haze", "noise_floor"}))
def test_missing_pixels_change_no_valid_one(name):
    arrays = scene()
    other = arrays[0].copy()
    other[~arrays[2]] = 1e6
    one = run({"name": name}, arrays)[0]
    two = run({"name": name}, (other, *arrays[1:]))[0]
    np.testing.assert_allclose(one[arrays[2]], two[arrays[2]], rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("name", RADIOMETRY)
def test_samples_draw_for_themselves_and_bands_limit(name):
    arrays = scene(bands=3)
    if name != "band_dropout":
        arrays = np.repeat(arrays[0][:1], 3, 0), arrays[1], arrays[2]
    image = run({"name": name, "bands": [1]}, arrays)[0]
    np.testing.assert_array_equal(image[..., [0, 2]], arrays[0][..., [0, 2]])
    fixed = {"band_dropout", "invert", "sensor_dropout"}
    assert name in fixed or not np.allclose(image[0, ..., 1], image[1, ..., 1])


def test_invert_twice_gives_the_image_back():
    arrays = scene()
    step = {"name": "invert", "p": 1.0}
    image, _, valid = build_policy([step, step])(*arrays, np.random.default_rng(0))
    np.testing.assert_allclose(image[valid], arrays[0][valid], atol=1e-4)
    once = run(step, arrays)[0]
    cold, warm = arrays[0][0, ..., 0][valid[0]], once[0, ..., 0][valid[0]]
    assert cold.argmax() == warm.argmin()
    assert (cold.min(), cold.max()) == pytest.approx((warm.min(), warm.max()))


def test_invert_about_the_mean_keeps_the_mean():
    arrays = scene()
    step = {"name": "invert", "about": "mean", "p": 1.0}
    image, _, valid = run(step, arrays)
    before, after = arrays[0][0, ..., 0][valid[0]], image[0, ..., 0][valid[0]]
    np.testing.assert_allclose(after - after.mean(), before.mean() - before, atol=1e-3)
    assert after.mean() == pytest.approx(before.mean(), abs=1e-3)


def test_invert_about_the_mode_leaves_the_commonest_surface_as_it_is():
    image, labels, valid = scene(num=1, bands=1, level=80.0, std=1.0)
    water = np.zeros((48, 48), bool)
    water[30:] = True
    image[0, water, 0] += 60  # well over a third of the picture, warmer than its ice
    after = run({"name": "invert", "about": "mode"}, (image.copy(), labels, valid))[0]
    ice, wet = valid[0] & ~water, valid[0] & water
    assert after[0, ice, 0].mean() == pytest.approx(80.0, abs=0.5)
    assert after[0, wet, 0].mean() == pytest.approx(80.0 - 60.0, abs=0.5)
    total = after[0, valid[0], 0] + image[0, valid[0], 0]
    np.testing.assert_allclose(total, total[0], rtol=1e-5)


def test_gamma_keeps_ends_and_order():
    arrays = scene()
    image, _, valid = run({"name": "gamma", "gamma": 2.0}, arrays)
    before, after = arrays[0][0, ..., 0][valid[0]], image[0, ..., 0][valid[0]]
    assert (before.min(), before.max()) == pytest.approx((after.min(), after.max()))
    assert (np.diff(after[before.argsort()]) >= -1e-5).all()
    assert after.mean() < before.mean()


def test_gain_offset_and_noise_have_the_size_asked_for():
    arrays = scene(size=128)
    np.testing.assert_allclose(
        run({"name": "gain", "factor": 1.5}, arrays)[0], 1.5 * arrays[0], rtol=1e-6
    )
    step = {"name": "offset", "amount": 0.5, "relative": False}
    np.testing.assert_allclose(run(step, arrays)[0], arrays[0] + 0.5, rtol=1e-5)
    relative = run({"name": "offset", "amount": 0.5}, arrays)[0] - arrays[0]
    np.testing.assert_allclose(relative, 0.5 * 3.0, rtol=0.05)
    noise = run({"name": "noise", "std": 2.0, "relative": False}, arrays)[0] - arrays[0]
    assert noise.std() == pytest.approx(2.0, rel=0.02)
    assert abs(noise.mean()) < 0.05


def test_blur_keeps_the_mean_and_removes_detail():
    arrays = scene(size=96)
    image, _, valid = run({"name": "blur", "sigma_px": 2.0}, arrays)
    assert image[valid].mean() == pytest.approx(arrays[0][valid].mean(), abs=0.1)
    assert image[valid].std() < 0.4 * arrays[0][valid].std()
    flat = np.full_like(arrays[0], 7.0)
    flat[~valid] = -1e4
    blurred = run({"name": "blur", "sigma_px": 2.0}, (flat, *arrays[1:]))[0]
    np.testing.assert_allclose(blurred[valid], 7.0, rtol=1e-4)


def test_band_dropout_leaves_a_band_and_fills_with_the_mean():
    arrays = scene(num=8, bands=3)
    image = run({"name": "band_dropout", "max_bands": 5}, arrays)[0]
    changed = (image != arrays[0]).any((1, 2))
    assert changed.any(1).all()
    assert not changed.all(1).any()
    sample, band = np.argwhere(changed)[0]
    mean = arrays[0][sample, ..., band][arrays[2][sample]].mean()
    np.testing.assert_allclose(image[sample, ..., band], mean, rtol=1e-5)
    one_band = scene(bands=1)
    np.testing.assert_array_equal(
        run({"name": "band_dropout"}, one_band)[0], one_band[0]
    )


def test_sensor_dropout_loses_a_strip_of_the_share_asked_for():
    arrays = scene(size=40)
    step = {"name": "sensor_dropout", "bands": ["btemp"], "share": 0.25, "fill": 0.0}
    image = run(step, arrays, bands=["HH", "btemp"])[0]
    np.testing.assert_array_equal(image[..., 0], arrays[0][..., 0])
    np.testing.assert_allclose((image[..., 1] == 0).mean((1, 2)), 0.25)
    whole = run({"name": "sensor_dropout", "bands": [1], "fill": 0.0}, arrays)[0]
    assert (whole[..., 1] == 0).all()


@pytest.mark.parametrize("correlation_px", [0.0, 1.0])
@pytest.mark.parametrize("enl", [2.7, 10.7, 40.0])
def test_speckle_has_mean_power_one_and_the_looks_asked_for(enl, correlation_px):
    noise = speckle((512, 512, 2), enl, np.random.default_rng(0), correlation_px)
    assert noise.mean() == pytest.approx(1.0, abs=0.01)
    assert noise.mean() ** 2 / noise.var() == pytest.approx(enl, rel=0.05)
    bands = noise[..., 0].ravel(), noise[..., 1].ravel()
    assert abs(np.corrcoef(*bands)[0, 1]) < 0.02
    beside = np.corrcoef(noise[:, 1:, 0].ravel(), noise[:, :-1, 0].ravel())[0, 1]
    # Neighbours of white noise smoothed with sigma correlate as exp(-1 / (4 sigma^2)).
    expected = np.exp(-0.25) if correlation_px else 0.0
    assert beside == pytest.approx(expected, abs=0.05)


@pytest.mark.parametrize("units", ["db", "power"])
def test_speckled_images_keep_their_mean_power(units):
    size = 256
    level = -20.0 if units == "db" else 0.01
    image = np.full((1, size, size, 1), level, np.float32)
    out = run(
        {"name": "speckle", "enl": 10.0, "units": units},
        (image, {}, np.ones((1, size, size), bool)),
    )[0]
    power = 10 ** (out / 10) if units == "db" else out
    assert power.mean() == pytest.approx(0.01, rel=0.01)
    assert power.mean() ** 2 / power.var() == pytest.approx(10.0, rel=0.05)
    if units == "db":  # sigma of log speckle: 10/ln 10 * sqrt(trigamma(10)) = 1.408 dB
        assert out.std() == pytest.approx(1.408, rel=0.02)


def test_incidence_slope_follows_the_angle_band():
    arrays = scene(bands=2)
    angle = np.linspace(20, 46, 48, dtype=np.float32)
    arrays[0][..., 1] = angle[None, None]
    step = {"name": "incidence_slope", "slope_db": 0.1, "angle_band": "angle"}
    image = run(step, arrays, bands=["HH", "angle"])[0]
    np.testing.assert_array_equal(image[..., 1], arrays[0][..., 1])
    change = (image - arrays[0])[0, 0, :, 0]
    np.testing.assert_allclose(change, 0.1 * (angle - 34.5), atol=1e-4)
    ramp = run({"name": "incidence_slope", "slope_db": 0.1, "span_deg": 5.0}, arrays)[0]
    change = (ramp - arrays[0])[0, 0, :, 0]
    assert change[-1] - change[0] == pytest.approx(0.5, abs=1e-4)
    assert change.mean() == pytest.approx(0.0, abs=1e-4)


def test_noise_floor_keeps_mean_power_and_strikes_weak_signals_hardest():
    size = 256
    image = np.empty((1, size, size, 2), np.float32)
    image[..., 0], image[..., 1] = -10.0, -26.0
    valid = np.ones((1, size, size), bool)
    step = {"name": "noise_floor", "nesz_db": -28.0, "enl": 10.0}
    out = run(step, (image, {}, valid))[0]
    power = 10 ** (out / 10)
    np.testing.assert_allclose(
        power.mean((0, 1, 2)), 10 ** np.array([-1.0, -2.6]), rtol=0.01
    )
    assert out[..., 1].std() > 10 * out[..., 0].std()
    weak = run(step, (image - 30, {}, valid))[0]
    assert np.isfinite(weak).all()


def test_scalloping_waves_along_azimuth_only():
    arrays = scene()
    step = {"name": "scalloping", "amplitude_db": 0.5, "period_px": 12.0}
    change = run(step, arrays)[0] - arrays[0]
    np.testing.assert_allclose(change.std(axis=2), 0, atol=1e-4)
    assert change.max() == pytest.approx(0.5, abs=0.05)
    np.testing.assert_allclose(change[:, 12:], change[:, :-12], atol=1e-3)


def test_seams_are_steps_across_range():
    arrays = scene(num=6)
    change = run({"name": "subswath_seams", "max_seams": 3}, arrays)[0] - arrays[0]
    np.testing.assert_allclose(change.std(axis=1), 0, atol=1e-4)
    steps = (np.abs(np.diff(change[:, 0, :, 0], axis=1)) > 1e-4).sum(1)
    assert (steps <= 3).all()
    assert steps.max() >= 1


def test_subswaths_cover_the_columns_from_edge_to_edge():
    swath, place = draw_subswaths(50, 200, 4, np.random.default_rng(0))
    assert swath.shape == place.shape == (50, 200)
    assert (np.diff(swath, axis=1) >= 0).all()
    assert swath.min() == 0
    assert swath.max() <= 4
    assert (place >= 0).all()
    assert (place <= 1).all()


def test_thermal_residue_adds_power_where_noise_is_left():
    image = np.full((4, 32, 64, 1), -28.0, np.float32)
    valid = np.ones((4, 32, 64), bool)
    step = {"name": "thermal_residue", "nesz_db": -28.0, "max_seams": 1}
    out = run({**step, "share": 0.5}, (image, {}, valid))[0]
    assert (out > image).all()
    less = run({**step, "share": -0.5}, (image, {}, valid))[0]
    assert (less < image).all()
    # At a sub-swath's middle half the noise power is left: 10 log10(1.5) dB.
    assert (out - image).min() == pytest.approx(10 * np.log10(1.5), abs=0.02)


def test_haze_pulls_towards_its_own_light():
    arrays = scene(level=0.2, std=0.05)
    image = run({"name": "haze", "veil": 0.5, "airlight": 0.6}, arrays)[0]
    assert image.mean() == pytest.approx(0.4, abs=0.02)
    assert (image <= np.maximum(arrays[0], 0.6) + 1e-5).all()
    same = run({"name": "haze", "veil": 0.0}, arrays)[0]
    np.testing.assert_allclose(same, arrays[0], atol=1e-6)


def test_clouds_cover_hide_and_shade():
    arrays = scene(num=4, size=96, level=0.3, std=0.01)
    step = {"name": "clouds", "cover": 0.2, "reflectance": 0.9}
    image, labels, valid = run(step, arrays)
    np.testing.assert_array_equal(valid, arrays[2])
    bright = image[..., 0] > 0.4
    assert 0.05 < bright.mean() < 0.22
    assert (image[..., 0] < 0.25).any()
    hidden = (labels["ice"] == 255) & (arrays[1]["ice"] != 255)
    assert 0 < hidden.mean() < 0.2
    assert (image[hidden] > 0.6).all()
    kept = labels["ice"] != 255
    np.testing.assert_array_equal(labels["ice"][kept], arrays[1]["ice"][kept])
    seen = run({**step, "void_opacity": 2.0}, arrays)[1]["ice"]
    np.testing.assert_array_equal(seen, arrays[1]["ice"])


def test_sun_angle_scales_with_the_cosine():
    arrays = scene(level=0.5)
    step = {"name": "sun_angle", "zenith_deg": 60.0, "change_deg": 15.0}
    image = run(step, arrays)[0]
    expected = np.cos(np.deg2rad(75)) / 0.5
    np.testing.assert_allclose(image, arrays[0] * expected, rtol=1e-4)


@pytest.mark.parametrize(
    ("step", "match"),
    [
        ({"name": "speckle", "enl": 0}, "enl"),
        ({"name": "speckle", "units": "volt"}, "units"),
        ({"name": "band_dropout", "max_bands": 0}, "max_bands"),
        ({"name": "band_dropout", "fill": "median"}, "fill"),
        ({"name": "sensor_dropout", "share": 2}, "share"),
        ({"name": "subswath_seams", "max_seams": 0}, "max_seams"),
        ({"name": "sun_angle", "change_deg": [0, 60]}, "change_deg"),
        ({"name": "elastic", "amplitude_px": 20}, "smooth_px"),
        ({"name": "clouds", "cover": 3}, "cover"),
        ({"name": "gamma", "gamma": 0}, "gamma"),
        ({"name": "incidence_slope", "angle_band": "angle"}, "angle"),
        ({"name": "crop", "size_px": [1, 2, 3]}, "size_px"),
        ({"name": "crop", "size_px": 8, "p": 0.5}, "`p`"),
    ],
)
def test_wrong_arguments_are_refused(step, match):
    with pytest.raises(ValueError, match=match):
        build_policy([step])


def test_every_step_is_documented():
    for name, make in AUGMENTATIONS.items():
        assert make.__doc__, name


@pytest.mark.parametrize(("patch_px", "share"), [(16, 0.6), (7, 0.25), (30, 0.9)])
def test_patches_cover_the_share_asked_for_and_labels_are_left_there_alone(
    patch_px, share
):
    image, labels, valid = scene(num=2)
    labels |= {"own": np.where(valid[..., None], image, np.nan).astype(np.float32)}
    step = {"name": "hide_patches", "patch_px": patch_px, "share": share}
    given = image.copy(), {n: label.copy() for n, label in labels.items()}, valid
    after, told, still = run(step, given)
    np.testing.assert_array_equal(still, valid)
    np.testing.assert_array_equal(told["ice"], labels["ice"])  # classes stay
    across = -(-48 // patch_px)
    wanted = min(round(share * across**2), across**2 - 1)
    first = slice(None, None, patch_px)
    for sample in range(2):
        changed = (after[sample] != image[sample]).any(-1)
        hidden = np.isfinite(told["own"][sample]).all(-1)
        np.testing.assert_array_equal(changed, hidden)
        assert not hidden[~valid[sample]].any()
        patches = [
            hidden[y : y + patch_px, x : x + patch_px]
            for y in range(48)[first]
            for x in range(48)[first]
        ]
        assert sum(patch.any() for patch in patches) == wanted
        mean = image[sample][valid[sample]].mean(0)
        assert np.abs(after[sample][hidden] - mean).max() < 1e-3


@pytest.mark.parametrize("share", [0.0, 1.0])
def test_an_image_is_never_hidden_as_a_whole(share):
    with pytest.raises(ValueError, match="above 0 and below 1"):
        run({"name": "hide_patches", "share": share}, scene())
    with pytest.raises(ValueError, match="at least two patches"):
        run({"name": "hide_patches", "patch_px": 48}, scene())
