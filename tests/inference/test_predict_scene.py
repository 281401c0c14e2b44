"""Maps of scenes: seamless, on the scene's grid, nodata kept, nothing half-written."""

import keras
import numpy as np
import pytest
import rasterio
import xarray as xr
from rasterio._env import get_gdal_config

import arcticdl
from arcticdl.errors import BandNotFoundError
from arcticdl.inference import predict, trace_line, write_line
from arcticdl.inference.blend import blend_weights, window_starts
from arcticdl.models import build_segmenter
from arcticdl.tiles import Normalizer

NONE = Normalizer("none", ("HH", "HV"))
CARD = {
    "bands": ["HH", "HV"],
    "normalizer": NONE.to_dict(),
    "tile_size_px": 32,
    "heads": {
        "ice": {
            "task": "segmentation",
            "classes": ["water", "ice"],
            "colors": ["#0064ff", "#ffffff"],
        }
    },
}


@pytest.fixture(scope="module")
def pointwise():
    """Logits (HH, HV) of each pixel, so that the map is known: ice where HV > HH."""
    model = build_segmenter(
        "plain", num_bands=2, num_classes=2, card=CARD,
        backbone_options={"width": 2, "depth": 1},
        decoder_options={"channels": (2,)},
    )  # fmt: skip
    image = model.input
    carded = model.get_layer("card")(image)
    return keras.Model(image, keras.layers.Activation("linear", name="ice")(carded))


@pytest.fixture
def scene_path(tmp_path):
    rng = np.random.default_rng(0)
    image = rng.normal(size=(2, 75, 53)).astype("float32")
    image[:, 10:20, 30:50] = np.nan
    path = tmp_path / "scene.tif"
    with rasterio.open(
        path, "w", driver="GTiff", height=75, width=53, count=2, dtype="float32",
        crs="EPSG:3413", nodata=np.nan,
        transform=rasterio.Affine(80, 0, -6e5, 0, -80, -1.6e6),
    ) as file:  # fmt: skip
        file.write(image)
        file.descriptions = ("HH", "HV")
    return path


def expected(scene):
    image = scene["image"].values
    return np.where(np.isnan(image[0]), 255, image[1] > image[0]).astype("uint8")


@pytest.mark.parametrize(
    ("overlap_px", "tile_size_px", "tta"),
    [(0, 32, "none"), (7, (24, 40), "hflip"), (16, 32, "d4"), (9, 128, "none")],
)
def test_a_pointwise_model_maps_without_seams(
    pointwise, scene_path, overlap_px, tile_size_px, tta
):
    scene = arcticdl.open_scene(scene_path)
    maps = arcticdl.predict_scene(
        pointwise, scene, overlap_px=overlap_px, tile_size_px=tile_size_px, tta=tta,
        outputs=("class", "prob", "entropy"), jit_compile=False, progress=False,
    )  # fmt: skip
    np.testing.assert_array_equal(maps["class"], expected(scene))
    image = scene["image"].values
    prob = 1 / (1 + np.exp(image[0] - image[1]))
    np.testing.assert_allclose(maps["prob"][1], prob, atol=1e-5)
    assert np.nanmin(maps["entropy"]) >= 0
    assert np.nanmax(maps["entropy"]) <= 1 + 1e-6


def test_the_file_keeps_the_grid_the_classes_and_the_nodata(
    pointwise, scene_path, tmp_path
):
    scene = arcticdl.open_scene(scene_path)
    out = tmp_path / "maps" / "map.tif"
    maps = arcticdl.predict_scene(pointwise, scene, out, progress=False)
    with rasterio.open(scene_path) as source, rasterio.open(out) as written:
        assert written.crs == source.crs
        assert written.transform == source.transform
        assert written.shape == source.shape
        assert written.nodata == 255
        np.testing.assert_array_equal(written.read(1), expected(scene))
        assert written.colormap(1)[0] == (0, 100, 255, 255)
        assert written.tags()["class_1"] == "ice"
    np.testing.assert_array_equal(maps["class"].values, expected(scene))
    assert sorted(p.name for p in out.parent.iterdir()) == [
        "map.tif",
        "map_confidence.tif",
    ]


def test_the_card_chooses_bands_by_name(pointwise, scene_path):
    scene = arcticdl.open_scene(scene_path)
    turned = scene.isel(band=[1, 0])
    maps = arcticdl.predict_scene(pointwise, turned, progress=False)
    np.testing.assert_array_equal(maps["class"], expected(scene))


@pytest.mark.parametrize("told", [None, "77"])
def test_gdal_caches_as_much_as_the_environment_says_or_a_bound(
    pointwise, scene_path, tmp_path, monkeypatch, told
):
    seen, rows = [], predict.finished_rows

    def spied(*given, **options):
        seen.append(get_gdal_config("GDAL_CACHEMAX"))
        return rows(*given, **options)

    def read_back(maps):
        seen.append(get_gdal_config("GDAL_CACHEMAX"))
        finish(maps)

    usual, finish = get_gdal_config("GDAL_CACHEMAX"), predict.SceneMaps.finish
    monkeypatch.setattr(predict, "finished_rows", spied)
    monkeypatch.setattr(predict.SceneMaps, "finish", read_back)
    if told:
        monkeypatch.setenv("GDAL_CACHEMAX", told)
    arcticdl.predict_scene(
        pointwise, arcticdl.open_scene(scene_path), tmp_path / "m.tif"
    )
    # 64 MiB and 512 rows of 53 float32 of two bands read, of class and confidence.
    # Also where finished files are read back, which may fill any cache.
    assert seen == 2 * [usual if told else 2**26 + 4 * 4 * 512 * 53]


def test_an_existing_map_is_kept_unless_told(pointwise, scene_path, tmp_path):
    scene = arcticdl.open_scene(scene_path)
    out = tmp_path / "map.tif"
    out.write_text("precious")
    with pytest.raises(FileExistsError, match="overwrite"):
        arcticdl.predict_scene(pointwise, scene, out, progress=False)
    assert out.read_text() == "precious"
    arcticdl.predict_scene(pointwise, scene, out, overwrite=True, progress=False)
    kept = scene_path.read_bytes()
    with pytest.raises(FileExistsError, match="must not replace it"):
        arcticdl.predict_scene(pointwise, scene, scene_path, overwrite=True)
    assert scene_path.read_bytes() == kept
    assert rasterio.open(out).shape == (75, 53)


def test_a_scene_without_a_valid_pixel_leaves_no_file(pointwise, scene_path, tmp_path):
    scene = arcticdl.open_scene(scene_path)
    empty = scene.assign(valid=xr.zeros_like(scene["valid"]))
    folder = tmp_path / "maps"
    with pytest.raises(ValueError, match="no valid pixel"):
        arcticdl.predict_scene(pointwise, empty, folder / "map.tif", progress=False)
    assert not list(folder.iterdir())


def test_a_missing_band_and_a_missing_card_are_refused(pointwise, scene_path):
    scene = arcticdl.open_scene(scene_path)
    with pytest.raises(BandNotFoundError, match=r"Missing: \['HV'\]"):
        arcticdl.predict_scene(pointwise, scene.isel(band=[0]), progress=False)
    bare = keras.Sequential([keras.Input((None, None, 2)), keras.layers.ReLU()])
    with pytest.raises(ValueError, match=r"normalizer=feed\.normalizer"):
        arcticdl.predict_scene(bare, scene, progress=False)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"tta": "d4+invert"}, "`tta` with 'invert' .* scaling 'none'"),
        ({"tta": "d8"}, r"`tta` must be one of \['d4', 'd4\+invert', 'hflip', "),
        ({"outputs": ("klass",)}, "`outputs` must be one of .*mean 'class'"),
        ({"overlap_px": 32}, "smaller than the window"),
    ],
)
def test_unknown_options_are_refused(pointwise, scene_path, options, message):
    scene = arcticdl.open_scene(scene_path)
    with pytest.raises(ValueError, match=message):
        arcticdl.predict_scene(pointwise, scene, progress=False, **options)


@pytest.mark.parametrize("overlap", [0, 3, 9])
@pytest.mark.parametrize("length", [1, 10, 11, 37])
def test_windows_cover_every_pixel_and_overlap_as_asked(length, overlap):
    starts = window_starts(length, 10, overlap)
    covered = np.zeros(length, int)
    for start in starts:
        covered[start : start + 10] += 1
    assert covered.min() >= 1
    steps = np.diff(starts)
    assert ((steps > 0) & (steps <= 10 - overlap)).all()
    assert starts[-1] + 10 <= max(length, 10)


def test_blend_weights_are_one_inside_and_symmetric():
    weights = blend_weights(20, 30, 5)
    np.testing.assert_array_equal(weights, weights[::-1, ::-1])
    assert weights[10, 15] == 1
    assert 0 < weights.min() < 0.1


def test_a_line_is_found_at_the_surest_threshold_and_written(tmp_path):
    import geopandas

    prob = np.zeros((20, 40))
    prob[9:12, 5:35] = 0.15
    path, threshold = trace_line(prob)
    assert threshold == 0.1
    assert set(path[:, 0]) <= {9, 10, 11}
    assert np.median(path[:, 0]) == 10
    grid = {
        "crs": rasterio.crs.CRS.from_epsg(3413),
        "transform": rasterio.Affine(80, 0, 1000, 0, -80, 2000),
    }
    file = write_line(path, tmp_path / "f.gpkg", grid, name="front", threshold=0.1)
    frame = geopandas.read_file(file)
    assert frame.crs.to_epsg() == 3413
    ys = np.array(frame.geometry[0].coords)[:, 1]
    np.testing.assert_allclose(ys, 2000 - (path[:, 0] + 0.5) * 80)
    faint, threshold = trace_line(prob / 100)
    np.testing.assert_array_equal(faint, path)
    assert 0 < threshold < 0.05
    empty, threshold = trace_line(np.zeros((20, 40)))
    assert (len(empty), threshold) == (0, 0.0)
    assert len(geopandas.read_file(
        write_line(empty, tmp_path / "e.gpkg", {}, name="front", threshold=0)
    )) == 0  # fmt: skip


def leaning(model, by):
    """The same model, surer of ice by some logits: as if trained on another fold."""
    shift = keras.layers.Rescaling(1.0, [0.0, by], name="ice")
    carded = model.get_layer("card").output
    return keras.Model(model.input, shift(carded))


def test_several_models_are_averaged_and_their_spread_is_told(pointwise, scene_path):
    scene = arcticdl.open_scene(scene_path)
    models = [leaning(pointwise, by) for by in (-2.0, 0.0, 2.0)]
    options = {"outputs": ("prob", "spread"), "tile_size_px": 32, "progress": False}
    together = arcticdl.predict_scene(models, scene, **options)
    alone = [
        arcticdl.predict_scene(model, scene, **{**options, "outputs": ("prob",)})
        for model in models
    ]
    prob = np.stack([one["prob"].values for one in alone])
    np.testing.assert_allclose(together["prob"], prob.mean(axis=0), atol=1e-6)
    told = -(prob.mean(0) * np.log(prob.mean(0))).sum(0)
    told += (prob * np.log(prob)).sum(1).mean(0)
    np.testing.assert_allclose(together["spread"], told / np.log(2), atol=1e-5)
    assert np.isnan(together["spread"].values[12, 40])
    assert 0.1 < np.nanmax(together["spread"]) <= 1


def test_members_that_agree_have_no_spread_and_views_are_members(pointwise, scene_path):
    scene = arcticdl.open_scene(scene_path)
    options = {"outputs": ("class", "spread"), "tile_size_px": 32, "progress": False}
    twice = arcticdl.predict_scene([pointwise, pointwise], scene, **options)
    assert np.nanmax(twice["spread"]) < 1e-5
    turned = arcticdl.predict_scene(pointwise, scene, tta="d4", **options)
    assert np.nanmax(turned["spread"]) < 1e-5


def test_spread_of_values_is_their_standard_deviation(scene_path):
    scene = arcticdl.open_scene(scene_path)
    head = {"sic": {"task": "regression", "classes": [], "colors": []}}
    card = {**CARD, "heads": head}
    models = []
    for factor in (1.0, 3.0):
        image = keras.Input((None, None, 2))
        carded = arcticdl.models.card.Card(card, name="card")(image)
        value = keras.layers.Rescaling(factor, name="sic")(carded[..., :1])
        models.append(keras.Model(image, value))
    options = {"outputs": ("value", "spread"), "tile_size_px": 32, "progress": False}
    maps = arcticdl.predict_scene(models, scene, **options)
    image = np.where(scene["valid"], scene["image"][0], np.nan)
    np.testing.assert_allclose(maps["value"], 2 * image, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(maps["spread"], np.abs(image), rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize(
    ("last", "message"),
    [
        (keras.layers.Softmax(), "must be logits"),
        (keras.layers.Rescaling(float("nan")), "must be finite"),
    ],
)
def test_answers_that_only_look_like_logits_are_refused(scene_path, last, message):
    image = keras.Input((None, None, 2))
    carded = arcticdl.models.card.Card(CARD, name="card")(image)
    model = keras.Model(image, last(carded))
    scene = arcticdl.open_scene(scene_path)
    with pytest.raises(ValueError, match=message):
        arcticdl.predict_scene(model, scene, progress=False)


def test_models_that_do_not_fit_together_are_refused(pointwise, scene_path):
    scene = arcticdl.open_scene(scene_path)
    image = keras.Input((None, None, 2))
    other = arcticdl.models.card.Card({**CARD, "bands": ["HV", "HH"]}, name="card")
    other = keras.Model(image, other(image))
    with pytest.raises(ValueError, match="same bands"):
        arcticdl.predict_scene([pointwise, other], scene)
    with pytest.raises(ValueError, match="at least one model"):
        arcticdl.predict_scene([], scene)
    with pytest.raises(ValueError, match="needs several members"):
        arcticdl.predict_scene(pointwise, scene, outputs=("class", "spread"))
