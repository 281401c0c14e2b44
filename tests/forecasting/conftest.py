"""What several tests of forecasts share."""

from pathlib import Path

import pytest
import yaml
from made_stack import describe, make_sic, write_years

from arcticdl.config import load_config
from arcticdl.experiment import prepare

SENSORS = {year: "SSM/I" for year in range(2000, 2004)}


@pytest.fixture(scope="session")
def made_stack(tmp_path_factory):
    """A folder with ten years of months, ``stack``, and their store."""
    root = tmp_path_factory.mktemp("forecast")
    write_years(root / "stack", make_sic(), sensors=SENSORS)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(root)
        Path("made.yaml").write_text(yaml.safe_dump(describe()))
        prepare(load_config("made.yaml"))
    return root
