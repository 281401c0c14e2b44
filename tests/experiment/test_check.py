"""The second check: options against signatures, with their path, before any data."""

import pytest
import yaml

from arcticdl.config import load_config
from arcticdl.errors import ConfigError
from arcticdl.experiment import check_network, check_options, train
from arcticdl.experiment.check import check_preparation

LABEL = {"file": {"replace": {"images": "masks"}}, "classes": ["water", "ice"]}
SIC = {"file": {"replace": {"images": "sic"}}}
CELL = "options: {backbone_options: {cell_px: 16}}"
MINIMAL = {
    "name": "x",
    "data": {"scenes": "*.tif", "labels": {"ice": LABEL, "sic": SIC}},
    "model": {"backbone": "plain"},
}


@pytest.fixture
def load(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "config.yaml"
    path.write_text(yaml.safe_dump(MINIMAL))

    def loaded(*overrides):
        config = load_config(path, [o for o in overrides if not o.startswith("data=")])
        for text in overrides:
            if text.startswith("data="):  # beside the scenes and labels that are there
                keys = yaml.safe_load(text.removeprefix("data="))
                tree = {**MINIMAL, "data": {**MINIMAL["data"], **keys}}
                path.write_text(yaml.safe_dump(tree))
                config = load_config(path)
        return config

    return loaded


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("model.options={stile: {norm: group}}", r"`model\.options\.stile`.*'style'"),
        ("model.options={regularization: {droput: 0.1}}", r"\.droput`.*'dropout'"),
        ("model.options={regularization: {dropout: lots}}", r"\.dropout`: .*number"),
        ("model.options={style: batch}", r"`model\.options\.style`: "),
        ("model.options={fork: 3}", r"`model\.options\.fork` is set"),
        ("model.options={bands: [HH]}", r"`model\.options\.bands` is set by"),
        ("model.options={backbone_options: {widht: 4}}", r"backbone_options\.widht"),
        ("model.options={backbone_options: {num_bands: 4}}", r"num_bands` is set by"),
        ("model.options={decoder_options: {chanels: [4]}}", "Did you mean 'channels'"),
        ("model.options={decoder_options: {channels: 4}}", "channels`: .*array|tuple"),
        ("loss={name: DiceFocal, options: {gama: 2}}", r"`loss\.options\.gama`"),
        ("loss={name: DiceFocal, options: {gamma: two}}", r"`loss\.options\.gamma`"),
        (
            "train.metrics=[{name: F1, options: {averag: micro}}]",
            r"metrics\.0\.options",
        ),
        ("train.metrics=[{name: F1, options: {num_classes: 9}}]", "is set by"),
        ("train.optimizer={name: SGD, options: {momentm: 1}}", "'momentum'"),
        ("train.optimizer={name: SGD, options: {learning_rate: 1}}", "is set by"),
        ("train.optimizer={name: SGD, options: {clipvalue: 0.5}}", "one way only"),
        (
            "train.optimizer={name: SGD, options: {gradient_accumulation_steps: 2}}",
            "is set by",
        ),
        ("train.schedule={name: step, options: {factr: 1}}", "'factor'"),
        ("train.schedule={name: step, options: {factor: 2}}", "`factor` must be"),
        ("train.sampler={name: rarity, options: {powr: 1}}", "'power'"),
        ("folds.splitter={name: block}", r"must give \['block_size'\]"),
        ("folds.splitter={name: group, options: {bufer: 1}}", "'buffer'"),
        ("folds.splitter={name: group, options: {n_splits: 5}}", "is set by"),
        # Refused when a training began, or never.
        (
            "folds.splitter={name: block, options: {block_size: -10}}",
            r"`folds\.splitter\.options`: `block_size` must be above 0",
        ),
        ("folds.splitter={name: group, options: {buffer: -1}}", "`buffer` must be at"),
        ("folds.splitter={name: time, options: {gap_days: -1}}", "`gap_days` must"),
        ("folds.splitter={name: hold_out, options: {test_fraction: 1}}", "between 0"),
        ("folds.splitter={name: nested, options: {inner_splits: 1}}", "at least 2"),
        ("train.sampler={name: rarity, options: {power: -1}}", "`power` must be at"),
        (
            "train.sampler={name: class_balance, options: {size: 0}}",
            r"`train\.sampler\.options`: `size` must be at least 1",
        ),
        ("train.sampler={name: curriculum, options: {num_epochs: 0}}", "`num_epochs`"),
        ("train.sampler={name: rarity, options: {power: lots}}", r"power`: .*number"),
        (
            "predict.postprocess=[{name: sieve, options: {min: 2}}]",
            r"postprocess\.0\.opt",
        ),
        ("predict.postprocess=[{name: opening, options: {of: icy}}]", "'ice'"),
        ("predict.thresholds={icy: 0.5}", "'ice'"),
        ("train.augment=[{name: hflip, q: 1}]", r"`train\.augment\.0\.q`"),
        ("train.augment=[{name: hflip, bands: [HH]}]", r"augment\.0\.bands"),
        ("train.augment=[{name: crop}]", "must give .*size_px"),
        # Known to the steps alone, which were built when a training began.
        ("train.augment=[{name: hide_patches, share: 1.0}]", r"augment\.0`.*below 1"),
        ("train.augment=[{name: hflip, p: 1.5}]", r"augment\.0`.*`p`"),
        (
            "train.augment=[{name: rotate, degrees: [9, 3]}]",
            r"augment\.0`.*low <= high",
        ),
        ("train.augment=[{name: noise, bands: HH}]", r"0\.bands` must be a list"),
        ("train.augment=[{name: style, beta: [0, 2]}]", r"augment\.0`.*beta"),
        ("train.augment=[{name: crop, size_px: 300}]", r"augment`.*fit into the tile"),
        ("train.augment=[{name: hide_patches, patch_px: 256}]", "two patches"),
        ("train.augment=[{name: mixup}]", r"augment`.*needs `num_classes`"),
        ("loss={name: DiceFocal, options: {gamma: -1}}", r"`loss\.options`.*gamma"),
        ("heads={ice: {options: {size: 3}}}", "takes 'num_classes'"),
        ("heads={sic: {task: dense_quantile, options: {quantiles: [2]}}}", "rise"),
        ("data={reader: geotiff, reader_options: {pge: 1}}", r"reader_options\.pge"),
        ("data={reader: geotiff, reader_options: {bands: [a]}}", "is set by"),
        (
            "data={reader: geotiff, reader_options: {page: one}}",
            r"reader_options\.page",
        ),
        # Refused when scenes were cut, and when a trained run was to be scored.
        ("tiles.overlap_px=256", r"`tiles`: `overlap_px` must be"),
        ("predict.overlap_px=256", r"`predict`: `overlap_px` must be"),
        ("predict={tile_size_px: 64, overlap_px: 64}", r"`predict`: `overlap_px`"),
        ("data={grid: {crs: 'EPSG:99999', resolution_m: 40}}", r"`data\.grid`: `crs`"),
        ("model.weights=absent/x.weights.h5", "there is no file absent/x.weights.h5"),
        ("model.weights=runs/old/fold0/model.keras", "begins by `model.warm_start:"),
        ("model.weights=../..", "begins by `model.warm_start: runs/NAME`"),
    ],
)
def test_an_option_that_nothing_takes_is_refused_before_any_data(
    load, override, message
):
    config = load(override)
    with pytest.raises((ValueError, FileNotFoundError), match=message):
        check_options(config)


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("backbone: superpixel_graph, decoder: linear, OPTIONS: {cell_px: 12}", "cell"),
        ("backbone: superpixel_graph, decoder: linear, OPTIONS: {num_steps: 0}", "num"),
        ("backbone: superpixel_graph, decoder: linear, OPTIONS: {depth: 0}", "depth"),
        ("backbone: plain, OPTIONS: {depth: -1}", "depth"),
        ("backbone: plain, options: {decoder_options: {channels: []}}", "channels"),
    ],
)
def test_numbers_of_a_network_are_refused_before_any_data(load, override, message):
    """They were when a training began, after tiles had been prepared."""
    given = override.replace("OPTIONS: {", "options: {backbone_options: {")
    given += "}" * (given.count("{") - given.count("}"))
    config = load(f"model={{{given}}}")
    check_options(config)
    with pytest.raises(ConfigError, match=rf"`model\.options`: .*{message}"):
        check_network(config)


def test_a_graph_of_one_superpixel_is_refused_before_any_data(load):
    graph = "model={backbone: superpixel_graph, decoder: linear}"
    check_preparation(load(graph, "tiles.size_px=[8, 9]"))
    for sets in (["tiles.size_px=8"], ["tiles.size_px=16", f"{graph[:-1]}, {CELL}}}"]):
        with pytest.raises(ConfigError, match="which is one superpixel"):
            check_preparation(load(graph, *sets))


def test_blocks_that_are_not_there_are_told_before_any_data(load, monkeypatch):
    check_network(load("train.remat=true"))

    def none(model):
        raise TypeError(f"Received: {model.name!r}, with none.")

    monkeypatch.setattr("arcticdl.training.remat_blocks", none)
    check_network(load())
    with pytest.raises(ConfigError, match=r"`train\.remat` .* that of plain has none"):
        check_network(load("train.remat=true"))


def test_a_code_of_more_numbers_than_the_input_is_refused_before_any_data(load):
    label = "{band: [HH, HV], restores: [HH, HV], units: dB}"
    sets = [
        "label=null", "data.use_bands=[HH, HV]", f"data.labels={{bands: {label}}}",
        "task=dense_regression", "loss=MeanSquaredError", "model.backbone=plain",
        "predict.postprocess=[]", "predict.thresholds={}", "predict.products=[]",
    ]  # fmt: skip
    sets += ["model.options={backbone_options: {width: 4, depth: 2}}"]
    check_network(load(*sets, "model.options.latent.size=32"))  # 4 x 4 px of two bands
    with pytest.raises(ConfigError, match=r"32 numbers\. Received: latent\.size=33"):
        check_network(load(*sets, "model.options.latent.size=33"))


def test_the_networks_of_all_examples_can_be_built(project_root, monkeypatch):
    """That of the winning recipe could not, for its decoder lacked a level."""
    monkeypatch.setenv("ARCTICDL_SAMPLE_DATA", "data")
    for path in sorted((project_root / "configs").glob("*.yaml")):
        check_network(load_config(path))


def test_warm_up_is_refused_where_a_schedule_rises_by_itself(load):
    config = load("train.schedule=one_cycle", "train.warmup_fraction=0.1")
    with pytest.raises(ConfigError, match=r"`train\.warmup_fraction` must be null"):
        check_options(config)
    check_options(load("train.schedule=one_cycle"))


def test_training_checks_options_before_it_looks_for_the_store(load, tmp_path):
    with pytest.raises(ConfigError, match="gama"):
        train(load("loss={name: DiceFocal, options: {gama: 2}}"), 0)
    assert [path.name for path in tmp_path.iterdir()] == ["config.yaml"]


@pytest.mark.parametrize(
    "overrides",
    [
        [
            "model.options={regularization: {dropout: 0.1}, style: {norm: group}, "
            "backbone_options: {width: 4, depth: 2}}"
        ],
        ["model={backbone: swin_t, options: {backbone_options: {depths: [2, 2]}}}"],
        ["model.decoder=deeplabv3plus"],
        ["loss={name: DiceFocal, options: {class_weights: [1, 3], gamma: 1}}"],
        ["train.augment=[{name: noise, std: [0, 1], p: 0.5, bands: [HH]}]"],
        ["train.optimizer={name: Lion, options: {beta_1: 0.95}}"],
        ["train.optimizer=SGD", "train.layer_decay=0.7"],
        ["train.optimizer=Adam", "train.accumulate=4"],
        [
            "train.optimizer={name: SGD, options: {clipvalue: 1}}",
            "train.clip_norm=null",
        ],
        ["folds.splitter={name: block, options: {block_size: 1e4, buffer: 1e3}}"],
        ["data={reader: geotiff, reader_options: {page: 2, sensor: toy}}"],
        ["folds.splitter={name: hold_out, options: {test_fraction: 0.3}}"],
        ["heads={ice: {task: dense_ordinal}, sic: {options: {dropout: 0.1}}}"],
        ["label=sic", "task=dense_quantile"],
    ],
)
def test_what_fits_passes(load, overrides):
    check_options(load(*overrides))
