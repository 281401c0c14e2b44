"""What shows a training: pictures of tiles, and curves that TensorBoard reads."""

import sys

import keras
import numpy as np
import pytest

from arcticdl.plots import show_answers
from arcticdl.tasks import read_head
from arcticdl.tiles import prepare
from arcticdl.training import TensorBoardLog, TileFeed, TileImages
from arcticdl.training.reports import find_map_head, read_answer
from arcticdl.training.trackers.events import EventFile


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    import xarray as xr

    folder = tmp_path_factory.mktemp("store")
    rng = np.random.default_rng(0)
    ice = rng.integers(0, 2, (32, 16)).astype("uint8")
    ice[0, 0] = 255
    scene = xr.Dataset(
        {
            "image": (("band", "y", "x"), rng.normal(size=(2, 32, 16)).astype("f4")),
            "ice": (
                ("y", "x"),
                ice,
                {"flag_values": [0, 1], "flag_meanings": "water ice"},
            ),
        },
        {
            "band": ["HH", "HV"],
            "x": np.arange(16) + 0.5,
            "y": np.arange(32) + 0.5,
        },
        {"scene_id": "one", "georeferenced": False},
    )
    return prepare([scene], folder / "a.tiles", tile_size_px=8, progress=False)


def test_tiles_are_evenly_spaced_and_seen_as_the_network_sees_them(store, tmp_path):
    feed = TileFeed(store, np.arange(8), batch_size=2, shuffle=False)
    shown = TileImages(tmp_path, feed, num_tiles=3)
    assert shown.tiles.tolist() == [0, 4, 7]
    image, label = shown.feed[0]
    whole = [feed[number] for number in range(4)]
    np.testing.assert_array_equal(image[1], whole[2][0][0])
    np.testing.assert_array_equal(label[2], whole[3][1][1])


@pytest.mark.parametrize("option", ["every", "num_tiles"])
def test_no_epochs_and_no_tiles_are_refused(store, tmp_path, option):
    feed = TileFeed(store, np.arange(8))
    with pytest.raises(ValueError, match=f"`{option}` must be"):
        TileImages(tmp_path, feed, **{option: 0})


def test_the_first_head_of_pixels_is_drawn():
    heads = {
        "when": {"task": "classification", "classes": ["a", "b"]},
        "sic": {"task": "dense_regression"},
        "ice": {"task": "segmentation", "classes": ["a", "b"]},
    }
    assert find_map_head(heads)[0] == "sic"
    assert find_map_head(heads, "ice")[0] == "ice"
    for wanted in ("when", "ices"):
        with pytest.raises(ValueError, match=r"`head` must be .*\['sic', 'ice'\]"):
            find_map_head(heads, wanted)
    with pytest.raises(ValueError, match=r"of \[\]"):
        find_map_head({"when": heads["when"]})


def test_answers_are_the_likeliest_class_or_the_value():
    logits = np.array([[[[0.0, 2.0, 1.0]]]])
    ice = read_head("ice", {"task": "segmentation", "num_classes": 3})
    assert read_answer(ice, logits).tolist() == [[[[1]]]]
    gauss = read_head("sic", {"task": "dense_gaussian"})
    assert read_answer(gauss, np.array([[[[0.25, -3.0]]]])).tolist() == [[[[0.25]]]]


@pytest.mark.parametrize(
    ("entry", "label", "answer"),
    [
        ({"task": "segmentation", "classes": ["water", "ice"]}, "codes", (8, 8, 1)),
        ({"task": "dense_regression", "units": "m"}, "values", (8, 8, 1)),
        ({"task": "dense_multilabel", "num_classes": 3}, "several", (8, 8, 3)),
    ],
)
def test_each_kind_of_answer_has_its_rows(store, entry, label, answer):
    rng = np.random.default_rng(1)
    shape = (2, 8, 8, 3) if label == "several" else (2, 8, 8)
    truth = rng.integers(0, 2, shape).astype("uint8")
    if label == "values":
        truth = truth.astype("float32")
        truth[0, :2] = np.nan
    else:
        truth[0, :2] = 255
    found = rng.integers(0, 2, (2, *answer)).astype(
        "float32" if label == "values" else "uint8"
    )
    head = read_head("x", entry)
    figure = show_answers(store, [0, 5], truth, found, head=head)
    pictures = [ax.images[0].get_array() for ax in figure.axes if ax.images]
    assert len(pictures) >= 6
    figure.canvas.draw()
    if label == "several":
        np.testing.assert_array_equal(pictures[4], found[0].sum(-1))
    if label == "values":
        np.testing.assert_array_equal(pictures[5], found[1, ..., 0])
    if label == "codes":
        equal = (pictures[2] == pictures[4]).all(-1)
        np.testing.assert_array_equal(equal, truth[0] == found[0, ..., 0])


def read_events(folder):
    """Events of each file, by TensorFlow's reader, which verifies the checksums."""
    import tensorflow as tf

    return [
        [
            tf.compat.v1.Event.FromString(record.numpy())
            for record in tf.data.TFRecordDataset(str(path))
        ]
        for path in sorted(folder.iterdir())
    ]


def test_curves_are_what_keras_logged_and_a_resume_replaces_what_it_trains_anew(
    tmp_path,
):
    x, y = np.arange(8.0)[:, None], np.arange(8.0)[:, None] * 2
    model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1)])
    model.compile(keras.optimizers.SGD(0.25), "mse")
    log = TensorBoardLog(tmp_path)
    common = {"validation_data": (x, y), "verbose": 0, "callbacks": [log]}
    told = model.fit(x, y, epochs=3, **common).history
    again = model.fit(x, y, initial_epoch=1, epochs=2, **common).history
    for part, mark in (("train", ""), ("validation", "val_")):
        first, second = read_events(tmp_path / part)
        for events, losses, start in ((first, told, 0), (second, again, 1)):
            assert events[0].file_version == "brain.Event:2"
            assert events[1].session_log.status == 1 and events[1].step == start
            found = [
                (event.step, value.simple_value)
                for event in events
                for value in event.summary.value
                if value.tag == "epoch_loss"
            ]
            assert [step for step, _ in found] == [*range(start, start + len(found))]
            wanted = np.array(losses[f"{mark}loss"], "float32")
            np.testing.assert_array_equal([loss for _, loss in found], wanted)
            assert all(event.wall_time > 1.7e9 for event in events)
    rates = {v.tag: v.simple_value for e in first for v in e.summary.value}
    assert "epoch_learning_rate" not in rates  # of the training alone
    (train, _) = read_events(tmp_path / "train")
    assert {v.tag for v in train[-1].summary.value} == {
        "epoch_loss",
        "epoch_learning_rate",
    }


def test_long_names_late_steps_and_numbers_that_are_none_are_read_again(tmp_path):
    values = {"ä" * 200: 0.5, "nan": float("nan"), "much": 1e39}
    EventFile(tmp_path, first=70_000).add_scalars(2**40, values)
    ((_, start, event),) = read_events(tmp_path)
    assert start.step == 70_000 and event.step == 2**40
    found = {value.tag: value.simple_value for value in event.summary.value}
    assert found["ä" * 200] == 0.5 and found["much"] == np.inf
    assert list(found) == list(values) and np.isnan(found["nan"])


def test_curves_are_written_where_tensorflow_cannot_be_imported(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "tensorflow", None)
    EventFile(tmp_path).add_scalars(0, {"epoch_loss": 1.0})
    monkeypatch.undo()
    ((*_, event),) = read_events(tmp_path)
    assert event.summary.value[0].simple_value == 1.0
