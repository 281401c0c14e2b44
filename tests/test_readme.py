"""What README shows runs: its Python, on smaller scenes, and its commands."""

import re
import shlex

import rasterio

from arcticdl.cli import main

SMALLER = {
    "num_scenes=3, size_px=512": "num_scenes=3, size_px=128",
    "tile_size_px=256": "tile_size_px=64",
    "epochs=20": "epochs=1",
}


def blocks(root, language):
    text = (root / "README.md").read_text(encoding="utf-8")
    return re.findall(rf"```{language}\n(.*?)```", text, flags=re.S)


def test_the_python_path_goes_from_files_to_a_map(project_root, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (code,) = blocks(project_root, "python")
    for shown, smaller in SMALLER.items():
        assert shown in code
        code = code.replace(shown, smaller)
    exec(compile(code, "README.md", "exec"), {})
    with rasterio.open("map.tif") as written:
        place = (written.shape, written.crs, written.transform)
    places = []
    for path in sorted((tmp_path / "data" / "scenes").glob("*[0-9].tif")):
        with rasterio.open(path) as scene:
            places.append((scene.shape, scene.crs, scene.transform))
    assert len(places) == 3 and places.count(place) == 1
    assert (tmp_path / "ice.keras").exists()


def test_every_command_shown_is_one_that_the_program_knows(project_root, capsys):
    shown = [
        shlex.split(line, comments=True)
        for block in blocks(project_root, "bash")
        for line in block.splitlines()
        if line.startswith("arcticdl ")
    ]
    assert len(shown) >= 8
    for words in shown:
        path = words[1:3] if words[1] in ("config", "data", "weights") else words[1:2]
        assert main([*path, "--help"]) == 0
        usage = " ".join(capsys.readouterr().out.split())
        for word in words[2:]:
            if word.startswith("--"):
                assert word in usage, f"{words[1]} has no {word}"


def test_the_pipelines_are_the_commands(project_root):
    for step in ("prepare", "train", "evaluate", "predict"):
        script = (project_root / "pipelines" / f"{step}.py").read_text()
        assert f'main(["{step}", *sys.argv[1:]])' in script
        assert f"Usage: python pipelines/{step}.py" in script
        assert len(script.splitlines()) <= 14


def test_the_batch_script_goes_on_after_preemption(project_root):
    script = (project_root / "pipelines" / "train.sbatch").read_text()
    assert "source pipelines/job.sh" in script
    script += (project_root / "pipelines" / "job.sh").read_text()
    for needed in (
        "#SBATCH --gpus=1",
        "#SBATCH --requeue",
        "#SBATCH --signal=USR1@120",
        "SLURM_ARRAY_TASK_ID",
        "--resume",
        "scontrol requeue",
    ):
        assert needed in script
