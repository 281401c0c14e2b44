"""Boxes in a store: cut at the edges of tiles, counted, appended, read in any way."""

import numpy as np
import pytest

from arcticdl import boxes as bx
from arcticdl import tiles
from arcticdl.errors import LabelError
from arcticdl.scene import box_label, check_scene, class_attributes

SEALS = class_attributes(["seal", "pup"], ["#aa0000", "#00aa00"])


def with_boxes(scene, boxes, **options):
    """The scene of the other tests, with a label of boxes alone."""
    label = box_label("seals", boxes, SEALS, **options)
    return scene.drop_vars(["ice", "sic"]).assign(seals=label)


def random_boxes(seed, count=12, size=(40, 30)):
    rng = np.random.default_rng(seed)
    made = np.zeros((count, 6))
    made[:, 0], made[:, 1] = rng.uniform(0, size[1], count), rng.uniform(0, 40, count)
    made[:, 2:4] = rng.uniform(2, 9, (count, 2))
    made[:, 4] = rng.uniform(-1.5, 1.5, count)
    made[:, 5] = rng.integers(0, 2, count)
    return bx.order_sides(made)


@pytest.fixture(scope="module")
def scenes(make_scene):
    return [with_boxes(make_scene(k), random_boxes(k), oriented=True) for k in range(3)]


@pytest.fixture(scope="module")
def store(scenes, tmp_path_factory):
    path = tmp_path_factory.mktemp("boxes") / "seals.tiles"
    return tiles.prepare(scenes, path, tile_size_px=10, progress=False)


def test_a_scene_may_hold_boxes(make_scene):
    scene = check_scene(with_boxes(make_scene(0), random_boxes(0), oriented=True))
    assert scene["seals"].dims == ("seals_object", "box")
    none = check_scene(with_boxes(make_scene(0), np.zeros((0, 6))))
    assert none["seals"].shape == (0, 6)


@pytest.mark.parametrize(
    ("row", "says"),
    [
        ([5, 5, 0, 2, 0, 0], "sides above 0"),
        ([5, 5, 2, 2, 0, 2], "whole classes of 0 to 1"),
        ([5, 5, 2, 2, 0.5, 0], "must hold horizontal boxes"),
    ],
)
def test_a_label_of_no_boxes_is_refused(make_scene, row, says):
    with pytest.raises(LabelError, match=says):
        with_boxes(make_scene(0), [row])


def test_a_tile_holds_the_boxes_that_touch_it(store, scenes):
    info = store.labels["seals"]
    assert (info.target, info.oriented, info.min_share) == ("object", True, 0.25)
    assert info.classes == ("seal", "pup")
    read = store.read(range(len(store)))["seals"]
    assert read.shape == (len(store), info.max_boxes, 6)
    bx.check_boxes(read, 2)
    assert bx.is_box(read).sum(1).max() == info.max_boxes
    for tile, row in enumerate(store.manifest.itertuples()):
        boxes = scenes[tile // 12]["seals"].values
        own = bx.cut_boxes(boxes, (row.row, row.col), (10, 10), oriented=True)[0]
        np.testing.assert_array_equal(read[tile][bx.is_box(read[tile])], own)


def test_a_store_keeps_the_boxes_of_whole_scenes(store, scenes):
    for scene in scenes:
        name = scene.attrs["scene_id"]
        held = store.scene_boxes("seals", name, cut=False)
        np.testing.assert_array_equal(held, scene["seals"].values)
        cut = bx.clip_boxes(held, (40, 30), oriented=True)[0]
        np.testing.assert_array_equal(store.scene_boxes("seals", name), cut)
    with pytest.raises(ValueError, match="`label` must be one of"):
        store.scene_boxes("ice", "scene_0")


def test_counts_of_a_tile_are_of_objects_that_are_not_ignored(store):
    read = store.read(range(len(store)), ["seals"])["seals"]
    counts = store.class_counts("seals")
    for code, name in enumerate(("seal", "pup")):
        expected = (read[..., 5] == code).sum(1)
        np.testing.assert_array_equal(counts[:, code], expected)
        np.testing.assert_array_equal(store.manifest[f"seals:{name}"], expected)
    np.testing.assert_array_equal(store.scored_counts("seals"), counts.sum(1))
    assert (read[..., 5] == bx.IGNORE).any()


def test_a_store_of_boxes_is_sound_and_opens_as_xarray(store):
    report = tiles.check_store(store.path)
    assert report.ok
    data = store.to_xarray()
    assert data["seals"].dims == ("tile", "seals_object", "box")
    np.testing.assert_array_equal(data["seals"][0], store.read([0])["seals"][0])


def test_a_store_without_pixels_cuts_the_same_boxes(store, scenes, tmp_path):
    path = tmp_path / "index.tiles"
    tiles.prepare(scenes, path, tile_size_px=10, progress=False, keep_pixels=False)
    again = tiles.SceneStore(path, scenes)
    assert again.fingerprint == store.fingerprint
    every = range(len(store))
    np.testing.assert_array_equal(
        again.read(every)["seals"], store.read(every)["seals"]
    )


def test_a_store_grows_by_scenes_that_fit(scenes, make_scene, tmp_path):
    path = tmp_path / "grown.tiles"
    tiles.prepare(scenes[:2], path, tile_size_px=10, progress=False)
    few = with_boxes(make_scene(7), random_boxes(7, 2), oriented=True)
    grown = tiles.append(path, [few], progress=False)
    assert len(grown) == 36
    crowd = with_boxes(make_scene(8), random_boxes(8, 300), oriented=True)
    with pytest.raises(LabelError, match="`max_boxes` of label 'seals'"):
        tiles.append(path, [crowd], progress=False)


def test_a_cap_that_is_too_small_is_refused_and_one_that_fits_is_kept(
    make_scene, tmp_path
):
    def prepare(cap):
        scene = with_boxes(make_scene(0), random_boxes(0), oriented=True, max_boxes=cap)
        return tiles.prepare(
            [scene], tmp_path / f"{cap}.tiles", tile_size_px=10, progress=False
        )

    with pytest.raises(LabelError, match="max_boxes=1, and"):
        prepare(1)
    assert not (tmp_path / "1.tiles").exists()
    assert prepare(30).read([0])["seals"].shape == (1, 30, 6)


def test_tiles_without_boxes_are_kept_and_a_store_without_any_is_refused(
    make_scene, tmp_path
):
    scene = with_boxes(make_scene(0), [[5, 5, 4, 4, 0, 0]])
    store = tiles.prepare(
        [scene], tmp_path / "a.tiles", tile_size_px=10, progress=False,
        min_label_fraction=0.5,
    )  # fmt: skip
    assert len(store) == 12
    assert store.class_counts("seals").sum() == 1
    empty = with_boxes(make_scene(0), np.zeros((0, 6)))
    with pytest.raises(LabelError, match="has no scored object at all"):
        tiles.prepare([empty], tmp_path / "b.tiles", tile_size_px=10, progress=False)
    kept = tiles.prepare(
        [empty], tmp_path / "c.tiles", tile_size_px=10, progress=False,
        quality={"no_label": "keep"},
    )  # fmt: skip
    assert kept.read([0])["seals"].shape == (1, 1, 6)


def test_boxes_at_a_padded_edge_end_with_the_scene(make_scene, tmp_path):
    scene = with_boxes(make_scene(0), [[29, 38, 6, 6, 0, 0]])
    store = tiles.prepare(
        [scene], tmp_path / "pad.tiles", tile_size_px=16, edge="pad", progress=False
    )
    held = store.read(range(len(store)))["seals"]
    np.testing.assert_allclose(held[-1, 0], [12, 5.5, 4, 5, 0, 0])


def test_boxes_stay_in_their_image_when_a_scene_is_brought_to_a_grid(make_scene):
    from arcticdl.grid import align

    scene = with_boxes(make_scene(0, crs="EPSG:3413"), [[5, 5, 4, 4, 0, 0]])
    with pytest.raises(LabelError, match="not carried to another grid"):
        align(scene, resolution_m=200.0)


def test_a_series_reads_boxes_and_a_missing_date_has_none(make_scene, tmp_path):
    from arcticdl.series import Steps

    dates = [
        with_boxes(make_scene(k, group="site"), [[5, 5, 4, 4, 0, k % 2]])
        for k in range(3)
    ]
    store = tiles.prepare(dates, tmp_path / "s.tiles", tile_size_px=10, progress=False)
    series = tiles.SeriesStore(store, Steps(2, answers=(0, 1)), by="group")
    read = series.read([0, 24])
    assert read["seals"].shape == (2, 1, 6)
    assert read["seals_t1"][0, 0, 5] == 1
    assert (read["seals_t1"][1] == bx.PADDING).all()


def test_quality_tells_of_odd_boxes_and_shows_some(make_scene, tmp_path):
    boxes = [
        [8, 8, 6, 6, 0, 0], [8.1, 8, 6, 6, 0, 0], [20, 20, 3, 9, 0, 1],
        [29, 20, 8, 8, 0, 0], [10, 30, 8, 8, 0, bx.IGNORE],
    ]  # fmt: skip
    path = tmp_path / "odd.tiles"
    store = tiles.prepare(
        [with_boxes(make_scene(0), boxes)], path, tile_size_px=10, progress=False
    )
    report = tiles.assess(store)
    found = {f.check: f.message for f in report.findings}
    assert found["box_twice"].startswith("1 of 5 boxes")
    assert found["tiny_box"].startswith("1 of 5 boxes")
    assert found["cut_box"].startswith("1 of 5 boxes")
    assert found["ignored_box"].startswith("1 of 5 boxes")
    assert (
        found["no_object"].startswith("5 of 12 tiles")
        or "tiles" in (found["no_object"])
    )
    page = (path / "quality.html").read_text()
    assert "Tiles with boxes of" in page and "data:image/png;base64," in page


def test_tiles_with_objects_are_drawn_in_the_share_that_is_asked_for(store):
    held = store.scored_counts("seals") > 0
    index = np.concatenate([np.flatnonzero(held)[:4], np.flatnonzero(~held)])
    assert (~held).sum() > 0
    sampler = tiles.SAMPLERS["objects"](store, index, "seals", share=0.8, size=100)
    drawn = index[sampler(np.random.default_rng(0), 0)]
    assert held[drawn].mean() == pytest.approx(0.8, abs=0.02)
    with pytest.raises(ValueError, match="`share` must be in"):
        tiles.SAMPLERS["objects"](store, index, "seals", share=0)
    with pytest.raises(ValueError, match="tiles without one"):
        tiles.SAMPLERS["objects"](store, np.flatnonzero(~held), "seals")
    with pytest.raises(ValueError, match="must be an integer label"):
        tiles.SAMPLERS["class_balance"](store, index, "seals")
