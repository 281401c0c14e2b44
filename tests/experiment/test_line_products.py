"""Lines beside maps: of the right classes, and of no more of them than are needed."""

import keras
import numpy as np
import pytest
import rasterio

from arcticdl.cli import main
from arcticdl.experiment import products as module
from arcticdl.inference import LineRule, Predictor
from arcticdl.models import build_segmenter
from arcticdl.tiles import Normalizer

CLASSES = ["glacier", "rock", "sea", "front"]
RULE = {"name": "front", "between": ["sea", "glacier"], "width_px": 6}


@pytest.fixture
def model(tmp_path, monkeypatch):
    """A file of a model that answers with its four bands, as logits."""
    monkeypatch.chdir(tmp_path)
    bands = ("a", "b", "c", "d")
    card = {
        "bands": list(bands),
        "normalizer": Normalizer("none", bands).to_dict(),
        "tile_size_px": 32,
        "line": RULE,
        "heads": {"ice": {"task": "segmentation", "classes": CLASSES}},
    }
    network = build_segmenter(
        "plain", num_bands=4, num_classes=4, card=card,
        backbone_options={"width": 2, "depth": 1},
        decoder_options={"channels": (2,)},
    )  # fmt: skip
    carded = network.get_layer("card")(network.input)
    keras.Model(
        network.input, keras.layers.Activation("linear", name="ice")(carded)
    ).save("model.keras")
    return "model.keras"


def test_a_line_is_traced_of_the_classes_that_its_rule_names(model, monkeypatch):
    image = np.zeros((4, 64, 48), "float32")
    image[2, :30], image[3, 30], image[0, 31:] = 4, 4, 4
    image[1, :, :8] = 9  # rock on the left
    profile = {"height": 64, "width": 48, "count": 4, "dtype": "float32"}
    place = {"crs": "EPSG:3413", "transform": rasterio.Affine(80, 0, 0, 0, -80, 0)}
    with rasterio.open("a.tif", "w", driver="GTiff", **profile, **place) as file:
        file.write(image)
        file.descriptions = ("a", "b", "c", "d")
    seen, write = [], module.write_line_maps

    def watched(prob, classes, *others):
        seen.append((prob.shape, tuple(classes)))
        return write(prob, classes, *others)

    monkeypatch.setattr(module, "write_line_maps", watched)
    assert main(["predict", model, "a.tif", "-o", "maps", "--products", ""]) == 0
    assert seen == [((64, 48, 3), ("front", "sea", "glacier"))]
    with rasterio.open("maps/a_line.tif") as file:
        rows, cols = np.nonzero(file.read(1))
        assert float(file.tags()["confidence"]) > 0.8
    assert set(rows.tolist()) == {30} and 6 <= cols.min() <= 10 and cols.max() == 47


def test_a_line_whose_sides_no_head_knows_is_refused(model):
    with pytest.raises(ValueError, match="'melange'"):
        Predictor(model, line=LineRule("front", ("sea", "melange")))
