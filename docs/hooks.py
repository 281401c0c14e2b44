"""Pages that are written by the code itself, so that they cannot fall behind it."""

import json
import re
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File

ROOT = Path(__file__).resolve().parent.parent
PACKAGES = (
    "sources",
    "scene",
    "grid",
    "derived",
    "boxes",
    "tiles",
    "augment",
    "tasks",
    "losses",
    "metrics",
    "models",
    "training",
    "inference",
    "evaluation",
    "explain",
    "labelling",
    "plots",
    "simulate",
    "seaice",
    "forecasting",
    "config",
    "experiment",
    "datasets",
    "testing",
)
"""Packages with a page of their own, in the order of the data's flow."""
MODULES = ("series",)
"""Modules with a page of their own."""


def on_config(config: Any) -> Any:
    """Fills the packages into the navigation."""
    pages = [{name: f"reference/api/{name}.md"} for name in (*PACKAGES, *MODULES)]
    for section in config["nav"]:
        for entry in section.get("Reference", []) if isinstance(section, dict) else []:
            if isinstance(entry, dict) and "Python" in entry:
                entry["Python"] = pages
    return config


def on_files(files: Any, config: Any) -> Any:
    """Adds the generated pages."""
    pages = {
        "architecture.md": (ROOT / "ARCHITECTURE.md").read_text(encoding="utf-8"),
        "changelog.md": (ROOT / "CHANGELOG.md").read_text(encoding="utf-8"),
        "contributing.md": (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8"),
        "third_party.md": (ROOT / "THIRD_PARTY.md").read_text(encoding="utf-8"),
        "reference/commands.md": commands_page(),
        "reference/configuration.md": configuration_page(),
        "tutorials.md": tutorials_page(),
    }
    for name in PACKAGES:
        pages[f"reference/api/{name}.md"] = package_page(name)
    for name in MODULES:
        pages[f"reference/api/{name}.md"] = (
            f"# arcticdl.{name}\n\n::: arcticdl.{name}\n"
        )
    for path, text in pages.items():
        files.append(File.generated(config, path, content=text))
    return files


def on_page_markdown(markdown: str, page: Any, config: Any, files: Any) -> str:
    """Puts tables where a page says ``<!-- generated: NAME -->``."""
    return re.sub(
        r"<!-- generated: (\w+) -->", lambda found: TABLES[found[1]](), markdown
    )


def tasks_table() -> str:
    """Every task: what it learns from, what it answers, its losses and metrics."""
    from arcticdl.tasks import TASKS

    kinds = {
        "boxes": "boxes",
        "class": "one class",
        "labels": "yes or no a class",
        "shares": "shares of a polygon",
        "value": "a number",
    }
    rows = ["| task | one answer a | learns from | default loss | shows | logs |"]
    rows.append("|---|---|---|---|---|---|")
    for task in TASKS.values():
        shown, logs = (_code(n) for n in (task.form.shown, task.shown_metrics))
        rows.append(
            f"| `{task.name}` | {task.target} | {kinds[task.label]} "
            f"| `{task.losses[0]}` | {shown} | {logs} |"
        )
    rows += ["", "| task | losses that fit |", "|---|---|"]
    rows += [f"| `{task.name}` | {_code(task.losses)} |" for task in TASKS.values()]
    return "\n".join(rows)


def _code(names: Any) -> str:
    return ", ".join(f"`{name}`" for name in names)


def choices_table() -> str:
    """The names of every table of choices that packages can add to."""
    from arcticdl import augment, losses, metrics, models, sources, tiles, training

    tables = {
        "readers": sources.READERS,
        "backbones": models.BACKBONES,
        "decoders": models.DECODERS,
        "losses": losses.LOSSES,
        "metrics": metrics.METRICS,
        "augmentations": augment.AUGMENTATIONS,
        "splitters": tiles.SPLITTERS,
        "samplers": tiles.SAMPLERS,
        "normalizers": tiles.NORMALIZERS,
        "optimizers": training.OPTIMIZERS,
        "schedules": training.SCHEDULES,
    }
    rows = ["| what | names |", "|---|---|"]
    for what, table in tables.items():
        entries = getattr(table, "entries", table)
        names = ", ".join(f"`{name}`" for name in sorted(entries))
        rows.append(f"| {what} | {names} |")
    return "\n".join(rows)


TABLES = {"choices": choices_table, "tasks": tasks_table}


def configuration_page() -> str:
    """All keys of a configuration, from its schema."""
    from arcticdl.config.guide.keys import list_keys

    head = (
        "# Configuration\n\nAll keys of an experiment's YAML file, written from its "
        "schema. `arcticdl config keys` prints the same, `arcticdl config keys "
        "train.optimizer=SGD` the options of one choice, `arcticdl config check FILE` "
        "checks a file, and `arcticdl config schema -o arcticdl.schema.json` lets an "
        "editor complete it. A key that is not here is refused with the keys that "
        "are.\n"
    )
    keys = list_keys("")
    inner = {key.path.split(".")[0] for key in keys if "." in key.path}
    parts, section = [head], ""
    for key in sorted(keys, key=lambda key: key.path.split(".")[0] in inner):
        top = key.path.split(".")[0]
        top = top if top in inner else "The experiment"
        if top != section:
            section = top
            parts.append(f"\n## {top}\n\n| key | type | default | meaning |")
            parts.append("|---|---|---|---|")
        parts.append(_key_row(key))
    parts.append(f"\n## Names to choose from\n\n{choices_table()}\n")
    return "\n".join(parts)


def _key_row(key: Any) -> str:
    default = "must be given" if key.default is None else f"`{key.default}`"
    default = default if key.default != "" else "its own keys"
    words = [text.replace("|", "\\|") for text in (key.type, key.description)]
    return f"| `{key.path}` | {words[0]} | {default} | {words[1]} |"


def commands_page() -> str:
    """All commands with their arguments, from the command line itself."""
    import typer

    from arcticdl.cli import app

    parts = [
        "# Commands\n\nWritten from the program itself; `arcticdl COMMAND --help` says "
        "the same. Exit status 0: done; 1: refused, with the reason; 75: stopped by a "
        "signal, to go on with `--resume`.\n"
    ]
    root = typer.main.get_command(app)
    for name, command in root.commands.items():
        parts.append(_command_text(f"arcticdl {name}", command, 2))
        for sub, inner in getattr(command, "commands", {}).items():
            parts.append(_command_text(f"arcticdl {name} {sub}", inner, 3))
    return "\n".join(parts)


def _command_text(title: str, command: Any, level: int) -> str:
    help_text = re.sub(r"\n[ ]+", "\n", (command.help or "").strip())
    lines = [f"{'#' * level} {title}\n", help_text + "\n"]
    rows = []
    for parameter in command.params:
        if parameter.name == "help":
            continue
        names = " ".join(f"`{o}`" for o in parameter.opts) or f"`{parameter.name}`"
        if parameter.param_type_name == "argument":
            names = f"`{parameter.metavar or parameter.name.upper()}`"
        said = (getattr(parameter, "help", None) or "").replace("|", "\\|")
        rows.append(f"| {names} | {said} |")
    if rows:
        lines += ["| argument | meaning |", "|---|---|", *rows, ""]
    return "\n".join(lines)


def package_page(name: str) -> str:
    """What a package offers, from the stub that says so, in the order of the code."""
    folder = ROOT / "arcticdl" / name
    summary = (folder / "__init__.py").read_text(encoding="utf-8")
    summary = re.match(r'"""(.*?)"""', summary, re.S)[1].strip()
    lines = [f"# arcticdl.{name}\n", _as_markdown(summary), ""]
    for module, attribute in _offered(name):
        lines.append(f"::: {module}.{attribute}\n")
    return "\n".join(lines)


def _offered(name: str) -> list[tuple[str, str]]:
    folder = ROOT / "arcticdl" / name
    stub = folder / "__init__.pyi"
    path = stub if stub.exists() else folder / "__init__.py"
    text = path.read_text(encoding="utf-8")
    text = re.sub(r"\(([^)]*)\)", lambda found: " ".join(found[1].split()), text)
    offered = []
    pattern = r"^from (\.|arcticdl)([\w.]*) import (.+)$"
    for start, module, names in re.findall(pattern, text, re.M):
        parent = f"arcticdl.{name}" if start == "." else "arcticdl"
        whole = parent + ("." + module.lstrip(".") if module.strip(".") else "")
        for part in names.split(","):
            attribute = part.split(" as ")[0].strip()
            if attribute:
                offered.append((whole, attribute))
    return [(m, a) for m, a in offered if whole_is_ours(m)]


def whole_is_ours(module: str) -> bool:
    """Whether a module is one of this package."""
    return (ROOT / (module.replace(".", "/") + ".py")).exists() or (
        ROOT / module.replace(".", "/")
    ).is_dir()


def _as_markdown(docstring: str) -> str:
    return docstring.replace("``", "`")


def tutorials_page() -> str:
    """The notebooks with their titles and first words."""
    parts = [
        "# Tutorials\n\nNotebooks that teach by making, one idea each. They lie in "
        "`notebooks/`, run from top to bottom on a laptop, and are run by the tests.\n",
        "| notebook | what it shows |\n|---|---|",
    ]
    for path in sorted((ROOT / "notebooks").glob("*.ipynb")):
        cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
        title, about = _first_words(cells)
        parts.append(f"| `{path.name}` | **{title}.** {about} |")
    parts.append("\nOpen one with any Jupyter: `pip install jupyterlab`.\n")
    return "\n".join(parts)


def _first_words(cells: list[dict[str, Any]]) -> tuple[str, str]:
    text = "".join(next(c["source"] for c in cells if c["cell_type"] == "markdown"))
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    title = lines[0].lstrip("# ").rstrip(".")
    about = " ".join(line for line in lines[1:4] if not line.startswith(("#", "|")))
    return title, re.sub(r"\[([^]]+)\]\([^)]*\)", r"\1", about)
