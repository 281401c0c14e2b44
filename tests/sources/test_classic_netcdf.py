"""Classic NetCDF: files that were cut or whose header lies are refused, whole ones not.

The C library reads zeros beyond the end of a file, and crashes at a count of 2**30.
"""

import netCDF4
import numpy as np
import pytest

from arcticdl import open_scene
from arcticdl.errors import SourceError
from arcticdl.sources.formats.classic import check_classic

FORMS = ("NETCDF3_CLASSIC", "NETCDF3_64BIT_OFFSET", "NETCDF3_64BIT_DATA")
FIELD = np.arange(2 * 5 * 7, dtype="i2").reshape(2, 5, 7)


def write(path, form, records=2, second=False):
    """A field with records of odd length, which need padding where there are two."""
    with netCDF4.Dataset(path, "w", format=form) as file:
        file.createDimension("time", None)
        file.createDimension("y", 5)
        file.createDimension("x", 7)
        file.title = "odd"
        for name in ("y", "x"):
            axis = file.createVariable(name, "f8", (name,))
            axis.units = "m"
            axis[:] = 100.0 * np.arange(len(axis)) * (-1 if name == "y" else 1)
        field = file.createVariable("a", "i2", ("time", "y", "x"))
        if second:
            flags = file.createVariable("flags", "i1", ("time", "y", "x"))
        for record in range(records):
            field[record] = FIELD[record]
            if second:
                flags[record] = record
    return path


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("second", [False, True])
@pytest.mark.parametrize("records", [0, 1, 2])
def test_whole_files_of_every_form_pass(tmp_path, form, second, records):
    check_classic(write(tmp_path / "a.nc", form, records, second))


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("second", [False, True])
def test_a_file_that_lost_its_end_is_refused_at_any_length(tmp_path, form, second):
    path = write(tmp_path / "a.nc", form, second=second)
    whole = path.read_bytes()
    # 35 bytes of flags are filled up to 36; a lone variable's records are not.
    padding = 1 if second else 0
    for length in range(4, len(whole) - padding):
        path.write_bytes(whole[:length])
        with pytest.raises(SourceError, match="must be whole"):
            check_classic(path)
    path.write_bytes(whole[: len(whole) - padding])
    check_classic(path)


def test_a_cut_scene_is_refused_and_not_read_as_zeros(tmp_path):
    path = write(tmp_path / "a.nc", FORMS[0], records=1)
    right = open_scene(path)["image"].values
    np.testing.assert_array_equal(right[0], FIELD[0])
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(SourceError, match=r"ends at byte .* it was cut"):
        open_scene(path)


@pytest.mark.parametrize(
    ("place", "value", "told"),
    [
        (3, 7, "version 7"),
        (11, 11, "a list of kind 10 has kind 11"),
        (12, 64, "counts 1073741827"),
    ],
)
def test_a_header_that_lies_is_refused_before_the_c_library_sees_it(
    tmp_path, place, value, told
):
    path = write(tmp_path / "a.nc", FORMS[0])
    damaged = bytearray(path.read_bytes())
    damaged[place] = value
    path.write_bytes(damaged)
    with pytest.raises(SourceError, match=told):
        open_scene(path, reader="netcdf")
