"""Sequences of a store: what they hold, beside the tiles of each date by NumPy."""

import pickle

import numpy as np
import pytest

from arcticdl.errors import SeriesError
from arcticdl.series import Steps, place_dates
from arcticdl.tiles import SeriesStore, compute_stats, prepare

SIZE = 16


def row_of(store, scene_id, col=0):
    manifest = store.manifest
    here = (manifest["scene_id"] == scene_id) & (manifest["col"] == col)
    return int(np.flatnonzero(here)[0])


def test_a_sequence_holds_the_bands_of_its_dates_and_gaps_are_missing(days_store):
    sequences = SeriesStore(days_store, Steps(history=3))
    assert sequences.bands == ("HH_t-2", "HV_t-2", "HH_t-1", "HV_t-1", "HH", "HV")
    assert len(sequences) == len(days_store) == 12
    row = row_of(sequences, "a4", col=SIZE)
    read = sequences.read([row, row_of(sequences, "b3")])
    days = {d: days_store.read([row_of(days_store, d, SIZE)]) for d in ("a2", "a4")}
    seen = {
        d: np.where(p["valid"][..., None], p["image"], np.nan)[0]
        for d, p in days.items()
    }
    np.testing.assert_array_equal(read["image"][0, ..., :2], seen["a2"])
    assert np.isnan(read["image"][0, ..., 2:4]).all()  # the third of March
    np.testing.assert_array_equal(read["image"][0, ..., 4:], seen["a4"])
    np.testing.assert_array_equal(read["valid"][0], days["a4"]["valid"][0])
    np.testing.assert_array_equal(read["ice"][0], days["a4"]["ice"][0])
    b1 = days_store.read([row_of(days_store, "b1")])
    valid = b1["valid"][0]
    np.testing.assert_array_equal(read["image"][1][valid, :2], b1["image"][0][valid])


def test_labels_of_further_dates_are_named_and_void_where_missing(days_store):
    sequences = SeriesStore(days_store, Steps(history=1, answers=(0, 1)))
    assert sorted(sequences.labels) == ["ice", "ice_t1", "sic", "sic_t1"]
    a2, b1 = row_of(sequences, "a2"), row_of(sequences, "b1")
    read = sequences.read([a2, b1], ["ice_t1", "sic_t1"])
    assert (read["ice_t1"][0] == 255).all() and np.isnan(read["sic_t1"][0]).all()
    b2 = days_store.read([row_of(days_store, "b2")])
    np.testing.assert_array_equal(read["ice_t1"][1], b2["ice"][0])
    np.testing.assert_array_equal(read["sic_t1"][1], b2["sic"][0])
    counts = sequences.class_counts("ice_t1")
    assert counts[a2].tolist() == [0, 0, 0]
    wanted = [(b2["ice"] == code).sum() for code in range(3)]
    assert counts[b1].tolist() == wanted


def test_a_forecast_keeps_only_sequences_with_an_answer(days_store):
    sequences = SeriesStore(days_store, Steps(history=2, answers=(1,)))
    named = set(sequences.manifest["scene_id"])
    assert named == {"a1", "b1", "b2"}  # a2 has no third of March, a4 no fifth
    assert list(sequences.labels) == ["ice_t1", "sic_t1"]
    with pytest.raises(SeriesError, match=r"has a label at the steps \[7\]"):
        SeriesStore(days_store, Steps(history=2, answers=(7,)))


def test_statistics_are_of_tiles_and_the_same_at_every_date(days_store):
    sequences = SeriesStore(days_store, Steps(history=2))
    rows = [row_of(sequences, "b3"), row_of(sequences, "b2")]
    stats = compute_stats(sequences, rows).bands
    used = days_store.read([row_of(days_store, f"b{day}") for day in (1, 2, 3)])
    pixels = used["image"][used["valid"]]
    np.testing.assert_allclose(stats.mean, np.tile(pixels.mean(0), 2), rtol=1e-6)
    np.testing.assert_allclose(stats.std, np.tile(pixels.std(0), 2), rtol=1e-5)
    assert stats.bands == sequences.bands


def test_training_shares_no_date_with_the_test(days_store):
    sequences = SeriesStore(days_store, Steps(history=2, answers=(0,)))
    ids = sequences.manifest["scene_id"].to_numpy()
    b3 = np.flatnonzero(ids == "b3")
    rest = np.setdiff1d(np.arange(len(ids)), b3)
    left = sequences.purge(rest, b3)
    # b3 sees b2, which sees b1 too; b1 alone shares nothing.
    assert set(ids[left]) == {"a1", "a2", "a4", "b1"}


def test_a_series_goes_to_other_processes(days_store):
    sequences = SeriesStore(days_store, Steps(history=2))
    again = pickle.loads(pickle.dumps(sequences))
    for name, values in sequences.read([3, 5]).items():
        np.testing.assert_array_equal(again.read([3, 5])[name], values)


@pytest.mark.parametrize(
    ("times", "message"),
    [
        (["2021-03-01", "2021-03-02T09:00"], "9.0 h off a date"),
        (["2021-03-01", None], "1 of 2 do not"),
        (["2021-03-01T00", "2021-03-01T02"], "within one step of 24 h"),
    ],
)
def test_uneven_dates_are_refused(times, message):
    with pytest.raises(SeriesError, match=message):
        place_dates(times, Steps())


def test_steps_out_of_range_are_refused():
    with pytest.raises(ValueError, match="below half"):
        Steps(tolerance_h=12)
    with pytest.raises(ValueError, match="`history` must be at least 1"):
        Steps(history=0)


def test_dates_on_other_grids_are_refused(tmp_path, make_scene):
    scenes = [
        make_scene(
            day, size=(SIZE, SIZE), crs=3413, group="a", origin=(300.0 * day, 0.0)
        )
        for day in (0, 1)
    ]
    off = prepare(scenes, tmp_path / "off.tiles", tile_size_px=SIZE, progress=False)
    with pytest.raises(SeriesError, match="must lie on one grid"):
        SeriesStore(off, Steps(history=2))
    with pytest.raises(SeriesError, match="must be a column"):
        SeriesStore(off, Steps(history=2), by="site")
