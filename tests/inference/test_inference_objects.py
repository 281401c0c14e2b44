"""Objects of whole scenes: each found once, in its place, with its true size."""

import numpy as np
import pytest
import xarray as xr
from affine import Affine
from odc.geo.geobox import GeoBox
from scipy import ndimage

from arcticdl.errors import TaskError
from arcticdl.inference.objects.finder import Finder, find_objects
from arcticdl.inference.objects.merge import Found, Seen, merge_windows
from arcticdl.inference.objects.summary import (
    corrected_count,
    density_map,
    describe_objects,
    poisson_interval,
    seen_area,
)
from arcticdl.inference.objects.vectors import objects_frame
from arcticdl.models import build_detector, build_segmenter
from arcticdl.scene.grid import grid_coords
from arcticdl.tasks import read_head
from arcticdl.tiles import Normalizer

NORMALIZER = {"method": "none", "bands": ["b"], "offset": [0.0], "scale": [1.0]}


class Blobs(Finder):
    """Finds bright rectangles exactly, in place of a trained network."""

    def __init__(self, window, overlap_px, max_overlap=0.5):
        self.head = read_head("x", {"task": "detection", "classes": ["floe"]})
        self.window, self.overlap_px = window, overlap_px
        self.batch_size, self.max_overlap, self.card = 2, max_overlap, None

    def prepare(self, scene, image_stats=None):
        return scene, None

    def answer(self, image, valid, stats):
        found = np.zeros((len(image), 60, 7), "float32")
        found[..., 6] = -1
        for window, (pixels, shown) in enumerate(zip(image, valid, strict=True)):
            marked, _ = ndimage.label((pixels[..., 0] > 0) & shown)
            for number, (rows, cols) in enumerate(ndimage.find_objects(marked)):
                size = cols.stop - cols.start, rows.stop - rows.start
                centre = (cols.start + cols.stop) / 2, (rows.start + rows.stop) / 2
                # A cut object is answered with a little less certainty.
                score = 0.5 + 0.4 * size[0] * size[1] / 400
                found[window, number] = *centre, *size, 0, score, 0
        return found


def scene_of(boxes, shape=(200, 260), crs=None, valid=None):
    image = np.zeros((1, *shape), "float32")
    for x, y, width, height in boxes:
        image[0, y : y + height, x : x + width] = 1
    place = Affine(40, 0, 500_000, 0, -40, 800_000)
    grid = GeoBox(shape, place, crs) if crs else None
    coords = grid_coords(grid) if grid is not None else {}
    plain = {"y": np.arange(shape[0]) + 0.5, "x": np.arange(shape[1]) + 0.5}
    data = {"image": (("band", "y", "x"), image)}
    if valid is not None:
        data["valid"] = (("y", "x"), valid)
    attrs = {"scene_id": "s", "time": "", "sensor": "", "georeferenced": bool(crs)}
    return xr.Dataset(data, {"band": ["b"], **(coords or plain)}, attrs)


def rectangles(count=24, seed=0, shape=(200, 260)):
    """Rectangles that do not touch, of 5 to 20 px."""
    rng = np.random.default_rng(seed)
    taken, found = np.zeros(shape, bool), []
    while len(found) < count:
        width, height = rng.integers(5, 20, 2)
        x, y = rng.integers(1, shape[1] - width), rng.integers(1, shape[0] - height)
        if not taken[y - 1 : y + height + 1, x - 1 : x + width + 1].any():
            taken[y : y + height, x : x + width] = True
            found.append((int(x), int(y), int(width), int(height)))
    return found


def as_boxes(rectangles):
    return sorted((x + w / 2, y + h / 2, w, h) for x, y, w, h in rectangles)


@pytest.mark.parametrize(
    ("window", "overlap"),
    [((400, 400), 0), ((64, 64), 24), ((64, 96), 32), ((200, 80), 40), ((80, 80), 20)],
)
def test_windows_of_any_size_find_each_object_once(window, overlap):
    there = rectangles()
    found = find_objects(Blobs(window, overlap), scene_of(there), progress=False)
    np.testing.assert_allclose(
        sorted(map(tuple, found.boxes[:, :4].tolist())), as_boxes(there)
    )
    assert (np.diff(found.scores) <= 0).all()


def test_an_object_longer_than_the_overlap_is_not_told_by_its_parts_as_well():
    there = [(20, 30, 44, 6)]
    found = find_objects(Blobs((64, 64), 24), scene_of(there), progress=False)
    whole = found.boxes[found.boxes[:, 2] > 40]
    assert len(whole) <= 1 and len(found.boxes) <= 2
    wide = find_objects(Blobs((64, 64), 48), scene_of(there), progress=False)
    assert wide.boxes[:, :4].tolist() == [[42, 33, 44, 6]]


def test_nothing_is_found_where_the_scene_shows_nothing():
    there = [(10, 10, 8, 8), (60, 60, 10, 10)]
    valid = np.ones((100, 100), bool)
    valid[:40] = False
    scene = scene_of(there, (100, 100), valid=valid)
    found = find_objects(Blobs((64, 64), 16), scene, progress=False)
    assert found.boxes[:, :2].tolist() == [[65, 65]]
    assert found.valid_px.sum() == 60 * 100
    empty = scene_of([], (50, 50), valid=np.zeros((50, 50), bool))
    with pytest.raises(ValueError, match="no valid pixel"):
        find_objects(Blobs((64, 64), 16), empty, progress=False)


def test_a_scene_smaller_than_a_window_is_not_mirrored():
    scene = scene_of([(2, 2, 6, 6), (30, 20, 9, 9)], (40, 50))
    found = find_objects(Blobs((64, 64), 16), scene, progress=False)
    assert len(found.boxes) == 2


def test_the_better_of_two_windows_stays_and_others_of_one_window_too():
    boxes = np.array(
        [[10, 10, 8, 8, 0, 0], [11, 10, 8, 8, 0, 0], [11, 10, 8, 8, 0, 1],
         [12, 10, 8, 8, 0, 0], [50, 10, 8, 8, 0, 0], [52, 10, 4, 8, 0, 0]],
        float,
    )  # fmt: skip
    seen = Seen(
        boxes,
        scores=np.array([0.9, 0.8, 0.7, 0.6, 0.5, 0.9]),
        cut=np.array([False, False, False, False, False, True]),
        window=np.array([0, 1, 1, 0, 0, 1]),
    )
    # The last one is surer, but its window cut it, and another window saw it whole.
    assert merge_windows(seen, 0.5).tolist() == [True, False, True, True, True, False]


def found_of(boxes, scene, scores=None):
    rows = np.array([[x + w / 2, y + h / 2, w, h, 0, 0] for x, y, w, h in boxes], float)
    shape = scene.sizes["y"], scene.sizes["x"]
    side = -(-max(shape) // 64)
    cells = np.zeros([-(-n // side) for n in shape], int)
    for row in range(shape[0]):
        for start in range(0, shape[1], side):
            cells[row // side, start // side] += min(side, shape[1] - start)
    given = np.full(len(rows), 0.9) if scores is None else np.asarray(scores)
    return Found(rows.reshape(-1, 6), given, cells, side)


def test_polygons_lie_in_the_scene_s_crs_and_tell_true_sizes():
    scene = scene_of([], (200, 260), crs="EPSG:3413")
    frame = objects_frame(found_of([(10, 20, 30, 10)], scene), scene, ["floe"])
    assert frame.crs.to_epsg() == 3413 and frame["class"].tolist() == ["floe"]
    assert frame.total_bounds.tolist() == [500_400, 798_800, 501_600, 799_200]
    # At 81 degrees north polar stereographic distances are about 2 % too short or long.
    assert frame["length_m"][0] == pytest.approx(1200, rel=0.03)
    assert frame["width_m"][0] == pytest.approx(400, rel=0.03)
    expected = frame["length_m"][0] * frame["width_m"][0]
    assert frame["area_m2"][0] == pytest.approx(expected, rel=1e-3)
    assert frame["length_m"][0] != pytest.approx(1200, rel=1e-3)


def test_a_plain_image_has_polygons_in_pixels():
    scene = scene_of([], (50, 60))
    frame = objects_frame(found_of([(10, 20, 30, 10)], scene), scene, ["floe"])
    assert frame.crs is None and frame.total_bounds.tolist() == [10, 20, 40, 30]
    assert frame[["length_px", "width_px", "area_px"]].values.tolist() == [
        [30, 10, 300]
    ]
    assert len(objects_frame(found_of([], scene), scene, ["floe"])) == 0


def test_a_swath_has_polygons_in_longitude_and_latitude():
    rows, cols = np.mgrid[0:40, 0:50]
    scene = scene_of([], (40, 50))
    lat, lon = 80 - 0.01 * (rows + 0.5), 20 + 0.05 * (cols + 0.5)
    scene = scene.drop_vars(["y", "x"]).assign_coords(
        lat=(("y", "x"), lat), lon=(("y", "x"), lon)
    )
    frame = objects_frame(found_of([(10, 20, 8, 10)], scene), scene, ["floe"])
    assert frame.crs.to_epsg() == 4326
    np.testing.assert_allclose(frame.total_bounds, [20.5, 79.7, 20.9, 79.8], atol=2e-3)
    with pytest.raises(ValueError, match="needs a regular grid"):
        density_map(found_of([], scene), scene, ["floe"])


def test_density_is_objects_over_the_true_area_that_was_seen():
    scene = scene_of([], (128, 128), crs="EPSG:3413")
    found = found_of([(0, 0, 2, 2), (0, 0, 1, 2), (100, 100, 4, 4)], scene)
    area = seen_area(found, scene)
    maps = density_map(found, scene, ["floe", "berg"])
    assert maps["density"].shape == (2, 64, 64)
    total = float(np.nansum(maps["density"].values[0] * area))
    assert total == pytest.approx(3, rel=1e-5)
    assert maps["density"].values[0, 0, 0] == pytest.approx(2 / area[0, 0], rel=1e-5)
    assert area.sum() == pytest.approx((128 * 0.04) ** 2, rel=0.06)
    half = found._replace(valid_px=found.valid_px // 2)
    assert seen_area(half, scene).sum() == pytest.approx(area.sum() / 2)
    told = describe_objects(found, scene, ["floe", "berg"])["classes"]["floe"]
    assert told["count"] == 3 and told["corrected"] is None
    assert told["density"] == pytest.approx(3 / area.sum())
    assert told["sizes"]["length_m"]["q95"] == pytest.approx(152, rel=0.03)


def test_counts_have_exact_intervals_and_are_corrected_by_what_was_tested():
    # Garwood's table: of 0 and 5 counted the means 0-3.69 and 1.62-11.67.
    assert poisson_interval(0) == (0.0, pytest.approx(3.689, abs=1e-3))
    assert poisson_interval(5) == (
        pytest.approx(1.623, abs=1e-3),
        pytest.approx(11.668, abs=1e-3),
    )
    told = corrected_count(100, [4] * 50, [2] * 50)
    assert told["count"] == 200 and told["num_scenes"] == 50
    assert told["interval"] == pytest.approx([162, 240], abs=6)  # 2 Poisson(100)
    assert corrected_count(5, [1], [1]) is None
    assert corrected_count(5, [1, 2], [0, 0]) is None


def test_what_a_finder_cannot_use_is_refused():
    maps = build_segmenter("plain", num_bands=1, num_classes=2,
                           backbone_options={"width": 4, "depth": 2},
                           decoder_options={"channels": (4, 4)})  # fmt: skip
    with pytest.raises(TaskError, match="`find_objects` needs a model"):
        Finder(maps)
    finds = build_detector("plain", num_bands=1, head={"num_classes": 1},
                           card={"bands": ["b"], "normalizer": NORMALIZER},
                           backbone_options={"width": 4},
                           detector_options={"channels": 4, "depth": 1})  # fmt: skip
    with pytest.raises(ValueError, match="found by one model"):
        Finder([finds, finds])
    with pytest.raises(ValueError, match="`overlap_px` must be"):
        Finder(finds, tile_size_px=64, overlap_px=64)
    ready = Finder(finds, tile_size_px=64, min_score=0.0)
    found = find_objects(ready, scene_of(rectangles(), (90, 100)[::-1]), progress=False)
    assert len(found.boxes) and np.isfinite(found.boxes).all()


def test_a_finder_tells_its_network_what_was_seen_by_the_mask():
    """Black, scaled to 0, was looked at; 0 stays for nodata alone."""
    seen = []

    class Listens(Blobs):
        def __init__(self):
            super().__init__((8, 8), 0)
            self.normalizer = Normalizer.from_dict(NORMALIZER)
            self._twin = self

        def predict_on_batch(self, image):
            seen.append(np.abs(image[0, ..., 0]) > 0)
            return np.zeros((len(image), 1, 7), "float32")

    valid = np.ones((1, 8, 8), bool)
    valid[:, :3] = False
    Finder.answer(Listens(), np.zeros((1, 8, 8, 1), "float32"), valid, None)
    np.testing.assert_array_equal(seen[0], valid[0])
