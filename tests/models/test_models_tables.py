"""The tables of names: they load nothing, and say what the families really have."""

import subprocess
import sys

import pytest

from arcticdl.models import BACKBONES, DECODERS, FUSIONS
from arcticdl.models.backbones import (
    applications,
    convnext,
    mit,
    resnet,
    segmentation_models,
    swin,
    swin_v2,
    vit,
)
from arcticdl.models.backbones.table import FAMILIES
from arcticdl.models.contracts import Backbone, Decoder

SIZES = {
    "applications:EFFICIENTNET": applications.EFFICIENTNETS,
    "applications:MOBILENET": applications.MOBILENETS,
    "convnext:CONVNEXT": convnext.CONVNEXTS,
    "mit:MIT": mit.MITS,
    "plain:PLAIN": ("plain",),
    "resnet:RESNET": resnet.RESNETS,
    "segmentation_models:SM_ENCODER": segmentation_models.SM_BACKBONES,
    "superpixels:SUPERPIXEL_GRAPH": ("superpixel_graph",),
    "swin:SWIN": swin.SWINS,
    "swin_v2:SWIN_V2": swin_v2.SWINS_V2,
    "vit:DINOV3": vit.DINOS,
    "vit:VIT": vit.VITS,
}


def test_every_name_of_a_backbone_has_sizes_in_its_family_and_the_reverse():
    listed = {record: set(names) for record, names in FAMILIES.items()}
    assert listed == {record: set(names) for record, names in SIZES.items()}


@pytest.mark.parametrize("name", sorted(BACKBONES))
def test_every_backbone_is_a_record_with_a_builder(name):
    assert isinstance(BACKBONES[name], Backbone)
    assert callable(BACKBONES[name].build)


@pytest.mark.parametrize("name", sorted(DECODERS))
def test_every_decoder_is_a_record_that_uses_the_coarsest_or_only_the_finest(name):
    entry = DECODERS[name]
    assert isinstance(entry, Decoder)
    for levels in ([1, 2, 3, 4, 5], [0, 1]):
        used = entry.levels(levels)
        assert used[-1] == levels[-1] or used == levels[:1]


@pytest.mark.parametrize("name", sorted(FUSIONS))
def test_every_fusion_can_be_called(name):
    assert callable(FUSIONS[name])


@pytest.mark.parametrize(
    ("name", "option", "taken"),
    [
        ("resnet18", "output_stride", True),
        ("resnet18", "width", False),
        ("swin_t", "drop_path", True),
        ("swin_v2_t", "window_size", True),
        ("swin_t", "output_stride", False),
        ("sm_vgg16", "norm", False),
        ("plain", "activation", True),
    ],
)
def test_a_backbone_says_which_options_it_has(name, option, taken):
    assert BACKBONES[name].takes(option) is taken


def test_all_tables_of_names_together_load_nothing_heavy():
    code = """
import sys
from arcticdl.augment.table import AUGMENTATIONS
from arcticdl.models.backbones.table import BACKBONES
from arcticdl.models.decoders.table import DECODERS
from arcticdl.models.fusions import FUSIONS
from arcticdl.models.weights.table import list_weights
from arcticdl.tiles.table import NORMALIZERS, SPLITTERS
for table in (AUGMENTATIONS, BACKBONES, DECODERS, FUSIONS, NORMALIZERS, SPLITTERS):
    assert sorted(table)
assert "resnet50.imagenet" in [info.name for info in list_weights("resnet50")]
heavy = {"keras", "tensorflow", "xarray", "rasterio", "numpy", "pandas", "sklearn"}
assert not heavy & set(sys.modules), heavy & set(sys.modules)
"""
    found = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60
    )
    assert found.returncode == 0, found.stderr
