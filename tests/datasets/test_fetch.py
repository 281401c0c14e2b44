"""Data sets: the table keeps its promises, and fetching keeps what it was told."""

import hashlib
import json
from collections import namedtuple

import pytest
from test_unpack import make_tar, make_zip

from arcticdl.cli import main
from arcticdl.datasets import fetch_dataset, find_dataset, list_datasets
from arcticdl.datasets import table as module
from arcticdl.datasets.table import read_record
from arcticdl.errors import FetchError

ABOUT = {
    "title": "Ice",
    "holds": "ice",
    "page": "https://example.org/ice",
    "licence": "CC0-1.0",
    "citation": "Frost, J. (2020)",
}


def sha256(content):
    return hashlib.sha256(content).hexdigest()


@pytest.fixture
def ice(served, monkeypatch, tmp_path):
    """A data set on this machine's server: two files and an archive in two pieces."""
    whole = make_tar(tmp_path / "a.tar.gz").read_bytes()
    served.files = {
        "/images.npy": b"images",
        "/masks.npy": b"masks",
        "/a.aa": whole[:900],
        "/a.ab": whole[900:],
    }
    record = {
        **ABOUT,
        "base": f"{served.url}/",
        "files": [
            {"url": "images.npy", "num_bytes": 6},
            {"url": "masks.npy", "name": "deep/m.npy", "checksum": sha256(b"masks")},
        ],
        "archives": [
            {"parts": [{"url": "a.aa"}, {"url": "a.ab"}], "keep": {"images": "images"}}
        ],
    }
    tables = {"ice": read_record("ice", record)}
    monkeypatch.setattr(module, "_table", lambda: tables)
    monkeypatch.setenv("ARCTICDL_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache" / "data" / "ice"


def files_of(folder):
    return sorted(str(p.relative_to(folder)) for p in folder.rglob("*") if p.is_file())


def test_a_set_comes_whole_with_a_record_of_what_came(ice, served):
    said = []
    assert fetch_dataset("ice", say=said.append) == ice
    assert files_of(ice) == ["deep/m.npy", "images.npy", "images/a.png", "images/b.png"]
    assert (ice / "images/a.png").read_bytes() == b"ice"
    record = json.loads(ice.with_name("ice.json").read_text())
    for name in ("images.npy", "masks.npy", "a.aa", "a.ab"):
        found = record["downloads"][f"{served.url}/{name}"]
        assert found == sha256(served.files[f"/{name}"])
    assert record["licence"] == "CC0-1.0" and record["citation"] == "Frost, J. (2020)"
    assert "CC0-1.0. Cite: Frost, J. (2020)" in said[0]
    assert "none is published" in said[1] and "SHA-256 as published" in said[2]
    assert sorted(p.name for p in ice.parent.iterdir()) == [
        ".ice.lock",
        "ice",
        "ice.json",
    ]


def test_a_second_call_asks_the_server_for_nothing(ice, served):
    fetch_dataset("ice", say=str)
    before = served.requests
    said = []
    assert fetch_dataset("ice", say=said.append) == ice
    assert served.requests == before and said == ["ice is there already, and whole"]


def test_an_interrupted_call_goes_on_where_it_ended(ice, served):
    last = served.files.pop("/a.ab")
    with pytest.raises(FetchError, match="404") as error:
        fetch_dataset("ice", say=str)
    assert "What has come is kept" in str(error.value)
    assert not ice.exists()
    served.files["/a.ab"], served.requests = last, ()
    fetch_dataset("ice", say=str)
    assert served.requests == (("/a.ab", None),)
    assert (ice / "images/a.png").exists()


def test_a_file_without_a_published_checksum_must_stay_as_it_came(ice, served):
    fetch_dataset("ice", say=str)
    ice.rename(ice.with_name("away"))
    served.files["/images.npy"] = b"imagez"
    with pytest.raises(FetchError, match="fetched before") as error:
        fetch_dataset("ice", say=str)
    assert sha256(b"images") in str(error.value)
    assert sha256(b"imagez") in str(error.value)
    served.files["/images.npy"] = b"images"
    said = []
    fetch_dataset("ice", say=said.append)
    assert "SHA-256 as before" in said[1]


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [("/images.npy", b"imag", "size of 6"), ("/masks.npy", b"masKs", "SHA-256")],
)
def test_a_file_that_is_not_the_published_one_is_refused(
    ice, served, name, content, message
):
    served.files[name] = content
    with pytest.raises(FetchError, match=message):
        fetch_dataset("ice", say=str)
    assert not ice.exists()


def test_an_unsafe_archive_leaves_no_folder(ice, served, tmp_path):
    bad = make_zip(tmp_path / "bad.zip", {"../../x": b"1"}).read_bytes()
    served.files |= {"/a.aa": bad[:10], "/a.ab": bad[10:]}
    with pytest.raises(FetchError, match="ZIP or tar"):
        fetch_dataset("ice", say=str)
    assert not ice.exists() and not list(ice.parent.glob(".part*"))


def test_a_set_that_lost_a_file_is_told_and_a_foreign_folder_left_alone(ice):
    fetch_dataset("ice", say=str)
    (ice / "images.npy").unlink()
    with pytest.raises(FetchError, match=r"images\.npy is missing"):
        fetch_dataset("ice", say=str)
    ice.with_name("ice.json").write_text("{}")
    with pytest.raises(FetchError, match="must be the JSON that fetch wrote"):
        fetch_dataset("ice", say=str)
    ice.with_name("ice.json").unlink()
    with pytest.raises(FetchError, match="written by fetch"):
        fetch_dataset("ice", say=str)
    assert (ice / "deep/m.npy").exists()


def test_a_set_that_does_not_fit_the_disk_is_not_begun(served, monkeypatch, tmp_path):
    monkeypatch.setenv("ARCTICDL_CACHE", str(tmp_path))
    usage = namedtuple("usage", "total used free")(10**12, 0, 10**11)
    monkeypatch.setattr("shutil.disk_usage", lambda _: usage)
    with pytest.raises(OSError, match=r"about 119\.2 GB\. Received: 100\.0 GB free"):
        fetch_dataset("ai4arctic", say=str)


def test_the_command_prints_the_folder_and_says_how_to_use_it(ice, capsys):
    assert main(["data", "fetch", "ice"]) == 0
    shown = capsys.readouterr()
    assert shown.out.strip() == str(ice)
    assert "CC0-1.0" in shown.err
    assert main(["data", "list"]) == 0
    listed = capsys.readouterr().out
    assert "ice\n    Ice\n    size not known  |  CC0-1.0" in listed
    assert "checksum published: none  |  fetched" in listed


def test_without_internet_one_line_says_what_to_do(ice, served, capsys):
    served.files = {}
    assert main(["data", "fetch", "ice"]) == 1
    said = capsys.readouterr().err.splitlines()
    (line,) = [line for line in said if line.startswith("error:")]
    assert f"copy {ice} here, with ice.json beside it" in line


def test_every_record_is_complete(project_root):
    for info in list_datasets():
        assert info.title and info.holds and info.licence and info.citation
        assert info.page.startswith("https://")
        assert bool(info.parts) != bool(info.by_hand), info.name
        assert all(doi.startswith("10.") for doi in info.doi)
        names = [part.name for part in info.parts]
        assert len(names) == len(set(names))
        for part in info.parts:
            assert part.url.startswith("https://"), part
            # An address that may change under one's feet needs a checksum.
            pinned = any(len(piece) >= 40 for piece in part.url.split("/"))
            assert pinned or part.checksum, part
        for used in info.used_by:
            words = (project_root / used).read_text("utf-8")
            assert info.name.removesuffix("_test") in words, (info.name, used)


def test_the_names_are_those_that_the_sample_data_has(real_data):
    for name in ("meltpond_tir", "modis_seaice"):
        folder = real_data / name
        assert sorted(p.name for p in find_dataset(name).files) == files_of(folder)
    (archive,) = find_dataset("calving_front").archives
    assert {target for _, target in archive.keep} == {
        path.name for path in (real_data / "calving_front").iterdir() if path.is_dir()
    }
    for part in find_dataset("meltpond_tir").files:
        size = (real_data / "meltpond_tir" / part.name).stat().st_size
        assert size == part.num_bytes
