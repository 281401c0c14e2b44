"""Prints the lowest versions that pyproject.toml allows, as constraints for pip or uv.

python tools/lowest.py [--extra NAME]... > lowest.txt
"""

import argparse
import re
import sys
import tomllib
from collections.abc import Iterable
from pathlib import Path

PROJECT = Path(__file__).resolve().parent.parent / "pyproject.toml"
BOUND = re.compile(r"([A-Za-z0-9._-]+)(?:\[[^]]*\])?(?:>=([0-9][0-9A-Za-z.]*))?")


def constraints(project: dict, extras: Iterable[str] = ()) -> list[str]:
    """The lower bound of every direct dependency, as ``name==version``.

    Args:
        project: The table ``project`` of a pyproject.toml.
        extras: Names of optional dependencies to take as well.

    Returns:
        Sorted lines; of a package that is named twice the higher bound. A package
        without a bound gives none.

    Raises:
        SystemExit: An unknown extra, or a requirement of another form than a name, or a
            name and a lower bound.

    Example:
        >>> constraints({"dependencies": ["numpy>=2.0", "dask[array]>=2025.1"]})
        ['dask==2025.1', 'numpy==2.0']
    """
    optional = project.get("optional-dependencies", {})
    unknown = sorted(set(extras) - set(optional))
    if unknown:
        sys.exit(f"error: no such extra: {unknown[0]}. There are {sorted(optional)}.")
    wanted = [*project["dependencies"], *(r for e in extras for r in optional[e])]
    lowest: dict[str, str] = {}
    for requirement in wanted:
        found = BOUND.fullmatch(requirement)
        if found is None:
            sys.exit(
                "error: a requirement must be a name, or a name and a lower bound "
                f"(name>=version). Received: {requirement!r}."
            )
        name = re.sub(r"[-_.]+", "-", found[1]).lower()
        if found[2] and _order(found[2]) >= _order(lowest.get(name, "0")):
            lowest[name] = found[2]
    return [f"{name}=={version}" for name, version in sorted(lowest.items())]


def _order(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in re.findall(r"\d+", version))


def main() -> None:
    """Reads the words of the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--extra", action="append", default=[], metavar="NAME")
    words = parser.parse_args()
    project = tomllib.loads(PROJECT.read_text("utf-8"))["project"]
    print("\n".join(constraints(project, words.extra)))


if __name__ == "__main__":
    main()
