"""A detector through the whole house: from a configuration to polygons and a report."""

import json
import shutil

import geopandas
import keras
import numpy as np
import onnxruntime
import pandas as pd
import pytest
import rasterio
import yaml
from affine import Affine

from arcticdl import experiment, inference, losses
from arcticdl.cli import main
from arcticdl.config import load_config
from arcticdl.errors import ConfigError, TaskError
from arcticdl.evaluation import compare_runs
from arcticdl.experiment.check import check_options
from arcticdl.experiment.losses import build_loss
from arcticdl.experiment.network import loss_of, read_heads
from arcticdl.inference.load import load_model
from arcticdl.metrics import coco_scores
from arcticdl.models import DecodeBoxes, get_card

SIZE, SCENES = 64, 6


def draw_scene(rng):
    """A noisy radar-like scene with a few bright bergs, and their boxes."""
    image = rng.normal(60, 8, (1, SIZE, SIZE))
    boxes = []
    for x, y in ((4, 6), (36, 8), (8, 38), (38, 40)):
        if rng.random() < 0.25:
            continue
        width, height = (int(n) for n in rng.integers(9, 18, 2))
        x, y = x + int(rng.integers(0, 6)), y + int(rng.integers(0, 6))
        image[0, y : y + height, x : x + width] += 120
        boxes.append([x, y, width, height])
    return image.clip(0, 255).astype("uint8"), boxes


def write_data(folder):
    rng = np.random.default_rng(3)
    images, annotations = [], []
    for number in range(SCENES):
        pixels, boxes = draw_scene(rng)
        name = f"scene{number}.tif"
        profile = {
            "driver": "GTiff", "height": SIZE, "width": SIZE, "count": 1,
            "dtype": "uint8", "crs": "EPSG:3413",
            "transform": Affine(40, 0, 500_000 + 9000 * number, 0, -40, 800_000),
        }  # fmt: skip
        with rasterio.open(folder / name, "w", **profile) as file:
            file.write(pixels)
        images.append({"id": number, "file_name": name, "width": SIZE, "height": SIZE})
        for box in boxes:
            annotations.append(
                {
                    "id": len(annotations) + 1, "image_id": number, "category_id": 1,
                    "bbox": box, "area": box[2] * box[3], "iscrowd": 0,
                }
            )  # fmt: skip
    truth = {
        "images": images,
        "annotations": annotations,
        "categories": [{"id": 1, "name": "berg"}],
    }
    (folder / "boxes.json").write_text(json.dumps(truth))


def settings_of(folder):
    return {
        "name": "bergs",
        "data": {
            "scenes": f"{folder}/*.tif",
            "bands": ["HH"],
            "labels": {
                "bergs": {
                    "file": f"{folder}/boxes.json",
                    "classes": ["berg"],
                    "boxes": "horizontal",
                }
            },
        },
        "tiles": {"size_px": SIZE},
        "folds": {"n_splits": 3},
        "model": {
            "backbone": "plain",
            "detector": "fcos",
            "options": {
                "backbone_options": {"width": 8, "depth": 3},
                "detector_options": {"levels": [2, 3], "channels": 16, "depth": 1},
            },
        },
        "train": {
            "batch_size": 4, "epochs": 16, "repeats": 2, "learning_rate": 0.01,
            "jit_compile": False, "augment": [{"name": "hflip"}],
        },
        "predict": {"objects": {"count_score": 0.2}},
        "baselines": True,
    }  # fmt: skip


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """Fold 0, trained and scored from the command line."""
    folder = tmp_path_factory.mktemp("bergs")
    write_data(folder)
    (folder / "bergs.yaml").write_text(yaml.safe_dump(settings_of(folder)))
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        assert main(["prepare", "bergs.yaml"]) == 0
        assert main(["train", "bergs.yaml", "--fold", "0"]) == 0
        assert main(["evaluate", "runs/bergs"]) == 0
        assert main(["predict", "runs/bergs"]) == 0
        assert main(["report", "runs/bergs"]) == 0
    return folder / "runs" / "bergs"


def metrics_of(run):
    return json.loads((run / "fold0" / "metrics.json").read_text())


def test_a_detector_learns_what_bergs_are(run):
    result = metrics_of(run)
    assert result["task"] == "detection" and result["scored_by"] == "boxes"
    assert result["scores"]["ap50"] > 0.6 and result["num_images"] == 2
    history = pd.read_csv(run / "fold0" / "history.csv")
    assert history["loss"].iloc[-1] < history["loss"].iloc[0]


def test_a_constant_false_alarm_rate_stands_beside_it(run):
    baselines = metrics_of(run)["baselines"]
    assert set(baselines) == {"cfar"}
    assert baselines["cfar"]["scored_by"] == "boxes"
    assert baselines["cfar"]["num_pixels"] == metrics_of(run)["num_pixels"]
    page = (run / "report.html").read_text()
    assert "Beside the baselines" in page
    assert "cannot be drawn" not in page
    (line,) = (
        text
        for text in experiment.headline(json.loads((run / "summary.json").read_text()))
        if "CFAR on HH" in text
    )
    assert line.endswith("(AP50)")


def test_scores_are_those_of_the_reference_implementation(run):
    result = metrics_of(run)
    images = [{"id": n} for n, _ in enumerate(result["images"])]
    truth, found = [], []
    for number, image in enumerate(result["images"]):
        for cx, cy, w, h, _, _ in image["truth"]:
            truth.append(
                {"image_id": number, "category_id": 1, "area": w * h,
                 "bbox": [cx - w / 2, cy - h / 2, w, h]}
            )  # fmt: skip
        for cx, cy, w, h, _, _, score in image["found"]:
            found.append(
                {"image_id": number, "category_id": 1, "score": score,
                 "bbox": [cx - w / 2, cy - h / 2, w, h]}
            )  # fmt: skip
    reference = {"images": images, "annotations": truth}
    reference["categories"] = [{"id": 1, "name": "berg"}]
    expected = coco_scores(reference, found, iou_type="bbox")
    for key in ("ap", "ap50", "ap75"):
        assert result["scores"][key] == pytest.approx(expected[key], abs=2e-3), key


def test_the_model_is_its_file_and_carries_its_head(run):
    model = load_model(run / "fold0" / "model.keras")
    head = get_card(model)["heads"]["bergs"]
    assert head["task"] == "detection" and head["classes"] == ["berg"]
    assert isinstance(losses.LOSSES["CentreDetection"](), losses.DetectionLoss)


def test_polygons_lie_on_the_bergs_that_were_marked(run):
    files = sorted(path.name for path in (run / "maps").iterdir())
    result = metrics_of(run)
    names = [image["image_id"] for image in result["images"]]
    endings = ("density.tif", "objects.gpkg", "objects.json", "objects.parquet",
               "objects.png")  # fmt: skip
    expected = [f"{name}_{end}" for name in names for end in endings]
    assert files == sorted([*expected, "objects.csv"])
    frame = geopandas.read_file(run / "maps" / f"{names[0]}_objects.gpkg")
    number = int(names[0].removeprefix("scene").split("_")[0].split(".")[0])
    image = result["images"][0]
    best = np.array(image["found"])[0]
    x = 500_000 + 9000 * number + 40 * best[0]
    centre = frame.geometry[0].centroid
    assert frame.crs.to_epsg() == 3413
    assert (centre.x, centre.y) == pytest.approx((x, 800_000 - 40 * best[1]), abs=2)
    told = json.loads((run / "maps" / f"{names[0]}_objects.json").read_text())
    berg = told["classes"]["berg"]
    assert berg["count"] == image["num_found"]
    assert berg["interval"][0] <= berg["count"] <= berg["interval"][1]
    assert told["area_km2"] == pytest.approx((SIZE * 0.04) ** 2, rel=0.06)
    table = pd.read_csv(run / "maps" / "objects.csv")
    assert table["count"].sum() == sum(i["num_found"] for i in result["images"])


def test_the_report_shows_curves_counts_and_misses(run):
    page = (run / "report.html").read_text(encoding="utf-8")
    for words in ("AP50", "What is found, at what price", "How well it counts",
                  "By size and class", "false alarms an image"):  # fmt: skip
        assert words in page, words
    assert "cannot be drawn" not in page


def test_an_exported_detector_finds_the_same_boxes(run):
    assert main(["export", str(run), "--out", str(run / "bergs.onnx")]) == 0
    session = onnxruntime.InferenceSession(run / "bergs.onnx")
    model = load_model(run / "fold0" / "model.keras")
    scene = run.parents[1] / "scene0.tif"
    with rasterio.open(scene) as file:
        image = np.moveaxis(file.read(), 0, -1)[None].astype("float32")
    (found,) = session.run(None, {session.get_inputs()[0].name: image})
    card = get_card(model)["normalizer"]
    scaled = (image - card["offset"]) / card["scale"]
    rows = model.predict(scaled.astype("float32"), verbose=0)
    decode = DecodeBoxes(min_score=0.05, max_overlap=0.5, candidates=400)
    expected = keras.ops.convert_to_numpy(decode(rows))
    assert found.shape == expected.shape == (1, 100, 7)
    sure = expected[0][expected[0, :, 5] > 0.1]
    apart = np.abs(sure[:, None] - found[0][None]).max(-1).min(-1)
    assert len(sure) and apart.max() < 2e-2


def test_a_second_call_replaces_nothing_and_goes_on_if_told(run, capsys):
    with pytest.raises(FileExistsError, match="exist already"):
        experiment.predict(run)
    before = {p: p.stat().st_mtime_ns for p in (run / "maps").glob("*objects.gpkg")}
    written = experiment.predict(run, resume=True)
    assert written[-1].name == "objects.csv"
    assert before == {p: p.stat().st_mtime_ns for p in before}
    with pytest.raises(FileExistsError, match="made by another model or other scores"):
        experiment.predict(
            run, resume=True, overrides=["predict.objects.count_score=0.4"]
        )


def test_turned_boxes_and_anchors_are_learnt_by_their_own_loss(run, tmp_path):
    settings = settings_of(run.parents[1])
    settings["data"]["labels"]["bergs"]["boxes"] = "oriented"
    settings["model"] |= {"detector": "retinanet"}
    settings["loss"] = {"name": "AnchorDetection", "options": {"positive": 0.45}}
    path = tmp_path / "oriented.yaml"
    path.write_text(yaml.safe_dump(settings))
    config = load_config(path)
    check_options(config)
    (head,) = read_heads(config).values()
    assert config.task_of("bergs") == head.task == "oriented_detection"
    loss = build_loss(loss_of(config, "bergs", head), head, "loss.options", None)
    assert loss.oriented and loss.positive == 0.45


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"loss": {"name": "AnchorDetection"}}, "must be CentreDetection"),
        (
            {"loss": {"name": "CentreDetection", "options": {"radios": 2}}},
            "radios",
        ),
        ({"predict": {"line": "berg"}}, "answers with boxes"),
        ({"task": "segmentation"}, "detection"),
        ({"model": {"options": {"decoder_options": {}}}}, "decoder_options"),
        (
            {"model": {"options": {"detector_options": {"colour": 1}}}},
            "detector_options.colour",
        ),
    ],
)
def test_what_a_detector_cannot_be_told_is_refused(run, tmp_path, change, words):
    settings = settings_of(run.parents[1]) | change
    path = tmp_path / "bad.yaml"
    path.write_text(yaml.safe_dump(settings))
    with pytest.raises(ConfigError, match=words):
        check_options(load_config(path))


def test_a_scene_in_which_nothing_is_found_has_its_files_too(run):
    out = run / "none"
    asked = ["predict.objects.min_score=1.0", "predict.objects.count_score=1.0"]
    experiment.predict(run, out=out, overrides=asked)
    (first, *_) = sorted(out.glob("*_objects.gpkg"))
    assert len(geopandas.read_file(first)) == 0
    table = pd.read_csv(out / "objects.csv")
    assert (table["count"] == 0).all() and (table["low"] == 0).all()


def test_runs_that_find_objects_are_not_compared_by_sums(run, tmp_path):
    other = shutil.copytree(run, tmp_path / "other")
    with pytest.raises(ValueError, match="Received: a run scored by 'boxes'"):
        compare_runs([run, other])


def test_what_needs_maps_says_so(run, capsys):
    for words in (["calibrate"], ["label-errors"]):
        assert main([*words, str(run)]) == 1
        assert "error:" in capsys.readouterr().err
    with pytest.raises(TaskError, match="`find_objects` is for models"):
        inference.Predictor(run / "fold0" / "model.keras")


def test_views_products_and_several_models_are_refused(run):
    with pytest.raises(ConfigError, match="this model finds objects"):
        experiment.predict(run, tta="hflip", overwrite=True)
    with pytest.raises(ConfigError, match="name a folder"):
        experiment.predict(run, out=run / "a.tif")


@pytest.mark.real_data
@pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")
def test_seals_of_a_flight_are_not_trained_on(
    real_data, project_root, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    config = str(project_root / "configs" / "seals.yaml")
    changes = (
        f"data.scenes={real_data}/seals/images/*[0-9]5_1920_640*.jpg",
        "data.labels.seals.boxes={absent_images: leave_out, columns: [flight]}",
        "train.epochs=1",
        "train.repeats=4",
        "train.augment=[{name: crop, size_px: 128}]",
    )
    words = [word for text in changes for word in ("--set", text)]
    assert main(["prepare", config, *words]) == 0
    assert main(["train", config, "--fold", "0", *words]) == 0
    split = json.loads((tmp_path / "runs/seals/fold0/split.json").read_text())
    sides = [{"survey2" in name for name in split[part]} for part in ("train", "test")]
    assert all(len(flights) == 1 for flights in sides) and sides[0] != sides[1]
