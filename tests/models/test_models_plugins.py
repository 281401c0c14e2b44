"""Packages beside this one add backbones, decoders and steps; a broken one is named."""

import sys

import numpy as np
import pytest

from arcticdl import plugins
from arcticdl.augment import build_policy
from arcticdl.choices import check_choice
from arcticdl.doctor import extensions
from arcticdl.errors import PluginError
from arcticdl.models import BACKBONES, DECODERS, build_segmenter

MODULE = """
from arcticdl.augment import Batch
from arcticdl.models import Backbone, Decoded, Decoder


def build_stripes(name, num_bands, *, width=4):
    import keras

    image = keras.Input((None, None, num_bands))
    half = keras.layers.Conv2D(width, 3, 2, padding="same")(image)
    return keras.Model(image, {"P1": half, "P2": keras.layers.MaxPool2D(2)(half)})


def decode_last(features, *, norm=None, activation="relu"):
    return Decoded(features["P2"], level=2, kernel_size=1)


class Negative:
    def __init__(self, p=0.5):
        self.p = p

    def apply(self, batch, rng):
        return Batch(-batch.image, batch.labels, batch.valid)


STRIPES = Backbone(build_stripes)
LAST = Decoder(decode_last, lambda levels: levels[-1:])


def make_text(p=1.0):
    return "no step"
"""
ENTRIES = """
[arcticdl.backbones]
stripes = {name}:STRIPES
[arcticdl.decoders]
last = {name}:LAST
[arcticdl.augmentations]
negative = {name}:Negative
text = {name}:make_text
"""


@pytest.fixture
def install(tmp_path, monkeypatch):
    """Puts a distribution of that name, with these entry points, on the path."""

    def put(name, entries):
        info = tmp_path / name / f"{name}-1.0.dist-info"
        info.mkdir(parents=True)
        (tmp_path / name / f"{name}.py").write_text(MODULE)
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\n")
        (info / "entry_points.txt").write_text(entries.format(name=name))
        monkeypatch.syspath_prepend(str(tmp_path / name))

    yield put
    plugins._scan.cache_clear()
    for name in ("australis", "auroral"):
        sys.modules.pop(name, None)


def test_a_package_adds_a_backbone_and_a_decoder_that_models_are_built_of(install):
    install("auroral", ENTRIES)
    assert "stripes" in sorted(BACKBONES) and "last" in sorted(DECODERS)
    model = build_segmenter(
        "stripes", "last", num_bands=2, num_classes=3, backbone_options={"width": 6}
    )
    assert model.get_layer("backbone").output["P2"].shape[-1] == 6
    assert model(np.zeros((1, 9, 14, 2), "float32")).shape == (1, 9, 14, 3)
    with pytest.raises(ValueError, match=r"has the options \['width'\]"):
        build_segmenter(
            "stripes", num_bands=2, num_classes=3, backbone_options={"depth": 1}
        )


def test_a_package_adds_a_step_of_augmentation(install):
    install("auroral", ENTRIES)
    policy = build_policy([{"name": "negative", "p": 1.0}])
    image = np.arange(8, dtype="float32").reshape(1, 2, 2, 2)
    valid = np.ones((1, 2, 2), bool)
    out, _, _ = policy(image, {}, valid, np.random.default_rng(0))
    np.testing.assert_array_equal(out, -image)
    with pytest.raises(PluginError, match="must make a step with `p`"):
        build_policy([{"name": "text"}])


def test_the_doctor_lists_what_packages_add(install):
    assert extensions.check_plugins().message == "none installed"
    install("auroral", ENTRIES)
    finding = extensions.check_plugins()
    assert finding.status == "ok"
    assert "backbones stripes of auroral (auroral:STRIPES)" in finding.message


@pytest.mark.parametrize(
    ("entries", "message"),
    [
        ("[arcticdl.decoders]\nlast = {name}:NONE\n", "cannot be loaded: Attribute"),
        ("[arcticdl.decoders]\nlast = nowhere:NONE\n", "No module named 'nowhere'"),
        ("[arcticdl.backbones]\nmine = {name}:build_stripes\n", "be a Backbone"),
        ("[arcticdl.decoders]\nunet = {name}:LAST\n", "names 'unet'"),
    ],
    ids=["no attribute", "no module", "another kind", "taken name"],
)
def test_a_broken_package_is_named_by_the_doctor_and_where_it_is_used(
    entries, message, install
):
    install("auroral", entries)
    finding = extensions.check_plugins()
    assert finding.status == "fail" and finding.way_out.startswith("uninstall")
    assert "auroral" in finding.message and message in finding.message
    table = BACKBONES if "backbones" in entries else DECODERS
    name = entries.split("\n")[1].split(" ")[0]
    with pytest.raises(PluginError, match="auroral"):
        check_choice("choice", name, table)
        table[name]


def test_two_packages_that_claim_one_name_are_both_named(install):
    install("auroral", "[arcticdl.decoders]\nlast = {name}:LAST\n")
    install("australis", "[arcticdl.decoders]\nlast = {name}:LAST\n")
    with pytest.raises(PluginError, match=r"(?=.*auroral)(?=.*australis)"):
        check_choice("decoder", "unet", DECODERS)
    message = extensions.check_plugins().message
    assert "australis" in message and message.count("Two plug-ins") == 1


def test_the_doctor_knows_every_group_that_is_looked_at():
    assert set(extensions.TABLES) == set(plugins.GROUPS)
    for group, where in extensions.TABLES.items():
        assert extensions._table(where).group == group
