"""Processes that train together: the same numbers, the same last step, one writer."""

import importlib.util

import numpy as np
import pytest
from starting import finish, interrupt, read_history, together, train, weights_of

from arcticdl.errors import ConfigError
from arcticdl.training.devices import processes

ADDRESS = {processes.ADDRESS: "node7:61500"}
LONG = ("--set", "train.epochs=60")
FOLD = ("train", "two.yaml", "--fold", 0, "--set", "train.jit_compile=true")


@pytest.mark.parametrize(
    ("environ", "message"),
    [
        ({}, r"SLURM_NTASKS must be a whole number. Received: none"),
        ({"SLURM_NTASKS": "two"}, r"Received: \{'SLURM_NTASKS': 'two'\}"),
        ({"SLURM_NTASKS": "2", "SLURM_PROCID": "2"}, r"Received: 2 of 2"),
    ],
)
def test_a_place_among_processes_must_be_told(environ, message):
    with pytest.raises(ConfigError, match=message):
        processes.join_processes({**ADDRESS, **environ})


def test_several_processes_train_on_jax_alone():
    import keras

    if keras.backend.backend() == "jax":
        pytest.skip("this is JAX")
    environ = {**ADDRESS, "SLURM_NTASKS": "2", "SLURM_PROCID": "0"}
    with pytest.raises(ConfigError, match=r"on JAX alone[^!]*KERAS_BACKEND=jax"):
        processes.join_processes(environ)


def test_one_process_asks_nobody():
    processes.join_processes({})
    assert processes.largest(3) == 3
    assert processes.of_first((4, 1)) == (4, 1)
    assert processes.is_first()
    with pytest.raises(OSError, match="full"):
        processes.raise_together(OSError("full"))


@pytest.fixture(scope="module")
def trained(prepared):
    """A fold that two processes have trained, and what each of them said."""
    if importlib.util.find_spec("jaxlib") is None:
        pytest.skip("JAX is not installed (make test-devices)")
    folder = prepared / "runs" / "together"
    return folder / "fold0", succeed(prepared, *FOLD, "--run-dir", folder)


@pytest.fixture(scope="module")
def long(prepared, trained):
    """The same for longer, so that a signal finds it at work."""
    folder = prepared / "runs" / "long"
    succeed(prepared, *FOLD, "--run-dir", folder, *LONG)
    return folder / "fold0"


def succeed(folder, *command):
    done = [finish(process) for process in together(2, *command, cwd=folder)]
    assert [status for status, _ in done] == [0, 0], done
    return [said for _, said in done]


@pytest.mark.devices
def test_two_processes_train_as_one_with_the_same_batch(prepared, trained):
    one, _ = train(prepared, "alone", 1, "train.jit_compile=true", backend="jax")
    for name, values in read_history(one).items():
        rtol = 1e-2 if name == "val_loss" else 2e-3  # as on several devices
        found = read_history(trained[0])[name]
        np.testing.assert_allclose(found, values, rtol=rtol, atol=1e-4)
    several = weights_of(trained[0])
    for name, values in weights_of(one).items():
        np.testing.assert_allclose(several[name], values, rtol=2e-3, atol=2e-4)


@pytest.mark.devices
def test_the_first_process_alone_writes_and_speaks(trained):
    fold_dir, (first, second) = trained
    assert "devices: 2 processes with 1 cpu each, sharing every batch" in first
    assert "epoch 2/2" in first
    assert "epoch" not in second
    assert sorted(path.name for path in fold_dir.iterdir()) == [
        "checkpoint", "history.csv", "leakage.json", "model.keras", "split.json",
    ]  # fmt: skip


@pytest.mark.devices
@pytest.mark.parametrize("told", [0, 1])
def test_a_signal_to_one_process_ends_all_at_one_step(prepared, long, told):
    folder = prepared / "runs" / f"stopped{told}"
    command = (*FOLD, "--run-dir", folder, *LONG)
    started = together(2, *command, cwd=prepared)
    interrupt(started[told], folder / "fold0" / "checkpoint")
    stopped = [finish(process) for process in started]
    if any(status == 0 for status, _ in stopped):
        pytest.fail(f"the training was over before the signal came: {stopped}")
    assert [status for status, _ in stopped] == [75, 75], stopped
    places = [said.split("preempted:")[1].splitlines()[0] for _, said in stopped]
    assert places[0] == places[1]
    assert not (folder / "fold0" / "model.keras").exists()

    succeed(prepared, *command, "--resume")
    for name, values in weights_of(long).items():
        np.testing.assert_array_equal(weights_of(folder / "fold0")[name], values)
    history = (folder / "fold0" / "history.csv").read_text()
    assert history == (long / "history.csv").read_text()


@pytest.mark.devices
def test_a_fold_that_is_done_is_refused_by_all_processes(prepared, trained):
    started = together(2, *FOLD, "--run-dir", trained[0].parent, cwd=prepared)
    for status, said in map(finish, started):
        assert status == 1
        assert "is trained. Use --overwrite" in said


@pytest.mark.devices
def test_processes_that_diverge_end_together_and_name_their_tiles(prepared, trained):
    folder = prepared / "runs" / "diverged"
    words = ("--run-dir", folder, "--set", "train.learning_rate=1e30")
    words += ("--set", "train.clip_norm=null")
    ended = [finish(one) for one in together(2, *FOLD, *words, cwd=prepared)]
    for number, (status, said) in enumerate(ended):
        assert status == 1
        assert f"The tiles of process {number} are tile " in said
    assert (folder / "fold0" / "last_good.keras").exists()
    assert not (folder / "fold0" / "model.keras").exists()


@pytest.mark.devices
def test_what_several_processes_cannot_do_is_refused_by_all(prepared, trained):
    folder = prepared / "runs" / "members"
    words = ("--run-dir", folder, "--set", "train.ensemble={kind: seeds, members: 2}")
    for status, said in map(finish, together(2, *FOLD, *words, cwd=prepared)):
        assert status == 1
        assert "Several processes train one network together" in said
    assert not folder.exists()
