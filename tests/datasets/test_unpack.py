"""Archives from elsewhere: what is in them comes out, and nothing gets out of hand."""

import io
import itertools
import stat
import tarfile
import zipfile
from collections import namedtuple

import numpy as np
import pytest

from arcticdl.datasets import unpack
from arcticdl.errors import FetchError

FILES = {
    "top/images/a.png": b"ice",
    "top/images/b.png": np.random.default_rng(0).bytes(70_000),
    "top/labels/a.png": b"",
    "top/LICENSE": b"MIT",
}


def make_zip(path, files=FILES):
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return path


def make_tar(path, files=FILES, mode="w:gz"):
    with tarfile.open(path, mode) as archive:
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return path


def contents(folder):
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }


@pytest.mark.parametrize(
    "archive", ["a.zip", "a.tar", "a.tar.gz", "a.tar.xz"], ids=lambda name: name[2:]
)
def test_all_of_it_comes_out_without_the_folder_that_stands_alone(archive, tmp_path):
    kind = archive.rpartition(".")[2]
    path = tmp_path / archive
    mode = {"zip": "", "tar": "w"}.get(kind, f"w:{kind}")
    make_tar(path, mode=mode) if mode else make_zip(path)
    found = unpack([path], tmp_path / "out")
    expected = {name.removeprefix("top/"): file for name, file in FILES.items()}
    assert contents(tmp_path / "out") == expected
    assert [str(p.relative_to(tmp_path / "out")) for p in found] == sorted(expected)


def test_an_archive_in_pieces_is_read_as_one(tmp_path):
    whole = make_tar(tmp_path / "a.tar.gz").read_bytes()
    cuts = [0, 1, 40_000, len(whole)]
    pieces = []
    for number, (start, end) in enumerate(itertools.pairwise(cuts)):
        pieces.append(tmp_path / f"a.tar.gz{number}")
        pieces[-1].write_bytes(whole[start:end])
    unpack(pieces, tmp_path / "out")
    assert contents(tmp_path / "out")["images/b.png"] == FILES["top/images/b.png"]


def test_only_what_is_wanted_is_kept_at_its_place(tmp_path):
    path = make_zip(tmp_path / "a.zip")
    unpack([path], tmp_path / "out", keep=[("images", "x/y"), ("LICENSE", "")])
    assert sorted(contents(tmp_path / "out")) == ["LICENSE", "x/y/a.png", "x/y/b.png"]
    with pytest.raises(FetchError, match="must hold 'masks'"):
        unpack([path], tmp_path / "other", keep=[("masks", "masks")])


@pytest.mark.parametrize(
    "name", ["../out.txt", "/out.txt", "a/../../out.txt", "..\\out.txt", "C:/out.txt"]
)
@pytest.mark.parametrize("make", [make_zip, make_tar])
def test_a_member_that_would_leave_the_folder_is_refused(name, make, tmp_path):
    path = make(tmp_path / "archive", {"good.txt": b"1", name: b"2"})
    with pytest.raises(FetchError, match="stay in its folder"):
        unpack([path], tmp_path / "deep" / "er" / "out")
    assert not list(tmp_path.rglob("out.txt"))


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.FIFOTYPE])
def test_links_and_devices_of_a_tar_are_refused(kind, tmp_path):
    path = tmp_path / "a.tar"
    with tarfile.open(path, "w") as archive:
        member = tarfile.TarInfo("link")
        member.type, member.linkname = kind, "/etc/passwd"
        archive.addfile(member)
    with pytest.raises(FetchError, match="plain files"):
        unpack([path], tmp_path / "out")


def test_a_link_of_a_zip_is_refused(tmp_path):
    path = tmp_path / "a.zip"
    with zipfile.ZipFile(path, "w") as archive:
        member = zipfile.ZipInfo("link")
        member.external_attr = (stat.S_IFLNK | 0o777) << 16
        archive.writestr(member, "/etc/passwd")
    with pytest.raises(FetchError, match="plain files"):
        unpack([path], tmp_path / "out")


@pytest.mark.parametrize("make", [make_zip, make_tar])
def test_a_damaged_archive_is_told(make, tmp_path):
    path = make(tmp_path / "archive")
    content = bytearray(path.read_bytes())
    content[30_000:30_400] = bytes(400)
    path.write_bytes(content[: len(content) if make is make_zip else 60_000])
    with pytest.raises(FetchError, match="a whole ZIP or tar"):
        unpack([path], tmp_path / "out")


def test_an_encrypted_archive_is_told(tmp_path):
    path = make_zip(tmp_path / "a.zip", {"a.txt": b"ice"})
    content = bytearray(path.read_bytes())
    for signature, flags in ((b"PK\3\4", 6), (b"PK\1\2", 8)):
        content[content.index(signature) + flags] |= 1
    path.write_bytes(content)
    with pytest.raises(FetchError, match=r"a whole ZIP or tar file.*password"):
        unpack([path], tmp_path / "out")


def test_what_is_no_archive_is_told(tmp_path):
    path = tmp_path / "page.html"
    path.write_text("<html>Please log in</html>")
    with pytest.raises(FetchError, match="a whole ZIP or tar"):
        unpack([path], tmp_path / "out")


def test_names_that_are_there_twice_are_refused(tmp_path):
    path = tmp_path / "a.tar"
    with tarfile.open(path, "w") as archive:
        for content in (b"1", b"2"):
            member = tarfile.TarInfo("a.txt")
            member.size = 1
            archive.addfile(member, io.BytesIO(content))
    with pytest.raises(FetchError, match="each name once"):
        unpack([path], tmp_path / "out")


def test_what_does_not_fit_the_disk_is_refused(tmp_path, monkeypatch):
    path = make_zip(tmp_path / "a.zip")
    usage = namedtuple("usage", "total used free")(10**5, 0, 10**4)
    monkeypatch.setattr("shutil.disk_usage", lambda _: usage)
    with pytest.raises(OSError, match=r"must have room .* 70000 bytes"):
        unpack([path], tmp_path / "out")
