"""Speed and scores of each class, epoch by epoch, known apart from the callbacks."""

import csv
import time

import keras
import numpy as np
import pytest
from sklearn.metrics import jaccard_score

from arcticdl.losses import Crossentropy
from arcticdl.metrics import MeanIoU
from arcticdl.models import build_segmenter
from arcticdl.training import fit
from arcticdl.training.watch.speed_table import describe_speed, read_speed

CLASSES = ["open water", "ice", "lead"]


class Tiles(keras.utils.PyDataset):
    """Six batches of two tiles, each of which takes its time to read."""

    def __init__(self, seconds=0.0, count=6):
        super().__init__()
        self.seconds, self.count = seconds, count

    def __len__(self):
        return self.count

    def __getitem__(self, index):
        time.sleep(self.seconds)
        rng = np.random.default_rng(index)
        label = rng.choice([0, 1, 255], size=(2, 16, 16), p=[0.3, 0.6, 0.1])
        image = label[..., None] + rng.normal(0, 0.3, (2, 16, 16, 1))
        return image.astype("float32"), label.astype("int32")

    def seek(self, epoch):
        pass


def segmenter():
    keras.utils.set_random_seed(0)
    model = build_segmenter(
        "plain", num_classes=3, backbone_options={"width": 4, "depth": 2},
        decoder_options={"channels": [4, 4]}, num_bands=1,
        card={"heads": {"segmentation": {"task": "segmentation", "classes": CLASSES}}},
    )  # fmt: skip
    model.compile("adam", Crossentropy(), metrics=[MeanIoU(num_classes=3)])
    return model


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    folder = tmp_path_factory.mktemp("run") / "fold0"
    model = segmenter()
    fit(model, Tiles(0.05), folder, epochs=2, validation_feed=Tiles(count=3))
    return model, folder


def test_each_class_has_its_validation_score_in_every_epoch(trained):
    model, folder = trained
    with open(folder / "history.csv", newline="") as file:
        last = list(csv.DictReader(file))[-1]
    feed = Tiles(count=3)
    batches = [feed[number] for number in range(3)]
    true = np.concatenate([label for _, label in batches]).ravel()
    answers = [model.predict_on_batch(image) for image, _ in batches]
    found = np.concatenate(answers).argmax(-1).ravel()[true != 255]
    true = true[true != 255]
    for code, name in enumerate(["open_water", "ice"]):
        right = jaccard_score(true == code, found == code)
        assert float(last[f"val_iou_{name}"]) == pytest.approx(right, abs=1e-5)
    if not (found == 2).any():
        assert last["val_iou_lead"] == "nan"
    assert not [name for name in last if name.startswith("iou_")]


def test_a_feed_that_sleeps_is_what_the_training_waits_for(trained):
    rows = read_speed(trained[1] / "speed.csv")
    assert [row["epoch"] for row in rows] == [1, 2]
    # Two tiles in 0.05 s are 40 a second, but for what Keras has read ahead: in the
    # first epoch that may be all, while the step is compiled.
    assert 2 < rows[1]["samples_per_s"] < 60
    assert 0.1 < rows[1]["data_wait"] <= 1.0


def test_a_table_that_is_none_is_refused(tmp_path):
    (tmp_path / "speed.csv").write_text("epoch,samples\n1,2\n")
    with pytest.raises(ValueError, match=r"numbers in the columns \['epoch'"):
        read_speed(tmp_path / "speed.csv")


def test_the_median_epoch_is_told():
    rows = [
        {"epoch": 1.0, "samples_per_s": speed, "data_wait": wait}
        for speed, wait in [(1.0, 0.9), (3.25, 0.1), (4.0, 0.2)]
    ]
    assert describe_speed(rows) == "3.2 samples/s, 20 % waiting for data"
    assert describe_speed([]) == ""
