"""What the pages say of the code is so: messages, terms, generated pages, metadata."""

import ast
import importlib.util
import re
import struct
import tomllib
from pathlib import Path

import pytest
import yaml

import arcticdl
from arcticdl.config.guide.keys import list_keys
from arcticdl.tasks import TASKS

ROOT = Path(__file__).resolve().parents[2]
DOCS = ROOT / "docs"


def load(name):
    spec = importlib.util.spec_from_file_location(name, DOCS / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def hooks():
    pytest.importorskip("mkdocs", reason="the extra `docs` is not installed")
    return load("hooks")


def messages():
    """Every string of the package, with `…` for what a message fills in."""
    found = []
    for path in (ROOT / "arcticdl").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.JoinedStr):
                parts = (
                    part.value if isinstance(part, ast.Constant) else "…"
                    for part in node.values
                )
                found.append("".join(map(str, parts)))
            elif isinstance(node, ast.Constant) and isinstance(node.value, str):
                found.append(node.value)
    return found


def test_every_message_on_the_page_of_errors_is_one_of_the_code():
    page = (DOCS / "howto" / "errors.md").read_text(encoding="utf-8")
    quoted = re.findall(r"^\| `([^`]+)`", page, re.M)
    assert len(quoted) > 30
    known = messages()
    for text in quoted:
        pattern = re.compile(".*".join(map(re.escape, text.split("…"))), re.S)
        assert any(pattern.search(one.replace("`", "")) for one in known), text


def rows_of_capabilities():
    page = (DOCS / "reference" / "capabilities.md").read_text(encoding="utf-8")
    rows = [line.strip("|").split("|") for line in page.splitlines() if "`" in line]
    return [[re.findall(r"`([^`]+)`", cell) for cell in row] for row in rows if row[3:]]


def test_every_capability_has_a_name_a_key_and_a_test():
    rows = rows_of_capabilities()
    assert len(rows) > 50
    keys = {key.path for key in list_keys()}
    for _, names, settings, tests in rows:
        assert names and settings and tests
        for name in names:
            room, _, member = name.partition(".")
            assert hasattr(getattr(arcticdl, room), member), name
        for setting in settings:
            assert setting.startswith("arcticdl ") or setting in keys, setting
        for test in tests:
            assert (ROOT / test).is_file(), test


def test_the_page_of_licences_is_that_of_the_tables():
    found = (ROOT / "THIRD_PARTY.md").read_text(encoding="utf-8")
    assert found == load("third_party").text(), "run: python docs/third_party.py"


def test_the_table_of_tasks_holds_every_task_with_its_default_loss(hooks):
    first, second = hooks.tasks_table().split("\n\n")
    assert len(first.splitlines()) == len(second.splitlines()) == len(TASKS) + 2
    for task in TASKS.values():
        (row,) = [r for r in first.splitlines() if r.startswith(f"| `{task.name}` ")]
        assert row.split("|")[4].strip() == f"`{task.losses[0]}`"
        assert f"| `{task.name}` | `{task.losses[0]}`" in second


def test_the_page_of_the_configuration_holds_every_key_once(hooks):
    page = hooks.configuration_page()
    for key in list_keys(""):
        assert page.count(f"\n| `{key.path}` |") == 1, key.path


def test_the_page_of_the_commands_holds_every_command(hooks):
    page = hooks.commands_page()
    for name in ("init", "prepare", "train", "evaluate", "predict", "export", "report"):
        assert f"\n## arcticdl {name}\n" in page
    assert "\n### arcticdl config keys\n" in page and "`--resume`" in page


def test_a_package_s_page_lists_what_its_stub_offers(hooks):
    for name in hooks.PACKAGES:
        offered = [attribute for _, attribute in hooks._offered(name)]
        package = getattr(arcticdl, name)
        public = [n for n in getattr(package, "__all__", [])]
        assert set(offered) <= set(dir(package)), name
        assert set(public) <= set(offered), name


def test_every_package_has_a_page(hooks):
    packages = {p.parent.name for p in (ROOT / "arcticdl").glob("*/__init__.py")}
    assert packages - set(hooks.PACKAGES) == {"cli", "doctor"}


def test_every_figure_is_shown_and_has_its_script():
    pages = {p: p.read_text(encoding="utf-8") for p in DOCS.rglob("*.md")}
    shown = {
        name
        for t in pages.values()
        for name in re.findall(r"\]\((?:\.\./)?images/(\w+)\.png", t)
    }
    assert shown == {path.stem for path in (DOCS / "images").glob("*.png")}
    for name in shown:
        assert (DOCS / "figures" / f"{name}.py").is_file(), name
        assert any(f"docs/figures/{name}.py" in text for text in pages.values()), name
        data = (DOCS / "images" / f"{name}.png").read_bytes()
        width, height = struct.unpack(">II", data[16:24])
        assert 600 <= width <= 2400 and height >= 250 and len(data) < 900_000


def test_the_citation_is_of_this_version_and_licence():
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert citation["cff-version"] == "1.2.0"
    assert {"message", "title", "authors"} <= citation.keys()
    assert citation["version"] == arcticdl.__version__
    assert citation["license"] == project["license"]
    assert all("name" in author for author in citation["authors"])


def test_the_link_checker_finds_dead_links_anchors_and_foreign_files(tmp_path):
    checker = load("check_links")
    (tmp_path / "a.html").write_text(
        '<h1 id="top">A</h1><a href="b.html#there">b</a><a href="b.html#gone">b</a>'
        '<a href="c.html">c</a><img src="https://elsewhere.org/x.png">'
        '<a href="https://elsewhere.org/">out</a><a href="#top">up</a>'
    )
    (tmp_path / "b.html").write_text('<h2 id="there">B</h2>')
    assert [line.split(": ", 1)[1] for line in checker.problems(tmp_path)] == [
        "b.html#gone: no such anchor",
        "c.html: leads nowhere",
        "https://elsewhere.org/x.png: comes from another server",
    ]


def test_no_page_speaks_of_what_the_terms_page_calls_out_of_scope():
    glossary = (DOCS / "glossary.md").read_text(encoding="utf-8")
    for term in ("CTC", "Sequence to sequence", "BERT", "GPT"):
        assert re.search(rf"^\| {term} \|.*keras", glossary, re.M | re.I), term
