"""Lines beside maps: of the right classes, and of no more of them than are needed."""

import shutil
from pathlib import Path

import keras
import numpy as np
import pytest
import rasterio
import yaml
from PIL import Image

from arcticdl.cli import main
from arcticdl.experiment import evaluate, headline
from arcticdl.experiment import products as module
from arcticdl.inference import LineRule, Predictor
from arcticdl.models import build_segmenter, get_card, set_card
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

    # The picture shows the line: each of its pixels, in both panels, and its name.
    assert main(["predict", model, "a.tif", "-o", "maps", "--resume"]) == 0
    sheet = np.asarray(Image.open("maps/a.png"))
    drawn = (sheet == (0xD4, 0x14, 0x5A)).all(-1)
    zoom = 480 // 64
    across = drawn.sum(axis=1).max()
    # The graticule lies over a few of them.
    assert 1.9 * len(cols) * zoom <= across <= 2 * (len(cols) + 1) * zoom
    assert main(["predict", model, "a.tif", "-o", "b.tif"]) == 0
    np.testing.assert_array_equal(np.asarray(Image.open("b.png")) == sheet, True)


def test_a_line_whose_sides_no_head_knows_is_refused(model):
    with pytest.raises(ValueError, match="'melange'"):
        Predictor(model, line=LineRule("front", ("sea", "melange")))


PLACE = {"crs": "EPSG:3413", "transform": rasterio.Affine(80, 0, 0, 0, -80, 0)}
SEEN = np.zeros((4, 64, 48), "float32")  # the sea meets a glacier in row 30
SEEN[2, :30], SEEN[3, 30], SEEN[0, 31:] = 6, 6, 6
ROCK = np.stack([np.full((64, 48), 6.0 * (band == 1), "float32") for band in range(4)])
SEA, ROWS = np.full((64, 48), 2, "uint8"), np.arange(64)[:, None]


def drawn(row, columns):
    """A label with a front in some columns of a row."""
    label = np.where(row > ROWS, SEA, 0).astype("uint8")
    label[row, columns] = 3
    return label


SCENES = {
    "found": (SEEN, drawn(32, slice(None))),
    "missed": (ROCK, drawn(32, slice(None))),
    "right": (ROCK, SEA),
    "false": (SEEN, SEA),
    "void": (SEEN, np.full_like(SEA, 255)),
    "void_there": (SEEN, np.where(ROWS == 30, 255, SEA).astype("uint8")),
    "too_short": (SEEN, drawn(32, slice(0, 5))),
}


def test_a_file_is_scored_by_the_line_of_its_card_where_one_is_and_where_not(model):
    for folder in ("scenes", "truth"):
        Path(folder).mkdir()
    for name, (image, label) in SCENES.items():
        for folder, values in (("scenes", image), ("truth", label[None])):
            count, height, width = values.shape
            with rasterio.open(
                f"{folder}/{name}.tif", "w", driver="GTiff", height=height,
                width=width, count=count, dtype=values.dtype, **PLACE,
            ) as file:  # fmt: skip
                file.write(values)
                file.descriptions = tuple("abcd"[:count])
    tree = {
        "name": "lines",
        "data": {
            "scenes": "scenes/*.tif",
            "labels": {
                "ice": {"file": {"replace": {"scenes/": "truth/"}}, "classes": CLASSES}
            },
        },
        "tiles": {"size_px": 32, "store": "lines.tiles"},
    }
    Path("lines.yaml").write_text(yaml.safe_dump(tree))
    assert main(["prepare", "lines.yaml"]) == 0
    found = evaluate(model, data="lines.tiles")
    told = {image["image_id"]: image["extra"] for image in found["images"]}
    assert told["found"]["distance_px"] == pytest.approx(2, abs=0.1)
    metres = 80 * told["found"]["distance_px"]
    assert told["found"]["distance_m"] == pytest.approx(metres)
    assert told["found"]["line_missed"] == 0 and told["missed"]["line_missed"] == 1
    assert told["missed"]["distance_px"] is None
    false = {name: extra.get("line_false") for name, extra in told.items()}
    assert (false["right"], false["false"], false["void_there"]) == (0, 1, 0)
    assert told["false"]["line_confidence"] > 0.8
    assert not told["too_short"] and not told.get("void")
    last = headline(found)[-1].split(maxsplit=1)[1]
    assert last.startswith("median 2.0") and last.endswith(
        f"median {metres:.0f} m, mean {metres:.0f} m, no line in 1 of 2, "
        "a false line in 1 of 3 without one"
    )


@pytest.fixture
def here(run_folder, monkeypatch):
    """The folder of a run."""
    monkeypatch.chdir(run_folder)


@pytest.fixture
def run(here):
    """A run whose configuration and card name a line."""
    config = Path("runs/demo/config.yaml")
    if "line: null" in config.read_text():
        tree = yaml.safe_load(config.read_text())
        tree["predict"]["line"] = "open water"
        config.write_text(yaml.safe_dump(tree))
        path = "runs/demo/fold0/model.keras"
        network = keras.models.load_model(path)
        set_card(network, get_card(network) | {"line": {"name": "open_water"}})
        network.save(path)
    return "runs/demo"


SCENE = "data/demo/simulated_0_000.tif"


def test_a_line_is_switched_off_for_one_call(run, tmp_path, capsys):
    out = str(tmp_path / "a.tif")
    none = ["--set", "predict.line=null"]
    assert main(["predict", run, SCENE, "-o", out, *none]) == 0
    assert not list(tmp_path.glob("*_line.*"))
    # It had no line, so this call cannot say that all is done.
    assert main(["predict", run, SCENE, "-o", out, "--resume"]) == 1
    assert "was made by other models" in capsys.readouterr().err
    assert main(["predict", run, SCENE, "-o", out, "--overwrite"]) == 0
    assert len(list(tmp_path.glob("*_line.*"))) == 2
    # A line of before is not left beside a map that has none.
    assert main(["predict", run, SCENE, "-o", out, *none, "--overwrite"]) == 0
    assert not list(tmp_path.glob("*_line.*"))
    own = tmp_path / "a_line.tif"  # of its user, such as a line drawn by hand
    shutil.copy(SCENE, own)
    assert main(["predict", run, SCENE, "-o", out, *none, "--overwrite"]) == 0
    assert own.read_bytes() == Path(SCENE).read_bytes()
    assert Predictor("runs/demo/fold0/model.keras", line=False).line is None


def test_another_line_is_scored_and_leaves_the_run_as_it_is(run, capsys):
    assert main(["evaluate", run]) == 0
    with_line = capsys.readouterr().out
    kept = {path: path.read_bytes() for path in Path(run).rglob("*.json")}
    assert main(["evaluate", run, "--set", "predict.line=null"]) == 0
    without = capsys.readouterr().out
    assert "distance" in with_line and "distance" not in without
    assert [x for x in with_line.splitlines() if "distance" not in x] == (
        without.splitlines()
    )
    asked = "predict.line={name: open water, between: [young ice, old ice]}"
    found = evaluate(run, overrides=(asked,))
    assert "line_confidence" in found["extra"]
    assert {path: path.read_bytes() for path in Path(run).rglob("*.json")} == kept


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["runs/demo", "predict.thresholds={old_ice: 0.6}"], "scored in another way"),
        (["runs/demo", "train.epochs=3"], "scored in another way"),
        (["runs/demo/fold0/model.keras", "predict.tta=d4"], "no configuration"),
        (["runs/demo", "predict.tta=d4", "--score", "autoice"], "not with --score"),
    ],
)
def test_what_changes_no_score_is_refused(here, words, message, capsys):
    where, text, *more = words
    assert main(["evaluate", where, "--set", text, *more]) != 0
    assert message in capsys.readouterr().err
