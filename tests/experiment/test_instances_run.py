"""Floes one by one: trained, mapped, taken apart, scored and reported."""

import json
from pathlib import Path

import geopandas
import numpy as np
import pytest
import rasterio

from arcticdl import experiment, metrics
from arcticdl.cli import main
from arcticdl.config import load_config
from arcticdl.errors import ConfigError

TINY = [
    "model.options={backbone_options: {width: 4, depth: 2}, "
    "decoder_options: {channels: [8, 4]}}",
    "train.epochs=4",
    "train.batch_size=4",
    "train.learning_rate=0.02",
    "train.augment=[]",
    "tiles.size_px=64",
    "folds.n_splits=2",
    "folds.group=scene_id",
]
SETTINGS = [word for text in TINY for word in ("--set", text)]


@pytest.fixture(scope="module")
def floes_run(tmp_path_factory, project_root):
    """A run of ``configs/floes.yaml`` in small, evaluated and mapped."""
    folder = tmp_path_factory.mktemp("floes")
    config = str(project_root / "configs" / "floes.yaml")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        schema = ["--schema", "floes", "--scenes", "2", "--size", "96"]
        assert main(["simulate", "data/floes", *schema]) == 0
        assert main(["prepare", config, *SETTINGS]) == 0
        assert main(["train", config, "--fold", "0", *SETTINGS]) == 0
        assert main(["evaluate", "runs/floes"]) == 0
        assert main(["predict", "runs/floes"]) == 0
        assert main(["report", "runs/floes"]) == 0
    return folder / "runs" / "floes"


def test_what_is_scored_is_what_is_mapped(floes_run):
    summary = json.loads((floes_run / "summary.json").read_text())
    found = summary["instances"]
    assert found["rule"]["of"] == ["floe"]
    assert len(found["images"]) == 1
    for image in found["images"]:
        name = image["image_id"]
        with rasterio.open(floes_run / "maps" / f"{name}_instances.tif") as file:
            mapped = file.read(1)
        truth = floes_run.parents[1] / "data" / "floes" / f"{name}_floes.tif"
        with rasterio.open(truth) as file:
            numbers = file.read(1).astype(int)
        right = metrics.panoptic_counts(numbers, mapped)
        np.testing.assert_allclose(image["separated"], right, rtol=1e-6)
        frame = geopandas.read_file(floes_run / "maps" / f"{name}_instances.gpkg")
        assert len(frame) == mapped.max() > 0
        assert frame["score"].between(0, 1).all()
    counts = [metrics.PanopticCounts(*i["separated"]) for i in found["images"]]
    pooled = metrics.panoptic_quality(counts)
    apart = found["methods"]["separated"]
    assert apart["pq"] == pytest.approx(pooled["pq"])
    assert apart["num_found"] >= found["methods"]["connected"]["num_found"]


def test_the_report_tells_them_beside_connected_parts(floes_run):
    page = (floes_run / "report.html").read_text()
    assert "Object by object" in page
    assert "taken apart" in page
    summary = json.loads((floes_run / "summary.json").read_text())
    lines = experiment.headline(summary)
    assert [line for line in lines if "taken apart" in line and "objects found" in line]
    assert [line for line in lines if "connected parts" in line]


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ("predict.products=[png]", "add it to `predict.products`"),
        ("instances=ice", "one quantity of each pixel"),
        ("instances=flows", "instances"),
        (
            "predict.products=[{name: instances, options: {of: [pond]}}]",
            "no label that is learnt has these classes",
        ),
        (
            "predict.products=[{name: instances, options: {of: [floe], neck: 1}}]",
            "max_neck",
        ),
        (
            "predict.products=[{name: instances, options: {of: [floe]}}, "
            "{name: instances, options: {of: [water]}}]",
            r"got \['instances'\] twice",
        ),
    ],
)
def test_objects_that_could_not_be_scored_are_refused(project_root, settings, says):
    from arcticdl.experiment.check import check_options

    path = project_root / "configs" / "floes.yaml"
    with pytest.raises(ConfigError, match=says):
        check_options(load_config(path, [settings]))


def test_a_store_without_the_numbers_is_refused(floes_run, project_root, monkeypatch):
    monkeypatch.chdir(floes_run.parents[1])
    from arcticdl.experiment.data.prepared import open_prepared

    config = load_config(Path("runs/floes/config.yaml"))
    labels = config.data.labels | {"others": config.data.labels["floes"]}
    data = config.data.model_copy(update={"labels": labels})
    asked = config.model_copy(update={"data": data, "instances": "others"})
    with pytest.raises(ConfigError, match=r"prepared without.*'others'.*--overwrite"):
        open_prepared(asked)


def test_another_store_without_numbers_is_scored_by_pixels_alone(
    floes_run, project_root, monkeypatch
):
    monkeypatch.chdir(floes_run.parents[1])
    schema = ["--schema", "floes", "--scenes", "1", "--size", "64", "--seed", "7"]
    assert main(["simulate", "data/other", *schema]) == 0
    config = str(project_root / "configs" / "floes.yaml")
    words = ["instances=null", "data.scenes=data/other/*[0-9].tif",
             "tiles.store=data/other.tiles"]  # fmt: skip
    other = [word for text in words for word in ("--set", text)]
    assert main(["prepare", config, *SETTINGS, *other]) == 0
    assert main(["evaluate", "runs/floes", "--data", "data/other.tiles"]) == 0
    (result,) = floes_run.glob("fold0/metrics_other.json")
    assert "instances" not in json.loads(result.read_text())
