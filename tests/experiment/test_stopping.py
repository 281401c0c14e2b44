"""Early stopping by the task's own score, and stores that may not be learnt from."""

import pytest

from arcticdl.config import load_config
from arcticdl.errors import ConfigError
from arcticdl.experiment import check_options
from arcticdl.experiment.callbacks import build_stopping, find_monitor

TEXT = """
name: a
data:
  scenes: x/*.tif
  labels:
    ice: {{classes: [a, b, c], file: {{replace: {{x: y}}}}}}
    sic: {{file: {{replace: {{x: z}}}}}}
folds: {{validation_groups: 1}}
train: {{early_stopping: {{{rule}}}}}
{rest}
"""


def load(tmp_path, rule="", rest=""):
    path = tmp_path / "c.yaml"
    path.write_text(TEXT.format(rule=rule, rest=rest))
    return load_config(path)


@pytest.mark.parametrize(
    ("rule", "rest", "expected"),
    [
        ("", "", ("val_mean_iou", "max")),
        ("", "label: sic", ("val_rmse", "min")),
        ("", "heads: {ice: {}, sic: {}}", ("val_ice_mean_iou", "max")),
        ("monitor: val_sic_loss", "heads: {ice: {}, sic: {}}", ("val_sic_loss", "min")),
        ("monitor: val_loss", "", ("val_loss", "min")),
        ("monitor: val_mean_iou, mode: min", "", ("val_mean_iou", "min")),
    ],
)
def test_the_first_score_of_the_task_decides(tmp_path, rule, rest, expected):
    stopping = build_stopping(load(tmp_path, rule, rest))
    assert (stopping.monitor, stopping.mode) == expected


def test_a_score_that_is_not_logged_is_refused(tmp_path):
    config = load(tmp_path, "monitor: val_mean_iuo")
    with pytest.raises(ConfigError, match="Did you mean 'val_mean_iou'"):
        check_options(config)  # as `arcticdl config check` does, before any data


def test_a_score_best_at_zero_is_refused(tmp_path):
    config = load(
        tmp_path,
        "monitor: val_bias",
        "label: sic\ntask: dense_regression",
    )
    with pytest.raises(ConfigError, match=r"best at 0|one of .*val_rmse"):
        find_monitor(config, monitor="val_bias")
