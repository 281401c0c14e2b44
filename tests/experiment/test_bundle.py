"""A bundle: packed, checked, refused where it is not what it says, and used."""

import contextlib
import io
import json
import shutil
import zipfile
from pathlib import Path

import h5py
import keras
import numpy as np
import pytest
import rasterio
from scipy.special import softmax

from arcticdl.cli import main
from arcticdl.errors import BundleError
from arcticdl.experiment import verify_bundle
from arcticdl.experiment.bundles.layout import sha256
from arcticdl.inference import load_model
from arcticdl.models import get_card, set_card, warm_start
from arcticdl.simulate import simulate_scenes
from arcticdl.tiles import Normalizer


@pytest.fixture(autouse=True)
def here(run_folder, monkeypatch):
    monkeypatch.chdir(run_folder)


@pytest.fixture(scope="module")
def packed(run_folder):
    """The run's bundle as a folder."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(run_folder)
        words = ["bundle", "runs/demo", "-o", "demo.bundle", "--license", "CC-BY-4.0"]
        assert main(words) == 0
    return run_folder / "demo.bundle"


def test_its_answer_is_that_of_the_network(packed):
    keras.backend.clear_session()
    model = load_model(packed / "model.keras")
    with np.load(packed / "sample.npz") as file:
        image, valid = file["image"], file["valid"]
    scaling = json.loads((packed / "card.json").read_text())["normalizer"]
    scaled = (image - np.array(scaling["offset"])) / np.array(scaling["scale"])
    scaled = np.where(valid[..., None], scaled, 0).astype("float32")
    right = softmax(model.predict(scaled, verbose=0), axis=-1)
    with np.load(packed / "answer.npz") as file:
        np.testing.assert_allclose(file["ice_type"], right, atol=1e-5)


def test_its_model_is_that_of_the_run_without_the_optimiser(packed):
    of_run, of_bundle = Path("runs/demo/fold0/model.keras"), packed / "model.keras"
    assert optimiser_of(of_run) and not optimiser_of(of_bundle)
    assert of_bundle.stat().st_size < of_run.stat().st_size
    keras.backend.clear_session()
    one, other = load_model(of_run), load_model(of_bundle)
    for weight, same in zip(one.get_weights(), other.get_weights(), strict=True):
        np.testing.assert_array_equal(weight, same)
    with np.load(packed / "sample.npz") as file:
        image = file["image"]
    np.testing.assert_array_equal(
        one.predict(image, verbose=0), other.predict(image, verbose=0)
    )
    new = keras.models.clone_model(one)
    warm_start(new, other)
    for weight, same in zip(one.get_weights(), new.get_weights(), strict=True):
        np.testing.assert_array_equal(weight, same)


def optimiser_of(path):
    """What a ``.keras`` file holds of an optimiser: its settings, and its numbers."""
    with zipfile.ZipFile(path) as archive:
        settings = json.loads(archive.read("config.json")).get("compile_config") or {}
        with h5py.File(io.BytesIO(archive.read("model.weights.h5"))) as weights:
            numbers = list(weights.get("optimizer/vars", ()))
    return [*settings, *numbers]


def test_a_zip_file_is_the_same_bundle_and_maps_as_its_run(packed, capsys):
    assert main(["bundle", "runs/demo"]) == 0
    assert main(["verify", "runs/demo/demo_fold0.zip"]) == 0
    assert "is whole" in capsys.readouterr().out
    with zipfile.ZipFile("runs/demo/demo_fold0.zip") as archive:
        assert set(archive.namelist()) == {p.name for p in packed.iterdir()}
    scene = "data/demo/simulated_0_000.tif"
    assert main(["predict", "runs/demo", scene, "-o", "of_run.tif"]) == 0
    for number, path in enumerate((packed, "runs/demo/demo_fold0.zip")):
        out = f"of_bundle_{number}.tif"
        assert main(["predict", str(path), scene, "-o", out]) == 0
        with rasterio.open("of_run.tif") as one, rasterio.open(out) as other:
            np.testing.assert_array_equal(one.read(), other.read())
    assert main(["predict", "runs/demo/demo_fold0.zip", scene]) == 0
    assert Path("maps/simulated_0_000.tif").is_file()
    assert main(["bundle", "runs/demo"]) == 1  # it exists
    assert main(["bundle", "runs/demo", "--overwrite", "--no-sample"]) == 0
    assert max(verify_bundle("runs/demo/demo_fold0.zip").values()) < 1e-4
    Path("mine").mkdir()
    Path("mine/thesis.txt").write_text("years of work")
    assert main(["bundle", "runs/demo", "-o", "mine", "--overwrite"]) == 1
    assert Path("mine/thesis.txt").exists()


def test_made_up_pixels_bring_the_statistics_of_a_scaling_by_scene(packed, tmp_path):
    folder = shutil.copytree("runs/demo", tmp_path / "run")
    network = load_model(folder / "fold0/model.keras")
    scaling = Normalizer("per_image", get_card(network)["bands"]).to_dict()
    set_card(network, get_card(network) | {"normalizer": scaling})
    network.save(folder / "fold0/model.keras")
    out = tmp_path / "made.zip"
    assert main(["bundle", str(folder), "--no-sample", "-o", str(out)]) == 0
    assert max(verify_bundle(out).values()) < 1e-4


def test_its_page_tells_how_good_the_folds_were_and_what_it_cannot_do(packed):
    page = (packed / "README.md").read_text()
    assert "No fold of the run was scored by `arcticdl evaluate`." in page
    assert "## Limits\n\nNone are stated." in page
    config = Path("runs/demo/config.yaml")
    told = config.read_text().replace("limits: ''", "limits: Never saw melt in summer.")
    config.write_text(told)
    assert main(["evaluate", "runs/demo"]) == 0
    assert main(["bundle", "runs/demo", "-o", "told.bundle"]) == 0
    page = Path("told.bundle/README.md").read_text()
    score = json.loads(Path("runs/demo/summary.json").read_text())["scores"]["mean_iou"]
    assert f"mean IoU {score:.3f}" in page
    assert "## Limits\n\nNever saw melt in summer." in page
    told = json.loads(Path("told.bundle/bundle.json").read_text())
    assert told["limits"] == "Never saw melt in summer."
    assert "summary.json" in told["files"]
    assert max(verify_bundle("told.bundle").values()) < 1e-4


def sign(folder, name):
    """Gives a file that was changed its sha-256, as someone who means harm would."""
    manifest = json.loads((folder / "bundle.json").read_text())
    manifest["files"][name] = sha256(folder / name)
    (folder / "bundle.json").write_text(json.dumps(manifest))


def test_what_is_not_as_it_says_is_refused(packed, tmp_path):
    def copy(name):
        return shutil.copytree(packed, tmp_path / name)

    damaged = copy("damaged")
    content = bytearray((damaged / "model.keras").read_bytes())
    content[-200] ^= 1
    (damaged / "model.keras").write_bytes(content)
    with pytest.raises(BundleError, match=r"\['model.keras'\] are absent or another"):
        verify_bundle(damaged)
    words = ["predict", str(damaged), "data/demo/simulated_0_000.tif", "-o", "no.tif"]
    assert main(words) == 1
    assert not Path("no.tif").exists()
    other = copy("other")
    with np.load(other / "answer.npz") as file:
        answer = file["ice_type"]
    np.savez(other / "answer.npz", ice_type=answer[..., ::-1])
    sign(other, "answer.npz")
    with pytest.raises(BundleError, match="answer as its bundle says"):
        verify_bundle(other)
    renamed = copy("renamed")
    card = json.loads((renamed / "card.json").read_text())
    (renamed / "card.json").write_text(json.dumps(card | {"bands": ["HV", "HH"]}))
    sign(renamed, "card.json")
    with pytest.raises(BundleError, match="card in model"):
        verify_bundle(renamed)
    (renamed / "bundle.json").write_text("{}")
    with pytest.raises(BundleError, match="a readable bundle"):
        verify_bundle(renamed)


def test_a_zip_file_that_is_none_or_means_harm_is_refused(tmp_path):
    harm = tmp_path / "harm.zip"
    with zipfile.ZipFile(harm, "w") as archive:
        archive.writestr("../evil.txt", "out")
    with pytest.raises(BundleError, match="plain names"):
        verify_bundle(harm)
    assert not list(tmp_path.parent.glob("evil.txt"))
    (tmp_path / "text.zip").write_text("no zip file")
    with pytest.raises(BundleError, match="whole zip file"):
        verify_bundle(tmp_path / "text.zip")
    with pytest.raises(FileNotFoundError, match="No such bundle"):
        verify_bundle(tmp_path / "none.zip")


def test_it_is_scored_on_labelled_scenes_of_its_user(packed, tmp_path, capsys):
    assert main(["evaluate", str(packed)]) == 1
    said = capsys.readouterr().err
    assert "config.yaml" in said and f"evaluate {packed} --data STORE" in said

    simulate_scenes(tmp_path / "mine", num_scenes=2, size_px=64, seed=77)
    words = ["--set", "name=mine", "--set", f"data.scenes={tmp_path}/mine/*[0-9].tif"]
    store = tmp_path / "mine.tiles"
    words += ["--set", f"tiles.store={store}"]
    assert main(["prepare", str(packed / "config.yaml"), *words]) == 0
    file = shutil.make_archive(str(tmp_path / "got"), "zip", packed)
    assert main(["evaluate", file, "--data", str(store)]) == 0
    out = capsys.readouterr().out
    told = json.loads((tmp_path / "got_metrics_mine.json").read_text())
    assert f"mean IoU {told['scores']['mean_iou']:.3f}" in out
    assert {image["image_id"] for image in told["images"]} == {
        "simulated_77_000",
        "simulated_77_001",
    }

    # An unpacked one, from within.
    inside = shutil.copytree(packed, tmp_path / "inside")
    with contextlib.chdir(inside):
        assert main(["evaluate", ".", "--data", str(store)]) == 0
    beside = json.loads((tmp_path / "inside_metrics_mine.json").read_text())
    assert beside["confusion_matrix"] == told["confusion_matrix"]

    # The same numbers, from maps of predict and the label files.
    matrix = np.zeros((6, 6), int)
    for name in ("simulated_77_000", "simulated_77_001"):
        scene = tmp_path / "mine" / f"{name}.tif"
        assert main(["predict", file, str(scene), "-o", str(tmp_path / "m.tif")]) == 0
        with rasterio.open(tmp_path / "m.tif") as found:
            answer = found.read(1)
        with rasterio.open(scene.with_name(f"{name}_labels.tif")) as true:
            truth = true.read(1)
        known = (truth != 255) & (answer != 255)
        np.add.at(matrix, (truth[known], answer[known]), 1)
        (tmp_path / "m.tif").unlink()
        for file_beside in tmp_path.glob("m[._]*"):
            file_beside.unlink()
    np.testing.assert_array_equal(matrix, told["confusion_matrix"])

    # Scenes that the model has learnt from are told of.
    own = ["evaluate", file, "--data", "data/demo.tiles"]
    main(own)
    assert "has learnt from" in capsys.readouterr().err
