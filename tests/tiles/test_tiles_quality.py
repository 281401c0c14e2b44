import json
import re

import numpy as np
import pytest

from arcticdl import tiles
from arcticdl.errors import SceneError
from arcticdl.scene.stats import scene_band_stats
from arcticdl.tiles import Fold
from arcticdl.tiles.quality.measure import perceptual_hash
from arcticdl.tiles.quality.page import write_page
from arcticdl.tiles.quality.twins import near_duplicates


def prepare(scenes, path, **arguments):
    return tiles.prepare(scenes, path, tile_size_px=10, progress=False, **arguments)


def found(report):
    return {finding.check: finding for finding in report.findings}


def test_a_clean_store_has_only_notes(plain_store):
    report = tiles.assess(plain_store)
    assert all(finding.severity == "note" for finding in report.findings)


def test_defects_are_found_where_they_are(tmp_path, make_scene):
    scene = make_scene(0)
    image = scene["image"].values
    image[0, 10:20, 0:10] = 50
    image[:, 10:20, 10:20] = image[:, 20:30, 20:30]
    image[:, 30:36, 0:10] = np.inf
    image[1, 30:40, 20:30] *= 1e4
    scene["valid"][10:20, 20:30] = False
    checks = found(tiles.assess(prepare([scene], tmp_path / "a.tiles")))
    assert checks["constant"].tiles == (3,)
    assert checks["duplicate"].tiles == (8,)
    assert checks["nonfinite"].tiles == (9,)
    assert checks["outlier"].tiles == (11,)
    assert checks["nodata"].tiles == (5,)
    assert checks["label_on_nodata"].tiles == (5,)
    assert checks["constant"].scenes == ("scene_0",)


def test_pixels_of_two_sizes_are_told(tmp_path, make_scene):
    """A store of 40 m and 80 m was prepared and checked without a word."""
    place = {"size": (20, 20), "crs": "EPSG:3413"}
    scenes = [make_scene(k, origin=(k * 1e5, 0.0), **place) for k in range(3)]
    alike = tiles.check_store(prepare(scenes, tmp_path / "a.tiles").path)
    assert "resolution" not in found(alike)
    step = float(scenes[1]["x"][1] - scenes[1]["x"][0])
    for axis in "xy":
        scenes[1][axis] = scenes[1][axis] * 2
    told = found(tiles.check_store(prepare(scenes, tmp_path / "b.tiles").path))
    assert f"{step:g} m in scene_" in told["resolution"].message
    assert f"{2 * step:g} m in scene_1" in told["resolution"].message


def test_scenes_that_do_not_fit_are_told_the_way_out(tmp_path, make_scene):
    one, other = make_scene(0), make_scene(1)
    with pytest.raises(SceneError, match=r"equal bands.*`data\.use_bands`"):
        prepare([one, other.isel(band=[1, 0])], tmp_path / "a.tiles")
    other["image"] = other["image"].astype("float64")
    with pytest.raises(SceneError, match=r"equal image dtype.*as one type"):
        prepare([one, other], tmp_path / "a.tiles")


def test_the_band_of_the_gaps_is_no_faulty_one(tmp_path, make_scene):
    """It is 0 wherever the others were measured, which made every tile suspicious."""
    from arcticdl.derived import mark_gaps

    scene = make_scene(0)
    rng = np.random.default_rng(0)
    noise = rng.normal(size=scene["image"].shape).astype("float32")
    scene["image"] = scene["image"].copy(data=noise)
    scene["valid"][12:18, 12:28] = False
    marked = mark_gaps(scene, [str(band) for band in scene["band"].values])
    store = prepare([marked], tmp_path / "a.tiles")
    assert store.manifest["constant_bands"].eq(0).all()
    assert store.manifest["saturated_fraction"].eq(0).all()
    assert not {"constant", "saturated"} & set(found(tiles.assess(store)))


def test_blank_tiles_of_a_series_with_gaps_are_no_copies_of_each_other(
    tmp_path, make_scene
):
    from arcticdl.derived import mark_gaps
    from arcticdl.series import Steps

    scenes = []
    for place in range(4):
        for day in (1, 2):
            scene = make_scene(
                10 * place + day,
                size=(16, 32),
                crs=3413,
                origin=(place * 1e5, 0.0),
                scene_id=f"{place}{day}",
                group=str(place),
                time=f"2021-03-0{day}T12:00:00Z",
            )
            image = np.random.default_rng(10 * place + day).normal(
                size=scene["image"].shape
            )
            image[:, :, :16] = 0  # such as land
            scene["image"] = scene["image"].copy(data=image.astype("float32"))
            scenes.append(mark_gaps(scene, [str(b) for b in scene["band"].values]))
    store = tiles.prepare(scenes, tmp_path / "a.tiles", tile_size_px=16, progress=False)
    series = tiles.SeriesStore(store, Steps(history=2))
    group = series.manifest["group"].to_numpy()
    fold = Fold(np.flatnonzero(group != "2"), np.flatnonzero(group == "2"))
    assert tiles.audit_folds(series, [fold]).folds[0].num_duplicates == 0


def test_saturation_is_found(tmp_path, make_scene):
    scene = make_scene(0)
    scene["image"] = scene["image"].clip(max=112)
    store = prepare([scene], tmp_path / "a.tiles")
    assert "saturated" in found(tiles.assess(store))


@pytest.mark.parametrize("check", ["constant", "duplicate", "nonfinite", "outlier"])
def test_findings_can_be_dropped(tmp_path, make_scene, check):
    scene = make_scene(0)
    image = scene["image"].values
    image[0, 10:20, 0:10] = 50
    image[:, 10:20, 10:20] = image[:, 20:30, 20:30]
    image[:, 30:36, 0:10] = np.inf
    image[1, 30:40, 20:30] *= 1e4
    store = prepare([scene], tmp_path / "a.tiles", quality={check: "drop"})
    assert len(store) == 11
    handled = found(tiles.assess(store))[check]
    assert handled.action == "dropped" and "1 tiles" in handled.message


def test_labels_on_nodata_can_be_made_void(tmp_path, make_scene):
    scene = make_scene(0)
    scene["valid"][12, 3] = False
    actions = {"label_on_nodata": "fix"}
    store = prepare([scene], tmp_path / "a.tiles", quality=actions)
    pixels = store.read([3])
    assert pixels["ice"][0, 2, 3] == 255 and np.isnan(pixels["sic"][0, 2, 3])
    assert store.class_counts("ice")[3].sum() == 99
    handled = [f for f in tiles.assess(store).findings if f.action == "fixed"]
    assert "2 label pixels" in handled[0].message


def test_unknown_checks_and_actions_are_refused(tmp_path, make_scene):
    for quality, message in [({"blur": "drop"}, "blur"), ({"outlier": "fix"}, "fix")]:
        with pytest.raises(ValueError, match=message):
            prepare([make_scene(0)], tmp_path / "a", quality=quality)


def test_wrong_units_and_scales_are_found(tmp_path, make_scene):
    scenes = [make_scene(k) for k in range(3)]
    scenes[1]["image"] = (scenes[1]["image"] * 1000).assign_attrs(units="dB")
    checks = found(tiles.assess(prepare(scenes, tmp_path / "a.tiles")))
    assert checks["scale"].scenes == ("scene_1",)
    assert checks["units"].scenes == ("scene_1",)


def test_labels_with_nothing_to_learn_are_found(tmp_path, make_scene):
    scene = make_scene(0)
    scene["ice"][:] = 1
    scene["sic"][:] = np.nan
    told = {"one_class": "keep", "no_label": "keep"}
    store = prepare([scene], tmp_path / "a.tiles", quality=told)
    checks = found(tiles.assess(store))
    assert checks["one_class"].severity == "warning"
    assert checks["no_label"].severity == "warning"
    del store.about["plan"]["selection"]["quality"]["one_class"]
    assert found(tiles.assess(store))["one_class"].severity == "error"
    assert "thick_ice" in checks["absent_class"].message


def test_the_class_histogram_counts_pixels(plain_store):
    table = tiles.assess(plain_store).classes["ice"]
    labels = plain_store.read(np.arange(72))["ice"]
    assert table["region"]["Fram Strait"]["water"] == int((labels == 0).sum())
    assert len(table["scene_id"]) == 6 and list(table["season"]) == ["winter"]


def smooth_image(seed, size=90):
    rng = np.random.default_rng(seed)
    waves = rng.normal(size=(6, 4))
    y, x = np.mgrid[:size, :size] / size * 6
    parts = [a * np.sin(b * x + c * y + 3 * d) for a, b, c, d in waves]
    return np.sum(parts, 0)[..., None].astype("float32")


def test_hashes_tell_near_copies_from_other_images(make_scene):
    images = [smooth_image(seed) for seed in range(12)]
    rng = np.random.default_rng(0)
    copies = [image * 1.02 + rng.normal(0, 0.05, image.shape) for image in images]
    noise = [rng.normal(size=(90, 90, 1)) for _ in range(3)]
    flat = [np.zeros((90, 90, 1))] * 2
    every = images + copies + noise + flat
    usable = np.ones((90, 90), bool)
    hashes = []
    for image in every:
        scene = make_scene(0, size=(90, 90), bands=["a"])
        scene["image"] = (("y", "x", "band"), image)
        hashes.append(perceptual_hash(image, usable, scene_band_stats(scene)))
    index = np.arange(len(every))
    pairs = near_duplicates(hashes, index, index)
    pairs = {(a, b) for a, b in pairs.tolist() if a < b}
    assert pairs == {(k, k + 12) for k in range(12)}


def test_a_tile_too_small_to_hash_is_not_compared(make_scene):
    stats = scene_band_stats(make_scene(0))
    assert perceptual_hash(np.ones((5, 5, 2)), np.ones((5, 5), bool), stats) == "0" * 32


def test_the_audit_finds_every_kind_of_leak(tmp_path, make_scene):
    scenes = [make_scene(k, crs="EPSG:3413") for k in range(3)]
    scenes[1]["image"].values[:] = scenes[0]["image"].values
    store = prepare(scenes, tmp_path / "a.tiles")
    index = np.arange(36)
    clean = tiles.audit_folds(store, [Fold(index[24:], index[:12])])
    assert clean.folds[0].gap_days == 2 and clean.folds[0].num_revisits
    report = tiles.audit_folds(store, [Fold(index[11:], index[:12])])
    checks = {f.check: f.severity for f in report.findings}
    assert checks["shared_tiles"] == checks["duplicates"] == "error"
    assert checks["shared_scenes"] == checks["revisits"] == "warning"
    assert not report.ok
    json.dumps(report.to_dict(), allow_nan=False)


def test_overlaps_within_a_day_are_leaks(tmp_path, make_scene):
    times = ["2021-03-01T00:00Z", "2021-03-01T09:00Z"]
    scenes = [make_scene(k, crs="EPSG:3413", time=times[k]) for k in range(2)]
    store = prepare(scenes, tmp_path / "a.tiles")
    report = tiles.audit_folds(store, tiles.group_kfold(store, 2))
    assert not report.ok and report.folds[0].num_overlaps >= 12
    assert "overlap" in found(tiles.assess(store))


def test_the_correlation_range_is_the_variograms(tmp_path, make_scene):
    white = make_scene(0, size=(120, 120), crs="EPSG:3413")
    rng = np.random.default_rng(0)
    coarse = rng.normal(size=(2, 12, 12)).repeat(10, 1).repeat(10, 2)
    blocks = make_scene(1, size=(120, 120), crs="EPSG:3413")
    blocks["image"].values[:] = coarse
    ranges = []
    for scene in (white, blocks):
        path = tmp_path / scene.attrs["scene_id"]
        store = tiles.prepare([scene], path, tile_size_px=60, progress=False)
        ranges.append(tiles.correlation_ranges(store)["HH"])
    assert ranges[0] == (100.0, True)
    # Blocks of 10 px of 100 m: what lies one block away is unrelated.
    assert ranges[1][1] and 700 <= ranges[1][0] <= 1300


def test_the_check_writes_a_page(tmp_path, map_store):
    folds = tiles.group_kfold(map_store, 2)
    report = tiles.check_store(map_store.path, folds)
    assert report.ok and report.summary["leakage"] in ("ok", "warning")
    report.write_html(tmp_path / "new" / "check.html")
    page = (tmp_path / "new" / "check.html").read_text("utf-8")
    assert "data:image/png" in page and "thin ice" in page
    json.dumps(report.to_dict(), allow_nan=False)
    assert str(report.findings[0]).count(":") >= 3


def test_the_page_tells_shares_totals_and_thousands(tmp_path):
    classes = {"ice": {"scene_id": {"a": {"sea": 3000, "old_ice": 1000},
                                    "b": {"sea": 0, "old_ice": 0}}}}  # fmt: skip
    write_page(tmp_path / "page.html", "Check", [], classes=classes)
    text = (tmp_path / "page.html").read_text("utf-8")
    words = " ".join(re.sub("<[^>]*>", " ", text).split())
    assert "a 3,000 75.0 % 1,000 25.0 % 4,000" in words
    assert "b 0 – 0 – 0" in words and "all 3,000 75.0 % 1,000 25.0 % 4,000" in words


def test_the_check_fails_when_folds_leak(map_store):
    index = np.arange(len(map_store))
    report = tiles.check_store(map_store.path, [Fold(index, index[:3])])
    assert not report.ok and report.summary["leakage"] == "error"


def test_the_card_is_croissant(tmp_path, make_scene):
    path = tmp_path / "ice.tiles"
    store = prepare([make_scene(k, crs="EPSG:3413") for k in range(2)], path)
    tiles.write_card(store, license="CC-BY-4.0", citation="Somebody 2021")
    tiles.write_folds(store, tiles.group_kfold(store, 2))
    card = json.loads((path / "card.json").read_text("utf-8"))
    assert card["conformsTo"][1] == "http://mlcommons.org/croissant/geo/1.0"
    assert card["name"] == "ice" and card["license"] == "CC-BY-4.0"
    assert card["geocr:coordinateReferenceSystem"] == "EPSG:3413"
    assert card["geocr:spatialResolution"]["value"] == 100
    assert card["temporalCoverage"].startswith("2021-03-01T12:00:00Z/2021-03-02")
    sets = {records["name"]: records for records in card["recordSet"]}
    assert "fold" in {field["name"] for field in sets["tiles"]["field"]}
    assert sets["pixels"]["field"][0]["arrayShape"] == "10,10,2"
    assert sets["classes of ice"]["data"][1]["classes/ice/meaning"] == "thin_ice"
    checks = {f.check for f in tiles.check_store(path).findings}
    assert "license" not in checks and "citeAs" not in checks
