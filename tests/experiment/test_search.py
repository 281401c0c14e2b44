"""A search: what its trials read and are scored by, and what survives a stop."""

import csv
import json
import math
import signal
from pathlib import Path

import optuna
import pytest
import yaml

from arcticdl import experiment
from arcticdl.cli import main
from arcticdl.cli.runs import tune as command
from arcticdl.config import dump_config, load_config
from arcticdl.errors import ConfigError, MissingExtraError
from arcticdl.experiment.data.prepared import open_prepared
from arcticdl.experiment.search import plan as plans
from arcticdl.experiment.search import work as worker
from arcticdl.experiment.search.page import find_importance
from arcticdl.experiment.search.plan import SEARCH_SAMPLERS, Objective, plan_search
from arcticdl.experiment.search.samplers import NumberedSampler, list_cells, suggest
from arcticdl.experiment.search.study import (
    About,
    hold_study,
    open_study,
    take_trial,
    trial_path,
    write_about,
)
from arcticdl.experiment.search.table import list_trials
from arcticdl.experiment.search.work import finish_search, work
from arcticdl.experiment.split import choose_folds
from arcticdl.files import write_json, write_text
from arcticdl.tiles import store as stores
from arcticdl.training.signals import Preempted, watch_signals

CONFIG = """
name: tiny
data:
  scenes: data/*[0-9].tif
  use_bands: [HH, HV]
  labels:
    ice_type:
      file: {replace: {.tif: _labels.tif}}
      classes: [open water, new ice, young ice, thin first-year ice,
        thick first-year ice, old ice]
tiles: {size_px: 32}
folds: {n_splits: 4}
model:
  backbone: plain
  options:
    backbone_options: {width: 2, depth: 2}
    decoder_options: {channels: [2, 2]}
train: {batch_size: 4, epochs: 2, jit_compile: false}
search:
  validation_groups: 1
  space:
    train.learning_rate: [1.0e-3, 1.0e+38]
"""
RANGES = {
    "train.learning_rate": {"low": 1e-4, "high": 1e-1, "log": True},
    "train.weight_decay": {"low": 0.0, "high": 0.1},
}


def project_file(name):
    return Path(__file__).resolve().parents[2] / name


def run(*words):
    return main([str(word) for word in words])


@pytest.fixture(scope="module")
def searched(tmp_path_factory):
    """A search on simulated scenes, one of whose trials diverges, and what it read."""
    folder, read, training = tmp_path_factory.mktemp("searched"), set(), []
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        assert run("simulate", "data", "--scenes", 4, "--size", 64) == 0
        base = yaml.safe_load(project_file("configs/demo_search.yaml").read_text())
        tiny = yaml.safe_load(CONFIG)
        Path("tiny.yaml").write_text(yaml.safe_dump(base | tiny))
        assert run("prepare", "tiny.yaml") == 0
        begin, train_here = stores.PendingRead.__init__, worker.train_here

        def record(self, store, indices, names):
            if training:  # not while the audit looks for leaks between the parts
                read.update(indices.tolist())
            begin(self, store, indices, names)

        def train(*trial):
            training.append(trial)
            train_here(*trial)
            training.clear()

        patch.setattr(stores.PendingRead, "__init__", record)
        patch.setattr(worker, "train_here", train)
        study = experiment.tune(
            load_config("tiny.yaml"), 2, sampler="grid", fold=1, keep_best=True
        )
    return folder, folder / study, read


def rows_of(study):
    with open(study / "trials.csv", newline="") as file:
        return {row["state"]: row for row in csv.DictReader(file)}


def test_no_tile_of_the_held_out_scene_is_read(searched, monkeypatch):
    folder, study, read = searched
    monkeypatch.chdir(folder)
    config = load_config(study / "trials" / "0000" / "config.yaml")
    split = choose_folds(open_prepared(config), config, [1])[1]
    assert len(split.test) and not read & set(split.test.tolist())
    assert read == {*split.train.tolist(), *split.validation.tolist()}


def test_a_trial_is_scored_by_its_validation_and_a_diverged_one_has_failed(searched):
    _, study, _ = searched
    rows = rows_of(study)
    assert set(rows) == {"done", "failed"}
    assert rows["failed"]["train.learning_rate"] == "1.0e+38"
    assert "The loss became" in rows["failed"]["reason"]
    done = trial_path(study, int(rows["done"]["trial"]))
    with open(done / "fold1" / "history.csv", newline="") as file:
        last = list(csv.DictReader(file))[-1]
    found = float(rows["done"]["val_mean_iou"])
    assert found == pytest.approx(float(last["val_mean_iou"]), rel=1e-5)
    assert (done / "fold1" / "model.keras").exists()  # it was asked for
    assert not (done / "fold1" / "checkpoint").exists()
    assert len(list(study.glob("trials/*/fold1/model.keras"))) == 1


def test_the_best_trains_as_it_is_and_only_its_own_fold(searched, monkeypatch, capfd):
    folder, study, _ = searched
    monkeypatch.chdir(folder)
    best = study / "best.yaml"
    assert "its test part chose nothing" in best.read_text()
    tree = yaml.safe_load(best.read_text())
    assert tree["train"]["learning_rate"] == 0.001
    # The groups that judged train as well in the end.
    assert (tree["folds"]["only"], tree["folds"]["validation_groups"]) == ([1], 0)
    assert run("train", best, "--fold", 0) == 1
    assert "may have chosen the settings" in " ".join(capfd.readouterr().err.split())
    assert run("train", best, "--set", "train.epochs=1") == 0
    split = json.loads(Path("runs/tiny-tuned/fold1/split.json").read_text())
    assert len(split["train"]) == 3 and not split["validation"]


def test_the_page_and_the_list_show_the_trials(searched, monkeypatch, capfd):
    folder, study, _ = searched
    monkeypatch.chdir(folder)
    page = (study / "search.html").read_text()
    assert "<svg" in page and 'src="http' not in page and "The loss became" in page
    words = ["tune", "tiny.yaml", "--sampler", "grid", "--fold", 1, "--list"]
    assert run(*words) == 0
    assert "1 done, 1 failed" in capfd.readouterr().out


def begin(folder, space=None, *, sampler="random", trials=4, objectives=1, **changes):
    """A study that is begun without data: its plan, and what its workers share."""
    tree = yaml.safe_load(CONFIG)
    tree["search"] |= {"space": space or RANGES}
    path = folder / "c.yaml"
    path.write_text(yaml.safe_dump(tree))
    plan = plan_search(
        load_config(path), trials, sampler=sampler, study_dir=folder / "s", **changes
    )
    costs = (Objective("parameters", "minimize", True),) * (objectives - 1)
    sought = (Objective("val_mean_iou", "maximize", False), *costs)
    about = About(0, sampler, 2, "print", sought)
    with hold_study(plan.folder):
        write_text(plan.folder / "config.yaml", dump_config(plan.config))
        write_about(plan.folder, about)
    return plan, about


def score_of(folder, number):
    """A score that is known: the nearer the rate is to 1e-2 the better."""
    config = load_config(trial_path(folder, number) / "config.yaml")
    return -abs(math.log10(config.train.learning_rate) + 2)


def told(folder, number, storage):
    outcome = {"state": "complete", "reason": "", "epochs": 2, "seconds": 1.0}
    outcome["values"] = [score_of(folder, number)]
    write_json(trial_path(folder, number) / "outcome.json", outcome)


def trials_of(plan, about):
    study = open_study(plan.folder, plan.storage, plan.config, about)
    return {row.number: row for row in list_trials(study)}


def test_a_stopped_trial_goes_on_with_its_values_and_nothing_is_lost(tmp_path):
    plan, about = begin(tmp_path)
    stops = [1]

    def stopped(folder, number, storage):
        if number in stops:
            stops.remove(number)
            raise Preempted("Received SIGTERM.")
        told(folder, number, storage)

    with pytest.raises(Preempted, match="the same call goes on"):
        work(plan, stopped)
    before = trials_of(plan, about)
    assert [row.state for row in before.values()] == ["done", "running"]
    work(plan, stopped)
    after = trials_of(plan, about)
    assert [row.state for row in after.values()] == ["done"] * 4
    assert after[1].params == before[1].params
    # Trials do not depend on the stop: the seed is of the number.
    (tmp_path / "other").mkdir()
    other, about = begin(tmp_path / "other")
    work(other, told)
    assert [r.params for r in trials_of(other, about).values()] == [
        row.params for row in after.values()
    ]


def test_a_trial_whose_worker_was_killed_is_taken_over_but_not_for_ever(tmp_path):
    plan, about = begin(tmp_path, trials=2)
    values = []
    for _ in range(3):
        study = open_study(plan.folder, plan.storage, plan.config, about)
        taken = take_trial(study, plan)
        assert taken.number == 0
        values.append(taken.trial.params)
        other = take_trial(study, plan)  # the trial has a worker: another one is begun
        assert other.number == 1
        study.tell(1, 0.0) if len(values) == 3 else None
        for held in (taken, other):
            held.lock.release()  # as when a process ends, however it ends
        if len(values) < 3:
            other.trial.set_user_attr("starts", 0)
    assert values[0] == values[1] == values[2]
    assert take_trial(study, plan) is None
    assert trials_of(plan, about)[0].reason == "it ended its worker 3 times"


def test_an_outcome_that_a_killed_worker_did_not_tell_is_told(tmp_path):
    plan, about = begin(tmp_path, trials=1)
    study = open_study(plan.folder, plan.storage, plan.config, about)
    taken = take_trial(study, plan)
    told(plan.folder, 0, plan.storage)
    taken.lock.release()

    def never(*_):
        raise AssertionError("it was trained already")

    work(plan, never)
    assert trials_of(plan, about)[0].state == "done"


@pytest.mark.parametrize("storage", [None, "study.db"])
def test_two_workers_do_every_cell_of_a_grid_once(tmp_path, storage):
    where = None if storage is None else str(tmp_path / storage)
    space = {
        "train.learning_rate": [1e-3, 1e-2],
        "train.batch_size": {"low": 2, "high": 6, "step": 2},
    }
    plan, about = begin(tmp_path, space, sampler="grid", trials=50, storage=where)
    first, second = (
        open_study(plan.folder, plan.storage, plan.config, about) for _ in range(2)
    )
    cells = []
    while (one := take_trial(first, plan)) is not None:
        two = take_trial(second, plan)
        for study, taken in ((first, one), (second, two)):
            told(plan.folder, taken.number, "")
            config = load_config(trial_path(plan.folder, taken.number) / "config.yaml")
            cells.append((config.train.learning_rate, config.train.batch_size))
            study.tell(taken.number, score_of(plan.folder, taken.number))
            taken.lock.release()
    assert sorted(cells) == [(r, b) for r in (1e-3, 1e-2) for b in (2, 4, 6)]


def test_failures_end_a_search_only_where_nothing_comes_to_an_end(tmp_path):
    plan, about = begin(tmp_path, trials=20)

    def fails(folder, number, storage):
        told = {"state": "failed", "reason": "out of memory (MemoryError)"}
        write_json(trial_path(folder, number) / "outcome.json", told)

    with pytest.raises(ConfigError, match=r"5 trials failed .* out of memory"):
        work(plan, fails)
    assert len(trials_of(plan, about)) == 5


def test_weights_stay_only_of_the_best(tmp_path):
    plan, about = begin(tmp_path, trials=4, keep_best=True)

    def trains(folder, number, storage):
        fold = trial_path(folder, number) / "fold0"
        (fold / "checkpoint").mkdir(parents=True)
        (fold / "model.keras").write_text("weights")
        told(folder, number, storage)

    work(plan, trains)
    rows = trials_of(plan, about).values()
    best = max(rows, key=lambda row: row.values[0])
    (kept,) = plan.folder.glob("trials/*/fold0/model.keras")
    assert int(kept.parent.parent.name) == best.number
    tree = yaml.safe_load((plan.folder / "best.yaml").read_text())
    assert tree["train"]["learning_rate"] == best.params["train.learning_rate"]


def test_of_several_objectives_the_front_is_kept_and_drawn(tmp_path):
    plan, _ = begin(tmp_path, trials=5, objectives=2)
    costs = {}

    def trains(folder, number, storage):
        config = load_config(trial_path(folder, number) / "config.yaml")
        costs[number] = (score_of(folder, number), 1e4 * config.train.weight_decay)
        told(folder, number, storage)
        path = trial_path(folder, number) / "outcome.json"
        outcome = json.loads(path.read_text()) | {"values": list(costs[number])}
        write_json(path, outcome)

    work(plan, trains)
    front = {
        n
        for n, (score, cost) in costs.items()
        if not any(s > score and c < cost for s, c in costs.values())
    }
    first = max(front, key=lambda n: costs[n][0])
    text = (plan.folder / "best.yaml").read_text()
    assert text.startswith(f"# Trial {first} ")
    line = next((x for x in text.splitlines() if "every objective" in x), "")
    assert all(str(number) in line for number in front - {first})
    page = (plan.folder / "search.html").read_text()
    assert 'id="front"' in page and 'id="lines"' in page and 'id="importance"' in page


def test_what_mattered_is_what_the_score_depends_on(tmp_path):
    plan, about = begin(tmp_path, trials=16)
    study = open_study(plan.folder, plan.storage, plan.config, about)
    while (taken := take_trial(study, plan)) is not None:
        study.tell(taken.number, score_of(plan.folder, taken.number))
        taken.lock.release()
    importance = find_importance(study)
    assert sum(importance.values()) == pytest.approx(1)
    assert importance["train.learning_rate"] > 0.7
    finish_search(study, plan, about)
    assert 'id="slices"' in (plan.folder / "search.html").read_text()


def test_another_configuration_sampler_or_store_is_refused(tmp_path, monkeypatch):
    plan, about = begin(tmp_path)
    open_study(plan.folder, plan.storage, plan.config, about)
    from arcticdl.experiment.search.study import check_about, check_folder

    check_folder(plan)
    check_about(plan, about, "print")
    other = plan.config.model_copy(update={"seed": 7})
    with pytest.raises(FileExistsError, match="another configuration"):
        check_folder(plan_search(other, 4, study_dir=plan.folder))
    with pytest.raises(FileExistsError, match="another sampler"):
        check_about(plan_search(plan.config, 4, study_dir=plan.folder), about, "print")
    with pytest.raises(FileExistsError, match="another tile store"):
        check_about(plan, about, "other")
    with pytest.raises(FileExistsError, match="of another tile store"):
        changed = about._replace(fingerprint="other")
        open_study(plan.folder, plan.storage, plan.config, changed)


@pytest.mark.parametrize(
    ("changes", "asked", "words"),
    [
        ({"search": None}, {}, "needs the section `search`"),
        ({"search.validation_groups": 0}, {}, "the held-out fold never chooses"),
        ({}, {"sampler": "gird"}, "Did you mean 'grid'"),
        ({}, {"trials": 0}, "at least 1"),
        ({}, {"fold": 9}, "number from 0 to 3"),
        ({}, {"storage": "study.txt"}, "must be a path ending in"),
        ({}, {"sampler": "cmaes"}, "two ranges or more"),
        ({"search.space": RANGES}, {"sampler": "grid"}, "a `step`"),
    ],
)
def test_what_cannot_be_searched_is_refused_at_once(tmp_path, changes, asked, words):
    tree = yaml.safe_load(CONFIG)
    for key, value in changes.items():
        section, _, name = key.partition(".")
        if name:
            tree[section][name] = value
        else:
            tree[section] = value
    (tmp_path / "c.yaml").write_text(yaml.safe_dump(tree))
    config = load_config(tmp_path / "c.yaml")
    with pytest.raises(ValueError, match=words):
        plan_search(config, **{"trials": 3, **asked})


def test_without_optuna_the_extra_is_named(tmp_path, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "optuna", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'arcticdl\[tune\]'"):
        plans.import_optuna()


def test_the_space_of_the_project_s_own_search_is_accepted():
    config = load_config(project_file("configs/demo_search.yaml"))
    assert experiment.check_search(config) == config.train.epochs
    plan_search(config, 20)


def test_a_value_that_only_a_signature_refuses_is_refused_before_a_trial(tmp_path):
    space = {"model.options.backbone_options.widht": [2, 4]}
    tree = yaml.safe_load(CONFIG)
    tree["search"]["space"] = space
    (tmp_path / "c.yaml").write_text(yaml.safe_dump(tree))
    with pytest.raises(ConfigError, match="Did you mean 'width'"):
        experiment.check_search(load_config(tmp_path / "c.yaml"))


def test_conditions_leave_cells_of_a_grid_out():
    search = load_search(
        {
            "model.backbone": ["resnet18", "plain"],
            "model.options.backbone_options.width": {
                "low": 4,
                "high": 8,
                "step": 4,
                "when": {"model.backbone": "plain"},
            },
        }
    )
    assert [tuple(cell.values()) for cell in list_cells(search)] == [
        ("resnet18",),
        ("plain", 4),
        ("plain", 8),
    ]


def load_search(space):
    from arcticdl.config.search.section import SearchConfig

    return SearchConfig.model_validate({"space": space})


@pytest.mark.parametrize("sampler", ["random", "tpe", "cmaes", "nsga2"])
def test_every_sampler_finds_its_way_and_begins_alike(sampler):
    search = load_search(RANGES)

    def best(seed):
        study = optuna.create_study(
            sampler=NumberedSampler(SEARCH_SAMPLERS[sampler], seed)
        )
        for _ in range(40):
            trial = study.ask()
            values = suggest(trial, search)
            rate = math.log10(values["train.learning_rate"])
            study.tell(trial, (rate + 2) ** 2 + values["train.weight_decay"])
        return study.best_value, study.trials[0].params

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    found = [best(seed) for seed in (0, 1, 0)]
    assert found[0] == found[2] != found[1]
    # Of uniform draws 1 in 14 is as good, so that of 40 nearly always one is.
    assert max(value for value, _ in found) < 0.1


def test_trials_behind_the_median_are_given_up(tmp_path):
    from arcticdl.experiment.search.samplers import build_pruner
    from arcticdl.experiment.search.trial import Judge, Pruned

    study = optuna.create_study(
        direction="maximize", pruner=build_pruner("median", epochs=4)
    )
    for score in (0.1, 0.2, 0.3, 0.4, 0.5):
        trial = study.ask()
        for epoch in range(4):
            trial.report(score, epoch)
        study.tell(trial, score)

    def epochs(score):
        judge = Judge(study.ask(), (Objective("val_mean_iou", "maximize", False),))
        judge.set_model(type("Model", (), {"stop_training": False})())
        for epoch in range(4):
            judge.on_epoch_begin(epoch)
            try:
                judge.on_epoch_end(epoch, {"val_mean_iou": score})
            except Pruned:
                return epoch + 1
        return 4

    # The median is 0.3; a quarter of the epochs is always granted.
    assert (epochs(0.29), epochs(0.31)) == (2, 4)


def test_hyperband_gives_up_some_trials_but_not_the_best():
    from arcticdl.experiment.search.samplers import build_pruner

    study = optuna.create_study(
        direction="maximize",
        sampler=optuna.samplers.RandomSampler(seed=0),
        pruner=build_pruner("hyperband", epochs=9),
    )
    given_up = {}
    for number in range(20):
        trial = study.ask()
        score = (7 * number % 20) / 20  # every score from 0 to 0.95 once
        for epoch in range(9):
            trial.report(score, epoch)
            if trial.should_prune():
                given_up[score] = epoch
                study.tell(trial, state=optuna.trial.TrialState.PRUNED)
                break
        else:
            study.tell(trial, score)
    assert 0 < len(given_up) < 20 and 0.95 not in given_up


class _Ended:
    """A process that ends as it is told to."""

    def __init__(self, code):
        self.exitcode, self.code, self.told = None, code, False

    def join(self, seconds=None):
        self.exitcode = 75 if self.told else self.code

    def terminate(self):
        self.told = True


@pytest.mark.parametrize(
    ("code", "log", "reason"),
    [
        (-9, "", "ended by SIGKILL, as by a system that is out of memory"),
        (1, "error: no such file\n", "no such file"),
        (70, "defect: X\n", "defect: X"),
        (3, "", "ended with status 3"),
    ],
)
def test_a_process_that_ends_without_an_outcome_has_failed(
    tmp_path, monkeypatch, code, log, reason
):
    plan, _ = begin(tmp_path)
    place = trial_path(plan.folder, 0)
    place.mkdir(parents=True)
    (place / "trial.log").write_text(log)
    monkeypatch.setattr(command, "start_process", lambda *_: _Ended(code))
    command.run_trial(plan.folder, 0, plan.storage)
    outcome = json.loads((place / "outcome.json").read_text())
    assert outcome["state"] == "failed" and outcome["reason"].startswith(reason)


@pytest.mark.parametrize("code", [75, None])
def test_a_signal_reaches_the_training_and_ends_the_worker(tmp_path, monkeypatch, code):
    plan, about = begin(tmp_path)
    ended = _Ended(code)

    def start(*_):
        if code is None:  # this process is told, and tells the training
            watch_signals.active.received = signal.SIGTERM
        return ended

    monkeypatch.setattr(command, "start_process", start)
    with pytest.raises(Preempted):
        work(plan, command.run_trial)
    assert ended.told == (code is None)
    assert trials_of(plan, about)[0].state == "running"
