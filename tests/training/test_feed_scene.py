import numpy as np
import pytest
import rasterio
import xarray as xr
from rasterio.transform import from_origin

from arcticdl import open_scene, tiles
from arcticdl.errors import SceneError
from arcticdl.grid import align, stack
from arcticdl.scene import scene_geobox
from arcticdl.training.scene_feed import SceneFeed
from arcticdl.training.supertiles import SuperTiles, plan_epoch

LAYOUT = SuperTiles((16, 16), (16, 16), (4, 4), passes=3, mix=2)


def plans(layout, shapes, epochs):
    return [plan_epoch(layout, shapes, np.random.default_rng(k)) for k in range(epochs)]


def coverage(plan, scene, shape, tile=(16, 16)):
    count = np.zeros(shape, int)
    inside = plan.window_scene[plan.tile_window] == scene
    for top, left in plan.tile_start[inside]:
        count[top : top + tile[0], left : left + tile[1]] += 1
    return count


@pytest.mark.parametrize("shape", [(128, 128), (100, 73), (16, 16), (17, 200)])
@pytest.mark.parametrize("block", [(16, 16), (8, 32), (1, 64)])
def test_super_tiles_cover_a_scene_exactly_once(shape, block):
    layout = SuperTiles.for_tiles((16, 16), block, 2, 4)
    for seed in range(5):
        count = np.zeros(shape, int)
        windows = layout.windows(shape, np.random.default_rng(seed))
        for rows, cols in windows:
            count[rows, cols] += 1
            assert rows.start % block[0] == 0 and cols.start % block[1] == 0
            assert rows.stop - rows.start >= 16 and cols.stop - cols.start >= 16
        assert (count == 1).all()


def test_a_pixel_is_used_at_most_as_often_as_there_are_passes():
    for plan in plans(LAYOUT, [(128, 128), (70, 90)], 20):
        assert coverage(plan, 0, (128, 128)).max() <= 3
        assert coverage(plan, 1, (70, 90)).max() <= 3
        for (top, left), owner in zip(plan.tile_start, plan.tile_window, strict=True):
            rows, cols = plan.windows[owner]
            assert rows.start <= top and top + 16 <= rows.stop
            assert cols.start <= left and left + 16 <= cols.stop


def test_pixels_are_used_equally_often():
    shape = (320, 320)
    count = sum(coverage(plan, 0, shape) for plan in plans(LAYOUT, [shape], 300))
    # Windows that touch an edge, flush with it or short, reach 128 px inwards at most.
    inner = count[128:-128, 128:-128]
    assert inner.std() / inner.mean() < 0.08
    for edge in (count[0], count[-1], count[:, 0], count[:, -1]):
        assert 0.6 < edge[128:-128].mean() / inner.mean() < 1.1
    assert count.min() > 0.5 * inner.mean() and count.max() < 2 * inner.mean()


def test_every_offset_is_drawn():
    starts = np.concatenate([p.tile_start for p in plans(LAYOUT, [(320, 320)], 60)])
    inner = starts[(starts[:, 0] > 128) & (starts[:, 0] < 176)]
    found = np.bincount(inner[:, 0] % 16, minlength=16)
    assert found.min() > 0.6 * found.mean() and found.max() < 1.5 * found.mean()


def test_groups_of_super_tiles_follow_each_other():
    plan = plans(LAYOUT, [(256, 256)], 1)[0]
    group = plan.tile_window // LAYOUT.mix
    assert (np.diff(group) >= 0).all()
    first = plan.tile_window[group == 0]
    assert set(first) == {0, 1} and (np.diff(first) < 0).any()


def test_hosts_read_different_super_tiles():
    parts = [
        plan_epoch(LAYOUT, [(192, 192)], np.random.default_rng(0), (host, 2))
        for host in range(2)
    ]
    windows = [{(r.start, c.start) for r, c in part.windows} for part in parts]
    assert not windows[0] & windows[1]
    assert len(windows[0] | windows[1]) == sum(len(w) for w in windows)


def write_raster(path, image, **profile):
    profile = {
        "driver": "GTiff",
        "count": len(image),
        "height": image.shape[1],
        "width": image.shape[2],
        "dtype": image.dtype,
        "crs": "EPSG:3413",
        "transform": from_origin(0, 0, 100, 100),
        "tiled": True,
        "blockxsize": 32,
        "blockysize": 32,
        "compress": "deflate",
    } | profile
    with rasterio.open(path, "w", **profile) as target:
        target.write(image)
    return path


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """Two rasters whose second band is the pixel's number, and labels to match."""
    folder = tmp_path_factory.mktemp("scenes")
    images, labels = [], []
    for number in range(2):
        rng = np.random.default_rng(number)
        position = np.arange(160 * 128).reshape(160, 128)
        image = np.stack([rng.normal(number, 1, (160, 128)), position])
        images.append(write_raster(folder / f"{number}.tif", image.astype("float32")))
        ice = (position % 3).astype("uint8")[None]
        labels.append(write_raster(folder / f"ice_{number}.tif", ice))
    return images, {"ice": [(path, ("a", "b", "c")) for path in labels]}


def make_feed(files, **arguments):
    images, labels = files
    settings = {"tile_size_px": 16, "labels": labels, "normalizer": "none"}
    return SceneFeed(images, **(settings | arguments))


def test_tiles_are_windows_of_their_scene(files):
    feed = make_feed(files, batch_size=6)
    assert feed.layout.block_px == (32, 32) and feed.layout.blocks == (2, 2)
    for number in range(3):
        image, label = feed[number]
        assert image.shape == (6, 16, 16, 2) and image.dtype == "float32"
        position = image[..., 1].astype(int)
        assert (np.diff(position, axis=2) == 1).all()
        assert (np.diff(position, axis=1) == 128).all()
        assert np.array_equal(label, position % 3)


def test_each_super_tile_is_read_once_an_epoch(files):
    feed = make_feed(files, batch_size=4, mix=2)
    batches = [feed[number] for number in range(len(feed))]
    assert len(batches) == feed.count_batches()
    assert feed._cache.num_reads <= len(feed.plan(0).windows)


def test_a_batch_depends_on_its_number_alone(files):
    one, two = (make_feed(files, augment="flips", prefetch=p) for p in (0, 3))
    order = [3, 0, 1, 2]
    other = {number: two[number] for number in order}
    for number in range(4):
        assert all(
            np.array_equal(a, b)
            for a, b in zip(one[number], other[number], strict=True)
        )
    two.next_epoch()
    assert not np.array_equal(one[0][0], two[0][0])
    one.seek(1)
    assert np.array_equal(one[0][0], two[0][0])


def test_statistics_come_from_the_scenes(files):
    feed = make_feed(files, normalizer="zscore")
    assert feed.normalizer.offset_[1] == pytest.approx(160 * 128 / 2, rel=0.05)
    image = np.concatenate([feed[k][0] for k in range(len(feed))])
    assert image.mean((0, 1, 2)) == pytest.approx([0, 0], abs=0.1)
    per_image = make_feed(files, normalizer="per_image")
    assert np.isfinite(per_image[0][0]).all()
    assert per_image.card["normalizer"]["method"] == "per_image"


def test_scenes_in_memory_feed_as_well(files):
    rng = np.random.default_rng(0)
    scene = xr.Dataset(
        {
            "image": (("band", "y", "x"), rng.normal(size=(1, 64, 64))),
            "sic": (("y", "x"), rng.random((64, 64))),
        },
        coords={"band": ["HH"]},
        attrs={"scene_id": "one"},
    )
    scene["image"][0, 5, 5] = np.nan
    feed = SceneFeed([scene.chunk(y=8, x=16)], tile_size_px=16, batch_size=4)
    assert feed.layout.block_px == (8, 16)
    image, sic = feed[0]
    assert image.dtype == sic.dtype == "float32" and np.isfinite(image).all()
    assert feed.num_classes == 1


def test_scenes_are_warped_where_asked(files):
    from arcticdl.sources import open_scene

    half = open_scene(files[0][0]).odc.geobox.zoom_out(2)
    images, labels = files
    feed = SceneFeed(
        images, tile_size_px=16, labels=labels, geobox=half, normalizer="none"
    )
    image, label = feed[0]
    position = image[..., 1]
    assert np.allclose(np.diff(position, axis=2), 2)
    assert label.dtype == "uint8" and label.shape == (8, 16, 16)


def test_bad_scene_feeds_are_refused(files):
    labels = files[1]
    for change, error, message in [
        ({"passes": 5}, ValueError, "`passes`"),
        ({"mix": 0}, ValueError, "`mix`"),
        ({"tile_size_px": 500}, ValueError, "160 x 128 px"),
        ({"shard": (3, 2)}, ValueError, "`shard`"),
        ({"labels": {"ice": labels["ice"][:1]}}, ValueError, "one file for each"),
        ({"labels": {"ice": [p for p, _ in labels["ice"]]}}, ValueError, "name their"),
        ({"normalizer": "standard"}, ValueError, "zscore"),
        ({"normalizer": tiles.Normalizer("none", ["a"])}, ValueError, "this order"),
    ]:
        with pytest.raises(error, match=message):
            make_feed(files, **change)
    with pytest.raises(SceneError, match="at least one"):
        SceneFeed([])


def write_cog(path, seed, count=2):
    """A cloud-optimised GeoTIFF whose pixels compress badly, of 16 x 16 blocks."""
    image = np.random.default_rng(seed).normal(size=(count, 512, 512)).astype("float32")
    profile = {"count": count, "height": 512, "width": 512, "dtype": "float32"}
    place = {"crs": "EPSG:3413", "transform": from_origin(0, 0, 100, 100)}
    with rasterio.open(path, "w", driver="COG", blocksize=128, **profile, **place) as f:
        f.write(image)
    return path


def test_windows_of_the_web_are_those_of_the_file_and_only_they(
    object_server, tmp_path
):
    far, near = [], []
    for number in range(2):
        near.append(write_cog(tmp_path / f"far_{number}.tif", number))
        far.append(f"http://{object_server.url}/far_{number}.tif")
    settings = {"tile_size_px": 32, "batch_size": 8, "normalizer": "none", "mix": 3}
    settings |= {"labels": [], "prefetch": 0}
    ours, theirs = (SceneFeed(scenes, **settings) for scenes in (far, near))
    opened, whole = object_server.num_bytes, sum(p.stat().st_size for p in near)
    # Headers alone so far, and some names of what might lie beside a file.
    assert opened < 0.05 * whole and object_server.num_requests < 30
    assert ours.layout == theirs.layout and ours.layout.block_px == (128, 128)
    assert np.array_equal(ours[0][0], theirs[0][0])
    # Of two groups of three of its 32 super-tiles the pixels, and little else; threads
    # that open a file at once may ask for the same bytes.
    window = 128 * 128 * 2 * 4
    assert window <= object_server.num_bytes - opened <= 9 * window < whole / 4
    assert threads(ours) == 6 and threads(theirs) == 2
    assert threads(SceneFeed(far, num_workers=5, **settings)) == 5


def test_what_is_made_of_scenes_of_the_web_is_read_as_they_are(files):
    far = {"source": "/vsis3/ice/a.tif", "preferred_chunks": {"y": 32, "x": 32}}
    scene = open_scene(files[0][0])
    scene["image"].encoding = far
    other = scene.assign_coords(band=[f"other_{k}" for k in range(scene.sizes["band"])])
    settings = {"tile_size_px": 16, "labels": [], "normalizer": "none", "mix": 3}
    stacked = SceneFeed([stack([scene, other])], **settings)
    assert (threads(stacked), stacked.layout.block_px) == (6, (32, 32))
    turned = align(scene, scene_geobox(scene).pad(-8))
    warped = SceneFeed([turned], **settings)
    assert (threads(warped), warped.layout.block_px) == (6, (16, 16))


def threads(feed):
    return feed._cache._pool._max_workers


@pytest.mark.parametrize(("tile", "block"), [(32, 128), (16, 128), (15, 15)])
def test_blocks_larger_than_super_tiles_are_read_whole_while_memory_bears_it(
    tile, block, tmp_path
):
    path = write_cog(tmp_path / "blocks.tif", 0)
    feed = SceneFeed([path], tile_size_px=tile, labels=[], normalizer="none")
    assert feed.layout.block_px == (block, block)


def test_rows_of_a_striped_file_are_no_super_tiles(tmp_path):
    image = np.zeros((1, 64, 4096), "float32")
    path = write_raster(tmp_path / "rows.tif", image, tiled=False, blockysize=4)
    feed = SceneFeed([path], tile_size_px=16, labels=[], normalizer="none")
    assert feed.layout.block_px == (16, 16)
