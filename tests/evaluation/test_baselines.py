import numpy as np
import pytest
import xarray as xr
from threadpoolctl import threadpool_limits

from arcticdl import tiles
from arcticdl.evaluation import pixel_baselines
from arcticdl.simulate import scene_arrays


def by_value(scene_id, seed, flipped=False):
    """A scene whose class is told by the pixel's value alone, up to its contrast."""
    rng = np.random.default_rng(seed)
    label = rng.choice(3, (40, 56), p=[0.6, 0.3, 0.1]).astype(np.uint8)
    image = (-1.0 if flipped else 1.0) * label + 0.05 * rng.normal(size=label.shape)
    label[:4] = 255
    attributes = {
        "flag_values": [0, 1, 2],
        "flag_meanings": "pond ice ocean",
        "flag_colors": "#0000ff #ffffff #000080",
    }
    return xr.Dataset(
        {
            "image": (("band", "y", "x"), image[None].astype("float32")),
            "kind": (("y", "x"), label, attributes),
        },
        coords={"band": ["t"], "y": np.arange(40) + 0.5, "x": np.arange(56) + 0.5},
        attrs={"scene_id": scene_id, "georeferenced": False, "time": "", "sensor": ""},
    )


@pytest.fixture(autouse=True)
def one_thread():
    """Threads that wait for each other on a busy machine take more than they give."""
    with threadpool_limits(1):
        yield


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    scenes = [by_value(f"s{k}", k) for k in range(4)]
    out = tmp_path_factory.mktemp("stores") / "value.tiles"
    return tiles.prepare(scenes, out, tile_size_px=16, progress=False)


def split(store, *test_scenes):
    is_test = store.manifest["scene_id"].isin(test_scenes).to_numpy()
    return np.flatnonzero(~is_test), np.flatnonzero(is_test)


def test_what_a_pixel_tells_is_found_and_the_majority_scores_a_third_of_its_class(
    store,
):
    train, test = split(store, "s2", "s3")
    found = pixel_baselines(store, train, test, "kind")
    # Not 1: the classifier's 255 bins may straddle the gap between two classes.
    assert found["per_pixel"]["scores"]["mean_iou"] > 0.97
    share = found["majority"]["scores"]["accuracy"]
    assert share == pytest.approx(0.6, abs=0.03)
    assert found["majority"]["scores"]["mean_iou"] == pytest.approx(share / 3)
    assert found["majority"]["title"] == "majority class everywhere (pond)"
    assert found["per_pixel"]["title"] == "each pixel alone (hist gradient boosting)"


def test_both_are_scored_on_the_same_pixels_each_once(store):
    train, test = split(store, "s3")
    found = pixel_baselines(store, train, test, "kind")
    scored = 36 * 56
    assert [r["num_pixels"] for r in found.values()] == [scored, scored]
    assert [r["num_images"] for r in found.values()] == [1, 1]


def test_neither_the_test_labels_nor_the_order_of_tiles_matter(store):
    train, test = split(store, "s3")
    first = pixel_baselines(store, train, test, "kind", max_pixels=500)
    reverse = pixel_baselines(store, train, test[::-1], "kind", max_pixels=500)
    for name in first:
        assert reverse[name]["confusion_matrix"] == first[name]["confusion_matrix"]


def test_contrast_flips_need_the_normaliser_of_the_network(tmp_path):
    scenes = [by_value(f"s{k}", k, flipped=k % 2 == 1) for k in range(4)]
    store = tiles.prepare(scenes, tmp_path / "a.tiles", tile_size_px=16, progress=False)
    train, test = split(store, "s3")
    normalizer = tiles.Normalizer("per_image", store.bands)
    options = {"normalizer": normalizer, "max_pixels": 500}
    by_image = pixel_baselines(store, train, test, "kind", **options)
    by_fold = pixel_baselines(store, train, test, "kind", max_pixels=500)
    scores = [r["per_pixel"]["scores"]["mean_iou"] for r in (by_fold, by_image)]
    assert scores[0] != scores[1]


@pytest.mark.parametrize("classifier", ["hist_gradient_boosting", "random_forest"])
def test_a_class_that_training_never_shows_is_scored_as_never_predicted(
    tmp_path, classifier
):
    scenes = [scene_arrays(64, seed=3, index=k) for k in range(3)]
    store = tiles.prepare(scenes, tmp_path / "a.tiles", tile_size_px=32, progress=False)
    train, test = split(store, store.manifest["scene_id"].iloc[-1])
    found = pixel_baselines(
        store, train, test, "ice_type", classifier=classifier, max_pixels=3000
    )
    counts = store.class_counts("ice_type")[train].sum(axis=0)
    cm = np.array(found["per_pixel"]["confusion_matrix"])
    assert (cm[:, counts == 0] == 0).all()
    majority = np.array(found["majority"]["confusion_matrix"])
    assert majority[:, np.argmax(counts)].sum() == majority.sum() > 0


@pytest.mark.parametrize(
    "change, message",
    [
        ({"label": "ice"}, r"one of \['kind'\]"),
        ({"classifier": "svm"}, "must be one of"),
        ({"train_indices": []}, "`train_indices` must hold"),
        ({"test_indices": []}, "`test_indices` must hold"),
        ({"max_pixels": 1}, "at least 2"),
        ({"normalizer": "zcore"}, "`method` must be one of"),
    ],
)
def test_bad_input_is_refused_before_any_work(store, change, message):
    train, test = split(store, "s3")
    arguments = {"train_indices": train, "test_indices": test, "label": "kind"}
    with pytest.raises(ValueError, match=message):
        pixel_baselines(store, **(arguments | change))


def test_one_class_in_training_is_nothing_to_learn_from(tmp_path):
    scene, other = by_value("a", 0), by_value("b", 1)
    scene["kind"] = scene["kind"].where(scene["kind"] == 255, 0).astype("uint8")
    scene["kind"].attrs = other["kind"].attrs
    store = tiles.prepare(
        [scene, other], tmp_path / "a.tiles", tile_size_px=16, progress=False
    )
    train, test = split(store, "b")
    with pytest.raises(ValueError, match="at least two classes"):
        pixel_baselines(store, train, test, "kind")
