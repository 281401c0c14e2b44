"""The batch that fits the memory, and what is said when one does not."""

import keras
import numpy as np
import pytest

from arcticdl.errors import OutOfMemoryError
from arcticdl.training import find_batch_size, fit
from arcticdl.training.memory import batch_size
from arcticdl.training.memory.batch_size import search


class Feed(keras.utils.PyDataset):
    """One batch of four images of one number."""

    def __len__(self):
        return 2

    def __getitem__(self, index):
        x = np.arange(4 * 6, dtype="float32").reshape(4, 1, 2, 3)
        return x, x.sum(axis=-1, keepdims=True)


class Small(keras.Model):
    """A network whose device has room for so many images a step, and no more."""

    def __init__(self, room, error="RESOURCE_EXHAUSTED: 3 GiB"):
        super().__init__()
        self.room, self.error, self.seen = room, RuntimeError(error), []
        self.dense = keras.layers.Dense(1)

    def call(self, x):
        return self.dense(x)

    def train_on_batch(self, x, *args, **options):
        self.seen.append(len(x))
        if len(x) > self.room:
            raise self.error
        return super().train_on_batch(x, *args, **options)

    def fit(self, *args, **options):
        raise self.error


def small(room, **options):
    model = Small(room, **options)
    model.compile(keras.optimizers.Adam(0.1), "mse")
    model(np.zeros((1, 1, 2, 3), "float32"))
    return model


@pytest.mark.parametrize("room", [1, 2, 3, 5, 7, 8, 21, 63, 64, 100, 255])
def test_what_is_found_fits_and_misses_the_largest_by_a_fifth_at_most(room):
    found = search(lambda count: count <= room, 256)
    assert found.batch_size <= room
    assert found.batch_size >= 0.8 * room
    assert found.limit == "device"
    assert len(found.tried) <= 12
    assert all(fitted == (count <= room) for count, fitted in found.tried)


@pytest.mark.parametrize("most", [1, 3, 48, 256])
def test_nothing_larger_than_asked_for_is_tried(most):
    found = search(lambda count: True, most)
    assert (found.batch_size, found.limit) == (most, "most")
    assert max(count for count, _ in found.tried) == most


def test_a_size_that_would_fill_the_process_is_never_tried():
    found = search(lambda count: True, 256, may=lambda size, fitted: size <= 10)
    assert found.batch_size in (8, 9, 10)
    assert found.limit == "memory"
    assert max(count for count, _ in found.tried) <= 10


def test_a_search_trains_real_steps_and_leaves_the_weights_alone():
    model = small(room=6)
    before = [np.array(w) for w in model.get_weights()]
    found = find_batch_size(model, Feed(), most=64)
    assert found.batch_size in (5, 6)
    assert model.seen[:4] == [1, 2, 4, 8]
    for old, new in zip(before, model.get_weights(), strict=True):
        np.testing.assert_array_equal(old, new)
    assert int(model.optimizer.iterations) == 0
    assert "fits the device" in str(found)


def test_a_process_keeps_to_the_memory_left_to_it(monkeypatch):
    model = small(room=10**6)
    # 100 bytes before, and 10 more for each image of the largest step so far.
    monkeypatch.setattr(
        batch_size, "peak_bytes", lambda: 100 + 10 * max(model.seen, default=0)
    )
    found = find_batch_size(model, Feed(), memory_left=lambda: 500)
    assert found.limit == "memory"
    assert 32 <= found.batch_size <= 40  # 40 x 10 bytes are 80 % of 500


def test_one_image_that_does_not_fit_is_told_with_what_to_do():
    with pytest.raises(OutOfMemoryError, match=r"1 of 1 x 2 x 3.*smaller tiles"):
        find_batch_size(small(room=0), Feed())


def test_another_error_of_a_step_is_not_taken_for_one_of_memory():
    model = small(room=2, error="shapes differ")
    with pytest.raises(RuntimeError, match="shapes differ"):
        find_batch_size(model, Feed())


def test_a_training_without_memory_says_which_batch_to_try(tmp_path):
    with pytest.raises(OutOfMemoryError) as caught:
        fit(small(room=0), Feed(), tmp_path / "fold0", epochs=1)
    told = str(caught.value)
    assert "4 of 1 x 2 x 3 (RuntimeError)" in told
    assert "batch_size: 2 with accumulate: 2" in told
    assert len(told.splitlines()) == 1
    assert not (tmp_path / "fold0" / "model.keras").exists()
