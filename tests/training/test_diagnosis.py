"""What loss curves say: of real trainings that provoke it, and at the edges."""

import runpy

import keras
import numpy as np
import pytest

from arcticdl.training import LossCurveDiagnosis, diagnose, fit


@pytest.fixture(scope="module")
def provoked(project_root):
    """The trainings of the page's figure, which shows what they are named after."""
    return runpy.run_path(str(project_root / "docs" / "figures" / "loss_curves.py"))


KINDS = (
    "overfitting",
    "underfitting",
    "divergence",
    "noisy validation",
    "plateau",
    "healthy",
)


@pytest.mark.parametrize("kind", KINDS)
def test_real_trainings_are_called_what_they_provoke(provoked, kind):
    _, findings = provoked["provoke"](kind)
    assert [found.kind for found in findings] == [kind]
    assert bool(findings[0].advice) == (kind != "healthy")


def test_a_rate_far_too_small_is_underfitting_that_still_falls(provoked):
    keras.utils.set_random_seed(0)
    (found,) = diagnose(provoked["too_slow"]())
    assert found.kind == "underfitting"
    assert "still falls" in found.evidence


EPOCHS = np.arange(30)
FALL = np.exp(-EPOCHS / 6)


def test_the_numbers_are_those_of_the_curves():
    val_loss = 0.5 + np.abs(EPOCHS - 9) / 30
    (found,) = diagnose({"loss": FALL, "val_loss": val_loss})
    assert found.kind == "overfitting"
    assert found.numbers["best_epoch"] == 10
    # The level at the end is the median of three epochs, the lowest that of three too.
    rise = np.median(val_loss[-3:]) - np.median(val_loss[8:11])
    fall = np.median(FALL[8:11]) - np.median(FALL[-3:])
    assert found.numbers["rise"] == pytest.approx(rise)
    assert found.numbers["fall"] == pytest.approx(fall)


@pytest.mark.parametrize("scale", [1e-6, 1.0, 1e6])
@pytest.mark.parametrize("shift", [-5.0, 0.0, 5.0])
def test_verdicts_depend_neither_on_the_scale_of_a_loss_nor_on_its_zero(scale, shift):
    rng = np.random.default_rng(0)
    curves = {
        "overfitting": 0.5 + np.abs(EPOCHS - 9) / 30,
        "healthy": FALL + 0.1,
        "noisy validation": FALL + 0.3 * rng.normal(size=30),
    }
    for kind, val_loss in curves.items():
        loss = FALL + 0.01
        moved = {"loss": loss + shift, "val_loss": val_loss + shift}
        found = diagnose({name: scale * curve for name, curve in moved.items()})
        assert found[0].kind == kind


def test_a_few_epochs_say_nothing_but_that_they_diverge():
    assert diagnose({"loss": [1.0]})[0].kind == "too short"
    assert diagnose({"loss": FALL[:7]})[0].kind == "too short"
    found = diagnose({"loss": [1.0, 0.9, np.nan]})[0]
    assert (found.kind, found.numbers) == ("divergence", {"epoch": 3.0})
    assert diagnose({"loss": [1.0, 9.0, 50.0, 400.0, 9e3]})[0].kind == "divergence"
    # The validation may start to rise at once: that is no divergence.
    rising = {"loss": FALL[:7], "val_loss": 1 + EPOCHS[:7]}
    assert diagnose(rising)[0].kind == "too short"


def test_without_a_validation_only_the_training_is_told():
    assert diagnose({"loss": FALL})[0].kind == "healthy"
    assert diagnose({"loss": np.linspace(2, 1, 30)})[0].kind == "underfitting"
    never = {"loss": FALL, "val_loss": np.full(30, np.nan)}
    assert diagnose(never)[0].kind == "healthy"


def test_a_rate_that_restarts_is_no_divergence():
    cycles = np.exp(-EPOCHS / 8) + 0.15 * (EPOCHS % 10 < 2) * (EPOCHS > 2)
    kinds = {found.kind for found in diagnose({"loss": cycles, "val_loss": cycles})}
    assert not kinds & {"divergence", "overfitting"}


def test_one_odd_epoch_changes_no_verdict():
    odd = FALL + 0.1
    odd[20] = 3.0
    assert diagnose({"loss": FALL, "val_loss": odd})[0].kind == "healthy"
    low = FALL + 0.1
    low[8] = -2.0
    assert diagnose({"loss": FALL, "val_loss": low})[0].kind == "healthy"


def test_a_constant_curve_is_underfitting_unless_a_score_is_good():
    flat = {"loss": np.full(12, 0.7), "val_loss": np.full(12, 0.7)}
    assert diagnose(flat)[0].kind == "underfitting"
    assert diagnose({**flat, "mean_iou": np.full(12, 0.9)})[0].kind == "plateau"
    assert diagnose({"loss": np.zeros(12)})[0].kind == "plateau"


def test_the_best_constant_answer_tells_underfitting_from_a_plateau():
    fell = {"loss": 0.69 + 0.3 * np.exp(-EPOCHS / 2)}
    assert diagnose(fell)[0].kind == "plateau"
    assert diagnose(fell, constant_loss=np.log(2))[0].kind == "underfitting"
    assert diagnose(fell, constant_loss=0.9)[0].kind == "plateau"


def test_overfitted_confidence_is_told_from_overfitted_answers():
    rising = 0.5 + np.abs(EPOCHS - 9) / 30
    better = {"loss": FALL, "val_loss": rising, "val_mean_iou": 0.5 + EPOCHS / 100}
    assert "how sure they are" in diagnose(better)[0].evidence
    worse = {**better, "val_mean_iou": 0.5 - EPOCHS / 100}
    assert "how sure they are" not in diagnose(worse)[0].evidence


def test_a_history_without_a_loss_is_refused_with_what_it_has():
    with pytest.raises(ValueError, match=r"column `loss`.*\['accuracy'\]"):
        diagnose({"accuracy": [0.5, 0.6]})


class Feed(keras.utils.PyDataset):
    """One batch, the same every epoch."""

    def __len__(self):
        return 1

    def __getitem__(self, index):
        return np.ones((2, 2), "float32"), np.ones((2, 1), "float32")


def small():
    model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])
    model.compile("sgd", "mse", run_eagerly=True)
    return model


def test_the_log_says_at_the_end_what_the_curves_say(tmp_path, capsys):
    fit(small(), Feed(), tmp_path / "run" / "fold0", epochs=2)
    assert "curves: too short: 2 epochs" in capsys.readouterr().out
    # Epochs before a resume count as well.
    fit(small(), Feed(), tmp_path / "run" / "fold0", epochs=9)
    assert "curves: too short" not in capsys.readouterr().out


def test_the_callback_serves_anybody_s_fit(capsys):
    told = LossCurveDiagnosis()
    x, y = Feed()[0]
    small().fit(x, y, epochs=3, verbose=0, callbacks=[told])
    assert [found.kind for found in told.findings] == ["too short"]
    small().fit(x, y, epochs=0, verbose=0, callbacks=[told])
    assert told.findings == []
