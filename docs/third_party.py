"""Writes THIRD_PARTY.md of the tables of weights and of data sets.

python docs/third_party.py
"""

from collections import defaultdict
from pathlib import Path
from urllib.parse import urlsplit

ROOT = Path(__file__).resolve().parent.parent

HEAD = """# Licences of what others made

arcticdl itself is under the MIT licence (`LICENSE`). It holds neither data nor weights
of others: it names them, and fetches them when you ask. Each stays under its own
licence, which binds you and, where it says so, what you train with it. The licences are
those that the publishers state at the address; read them there before you publish or
sell. This page is made of the tables that `arcticdl data list` and `arcticdl weights
list` show, by `python docs/third_party.py`.

"""

SOFTWARE = """
## Software

The packages that arcticdl needs are installed beside it, not copied into it; each
brings its licence. `pip show --verbose NAME` tells it, and `pyproject.toml` lists them.
"""


def text() -> str:
    """The whole file."""
    return HEAD + data() + "\n" + weights() + SOFTWARE


def data() -> str:
    """The data sets, one a section."""
    from arcticdl.datasets import list_datasets

    lines = ["## Data sets", ""]
    for info in list_datasets():
        where = [f"<{info.page}>", *(f"<https://doi.org/{doi}>" for doi in info.doi)]
        lines += [f"### {info.name}", "", f"{info.title}.", ""]
        lines += [f"- Licence: {info.licence}", f"- From: {', '.join(where)}"]
        lines += [f"- Cite: {info.citation}", ""]
    return "\n".join(lines)


def weights() -> str:
    """The weights, those of one publisher and licence in one row."""
    from arcticdl.models.weights.table import list_weights

    groups = defaultdict(list)
    for info in list_weights(loadable_only=False):
        address = urlsplit(info.url)
        publisher = "/".join((address.netloc, *address.path.split("/")[1:2]))
        groups[info.dataset, info.licence, publisher].append(info.name)
    lines = ["## Weights", "", "| trained on | licence | published at | names |"]
    lines.append("|---|---|---|---|")
    for (dataset, licence, publisher), names in sorted(groups.items()):
        told = ", ".join(f"`{name}`" for name in names)
        lines.append(f"| {dataset} | {licence} | {publisher} | {told} |")
    lines += [
        "",
        "`weights: imagenet` of `mobilenetv2` and of the EfficientNets is fetched by",
        "Keras itself, from the addresses that `keras.applications` has; networks of",
        "`model.architecture` by the package segmentation-models.",
        "",
    ]
    return "\n".join(lines)


if __name__ == "__main__":
    (ROOT / "THIRD_PARTY.md").write_text(text(), encoding="utf-8")
