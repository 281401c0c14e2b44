"""Drift as one page that opens without a network, and its figure."""

import base64
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from arcticdl.files import write_text
from arcticdl.plots.style import PALETTE, figure_png, house_style, new_figure, spelled

_TEMPLATE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{{ title }}</title>
<style>
body {font: 16px/1.5 system-ui, "DejaVu Sans", sans-serif; max-width: 70rem;
  margin: 0 auto; padding: 2rem 1.25rem 4rem; background: #fff; color: #1b1f23}
h1 {font-size: 1.6rem; line-height: 1.2; overflow-wrap: anywhere}
h2 {font-size: 1.2rem; margin: 2.2rem 0 .5rem}
p {max-width: 46rem} .quiet {color: #57606a; font-size: .9rem}
table {border-collapse: collapse; margin: .5em 0 1em; width: 100%}
th, td {text-align: left; padding: .3em .7em; border-bottom: 1px solid #d0d7de}
td.n, th.n {text-align: right; font-variant-numeric: tabular-nums;
  white-space: nowrap}
.drift {color: #a4161a; font-weight: 600} .verdict {font-size: 1.1rem}
.scroll {overflow-x: auto} figure {margin: 0} img {max-width: 100%}
@media (max-width: 40rem) {body {padding: 1.25rem 1rem 3rem} img {max-width: none}}
</style></head><body>
<h1>{{ title }}</h1>
<p class="verdict {{ 'drift' if report.drifted }}">{{ verdict }}</p>
<p class="quiet">{{ report.training_scenes }} training scenes of fold {{ report.fold }},
{{ report.held_out | length }} held out, {{ report.new | length }} new.</p>
<figure class="scroll"><img alt="Distributions of each band"
src="data:image/png;base64,{{ bands_png }}"></figure>
{% for table in tables %}<h2>{{ table.title }}</h2>
<p class="quiet">{{ table.about }}</p>
<div class="scroll"><table><thead><tr>{% for head in table.heads %}
<th{% if not loop.first %} class="n"{% endif %}>{{ head }}</th>{% endfor %}</tr></thead>
<tbody>{% for row in table.rows %}<tr>{% for cell in row %}
<td{% if not loop.first %} class="n"{% endif %}>{{ cell }}</td>{% endfor %}</tr>
{% endfor %}</tbody></table></div>
{% if table.png %}<figure class="scroll"><img alt="{{ table.title }}"
src="data:image/png;base64,{{ table.png }}"></figure>{% endif %}{% endfor %}
</body></html>
"""


def write_drift_page(
    report: Mapping[str, Any], samples: Mapping[str, Any], path: str | Path
) -> None:
    """Writes the page.

    Args:
        report: As ``drift.json`` holds it.
        samples: ``{band: (training pixels, new pixels)}``.
        path: Of the page.
    """
    from jinja2 import Environment

    text = (
        Environment(autoescape=True)
        .from_string(_TEMPLATE)
        .render(
            title=f"Drift: new scenes against {report['run']}",
            verdict=verdict(report),
            report=report,
            bands_png=_png(band_figure(samples)),
            tables=[t for t in _tables(report) if t["rows"]],
        )
    )
    write_text(path, text)


def verdict(report: Mapping[str, Any]) -> str:
    """One sentence: what has drifted, and what would explain it."""
    moved = {n: b for n, b in report["bands"].items() if b["drifted"]}
    if not moved:
        return (
            "No drift: in no band does the whole interval of the distance lie above "
            "what is usual between training scenes."
        )
    told = []
    for name, band in moved.items():
        reason = f", likely {band['likely']}" if band["likely"] else ""
        told.append(f"{name} by {band['in_std']:.2g} standard deviations{reason}")
    return f"Drift: {'; '.join(told)}."


def _png(figure: Figure) -> str:
    return base64.b64encode(figure_png(figure)).decode()


def band_figure(samples: Mapping[str, tuple[np.ndarray, np.ndarray]]) -> Figure:
    """Draws the densities of training and new pixels of each band."""
    columns = min(3, len(samples))
    rows = -(-len(samples) // columns)
    with house_style():
        figure = new_figure((3.5 * columns, 2.5 * rows + 0.4))
        grid = figure.subplots(rows, columns, squeeze=False)
        for ax, (name, pair) in zip(grid.ravel(), samples.items(), strict=False):
            _density(ax, pair)
            ax.set(xlabel=spelled(name), yticks=[], ylabel="density")
            ax.xaxis.set_major_locator(MaxNLocator(5))
        for ax in grid.ravel()[len(samples) :]:
            ax.set_axis_off()
        entries = grid[0, 0].get_legend_handles_labels()
        figure.legend(*entries, loc="outside upper left", ncols=2)
    return figure


def _density(ax: Axes, pair: tuple[np.ndarray, np.ndarray]) -> None:
    together = np.concatenate(pair)
    low, high = np.percentile(together, [0.2, 99.8])
    edges = np.linspace(low, high if high > low else low + 1, 61)
    for values, name, style, color in (
        (pair[0], "training", "--", PALETTE[0]),
        (pair[1], "new", "-", PALETTE[1]),
    ):
        counts, _ = np.histogram(values, edges, density=True)
        ax.stairs(counts, edges, label=name, ls=style, color=color, lw=1.6)


def answer_figure(answers: Mapping[str, Any]) -> Figure:
    """Draws the shares of classes of held-out and new scenes, with intervals."""
    names, both = answers["names"], answers["shares"]
    places = np.arange(len(names))
    spread = np.array(both["interval"]) - np.array(both["difference"])[:, None]
    error = np.abs(spread.T)
    with house_style():
        figure = new_figure((7.0, 0.42 * len(names) + 1.4))
        ax = figure.add_subplot()
        ax.barh(
            places - 0.2, both["reference"], 0.38, label="held out", color=PALETTE[0]
        )
        ax.barh(
            places + 0.2, both["new"], 0.38, label="new", color=PALETTE[1],
            xerr=error, ecolor="#1b1f23", hatch="//", edgecolor="white",
        )  # fmt: skip
        ax.set_yticks(places, [spelled(name) for name in names])
        ax.invert_yaxis()
        ax.set(xlabel="share of pixels (1)", xlim=(0, None))
        ax.grid(True, axis="x")
        ax.set_axisbelow(True)
        figure.legend(*ax.get_legend_handles_labels(), loc="outside right upper")
    return figure


def _tables(report: Mapping[str, Any]) -> list[dict[str, Any]]:
    bands, answers = report["bands"], report["answers"]
    return [
        {
            "title": "Bands",
            "about": "Distance: Wasserstein-1 in standard deviations of training, with "
            "a 95 % interval over scenes. Usual: the largest that a training scene has "
            "from the others; drift is told where the interval lies above it.",
            "heads": ["band", "distance", "95 %", "usual", "KS", "PSI", "verdict"],
            "rows": [_band_row(name, band) for name, band in bands.items()],
        },
        {
            "title": "Answers",
            "about": "Means over scenes that the model was not trained on: held out "
            "against new, and the difference with a 95 % interval over scenes. Other "
            "ice is no fault; lost confidence deserves a look.",
            "heads": ["what", "held out", "new", "difference", "95 %"],
            "rows": _answer_rows(answers),
            "png": None if answers["values"] else _png(answer_figure(answers)),
        },
        {
            "title": "Seasons and sensors",
            "about": "New scenes against training scenes of the same kind, distance in "
            "standard deviations, of the band that lies farthest.",
            "heads": ["stratum", "new", "training", "band", "distance"],
            "rows": [_stratum_row(one) for one in report["strata"]],
        },
        {
            "title": "Scenes",
            "about": "Each new scene, by its farthest band; the usual stands behind.",
            "heads": ["scene", "band", "distance", "usual"],
            "rows": _scene_rows(bands),
        },
    ]


def _band_row(name: str, band: Mapping[str, Any]) -> Sequence[str]:
    low, high = band["interval"]
    said = band["likely"] or "drift" if band["drifted"] else "as usual"
    return (
        name, f"{band['in_std']:.3g}", f"{low:.3g} to {high:.3g}",
        _number(band["usual"]),
        f"{band['ks']:.3f}", f"{band['psi']:.3g}", said,
    )  # fmt: skip


def _answer_rows(answers: Mapping[str, Any]) -> list[Sequence[str]]:
    parts = [(answers["names"], answers["shares"])]
    if answers["confidence"] is not None:
        parts.append((["confidence"], answers["confidence"]))
    return [
        (
            spelled(name), f"{one['reference'][k]:.3f}", f"{one['new'][k]:.3f}",
            f"{one['difference'][k]:+.3f}",
            f"{one['interval'][k][0]:+.3f} to {one['interval'][k][1]:+.3f}",
        )
        for names, one in parts
        for k, name in enumerate(names)
    ]  # fmt: skip


def _stratum_row(one: Mapping[str, Any]) -> Sequence[str]:
    far = "–" if one["band"] is None else one["band"]
    return (
        f"{one['column']} {one['stratum']}", str(one["num_new"]),
        str(one["num_training"]) if one["num_training"] else "none", far,
        _number(one["in_std"]),
    )  # fmt: skip


def _scene_rows(bands: Mapping[str, Any]) -> list[Sequence[str]]:
    rows = []
    for scene in next(iter(bands.values()))["scenes"]:
        far = max(bands, key=lambda name: bands[name]["scenes"][scene])
        distance = bands[far]["scenes"][scene]
        rows.append((scene, far, f"{distance:.3g}", _number(bands[far]["usual"])))
    return sorted(rows, key=lambda row: -float(row[2]))


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:.3g}"
