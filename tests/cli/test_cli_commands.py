"""The command line: help that teaches, one clear line for what is wrong."""

from pathlib import Path

import numpy as np
import pytest
import rasterio
from affine import Affine

from arcticdl.cli import main


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["prepare", "absent.yaml"], "No configuration at absent.yaml"),
        (["train", "absent.yaml"], "No configuration at absent.yaml"),
        (["evaluate", "runs/absent"], "is no run folder"),
        (["predict", "runs/absent", "x.tif"], "is no run folder"),
        (["predict", "absent.keras", "x.tif"], "No such model"),
        (["export", "runs/absent"], "is no run folder"),
        (["report", "runs/absent"], "runs/absent"),
        (["check", "absent.tiles"], "absent.tiles"),
    ],
)
def test_what_is_missing_is_one_line_and_a_failure(
    arguments, message, capsys, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    assert main(arguments) == 1
    error = capsys.readouterr().err
    assert error.startswith("error: ")
    assert message in error
    assert len(error.strip().splitlines()) == 1
    assert not list(tmp_path.iterdir())


def test_wrong_usage_is_status_2(capsys):
    assert main(["train"]) == 2
    assert "CONFIG" in capsys.readouterr().err
    assert main(["no-such-command"]) == 2


def test_weights_are_listed_and_unknown_ones_refused(capsys):
    assert main(["weights", "list", "resnet50"]) == 0
    assert "licence" not in capsys.readouterr().err
    assert main(["weights", "fetch", "resnet50.nothing"]) == 1
    assert "error: " in capsys.readouterr().err


def test_version(capsys):
    assert main(["--version"]) == 0
    assert capsys.readouterr().out.startswith("arcticdl ")


def test_prepare_says_what_its_quality_report_warns_of(tmp_path, capsys, monkeypatch):
    """A class that the file's nodata hides was told by `check` alone."""
    monkeypatch.chdir(tmp_path)
    for k in range(2):
        codes = np.random.default_rng(k).integers(0, 2, (2, 64, 64)).astype("u1")
        for name, data, nodata in (("", codes * 9 + 1, None), ("_labels", codes[0], 0)):
            with rasterio.open(
                f"s{k}{name}.tif", "w", driver="GTiff", height=64, width=64,
                count=2 if data.ndim == 3 else 1, dtype="uint8", nodata=nodata,
                crs="EPSG:3413", transform=Affine(40, 0, k * 1e5, 0, -40, 0),
            ) as file:  # fmt: skip
                file.write(data.reshape(-1, 64, 64))
    label = "{file: {replace: {.tif: _labels.tif}}, classes: [water, ice]}"
    data = f"{{scenes: 's[0-9].tif', labels: {{ice: {label}}}}}"
    Path("x.yaml").write_text(f"name: x\ndata: {data}\ntiles: {{size_px: 32}}\n")
    assert main(["prepare", "x.yaml"]) == 0
    told = capsys.readouterr()
    assert told.out == "data/x.tiles: 8 tiles of 2 scenes\n"
    assert "warning: absent_class: label 'ice' has no pixel of ['water']." in told.err


def test_the_deep_check_alone_finds_pixels_that_went_bad(tmp_path, capsys):
    from arcticdl import open_scene
    from arcticdl.simulate import simulate_scenes
    from arcticdl.tiles import prepare

    (path,) = simulate_scenes(tmp_path, num_scenes=1, size_px=64, progress=False)
    scene = open_scene(path, labels={"ice": path.with_name(f"{path.stem}_labels.tif")})
    store = prepare([scene], tmp_path / "a.tiles", tile_size_px=32, codec="none").path
    assert main(["check", str(store), "--deep"]) == 0
    shard = next(p for p in (store / "tiles.zarr/image/c").rglob("*") if p.is_file())
    content = bytearray(shard.read_bytes())
    content[1000] ^= 255
    shard.write_bytes(content)
    assert main(["check", str(store)]) == 0
    assert "error: " not in capsys.readouterr().out
    assert main(["check", str(store), "--deep"]) == 1
    assert "1 of 4 tiles are not as they were written" in capsys.readouterr().out


def test_simulate_writes_charts_on_request(tmp_path, capsys):
    from arcticdl import open_scene

    size = ["--scenes", "1", "--size", "64"]
    assert main(["simulate", str(tmp_path / "a"), *size, "--charts"]) == 0
    path = capsys.readouterr().out.split()[-1]
    chart = open_scene(path.replace(".tif", "_chart.gpkg"), like=open_scene(path))
    assert chart["SOD"].shape == (64, 64)
    assert main(["simulate", str(tmp_path / "b"), *size]) == 0
    assert not list((tmp_path / "b").glob("*.gpkg"))
    wrong = [*size, "--schema", "optical", "--charts"]
    assert main(["simulate", str(tmp_path / "c"), *wrong]) == 1
    assert "`charts` needs" in capsys.readouterr().err
