"""A run folder loses no job, tells who holds a fold, and keeps what is not its own."""

import inspect
import multiprocessing
import os
import signal
import socket

import pytest

from arcticdl import experiment
from arcticdl.config import dump_config, load_config
from arcticdl.errors import ConfigError
from arcticdl.experiment import folder as folder_module
from arcticdl.experiment.bundles.models import model_files
from arcticdl.experiment.folder import (
    FULL,
    check_run,
    chosen_folds,
    claim_fold,
    hold_fold,
    meant_fold,
    trained_folds,
)
from arcticdl.experiment.predict import _targets
from arcticdl.files import write_text

fork = multiprocessing.get_context("fork")


@pytest.fixture(scope="module")
def config(project_root):
    return load_config(project_root / "configs" / "demo.yaml")


@pytest.fixture(scope="module")
def other(project_root):
    return load_config(project_root / "configs" / "demo.yaml", ("train.epochs=3",))


@pytest.fixture
def impatient(monkeypatch):
    """Lets a job that finds a lock give up soon."""
    monkeypatch.setattr(folder_module, "_PATIENCE_S", 0.1)


def take(config, folder, fold, barrier, overwrite=False, resume=False):
    """What a training job does with its run folder, from start to end."""
    barrier.wait(20)
    check_run(config, folder, overwrite=overwrite)
    if claim_fold(folder, fold, resume=resume, overwrite=overwrite):
        with hold_fold(config, folder, fold, overwrite=overwrite) as fold_dir:
            (fold_dir / "history.csv").write_text(str(os.getpid()))
            barrier.wait(20)
            (fold_dir / "model.keras").write_text(str(os.getpid()))


def run_together(*jobs):
    barrier = fork.Barrier(len(jobs))
    running = [fork.Process(target=take, args=(*job, barrier)) for job in jobs]
    for job in running:
        job.start()
    for job in running:
        job.join(30)
    return [job.exitcode for job in running]


@pytest.mark.parametrize("turn", range(5))
def test_array_tasks_that_start_together_lose_no_job(tmp_path, config, turn):
    folder = tmp_path / "run"
    assert run_together(*((config, folder, fold) for fold in range(3))) == [0, 0, 0]
    assert trained_folds(folder) == [0, 1, 2]
    left = {path.name for path in folder.iterdir() if not path.name.startswith(".")}
    assert left == {"config.yaml", "fold0", "fold1", "fold2"}
    assert not list(folder.glob(".*.json"))


def replace_together(config, folder, fold, barrier):
    take(config, folder, fold, barrier, overwrite=True)


def test_array_tasks_that_replace_an_older_run_lose_no_job(tmp_path, config, other):
    folder = tmp_path / "run"
    for _ in range(5):
        for fold in range(3):
            with hold_fold(other, folder, fold, overwrite=True) as fold_dir:
                (fold_dir / "model.keras").write_text("old")
        barrier = fork.Barrier(3)
        jobs = [
            fork.Process(target=replace_together, args=(config, folder, k, barrier))
            for k in range(3)
        ]
        for job in jobs:
            job.start()
        for job in jobs:
            job.join(30)
        assert [job.exitcode for job in jobs] == [0, 0, 0]
        for fold in range(3):
            assert (folder / f"fold{fold}" / "model.keras").read_text() != "old"


def test_a_second_job_on_a_fold_is_told_who_holds_it(tmp_path, config, impatient):
    folder = tmp_path / "run"
    who = rf"process {os.getpid()} on {socket.gethostname()} since 20\d\d-\d\d-\d\dT"
    with hold_fold(config, folder, 1, overwrite=False) as fold_dir:
        assert fold_dir == folder / "fold1"
        with pytest.raises(FileExistsError, match=who):
            claim_fold(folder, 1, resume=True, overwrite=True)
        second = hold_fold(config, folder, 1, overwrite=True)
        with pytest.raises(FileExistsError, match=who), second:
            pass
        assert claim_fold(folder, 0, resume=False, overwrite=False)
    assert claim_fold(folder, 1, resume=True, overwrite=False)
    with hold_fold(config, folder, 1, overwrite=False):
        pass


def hold_for_ever(config, folder, ready):
    with hold_fold(config, folder, 0, overwrite=False):
        ready.set()
        signal.pause()


def test_the_lock_of_a_killed_job_is_gone(tmp_path, config, impatient):
    ready = fork.Event()
    job = fork.Process(target=hold_for_ever, args=(config, tmp_path / "run", ready))
    job.start()
    ready.wait()
    with pytest.raises(FileExistsError, match=f"process {job.pid}"):
        claim_fold(tmp_path / "run", 0, resume=True, overwrite=False)
    job.kill()
    job.join()
    assert claim_fold(tmp_path / "run", 0, resume=True, overwrite=False)
    with hold_fold(config, tmp_path / "run", 0, overwrite=False):
        pass


def write_run(config, folder):
    for fold in (0, FULL):
        with hold_fold(config, folder, fold, overwrite=False) as fold_dir:
            for name in ("model.keras", "split.json", "metrics.json", "history.csv"):
                (fold_dir / name).touch()
            for name in ("pictures", "checkpoint"):
                (fold_dir / name).mkdir()
                (fold_dir / name / "best_01.png").touch()
    (folder / "maps").mkdir()
    made = ("maps/a.nc", "maps/a_polygons.parquet", "maps/a.stac.json")
    for name in (
        *made,
        "maps/a.tif",
        "report.html",
        "summary.json",
        "environment.json",
    ):
        (folder / name).touch()


def test_another_configuration_replaces_what_the_older_run_wrote(
    tmp_path, config, other
):
    folder = tmp_path / "run"
    write_run(other, folder)
    check_run(config, folder, overwrite=True)
    with pytest.raises(FileExistsError, match="another configuration"):
        check_run(config, folder, overwrite=False)
    with hold_fold(config, folder, 0, overwrite=True):
        pass
    left = {path.name for path in folder.iterdir() if not path.name.startswith(".")}
    assert left == {"config.yaml", "fold0"} and not list((folder / "fold0").iterdir())


def test_what_a_user_put_into_a_run_folder_stays(tmp_path, config, other):
    folder = tmp_path / "run"
    write_run(other, folder)
    mine = ["notes.md", "fold0/notes.md", "full/why/a.txt", "maps/style.qml"]
    for name in mine:
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text("mine")
    with hold_fold(config, folder, 0, overwrite=True):
        pass
    files = (path for path in folder.rglob("*") if path.is_file())
    left = {path.relative_to(folder).as_posix() for path in files}
    assert {name for name in left if not name.startswith(".")} == {"config.yaml", *mine}


def test_a_run_at_work_is_not_replaced(tmp_path, config, other, impatient):
    folder = tmp_path / "run"
    with hold_fold(other, folder, 2, overwrite=False) as fold_dir:
        (fold_dir / "history.csv").touch()
        second = hold_fold(config, folder, 0, overwrite=True)
        with pytest.raises(FileExistsError, match="fold2, which process"), second:
            pass
        assert (fold_dir / "history.csv").exists()


def test_a_folder_of_other_things_is_no_run_folder(tmp_path, config):
    (tmp_path / "photo.tif").touch()
    with pytest.raises(FileExistsError, match=r"no config\.yaml"):
        check_run(config, tmp_path, overwrite=True)
    (tmp_path / "photo.tif").unlink()
    (tmp_path / ".fold1.lock").touch()
    check_run(config, tmp_path, overwrite=False)


def test_a_fold_is_claimed_once(tmp_path, config):
    folder = tmp_path / "run"
    assert claim_fold(folder, 0, resume=False, overwrite=False)
    write_run(config, folder)
    with pytest.raises(FileExistsError, match=r"is trained\. Use --overwrite"):
        claim_fold(folder, 0, resume=False, overwrite=False)
    assert not claim_fold(folder, 0, resume=True, overwrite=False)
    assert claim_fold(folder, 0, resume=False, overwrite=True)
    (folder / "fold0" / "model.keras").unlink()
    with pytest.raises(FileExistsError, match=r"was interrupted\. Use --resume"):
        claim_fold(folder, 0, resume=False, overwrite=False)
    assert trained_folds(folder) == []


def test_maps_are_named_by_their_scenes_and_stay_in_their_folder(tmp_path):
    names, endings = ["S1_a", "../../x", "/etc/y"], [".tif", ".nc", ".tif"]
    files = _targets(tmp_path, names, endings)
    assert [path.relative_to(tmp_path).as_posix() for path in files] == [
        "S1_a.tif",
        "_._.._x.nc",
        "_etc_y.tif",
    ]
    with pytest.raises(ConfigError, match="share the names"):
        _targets(tmp_path, ["a/b", "a:b"], [".tif", ".tif"])


def test_a_fold_that_is_replaced_takes_the_pooled_scores_with_it(config, tmp_path):
    folder = tmp_path / "run"
    for fold in (0, FULL):
        with hold_fold(config, folder, fold, overwrite=False) as fold_dir:
            (fold_dir / "model.keras").touch()
    (folder / "summary.json").write_text("{}")
    (folder / "notes.txt").write_text("mine")
    with hold_fold(config, folder, FULL, overwrite=True):  # which is in no score
        assert (folder / "summary.json").exists()
    with hold_fold(config, folder, 0, overwrite=True):
        assert not (folder / "summary.json").exists()
    assert (folder / "notes.txt").exists() and (folder / "config.yaml").exists()


def test_what_a_replaced_network_made_goes_or_is_told(config, tmp_path, capsys):
    folder = tmp_path / "run"
    with hold_fold(config, folder, 1, overwrite=False) as fold_dir:
        (fold_dir / "model.keras").touch()
    for name in ("forecast", "model_saved"):
        (fold_dir / name).mkdir()
        (fold_dir / name / "part").touch()
    for name in ("model.onnx", "model.onnx.card.json", "model.tflite", "notes.txt"):
        (fold_dir / name).touch()
    (folder / "autoice.json").touch()
    (folder / "maps").mkdir()
    (folder / "maps" / "scene.tif").touch()
    with hold_fold(config, folder, 0, overwrite=True):  # fold 1 has another network
        assert (folder / "autoice.json").exists() is False
        assert len(list(fold_dir.iterdir())) == 7
    assert "note:" not in capsys.readouterr().err
    with hold_fold(config, folder, 1, overwrite=True):
        assert [path.name for path in fold_dir.iterdir()] == ["notes.txt"]
    assert (folder / "maps" / "scene.tif").exists()
    assert f"maps in {folder} stay" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("there", "meant"),
    [
        (["fold1"], 1),
        (["fold0", "fold1", "fold2"], 0),
        (["fold0", "full"], 0),
        (["full"], FULL),
    ],
)
def test_the_model_that_is_there_is_meant_where_no_fold_is_named(
    there, meant, config, tmp_path
):
    write_text(tmp_path / "config.yaml", dump_config(config))
    for name in there:
        (tmp_path / name).mkdir()
        (tmp_path / name / "model.keras").touch()
    assert meant_fold(tmp_path) == meant
    assert meant_fold(tmp_path, 7) == 7  # what is named is not second-guessed
    path = tmp_path / (FULL if meant == FULL else f"fold{meant}") / "model.keras"
    assert model_files(tmp_path, None)[1] == [path]
    if meant != FULL:
        assert chosen_folds(tmp_path, None) == [meant]


def test_of_several_models_without_fold_0_one_must_be_named(tmp_path):
    with pytest.raises(FileNotFoundError, match="holds no trained fold"):
        meant_fold(tmp_path)
    for name in ("fold1", "fold2", "full"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "model.keras").touch()
    with pytest.raises(ConfigError, match=r"--fold.*of 1, 2, full in"):
        meant_fold(tmp_path)
    with pytest.raises(ConfigError, match="none is fold 0"):
        chosen_folds(tmp_path, None)


@pytest.mark.parametrize(
    "name",
    [
        *("predict", "export", "bundle", "explain", "chart_scenes", "synthesize"),
        *("measure_novelty", "measure_anomalies"),
    ],
)
def test_what_uses_one_model_names_no_fold_by_itself(name):
    default = inspect.signature(getattr(experiment, name)).parameters["fold"].default
    assert default is None
