"""What every test may rely on: the sample data's folder, and a quiet backend."""

import os
from pathlib import Path

import pytest

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

_ROOT = Path(__file__).resolve().parent.parent


def sample_data() -> Path:
    """The folder of real data, which may be absent."""
    default = _ROOT.parent / "shared" / "data"
    return Path(os.environ.get("ARCTICDL_SAMPLE_DATA", default))


@pytest.fixture
def real_data(monkeypatch):
    """The real data's folder, known to configurations; skips where it is absent."""
    folder = sample_data()
    if not folder.is_dir():
        pytest.skip("no sample data: set ARCTICDL_SAMPLE_DATA to its folder")
    monkeypatch.setenv("ARCTICDL_SAMPLE_DATA", str(folder.resolve()))
    return folder


@pytest.fixture(scope="session")
def project_root():
    """The root of the checkout."""
    return _ROOT
