"""Names are refused at load, without Keras, with their key and the nearest name."""

import subprocess
import sys

import pytest
import yaml

from arcticdl.config import load_config
from arcticdl.config.experiment import Experiment
from arcticdl.errors import ConfigError

LABEL = {"file": {"replace": {"images": "masks"}}, "classes": ["water", "ice"]}
SIC = {"file": {"replace": {"images": "sic"}}}
DATA = {"scenes": "*.tif", "labels": {"ice": LABEL, "sic": SIC}}
MINIMAL = {"name": "x", "data": DATA}


@pytest.fixture
def load(tmp_path):
    path = tmp_path / "config.yaml"
    path.write_text(yaml.safe_dump(MINIMAL))
    return lambda *overrides: load_config(path, overrides)


@pytest.mark.parametrize(
    ("override", "key", "meant"),
    [
        ("model.backbone=resnet17", "model.backbone", "resnet18"),
        ("model.decoder=unett", "model.decoder", "unet"),
        ("model.adapter=by_bands", "model.adapter", "by_band"),
        ("model.weights=imagnet", "model.weights", "imagenet"),
        ("train.normalizer=zscor", "train.normalizer", "zscore"),
        ("train.augment=[{name: hflop}]", "train.augment.0", "hflip"),
        ("train.optimizer=AdamX", "train.optimizer.name", "Adamax"),
        ("train.optimizer={name: adamw}", "train.optimizer.name", "AdamW"),
        ("train.schedule=cosin", "train.schedule.name", "cosine"),
        ("train.sampler=rare", "train.sampler.name", "rarity"),
        ("train.metrics=[MeanIou]", "train.metrics.0.name", "MeanIoU"),
        ("predict.postprocess=[{name: sive}]", "predict.postprocess.0.name", "sieve"),
        ("data.reader=geotif", "data.reader", "geotiff"),
        ("folds.splitter=groups", "folds.splitter.name", "group"),
        ("loss=DiceFokal", "loss.name", "DiceFocal"),
        ("task=segmentaton", "task", "segmentation"),
        ("label=icee", None, "ice"),
        ("heads={ise: {}}", None, "ice"),
        ("heads={ice: {loss: Dise}}", "heads.ice.loss.name", "Dice"),
    ],
)
def test_a_misspelt_name_is_refused_with_its_key_and_what_was_meant(
    load, override, key, meant
):
    with pytest.raises(ConfigError) as refused:
        load(override)
    text = str(refused.value)
    # Of keys that go together no one is to blame: the rule names them.
    start = "is not a valid configuration: " + (f"{key}: " if key else "`")
    assert start in text
    assert f"Did you mean {meant!r}?" in text
    assert text.count("Received: ") == 1
    assert len(text.splitlines()) == 1


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (
            ["model.weights=nope"],
            r"model\.weights: `weights` must be one of .*'imagenet'",
        ),
        (
            ["model.backbone=plain", "model.weights=imagenet"],
            r"model\.weights: .*path of a checkpoint, since 'plain' has none",
        ),
        (["model.weights=resnet50.imagenet"], "must be one of"),
        (["train.augment=[{p: 0.5}]"], r"train\.augment\.0: a step needs its `name`"),
        (["train.augment=[hflip]"], r"train\.augment\.0: .*valid dictionary"),
        (["loss=MeanSquaredError"], "loss of task 'segmentation'.*DiceFocal"),
        (["loss=mypkg.MyLoss"], r"loss\.name: `loss` must be one of"),
        (["label=sic", "loss=DiceFocal"], "loss of task 'dense_regression'"),
        (["label=sic", "task=segmentation"], "task of 'sic'.*a quantity"),
        (["task=dense_regression"], "task of 'ice'.*a class for each pixel"),
        (["train.metrics=[RMSE]"], "metric of task 'segmentation'"),
        (["heads={ice: {}}", "loss=Dice"], r"`heads` says .*\['loss'\]"),
        (["heads={sic: {task: dense_gaussian, loss: Huber}}"], "dense_gaussian"),
        (["label=sic", "train.sampler=rarity"], "counts classes, which 'sic'"),
        (["train.normalizer=constants"], "`constants`.*need each other"),
        (["train.layer_decay=0.8", "train.optimizer=Lion"], "`layer_decay` needs"),
        (["data.rename={group: {a: b}}"], "`attributes` lacks"),
        (["train.learning_rate=.inf"], r"train\.learning_rate: .*finite"),
        (["data.labels.sic.codes={0: 1}"], "need `classes`"),
        (["data.labels.sic.restores=[HH, HV]"], "a band for each of 1 quantities"),
        (["data.labels.sic.outputs=[a, a]"], "must differ"),
        (["data.gaps={share: 0.3}"], "no label has `restores`"),
        (["data.gaps={share: 1}"], r"data\.gaps\.share: .*less than 1"),
        (["model.adversarial={}"], "a label with `restores`"),
        (
            [
                "label=sic",
                "data.labels.sic.restores=[HH]",
                "model.adversarial={weight: 0.1}",
                "train.devices=2",
            ],
            r"\['train.devices'\] do not go with `model.adversarial`",
        ),
        (["model.contrastive={}"], "`train.augment` makes; give it steps"),
        (
            ["model.contrastive={}", "train.augment=[{name: hflip}, {name: mixup}]"],
            r"none of which mixes tiles .*got \['mixup'\]",
        ),
        (["model.contrastive={temperature: 0}"], r"temperature: .*greater than 0"),
        (["model.diffusion={steps: 50}"], "is of the task dense_ensemble"),
        (
            ["label=sic", "task=dense_ensemble", "model.diffusion={steps: 5}"],
            "`sampling_steps` must be at most `steps`, 5; got 20",
        ),
        (
            ["label=sic", "task=dense_ensemble", "model.weights=imagenet"],
            r"\['model.weights'\] do not go with the task dense_ensemble",
        ),
        (
            ["label=sic", "task=dense_ensemble", "predict.tta=d4"],
            r"\['predict.tta'\] do not go .* never averaged",
        ),
        (
            ["label=sic", "task=dense_ensemble", "data.labels.sic.outputs=[a, b]"],
            "draws one quantity",
        ),
        (["data.labels.ice.restores=[HH]"], "of a quantity of each pixel"),
        (
            ["data.labels.ice.rules=[{name: ice, where: {HH: [5, 1]}}]"],
            "must rise from its lowest",
        ),
    ],
)
def test_a_choice_that_does_not_fit_is_refused(load, overrides, message):
    with pytest.raises(ConfigError, match=message):
        load(*overrides)


def test_several_faults_are_told_together_a_line_each(load):
    with pytest.raises(ConfigError) as refused:
        load("model.backbone=resnet17", "model.decoder=unett", "train.epochs=0")
    lines = str(refused.value).splitlines()
    assert [line.split(":")[0].strip() for line in lines[1:]] == [
        "model.backbone",
        "model.decoder",
        "train.epochs",
    ]


@pytest.mark.parametrize(
    "weights", ["a/b.weights.h5", "unet.pth", "imagenet", "resnet18.imagenet"]
)
def test_weights_may_be_a_name_or_have_the_form_of_a_path(load, weights):
    overrides = ("model.backbone=resnet18", f"model.weights={weights}")
    assert load(*overrides).model.weights == weights


def test_a_name_alone_stands_for_a_name_with_options(load):
    short = load("train.optimizer=SGD", "loss=Dice", "train.metrics=[F1]")
    long = load(
        "train.optimizer={name: SGD, options: {}}",
        "loss={name: Dice}",
        "train.metrics=[{name: F1}]",
    )
    assert short == long


def test_one_label_and_several_are_seen_alike(load):
    one = load("label=sic")
    assert {k: one.task_of(k) for k in one.each_head} == {"sic": "dense_regression"}
    both = load("heads={sic: {}, ice: {task: dense_ordinal, weight: 2}}")
    assert {k: both.task_of(k) for k in both.each_head} == {
        "sic": "dense_regression",
        "ice": "dense_ordinal",
    }
    assert both.label_name == "sic"
    assert both.each_head["ice"].weight == 2


def test_the_first_check_loads_no_keras_and_takes_under_a_second(project_root):
    code = (
        "import sys, time\n"
        "begun = time.process_time()\n"
        "from arcticdl.config import load_config\n"
        "load_config('configs/demo.yaml')\n"
        "spent = time.process_time() - begun\n"
        "loaded = {'keras', 'tensorflow', 'xarray', 'rasterio'} & set(sys.modules)\n"
        "assert not loaded, loaded\n"
        "assert spent < 1, spent\n"
    )
    subprocess.run([sys.executable, "-c", code], cwd=project_root, check=True)


def test_every_key_has_a_description():
    def walk(model, path=""):
        from arcticdl.config.explain import sections_in

        for name, field in model.model_fields.items():
            assert field.description, f"{path}{name}"
            assert "\n" not in field.description
            for section in sections_in(field.annotation):
                walk(section, f"{path}{name}.")

    walk(Experiment)
