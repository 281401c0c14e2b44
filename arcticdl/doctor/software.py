"""Python, packages, GDAL, projections and the sample data."""

import platform
import sys
from collections.abc import Mapping
from importlib import metadata
from pathlib import Path

from arcticdl.doctor.finding import Finding, Status

_MIN_PYTHON = (3, 11)
_DRIVERS = {
    "GTiff": "GeoTIFF",
    "COG": "cloud-optimised GeoTIFF",
    "PNG": "PNG",
    "JP2OpenJPEG": "Sentinel-2 JPEG 2000",
}


def check_python() -> Finding:
    """Judges the interpreter.

    Returns:
        The finding; ``fail`` for one of 32 bits or older than 3.11.
    """
    message = f"{platform.python_version()} on {platform.system()} {platform.machine()}"
    if sys.version_info < _MIN_PYTHON or sys.maxsize < 2**32:
        return Finding("python", "fail", message, "use 64-bit Python 3.11 or newer")
    return Finding("python", "ok", message)


def check_packages() -> Finding:
    """Compares what is installed with what the package asks for.

    Returns:
        The finding; ``fail`` where a package is absent or of another version.
    """
    from packaging.requirements import Requirement

    wrong, needed = [], metadata.requires("arcticdl") or []
    requirements = [Requirement(text) for text in needed]
    for requirement in requirements:
        if requirement.marker and not requirement.marker.evaluate({"extra": ""}):
            continue
        try:
            found = metadata.version(requirement.name)
        except metadata.PackageNotFoundError:
            wrong.append(f"{requirement.name} is absent")
            continue
        if not requirement.specifier.contains(found, prereleases=True):
            wrong.append(f"{requirement.name} {found} (needs {requirement.specifier})")
    version = metadata.version("arcticdl")
    if wrong:
        message = f"arcticdl {version}: {'; '.join(wrong)}"
        return Finding(
            "packages", "fail", message, "install the project again: pip install ."
        )
    return Finding("packages", "ok", f"arcticdl {version}, all it asks for is there")


def check_gdal() -> Finding:
    """Judges GDAL by the drivers that the sources and outputs need.

    Returns:
        The finding; ``fail`` without GeoTIFF, ``warn`` without another one.
    """
    import rasterio

    with rasterio.Env() as env:
        drivers = env.drivers()
    version = f"GDAL {rasterio.__gdal_version__}, rasterio {rasterio.__version__}"
    missing = [name for name in _DRIVERS if name not in drivers]
    if missing:
        absent = ", ".join(f"{name} ({_DRIVERS[name]})" for name in missing)
        status: Status = "fail" if "GTiff" in missing else "warn"
        way_out = "install the wheel: pip install --force-reinstall rasterio"
        return Finding("gdal", status, f"{version} lacks {absent}", way_out)
    return Finding("gdal", "ok", f"{version}, {len(drivers)} drivers")


def check_projections(environ: Mapping[str, str]) -> Finding:
    """Transforms a known point, which a foreign PROJ database would prevent.

    Args:
        environ: Environment variables: ``PROJ_DATA``, ``PROJ_LIB``, ``GDAL_DATA``.

    Returns:
        The finding; ``fail`` where the point cannot be transformed, or comes out wrong.
    """
    set_by = [n for n in ("PROJ_DATA", "PROJ_LIB", "GDAL_DATA") if environ.get(n)]
    way_out = f"unset {' '.join(set_by) or 'PROJ_DATA PROJ_LIB GDAL_DATA'}"
    try:
        from pyproj import Transformer
        from rasterio.crs import CRS

        CRS.from_epsg(3413).to_wkt()
        to_lonlat = Transformer.from_crs(3413, 4326, always_xy=True)
        lon, lat = to_lonlat.transform(0.0, -2_000_000.0)
    except Exception as error:  # any library's own error class
        message = f"EPSG:3413 cannot be used: {error}"
        return Finding("projections", "fail", message, way_out)
    if abs(lon + 45.0) > 1e-6 or not 70.0 < lat < 73.0:
        message = f"a known point comes out at {lon:.3f}, {lat:.3f}"
        return Finding("projections", "fail", message, way_out)
    return Finding("projections", "ok", "EPSG:3413 resolves in pyproj and rasterio")


def check_sample_data(environ: Mapping[str, str]) -> Finding:
    """Looks for the sample data that some of the configurations read.

    Args:
        environ: Environment variables: ``ARCTICDL_SAMPLE_DATA``.

    Returns:
        The finding; ``warn`` where the variable names no folder.
    """
    named = environ.get("ARCTICDL_SAMPLE_DATA")
    if not named:
        message = "ARCTICDL_SAMPLE_DATA is not set; the demo needs none"
        return Finding("sample data", "ok", message)
    if not Path(named).is_dir():
        message = f"ARCTICDL_SAMPLE_DATA={named} is not a folder"
        way_out = "point it at the folder that holds meltpond_tir/, calving_front/, ..."
        return Finding("sample data", "warn", message, way_out)
    held = sorted(p.name for p in Path(named).iterdir() if p.is_dir())
    return Finding("sample data", "ok", f"{named}: {', '.join(held) or 'empty'}")
