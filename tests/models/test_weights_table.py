"""Named weights: the table, the cache, fetching, and loading into any bands."""

import hashlib
import json
import os
import pathlib

import keras
import numpy as np
import pytest
from safetensors.numpy import save_file
from torch_recipe import make_image, make_state, sample

from arcticdl.errors import WeightsError
from arcticdl.models.backbones.table import build_backbone
from arcticdl.models.build import build_segmenter
from arcticdl.models.convert.families import FAMILIES
from arcticdl.models.convert.sidecar import convert, verify
from arcticdl.models.convert.whole import MODELS, load_converted
from arcticdl.models.weights import load as w
from arcticdl.models.weights import table as weights_table
from arcticdl.models.weights.bands import RGB, resolve_bands

REFERENCE = pathlib.Path(__file__).parents[1] / "reference"
DATA = pathlib.Path(
    os.environ.get(
        "ARCTICDL_SAMPLE_DATA",
        pathlib.Path(__file__).parents[2].parent / "shared" / "data",
    )
)
MOBILENET = DATA / "weights" / "mobilenetv2_035_224_imagenet_notop.weights.h5"


def digest(data):
    return hashlib.sha256(data).hexdigest()


def test_every_row_of_the_table_is_consistent():
    rows = w.list_weights(loadable_only=False)
    assert len(rows) > len(w.list_weights()) > 60
    for info in rows:
        assert info.name.startswith(info.architecture + ".")
        assert info.url.startswith("https://") and info.licence and info.scaling
        labels = tuple(band.label for band in resolve_bands(info.bands))
        assert labels == info.bands
        if info.normalizer is not None:
            sizes = {len(info.normalizer[k]) for k in ("bands", "offset", "scale")}
            assert sizes == {len(info.bands)}


def test_names_are_found_with_and_without_the_architecture():
    full = w.find_weights("resnet50.sentinel2_all_moco")
    assert w.find_weights("sentinel2_all_moco", "resnet50") is full
    assert full.bands[8] == "sentinel2:B8A" and full.scale == (10000.0,) * 13
    assert w.find_weights("imagenet", "swin_v2_t").bands == RGB
    with pytest.raises(ValueError, match=r"Did you mean 'resnet18.imagenet'"):
        w.find_weights("resnet18.imagenets")


def test_offline_says_which_file_to_put_where(tmp_path, monkeypatch):
    monkeypatch.setenv("ARCTICDL_CACHE", str(tmp_path))
    with pytest.raises(WeightsError) as error:
        w.fetch("resnet18.sentinel2_all_moco", offline=True)
    info = w.find_weights("resnet18.sentinel2_all_moco")
    assert info.url in str(error.value)
    assert str(tmp_path / info.name / info.url.rsplit("/", 1)[1]) in str(error.value)
    with pytest.raises(WeightsError, match="converter"):
        w.fetch("vit_small_16.sentinel2_all_mae")


@pytest.fixture
def state_13():
    stored = np.load(REFERENCE / "networks.npz")
    return make_state(json.loads(str(stored["resnet18_13_shapes"])))


def test_fetch_converts_and_loading_sets_bands_and_normaliser(
    tmp_path, monkeypatch, state_13
):
    monkeypatch.setenv("ARCTICDL_CACHE", str(tmp_path))
    info = w.find_weights("resnet18.sentinel2_all_moco")
    # The published file is stood in for by random weights of its layout.
    path = info.checkpoint_path.with_suffix(".safetensors")
    row = weights_table.WeightsInfo(
        **{**info.__dict__, "sha256": "", "url": "https://x/" + path.name}
    )
    monkeypatch.setitem(weights_table._table(), info.name, row)
    path.parent.mkdir()
    save_file({f"module.encoder_q.{k}": v for k, v in state_13.items()}, path)

    weights = w.fetch(info.name, offline=True)
    assert weights == tmp_path / "resnet18.sentinel2_all_moco.weights.h5"
    card = verify(weights)
    assert card["bands"] == list(info.bands) and card["licence"] == "CC-BY-4.0"
    assert card["report"]["prefix"] == "module.encoder_q."

    full = build_backbone("resnet18", 13)
    w.load_weights(full, "sentinel2_all_moco", backbone="resnet18", offline=True)
    image = make_image(13, 33, 33)
    expected = load_converted(weights)(image)["P5"]
    np.testing.assert_array_equal(full(image)["P5"], expected)

    bands = ["B08", "B02", "B03"]
    model = build_backbone("resnet18", 3)
    loaded = w.load_weights(
        model, info.name, backbone="resnet18", bands=bands, offline=True
    )
    assert [row.source for row in loaded.table.rows] == [
        "sentinel2:B08",
        "sentinel2:B02",
        "sentinel2:B03",
    ]
    assert loaded.normalizer == {
        "method": "constants",
        "bands": bands,
        "offset": [0.0] * 3,
        "scale": [10000.0] * 3,
    }
    mixed = w.load_weights(
        model, weights, backbone="resnet18", bands=["B08", "B02", "ndvi"]
    )
    assert mixed.normalizer is None
    with pytest.raises(WeightsError, match="resnet34"):
        w.load_weights(build_backbone("resnet34", 3), weights, backbone="resnet34")
    with pytest.raises(ValueError, match="each band"):
        w.load_weights(model, weights, backbone="resnet18", bands=["B08"])

    with open(weights, "r+b") as file:
        file.seek(2000)
        file.write(b"\x00\x01")
    with pytest.raises(WeightsError, match="SHA-256"):
        w.fetch(info.name, offline=True)


@pytest.fixture
def whole_unet(tmp_path):
    """A checkpoint of a whole U-Net, with the ResNet inside that timm was run with."""
    stored = np.load(REFERENCE / "networks.npz")
    encoder = make_state(json.loads(str(stored["resnet18_3_shapes"])))
    state = {f"encoder.{k}": v for k, v in encoder.items() if not k.startswith("fc.")}
    whole = make_state(json.loads(str(stored["unet_3_shapes"])))
    state |= {k: v for k, v in whole.items() if not k.startswith("encoder.")}
    save_file(state, tmp_path / "unet.safetensors")
    levels = {f"P{k}": stored[f"resnet18_3_P{k}"] for k in (1, 2, 3, 4, 5)}
    return tmp_path / "unet.safetensors", levels


@pytest.mark.parametrize("form", ["published", "converted whole", "converted encoder"])
def test_a_whole_segmenter_gives_its_encoder_to_another_one(form, whole_unet):
    path, expected = whole_unet
    if form != "published":
        families = MODELS if form == "converted whole" else FAMILIES
        path, _ = convert(path, bands=RGB, families=families)
        task = "segmentation" if form == "converted whole" else "features"
        assert verify(path)["task"] == task
    model = build_segmenter(
        "resnet18", "unet", num_bands=3, num_classes=7, weights=path
    )
    levels = model.get_layer("backbone")(make_image(3, 61, 77, seed=3))
    for level, value in levels.items():
        np.testing.assert_allclose(sample(value), expected[level], atol=1e-4, rtol=0)
    assert len(levels) == 5
    with pytest.raises(WeightsError, match="'resnet34'"):
        build_segmenter("resnet34", "unet", num_bands=3, num_classes=7, weights=path)


@pytest.mark.real_data
@pytest.mark.skipif(not MOBILENET.exists(), reason="the sample data folder is absent")
def test_real_imagenet_weights_enter_a_thermal_network():
    model = build_backbone("mobilenetv2", 1, alpha=0.35)
    loaded = w.load_weights(
        model,
        MOBILENET,
        backbone="mobilenetv2",
        bands=["thermal"],
        options={"alpha": 0.35},
    )
    assert loaded.normalizer is None
    real = keras.applications.MobileNetV2((64, 64, 3), 0.35, False, weights=None)
    real.load_weights(MOBILENET)
    grey = make_image(1, 64, 64)
    end = real.get_layer("block_16_project_BN").output
    expected = np.asarray(keras.Model(real.input, end)(np.repeat(grey, 3, axis=-1)))
    np.testing.assert_allclose(
        np.asarray(model(grey)["P5"]), expected, atol=2e-3 * np.abs(expected).max()
    )
    rgb = build_backbone("mobilenetv2", 3, alpha=0.35)
    loaded = w.load_weights(
        rgb, MOBILENET, backbone="mobilenetv2", bands=RGB, options={"alpha": 0.35}
    )
    assert loaded.normalizer["scale"] == [127.5] * 3
    with pytest.raises(WeightsError, match="MobileNetV2"):
        w.load_weights(rgb, MOBILENET, backbone="mobilenetv2", bands=RGB)


def test_a_path_without_a_file_is_refused(tmp_path):
    model = build_backbone("resnet18", 2)
    with pytest.raises(FileNotFoundError, match="name or a file"):
        w.load_weights(model, tmp_path / "no.pth", backbone="resnet18")
    (tmp_path / "model.keras").write_bytes(b"")
    with pytest.raises(WeightsError, match=r"by `models\.warm_start\(network"):
        w.load_weights(model, tmp_path / "model.keras", backbone="resnet18")
