"""One file from a server: resumed, verified, whole or not there."""

import errno
import hashlib

import numpy as np
import pytest

from arcticdl import download as module
from arcticdl.download import cache_dir, download
from arcticdl.errors import FetchError

CONTENT = np.random.default_rng(0).bytes(50_000)


def digest(data, kind="sha256"):
    return hashlib.new(kind, data).hexdigest()


@pytest.fixture
def url(served):
    served.files = {"/x": CONTENT}
    return f"{served.url}/x"


def test_a_broken_download_is_resumed_and_verified(url, served, tmp_path):
    served.break_after = 20_000
    path = tmp_path / "deep" / "file.bin"
    found = download(url, path, checksum=digest(CONTENT)[:8], wait_s=0)
    assert path.read_bytes() == CONTENT
    assert found == digest(CONTENT)
    assert served.requests == (("/x", None), ("/x", "bytes=20000-"))
    assert list(path.parent.iterdir()) == [path]


def test_a_partial_file_of_an_earlier_call_is_continued(url, served, tmp_path):
    path = tmp_path / "file.bin"
    path.with_name("file.bin.part").write_bytes(CONTENT[:30_000])
    download(url, path, wait_s=0)
    assert path.read_bytes() == CONTENT
    assert served.requests == (("/x", "bytes=30000-"),)


def test_a_partial_file_that_is_whole_is_only_verified(url, tmp_path):
    path = tmp_path / "file.bin"
    path.with_name("file.bin.part").write_bytes(CONTENT)
    assert download(url, path, checksum=digest(CONTENT), wait_s=0) == digest(CONTENT)


def test_a_server_without_ranges_sends_the_file_anew(url, served, tmp_path):
    served.ranges = False
    path = tmp_path / "file.bin"
    path.with_name("file.bin.part").write_bytes(b"\0" * 30_000)
    download(url, path, checksum=digest(CONTENT), wait_s=0)
    assert path.read_bytes() == CONTENT


def test_an_md5_is_compared_and_the_sha256_returned(url, tmp_path):
    checksum = f"md5:{digest(CONTENT, 'md5')}"
    assert download(url, tmp_path / "a", checksum=checksum) == digest(CONTENT)
    with pytest.raises(FetchError, match="expected MD5, 00000000"):
        download(url, tmp_path / "b", checksum="md5:00000000")


@pytest.mark.parametrize(
    ("expected", "message"),
    [
        ({"checksum": "00000000"}, "SHA-256, 00000000"),
        ({"num_bytes": 49_999}, "49999 bytes. Received: 50000 bytes"),
    ],
)
def test_a_wrong_file_is_removed(url, tmp_path, expected, message):
    with pytest.raises(FetchError, match=message):
        download(url, tmp_path / "file.bin", **expected)
    assert not list(tmp_path.iterdir())


def test_an_absent_file_is_an_error_that_says_where_to_put_it(served, tmp_path):
    path = tmp_path / "file.bin"
    with pytest.raises(FetchError, match="put it at") as error:
        download(f"{served.url}/missing", path, wait_s=0)
    assert str(path) in str(error.value) and "404" in str(error.value)
    assert len(served.requests) == 1  # asking again would not help
    with pytest.raises(ValueError, match="https"):
        download("file:///etc/passwd", path)


def test_a_server_that_is_not_there_is_asked_three_times(tmp_path, monkeypatch):
    asked = []
    reach = module._append

    def count(*arguments):
        asked.append(1)
        reach(*arguments)

    monkeypatch.setattr(module, "_append", count)
    with pytest.raises(FetchError, match="refused"):
        download("http://127.0.0.1:9/x", tmp_path / "a", wait_s=0)
    assert len(asked) == module.ATTEMPTS


def test_a_full_disk_is_told_as_such_and_not_tried_again(url, tmp_path, monkeypatch):
    asked = []

    def full(*_):
        asked.append(1)
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(module, "_append", full)
    with pytest.raises(OSError, match="No space left"):
        download(url, tmp_path / "a", wait_s=0)
    assert len(asked) == 1


def test_the_cache_is_where_the_variable_says(monkeypatch, tmp_path):
    monkeypatch.setenv("ARCTICDL_CACHE", str(tmp_path))
    assert cache_dir() == tmp_path
    monkeypatch.delenv("ARCTICDL_CACHE")
    assert cache_dir().parts[-2:] == (".cache", "arcticdl")
