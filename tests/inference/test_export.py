"""An exported model answers as the model does, from pixels in source units."""

import json
import sys
import warnings

import keras
import numpy as np
import pytest

from arcticdl.cli import main
from arcticdl.errors import MissingExtraError
from arcticdl.inference import export_model
from arcticdl.inference.export import SourceUnits, _scaling, with_source_units
from arcticdl.models import (
    build_denoiser,
    build_multitask,
    build_sampler,
    build_segmenter,
    get_card,
)
from arcticdl.scene.stats import scene_band_stats
from arcticdl.tasks.answers import softmax
from arcticdl.tiles import Normalizer
from arcticdl.tiles.normalize import NORMALIZERS
from arcticdl.void import mark_shown

pytestmark = pytest.mark.skipif(
    keras.backend.backend() != "tensorflow", reason="Keras exports from TensorFlow"
)
BANDS = ("HH", "HV")
TINY = {
    "convnext_tiny": {"depths": (1, 1, 1, 1), "widths": (8, 8, 16, 16)},
    "mobilenetv2": {"alpha": 0.35},
    "plain": {"width": 4},
    "superpixel_graph": {"width": 8, "messages": "attention"},
    "swin_t": {"width": 8, "depths": (1, 2), "num_heads": (1, 2)},
    "swin_v2_t": {"width": 8, "depths": (1, 2), "num_heads": (1, 2)},
    "vit_tiny": {"width": 16, "depth": 1, "num_heads": 2},
}


def pixels(seed=0, size=(45, 52)):
    rng = np.random.default_rng(seed)
    image = rng.gamma(2.0, 3.0, (1, *size, 2)).astype("float32")
    image[0, :4, :6, 0] = np.nan
    image[0, 10, 10, 1] = np.inf
    return image


def fitted(method="zscore"):
    import xarray as xr

    scene = xr.Dataset(
        {"image": (("y", "x", "band"), pixels(1)[0])}, {"band": list(BANDS)}
    )
    stats = scene_band_stats(scene)
    constants = {"HH": (2.0, 3.0), "HV": (-1.0, 0.5)}
    return Normalizer(
        method, BANDS, stats, constants=constants if method == "constants" else None
    )


def card(normalizer, classes=("water", "ice", "land")):
    head = {"task": "segmentation", "classes": list(classes), "colors": []}
    return {
        "bands": list(BANDS),
        "normalizer": normalizer.to_dict(),
        "tile_size_px": 32,
        "heads": {"ice": head},
    }


def segmenter(backbone="plain", normalizer=None):
    return build_segmenter(
        backbone,
        "linear" if backbone == "superpixel_graph" else "fpn",
        bands=list(BANDS),
        num_classes=3,
        backbone_options=TINY[backbone],
        card=card(normalizer or fitted()),
    )


def answer(model, normalizer, image):
    """As `predict_scene` does: invalid pixels are 0 in every band."""
    return softmax(
        model.predict_on_batch(normalizer(image, np.isfinite(image).all(-1)))
    )


def run_onnx(path, image):
    import onnxruntime

    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    return session.run(None, {session.get_inputs()[0].name: image})


@pytest.mark.parametrize(
    "method", sorted(m for m in NORMALIZERS if not m.startswith("per_image"))
)
def test_the_layer_of_source_units_is_the_normaliser(method):
    normalizer, image = fitted(method), pixels()
    wanted = normalizer(image, np.isfinite(image).all(-1))
    found = SourceUnits(normalizer.to_dict())(image)
    np.testing.assert_allclose(found, wanted, rtol=2e-5, atol=2e-6)
    copy = SourceUnits.from_config(SourceUnits(normalizer.to_dict()).get_config())
    np.testing.assert_array_equal(copy(image), found)


@pytest.mark.parametrize("each_band", [False, True])
def test_the_layer_marks_what_is_shown_where_its_normaliser_does(each_band):
    normalizer, image = fitted("percentile"), pixels()
    normalizer.marks_shown = True
    image[0, 3:6, 4:9] = -1e6  # cut off at 0, in every band
    image[0, 4, 5] = np.nan
    valid = np.isfinite(image).all(-1)
    image[~valid] = np.nan
    told = normalizer.to_dict()
    assert Normalizer.from_dict(told).to_dict() == told
    found = np.asarray(SourceUnits(told, each_band=each_band)(image))
    np.testing.assert_array_equal(np.abs(found).max(-1) > 0, valid)
    wanted = normalizer(image, valid)
    np.testing.assert_allclose(found, wanted, rtol=2e-5, atol=2e-6)


def test_the_layer_of_a_detector_leaves_0_to_nodata():
    """Pixels at the offset are scaled to 0, as those that hold nothing are."""
    normalizer, image = fitted("zscore"), pixels()
    image[0, 3:6, 4:9] = normalizer.offset_.astype("float32")
    image[0, 4, 5] = np.nan
    valid = np.isfinite(image).all(-1)
    layer = SourceUnits(normalizer.to_dict(), mark_shown=True)
    found = np.asarray(SourceUnits.from_config(layer.get_config())(image))
    np.testing.assert_array_equal(np.abs(found).max(-1) > 0, valid)
    wanted = mark_shown(normalizer(image, valid), valid)
    np.testing.assert_allclose(found, wanted, rtol=2e-5, atol=2e-6)


def run_litert(path, image):
    import tensorflow as tf

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # the interpreter will move
        runner = tf.lite.Interpreter(str(path)).get_signature_runner()
    return runner(image=image)


@pytest.mark.parametrize("backbone, method", [("plain", "db"), ("vit_tiny", "zscore")])
def test_litert_answers_as_keras_where_pixels_are_void_too(tmp_path, backbone, method):
    normalizer = fitted(method)
    model = segmenter(backbone, normalizer)
    path = export_model(model, tmp_path / "model.tflite")
    image = pixels(2, (32, 32))
    found = run_litert(path, image)
    assert list(found) == ["ice"] and found["ice"].shape == (1, 32, 32, 3)
    np.testing.assert_allclose(
        found["ice"], answer(model, normalizer, image), atol=1e-4
    )
    told = json.loads((tmp_path / "model.tflite.card.json").read_text())
    assert told["format"] == "litert" and told["window_px"] == [32, 32]
    item = json.loads((tmp_path / "model.tflite.stac.json").read_text())
    (given,) = item["properties"]["mlm:input"]
    (given_back,) = item["properties"]["mlm:output"]
    assert given["input"]["shape"] == [1, 32, 32, 2]
    assert given_back["result"]["shape"] == [1, 32, 32, 3]


def test_what_litert_lacks_or_answers_otherwise_is_refused(tmp_path, monkeypatch):
    from arcticdl.inference import export

    model = segmenter("superpixel_graph")
    with pytest.raises(ValueError, match=r"no LiteRT form.*export ONNX"):
        export_model(model, tmp_path / "model.tflite")
    with pytest.raises(ValueError, match=r"no LiteRT form.*export ONNX"):
        export_model(sampler(fitted()), tmp_path / "model.tflite")
    true = export.write_litert

    def wrong(*args):
        content, answers = true(*args)
        answers[0][0, 0, 0] = np.nan  # where the example is void
        return content, answers

    monkeypatch.setattr(export, "write_litert", wrong)
    with pytest.raises(ValueError, match="LiteRT must answer as Keras"):
        export_model(segmenter(), tmp_path / "model.tflite")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("backbone", sorted(TINY))
def test_onnx_runtime_answers_as_keras_at_any_size(tmp_path, backbone):
    normalizer = fitted()
    model = segmenter(backbone, normalizer)
    path = export_model(model, tmp_path / "model.onnx")
    for size in ((45, 52), (64, 96)):
        image = pixels(2, size)
        (found,) = run_onnx(path, image)
        np.testing.assert_allclose(found, answer(model, normalizer, image), atol=1e-4)
    names = {p.name.removeprefix("model.onnx") for p in tmp_path.iterdir()}
    assert names == {"", ".card.json", ".stac.json"}


def sampler(normalizer):
    """Three members, drawn in two steps from noise that is a weight."""
    denoiser = build_denoiser(
        "plain",
        num_bands=len(BANDS),
        backbone_options={"width": 4, "depth": 1},
        decoder_options={"channels": (4,)},
    )
    told = {"task": "dense_regression", "outputs": [""], "units": "K"}
    known = card(normalizer) | {"heads": {"ice": told}}
    known |= {"diffusion": {"mean": 250.0, "std": 4.0}}
    options = {"num_members": 3, "num_steps": 10, "sampling_steps": 2}
    return build_sampler(denoiser, name="ice", card=known, **options)


def test_a_sampler_draws_the_same_members_wherever_it_runs(tmp_path):
    normalizer = fitted()
    model = sampler(normalizer)
    path = export_model(model, tmp_path / "model.onnx")
    for size in ((45, 52), (64, 96)):
        image = pixels(2, size)
        (found,) = run_onnx(path, image)
        scaled = normalizer(image, np.isfinite(image).all(-1))
        wanted = model.predict_on_batch(scaled)
        assert wanted.shape == (1, *size, 3) and wanted.std(-1).min() > 0
        np.testing.assert_allclose(found, wanted, rtol=1e-4)


def test_saved_model_answers_as_keras(tmp_path):
    import tensorflow as tf

    normalizer = fitted("db")
    model = segmenter(normalizer=normalizer)
    path = export_model(model, tmp_path / "saved")
    image = pixels()
    loaded = tf.saved_model.load(path)
    found = loaded.serve(image)
    np.testing.assert_allclose(found, answer(model, normalizer, image), atol=1e-5)


def test_onnx_carries_the_card(tmp_path):
    import onnx

    model = segmenter()
    written = onnx.load(export_model(model, tmp_path / "m.onnx"))
    kept = {prop.key: prop.value for prop in written.metadata_props}
    assert json.loads(kept["arcticdl_card"]) == get_card(model)
    assert kept["arcticdl_input"] == "source units"
    onnx.checker.check_model(written)
    (image,), (answers,) = written.graph.input, written.graph.output
    assert (image.name, answers.name) == ("image", "ice")
    sizes = [d.dim_param or d.dim_value for d in image.type.tensor_type.shape.dim]
    assert sizes == ["batch", "y", "x", 2]


def test_several_heads_keep_their_names_and_tasks(tmp_path):
    import onnx

    heads = {
        "ice": {"task": "segmentation", "num_classes": 3},
        "sic": {"task": "regression"},
    }
    model = build_multitask(
        "plain", heads=heads, bands=list(BANDS), backbone_options=TINY["plain"],
        card=card(fitted()) | {"heads": {"ice": {"task": "segmentation"},
                                         "sic": {"task": "regression"}}},
    )  # fmt: skip
    normalizer, image = fitted(), pixels()
    path = export_model(model, tmp_path / "m.onnx")
    assert [o.name for o in onnx.load(path).graph.output] == ["ice", "sic"]
    plain = model.predict_on_batch(normalizer(image, np.isfinite(image).all(-1)))
    lite = run_litert(export_model(model, tmp_path / "m.tflite"), image[:, :32, :32])
    cut = image[:, :32, :32]
    small = model.predict_on_batch(normalizer(cut, np.isfinite(cut).all(-1)))
    np.testing.assert_allclose(lite["ice"], softmax(small["ice"]), atol=1e-4)
    np.testing.assert_allclose(lite["sic"], small["sic"], atol=1e-4)
    found = with_source_units(model, normalizer).predict_on_batch(image)
    np.testing.assert_allclose(found["ice"], softmax(plain["ice"]), atol=1e-5)
    np.testing.assert_allclose(found["sic"], plain["sic"], atol=1e-5)


def test_what_cannot_be_exported_is_refused(tmp_path, monkeypatch):
    model = segmenter()
    path = export_model(model, tmp_path / "saved")
    with pytest.raises(FileExistsError, match="overwrite"):
        export_model(model, path)
    export_model(model, path, overwrite=True)
    other = tmp_path / "results"
    other.mkdir()
    (other / "dear.txt").write_text("kept")
    with pytest.raises(FileExistsError, match="other things"):
        export_model(model, other, overwrite=True)
    assert (other / "dear.txt").read_text() == "kept"
    for name in ("ice.h5", "ice.litert", "ice.onxx"):
        with pytest.raises(ValueError, match=r"NAME\.onnx, NAME\.tflite.*ice\."):
            export_model(model, tmp_path / name)
        assert not (tmp_path / name).exists()
    with pytest.raises(ValueError, match=r"must be NAME\.tflite for .*ice\.onnx"):
        export_model(model, tmp_path / "ice.onnx", format="litert")
    with pytest.raises(ValueError, match=r"must be a folder for .*ice\.tflite"):
        export_model(model, tmp_path / "ice.tflite", format="saved_model")
    with pytest.raises(ValueError, match="onnx, saved_model, litert"):
        export_model(model, tmp_path / "ice.tflite", format="tflite")
    whole = Normalizer("per_image", BANDS)
    with pytest.raises(ValueError, match="statistics of the whole scene"):
        export_model(model, tmp_path / "a", normalizer=whole)
    bare = build_segmenter(
        "plain", num_bands=2, num_classes=3, backbone_options=TINY["plain"]
    )
    with pytest.raises(ValueError, match="no card"):
        export_model(bare, tmp_path / "a")
    monkeypatch.setitem(sys.modules, "tf2onnx", None)
    with pytest.raises(MissingExtraError, match=r"arcticdl\[onnx\]"):
        export_model(model, tmp_path / "a.onnx")
    assert sorted(p.name for p in tmp_path.iterdir()) == [
        "results", "saved", "saved.card.json", "saved.stac.json",
    ]  # fmt: skip


def test_a_model_of_whole_scene_scaling_takes_scaled_pixels():
    whole = Normalizer("per_image", BANDS)
    model = segmenter(normalizer=whole)
    image = pixels()
    scaled = with_source_units(model, _scaling(model, None, True))
    wanted = np.where(np.isfinite(image).all(-1, keepdims=True), image, 0)
    np.testing.assert_allclose(
        scaled.predict_on_batch(image),
        softmax(model.predict_on_batch(wanted)),
        atol=1e-5,
    )
    with pytest.raises(ValueError, match="--normalized"):
        _scaling(model, None, False)


def test_an_onnx_file_that_answers_otherwise_is_not_written(tmp_path, monkeypatch):
    from arcticdl.inference import export

    monkeypatch.setattr(export, "TOLERANCE", -1.0)
    with pytest.raises(ValueError, match="must answer as Keras"):
        export_model(segmenter(), tmp_path / "m.onnx")
    assert not list(tmp_path.iterdir())


def test_the_command_exports_a_bare_model(tmp_path, capsys):
    model = segmenter()
    model.save(tmp_path / "model.keras")
    out = tmp_path / "out.onnx"
    assert main(["export", str(tmp_path / "model.keras"), "-o", str(out)]) == 0
    assert str(out) in capsys.readouterr().out
    bare = [str(tmp_path / "model.keras"), "--format", "litert"]
    assert main(["export", *bare]) == 0
    assert "model.tflite" in capsys.readouterr().out
    assert (tmp_path / "model.tflite").is_file()
    assert main(["export", *bare, "-o", str(out)]) == 1
    assert "NAME.tflite" in capsys.readouterr().err
    (found,) = run_onnx(out, pixels())
    np.testing.assert_allclose(found, answer(model, fitted(), pixels()), atol=1e-4)
    assert (tmp_path / "out.onnx.stac.json").is_file()
    for _ in range(2):  # the network, then what stands beside it
        assert main(["export", str(tmp_path / "model.keras"), "-o", str(out)]) == 1
        assert "--overwrite" in capsys.readouterr().err
        out.unlink(missing_ok=True)
