"""The table of losses, the package's stub and its modules say the same."""

import subprocess
import sys
from importlib import import_module
from pathlib import Path

import keras
import pytest

from arcticdl import losses, metrics
from arcticdl.choices import choose

NOT_IN_THE_TABLE = {"Sum"}  # it needs other losses to be built of


def modules(package):
    room = Path(package.__file__).parent
    paths = [path.relative_to(room).with_suffix("") for path in room.rglob("*.py")]
    return [
        import_module(".".join((package.__name__, *path.parts)))
        for path in paths
        if path.name != "__init__"
    ]


def registered(package, base):
    """Public classes of the package's modules that ``.keras`` files may name."""
    return {
        name: value
        for module in modules(package)
        for name, value in vars(module).items()
        if isinstance(value, type)
        and issubclass(value, base)
        and value.__module__ == module.__name__
        and keras.saving.get_registered_name(value) == f"arcticdl>{name}"
        and not name.startswith("_")
    }


def test_the_table_holds_every_loss_that_can_be_built_by_name():
    found = registered(losses, keras.losses.Loss)
    assert set(losses.LOSSES.entries) == set(found) - NOT_IN_THE_TABLE
    assert all(losses.LOSSES[name] is found[name] for name in losses.LOSSES.entries)


@pytest.mark.parametrize("package", [losses, metrics], ids=["losses", "metrics"])
def test_what_the_stub_offers_is_there_and_no_registered_class_is_missing(package):
    for name in package.__all__:
        value = getattr(package, name)
        assert (
            getattr(value, "__module__", package.__name__).startswith(package.__name__)
            or name.isupper()
        )
    bases = (keras.losses.Loss, keras.metrics.Metric, keras.layers.Layer)
    assert set(registered(package, bases)) <= set(package.__all__)


def test_naming_losses_and_metrics_loads_no_keras():
    code = (
        "import sys\n"
        "from arcticdl.losses.table import LOSSES\n"
        "from arcticdl.metrics import METRICS, confusion_matrix\n"
        "assert 'Dice' in LOSSES and 'MeanIoU' in METRICS\n"
        "sys.exit('keras' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], timeout=60).returncode == 0


def test_a_package_beside_this_one_adds_a_loss(tmp_path, monkeypatch):
    (tmp_path / "borealis.py").write_text(
        "from arcticdl.losses import Dice\nclass Aurora(Dice):\n    pass\n"
    )
    info = tmp_path / "borealis-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: borealis\n")
    (info / "entry_points.txt").write_text(
        "[arcticdl.losses]\nAurora = borealis:Aurora\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    assert "Aurora" in losses.LOSSES
    assert issubclass(choose("loss", "Aurora", losses.LOSSES), losses.Dice)


def test_a_misspelt_loss_is_told_its_neighbour():
    with pytest.raises(ValueError, match="Did you mean 'DiceFocal'"):
        choose("loss", "DiceFocall", losses.LOSSES)
