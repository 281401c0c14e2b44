"""The container files name what exists, and hold what the package is built of."""

import re
import tomllib

import pytest

DOCKER, APPTAINER = "containers/Dockerfile", "containers/arcticdl.def"
KNOWN = {"FROM", "ARG", "ENV", "RUN", "WORKDIR", "COPY", "USER", "CMD"}


@pytest.fixture(scope="module")
def project(project_root):
    return tomllib.loads((project_root / "pyproject.toml").read_text())


def instructions(path):
    """``[(word, rest)]`` of a Dockerfile, lines joined, comments left out."""
    lines = [n for n in path.read_text().splitlines() if not n.startswith("#")]
    text = "\n".join(lines).replace("\\\n", " ")
    return [tuple(line.split(maxsplit=1)) for line in text.splitlines() if line]


def sections(path):
    """Name -> lines of an Apptainer definition; ``""`` is its head."""
    found = {"": []}
    name = ""
    for line in path.read_text().splitlines():
        if line.startswith("%"):
            name = line[1:].strip()
            found[name] = []
        elif line.strip() and not line.startswith("#"):
            found[name].append(line.strip())
    return found


def copied(project_root, kind):
    """What of the checkout comes into an image."""
    if kind == DOCKER:
        words = dict.fromkeys(
            word
            for name, rest in instructions(project_root / kind)
            if name == "COPY"
            for word in rest.split()[:-1]
        )
        return set(words)
    lines = sections(project_root / kind)["files"]
    for line in lines:
        source, target = line.split()
        assert target == f"/opt/arcticdl/{source}"
    return {line.split()[0] for line in lines}


def test_the_dockerfile_has_only_instructions_that_docker_knows(project_root):
    found = instructions(project_root / DOCKER)
    assert found[0][0] == "FROM" and {name for name, _ in found} <= KNOWN
    assert found[-1][0] == "CMD" and ("USER", "arctic") in found


def test_the_definition_has_the_sections_of_apptainer(project_root):
    found = sections(project_root / APPTAINER)
    assert found[""][0] == "Bootstrap: docker"
    names = ("files", "post", "environment", "runscript", "test", "help")
    assert set(found) == {"", *names}
    assert found["runscript"] == ['exec arcticdl "$@"']


@pytest.mark.parametrize("kind", [DOCKER, APPTAINER])
def test_what_is_copied_exists_and_is_all_that_the_build_reads(
    kind, project_root, project
):
    found = copied(project_root, kind)
    assert all((project_root / name).exists() for name in found)
    table, hatch = project["project"], project["tool"]["hatch"]["build"]["targets"]
    reads = {"pyproject.toml", "constraints.txt", table["readme"]}
    reads |= set(table["license-files"]) | set(hatch["wheel"]["packages"])
    reads |= {name.split("/")[0] for name in hatch["wheel"]["force-include"]}
    assert reads <= found
    ignored = (project_root / f"{DOCKER}.dockerignore").read_text().splitlines()
    assert ignored[0] == "*" and found == {n[1:] for n in ignored if n[0] == "!"}


@pytest.mark.parametrize("kind", [DOCKER, APPTAINER])
def test_the_extras_exist_and_the_python_is_that_of_the_tested_versions(
    kind, project_root, project
):
    text = (project_root / kind).read_text()
    (names,) = re.findall(r'(?:^ARG EXTRAS=|"\.\[)([\w,-]+)(?:\]"|$)', text, re.M)
    extras = project["project"]["optional-dependencies"]
    assert "cuda" in names.split(",") and set(names.split(",")) <= set(extras)
    (python,) = re.findall(r"^F(?:ROM|rom:) python:(3\.\d+)-slim", text, re.M)
    tested = (project_root / "constraints.txt").read_text()
    assert f"on Python {python}." in tested
    assert "--constraint constraints.txt" in text
