"""The table of readers: each format is one record; other packages add theirs."""

import textwrap

import numpy as np
import pytest

from arcticdl import open_scene
from arcticdl.errors import PluginError, SourceError
from arcticdl.sources import READERS, Reader
from arcticdl.sources.open import find_reader
from arcticdl.sources.reader import sniffing_order

MODULE = """
    import numpy as np
    import xarray as xr
    from arcticdl.sources import Reader

    def is_text_grid(path, head):
        return head.startswith(b"GRID")

    def open_text_grid(path, *, bands=None, band_names=None, factor=1.0):
        rows = [line.split() for line in path.read_text().splitlines()[1:]]
        image = factor * np.array(rows, "float32")[None]
        height, width = image.shape[1:]
        coords = {"band": ["depth"], "y": np.arange(height) + 0.5,
                  "x": np.arange(width) + 0.5}
        attrs = {"scene_id": path.stem, "georeferenced": False}
        return xr.Dataset({"image": (("band", "y", "x"), image)}, coords, attrs)

    TEXT = Reader(is_text_grid, open_text_grid)
    ARRAYS = Reader(lambda path, head: path.suffix == ".special", open_text_grid)
"""


@pytest.fixture
def install(tmp_path, monkeypatch):
    """Puts a small distribution on the search path."""

    def put(**readers):
        site = tmp_path / "site"
        (site / "gridtext-1.0.dist-info").mkdir(parents=True)
        (site / "gridtext_reader.py").write_text(textwrap.dedent(MODULE))
        (site / "gridtext-1.0.dist-info" / "METADATA").write_text(
            "Metadata-Version: 2.1\nName: gridtext\nVersion: 1.0\n"
        )
        lines = [f"{name} = {where}" for name, where in readers.items()]
        (site / "gridtext-1.0.dist-info" / "entry_points.txt").write_text(
            "\n".join(["[arcticdl.readers]", *lines]) + "\n"
        )
        monkeypatch.syspath_prepend(str(site))

    return put


def grid_file(path):
    path.write_text("GRID\n1 2 3\n4 5 6\n")
    return path


def test_every_reader_is_one_record_with_named_options():
    for name, reader in READERS.items():
        assert isinstance(reader, Reader), name
        assert reader.options is None or {"bands", "band_names"} <= set(reader.options)


def test_general_kinds_are_tried_after_special_ones():
    order = sniffing_order()
    kinds = [READERS[name].is_general for name in order]
    assert kinds == sorted(kinds)
    assert order.index("worldview") < order.index("geotiff")
    assert order.index("hdfeos") < order.index("netcdf")


def test_a_plug_in_reader_is_found_by_content_and_by_name(tmp_path, install):
    path = grid_file(tmp_path / "a.txt")
    with pytest.raises(SourceError, match="no kind that is read here"):
        open_scene(path)
    install(gridtext="gridtext_reader:TEXT")
    assert find_reader(path) == "gridtext"
    scene = open_scene(path, factor=2.0)
    np.testing.assert_array_equal(scene["image"].values[0], [[2, 4, 6], [8, 10, 12]])
    assert float(open_scene(path, reader="gridtext")["image"].max()) == 6
    with pytest.raises(ValueError, match=r"Did you mean 'factor'"):
        open_scene(path, factr=2.0)
    with pytest.raises(ValueError, match="Did you mean 'gridtext'"):
        open_scene(path, reader="gridtxt")


def test_a_plug_in_reader_goes_before_general_ones(tmp_path, install):
    np.save(tmp_path / "a.npy", np.zeros((4, 4)))
    special = (tmp_path / "a.npy").rename(tmp_path / "a.special")
    assert find_reader(special) == "numpy"
    install(mine="gridtext_reader:ARRAYS")
    assert find_reader(special) == "mine"


def test_a_plug_in_that_fails_or_takes_a_name_is_named(tmp_path, install):
    install(broken="gridtext_reader:ABSENT")
    with pytest.raises(PluginError, match=r"gridtext \(gridtext_reader:ABSENT\)"):
        open_scene(grid_file(tmp_path / "a.txt"))


def test_a_plug_in_cannot_take_the_name_of_a_reader(tmp_path, install):
    install(geotiff="gridtext_reader:TEXT")
    with pytest.raises(PluginError, match=r"gridtext .* names 'geotiff'"):
        open_scene(grid_file(tmp_path / "a.txt"))
