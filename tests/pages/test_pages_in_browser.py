"""Pages that the toolkit draws, in a headless Chromium on a desktop and on a phone."""

import sys
from pathlib import Path

import browser
import numpy as np
import pytest
import rasterio

import arcticdl
from arcticdl import evaluation, tiles
from arcticdl.tiles.quality.page import write_page

sys.path.append(str(Path(__file__).resolve().parents[1] / "evaluation"))
from fake_run import evaluate_fold, write_fake_run

pytestmark = pytest.mark.skipif(
    browser.find() is None, reason="no Chromium, such as Debian's package, is here"
)
WIDTHS = {"desktop": 1440, "phone": 390}


def write_report(folder):
    return evaluation.write_report(write_fake_run(folder / "fake_run"))


def write_quality(folder):
    rng = np.random.default_rng(0)
    scenes = []
    for name in "ab":
        path = folder / f"{name}.tif"
        with rasterio.open(
            path, "w", driver="GTiff", height=64, width=64, count=2, dtype="float32",
            crs="EPSG:3413", transform=rasterio.Affine(80, 0, 0, 0, -80, 0),
        ) as file:  # fmt: skip
            file.write(rng.normal(size=(2, 64, 64)).astype("float32"))
            file.descriptions = ("HH", "HV")
        scenes.append(arcticdl.open_scene(path))
    store = tiles.prepare(scenes, folder / "a.tiles", tile_size_px=32, progress=False)
    report = tiles.check_store(store.path)
    page = folder / "quality.html"
    write_page(page, "Check of a.tiles", report.findings)
    return page


def write_comparison(folder):
    results = {
        name: [evaluate_fold(np.random.default_rng(0), 0, error, 7).result()]
        for name, error in (("deep_network", 0.1), ("shallow", 0.11), ("old", 0.13))
    }
    return evaluation.write_comparison(evaluation.compare_results(results), folder)


def write_learning_curve(folder):
    points = [
        evaluation.CurvePoint(
            f"{size}-{n}", size, float(n), cost, 100,
            [evaluate_fold(np.random.default_rng(0), 0, error, 7).result()],
        )
        for size, n, cost, error in (
            ("base", 2, 1e9, 0.14), ("base", 4, 1e9, 0.12), ("base", 8, 1e9, 0.1),
            ("deep_network", 8, 4e9, 0.09),
        )
    ]  # fmt: skip
    return evaluation.write_learning_curve(evaluation.learning_curve(points), folder)


@pytest.fixture(
    scope="module",
    params=[write_report, write_quality, write_comparison, write_learning_curve],
)
def page(request, tmp_path_factory):
    return request.param(tmp_path_factory.mktemp("page"))


@pytest.mark.timeout(300)
@pytest.mark.parametrize("width", WIDTHS.values(), ids=WIDTHS)
def test_nothing_overflows_is_broken_or_too_small_to_read(page, width, tmp_path):
    found = browser.look(page, width, tmp_path)
    assert found["console"] == []
    assert found["words"] > 100
    assert (found["wide"], found["broken"]) == ([], 0)
    assert found["width"] <= width
    # CSS pixels, of letters in drawings as well; 9 px are 7 points.
    assert found["smallest"] >= 9
