"""What every test may rely on: the sample data's folder, and a quiet backend."""

import os
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

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


class Served(NamedTuple):
    """A server on this machine: its address without scheme, and what it has sent."""

    url: str
    log: Path

    @property
    def num_bytes(self):
        return sum(map(int, self.log.read_text().split()))

    @property
    def num_requests(self):
        return len(self.log.read_text().split())


@pytest.fixture
def object_server(tmp_path, monkeypatch):
    """A server of ``tmp_path``, whose folders are its buckets; see `object_server.py`.

    A process of its own: GDAL waits for the answer with Python's lock in its hand.
    """
    for name in ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("GDAL_HTTP_TIMEOUT", "10")
    script, log = Path(__file__).with_name("object_server.py"), tmp_path / "sent.txt"
    command = [sys.executable, str(script), str(tmp_path), str(log)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        yield Served(f"127.0.0.1:{process.stdout.readline().strip()}", log)
        process.kill()


@pytest.fixture
def s3_server(object_server, monkeypatch):
    """The same as the place of every ``s3://`` address."""
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://{object_server.url}")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "key")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    return object_server
