"""Prints the versions of the packages in this environment that arcticdl needs.

python tools/tested.py > constraints.txt
"""

import platform
import re
from importlib.metadata import PackageNotFoundError, distribution

from packaging.requirements import Requirement

HEAD = """# Versions that the test suite passed with, on Python {python}, {system}.
# Install them with: pip install -c constraints.txt .
# Written by: make constraints"""


def needed(root: str = "arcticdl", extras: tuple[str, ...] = ("test",)) -> list[str]:
    """What a package needs, and what that needs, as ``name==version``.

    Args:
        root: Name of an installed package.
        extras: Those of its optional dependencies that count.

    Returns:
        Sorted lines, without the package itself.
    """
    found: dict[str, str] = {}
    waiting = [(root, extras)]
    seen = set()
    while waiting:
        name, wanted = waiting.pop()
        key = re.sub(r"[-_.]+", "-", name).lower()
        if (key, wanted) in seen:
            continue
        seen.add((key, wanted))
        try:
            package = distribution(name)
        except PackageNotFoundError:  # of another system, or another extra
            continue
        found[key] = package.version
        for text in package.requires or ():
            requirement = Requirement(text)
            marker = requirement.marker
            if marker is None or any(
                marker.evaluate({"extra": extra}) for extra in ("", *wanted)
            ):
                waiting.append((requirement.name, tuple(sorted(requirement.extras))))
    return [f"{name}=={found[name]}" for name in sorted(found) if name != root]


if __name__ == "__main__":
    print(HEAD.format(python=platform.python_version(), system=platform.system()))
    print("\n".join(needed()))
