"""What stands beside an exported network: its card, and an item for catalogues."""

import json
from pathlib import Path

import jsonschema
import keras
import pystac
import pystac.validation
import pytest
from pystac.extensions.mlm import MLMExtension

from arcticdl.inference.exports.card import MLM, beside, mlm_item, write_cards
from arcticdl.inference.exports.formats import FORMATS
from arcticdl.models.card import Card, get_card

CARD = {
    "bands": ["HH", "HV"],
    "normalizer": None,
    "tile_size_px": 64,
    "heads": {
        "ice": {
            "task": "segmentation",
            "classes": ["water", "ice", "land"],
            "colors": ["#0064ff", "#ffffff", "#aaaaaa"],
        },
        "sic": {"task": "regression", "num_outputs": 1, "units": "%"},
        "kind": {"task": "classification", "classes": ["summer", "winter"]},
    },
}
TASKS = {
    "ice": "semantic-segmentation",
    "kind": "scene-classification",
    "sic": "regression",
}
# By hand from the text of version 1.4 of the extension.
STRUCTURE = {
    "type": "object",
    "required": ["shape", "dim_order", "data_type"],
    "properties": {
        "shape": {"type": "array", "items": {"type": "integer", "minimum": -1}},
        "dim_order": {
            "type": "array",
            "uniqueItems": True,
            "items": {"enum": ["batch", "height", "width", "channel", "class"]},
        },
        "data_type": {"const": "float32"},
    },
}
SCHEMA = {
    "type": "object",
    "required": [
        "mlm:name", "mlm:architecture", "mlm:tasks", "mlm:input", "mlm:output",
    ],
    "properties": {
        "mlm:name": {"pattern": "^[a-zA-Z][a-zA-Z0-9_.-]+[a-zA-Z0-9]$"},
        "mlm:tasks": {"type": "array", "uniqueItems": True, "minItems": 1},
        "mlm:total_parameters": {"type": "integer", "minimum": 0},
        "mlm:input": {
            "type": "array",
            "items": {
                "required": ["name", "bands", "input"],
                "properties": {"input": STRUCTURE},
            },
        },
        "mlm:output": {
            "type": "array",
            "items": {
                "required": ["name", "tasks", "result"],
                "properties": {"result": STRUCTURE},
            },
        },
    },
}  # fmt: skip


@pytest.fixture(scope="module")
def model():
    image = keras.Input((None, None, 2))
    dense = keras.layers.Conv2D(3, 1, name="ice")(image)
    value = keras.layers.Conv2D(1, 1, name="sic")(image)
    whole = keras.layers.GlobalAveragePooling2D(name="kind")(image)
    outputs = {"ice": Card(CARD)(dense), "sic": value, "kind": whole}
    return keras.Model(image, outputs, name="unet_resnet18")


@pytest.mark.parametrize("file", ["ice.onnx", "1.onnx", "my ice_saved"])
@pytest.mark.parametrize("kind", sorted(FORMATS))
def test_the_item_is_one_of_stac_and_of_the_extension(model, file, kind):
    item = mlm_item(model, file, kind, normalized=False)
    assert pystac.validation.validate_dict(item, extensions=[])
    jsonschema.validate(item["properties"], SCHEMA)
    read = pystac.Item.from_dict(item)
    told = MLMExtension.ext(read)
    assert MLM in read.stac_extensions
    assert told.architecture == "unet_resnet18" and told.total_parameters == 12
    assert told.tasks == sorted(TASKS.values())
    (asset,) = read.assets.values()
    assert asset.roles == ["mlm:model"] and asset.extra_fields["mlm:artifact_type"]
    assert asset.href == f"./{file}"


def test_the_command_offers_every_format():
    from arcticdl.cli.use import Format

    assert [told.value for told in Format] == list(FORMATS)


def test_the_item_tells_bands_shapes_and_classes(model):
    item = mlm_item(model, "ice.onnx", "onnx", normalized=True)
    properties, asset = item["properties"], item["assets"]["model"]
    (given,) = properties["mlm:input"]
    assert given["bands"] == [band["name"] for band in asset["bands"]]
    assert given["input"]["shape"] == [-1, -1, -1, 2]
    assert "scaled as the card says" in given["description"]
    answers = {told["name"]: told for told in properties["mlm:output"]}
    assert {name: told["tasks"] for name, told in answers.items()} == {
        name: [task] for name, task in TASKS.items()
    }
    for name, told in answers.items():
        tensor = model.output[name]
        assert told["result"]["shape"] == [-1 if s is None else s for s in tensor.shape]
        assert len(told["result"]["dim_order"]) == len(tensor.shape)
    assert answers["ice"]["classification:classes"][0] == {
        "value": 0, "name": "water", "color_hint": "0064FF",
    }  # fmt: skip
    assert answers["sic"]["classification:classes"] == []
    assert "in %" in answers["sic"]["description"]


def test_the_card_is_that_of_the_model(model, tmp_path):
    exported = tmp_path / "ice.onnx"
    write_cards(model, exported, "onnx", normalized=False)
    card, item = beside(exported)
    assert {path.name for path in tmp_path.iterdir()} == {card.name, item.name}
    assert json.loads(Path(card).read_text()) == {
        "file": "ice.onnx",
        "format": "onnx",
        "input": "source units",
        "card": get_card(model),
    }
