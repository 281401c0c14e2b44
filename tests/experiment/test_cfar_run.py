"""A constant false-alarm rate beside a detector, from a configuration."""

import json
from pathlib import Path

import numpy as np
import pytest

from arcticdl import boxes, metrics, tiles
from arcticdl.cli import main
from arcticdl.config import load_config
from arcticdl.errors import ConfigError
from arcticdl.evaluation.baselines.cfar import RATES, cfar_baseline, choose_cfar
from arcticdl.experiment.data.prepared import open_prepared
from arcticdl.seaice import cfar
from arcticdl.seaice.sar import equivalent_looks, from_db
from arcticdl.simulate import iceberg_scene
from arcticdl.tasks import read_head

TINY = [
    "model.backbone=plain",
    "model.options={backbone_options: {width: 4, depth: 3}, "
    "detector_options: {levels: [2, 3], channels: 8, depth: 1}}",
    "train.epochs=1",
    "train.batch_size=1",
    "train.augment=[]",
    "tiles.size_px=64",
    "folds.n_splits=2",
]
SETTINGS = [word for text in TINY for word in ("--set", text)]
HEAD = {"task": "oriented_detection", "classes": ["iceberg"]}


@pytest.fixture(scope="module")
def seas(tmp_path_factory):
    """Simulated scenes, and a store of them; the first three train."""
    scenes = [iceberg_scene(128, 2, index=k, num_icebergs=5) for k in range(5)]
    store = tiles.prepare(
        scenes,
        tmp_path_factory.mktemp("seas") / "s.tiles",
        tile_size_px=64,
        progress=False,
    )
    names = [scene.attrs["scene_id"] for scene in scenes]
    own = store.manifest["scene_id"].isin(names[:3]).to_numpy()
    return scenes, store, np.flatnonzero(own), np.flatnonzero(~own)


def found_in(scene, band, looks, rate):
    """Truth, boxes and scores of a scene, from its pixels alone."""
    power = from_db(scene["image"].values[band])
    ratio = cfar.cfar_ratio(power, looks, false_alarm_rate=rate)
    targets = cfar.bright_objects(ratio, min_px=3)
    found = boxes.boxes_from_polygons(targets["points"])
    return scene["icebergs"].values, found, targets["scores"]


def ap50(images):
    return metrics.average_precision(metrics.match_objects(images, 1))[0, 0]


def test_training_scenes_choose_what_serves_them_best(seas):
    scenes, store, train, _ = seas
    chosen = choose_cfar(store, train, store.labels["icebergs"])
    tried = {}
    for band in (0, 1):
        power = [from_db(s["image"].values[band]) for s in scenes[:3]]
        looks = float(np.median([equivalent_looks(p) for p in power]))
        for rate in RATES:
            images = [found_in(s, band, looks, rate) for s in scenes[:3]]
            tried[band, rate] = ap50(images)
        if band == chosen.band:
            assert chosen.looks == pytest.approx(looks, rel=1e-4)
    best = max(tried.values())
    assert tried[chosen.band, chosen.rate] == pytest.approx(best, abs=1e-6)
    assert chosen.count_ratio > 1


def test_its_scores_are_those_of_the_test_scenes_alone(seas):
    scenes, store, train, test = seas
    info, head = store.labels["icebergs"], read_head("icebergs", HEAD)
    (result,) = cfar_baseline(store, train, test, info, head).values()
    chosen = choose_cfar(store, train, info)
    given = chosen.band, chosen.looks, chosen.rate
    images = [found_in(scene, *given) for scene in scenes[3:]]
    assert result["scores"]["ap50"] == pytest.approx(ap50(images), abs=1e-6)
    counted = sum((s >= chosen.count_ratio).sum() for _, _, s in images)
    assert result["counts"]["found"] == counted
    assert result["title"].startswith("CFAR on H")


def test_the_configuration_of_icebergs_trains_and_refuses_several_classes(
    tmp_path, monkeypatch, project_root
):
    monkeypatch.chdir(tmp_path)
    config = str(project_root / "configs" / "icebergs.yaml")
    schema = ["--schema", "icebergs", "--scenes", "2", "--size", "64"]
    assert main(["simulate", "data/icebergs", *schema]) == 0
    assert main(["prepare", config, *SETTINGS]) == 0
    assert main(["train", config, "--fold", "0", *SETTINGS]) == 0
    split = json.loads(Path("runs/icebergs/fold0/split.json").read_text())
    assert len(split["train"]) == len(split["test"]) == 1
    ships = ["data.labels.icebergs.classes=[iceberg, ship]", "tiles.store=ships.tiles"]
    ships += ["data.labels.icebergs.options={attribute: kind}"]
    further = [word for text in ships for word in ("--set", text)]
    assert main(["prepare", config, *SETTINGS, *further]) == 0
    with pytest.raises(ConfigError, match="needs one class and backscatter in dB"):
        open_prepared(load_config(config, [*TINY, *ships]))
