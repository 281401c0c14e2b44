"""Findings as one self-contained page."""

from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

from arcticdl.files import write_text

_TEMPLATE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark"><title>{{ title }}</title>
<style>
:root {color-scheme: light dark; --page: #fff; --ink: #1b1f23; --quiet: #57606a;
  --line: #d0d7de; --error: #a4161a; --warning: #8a4b00; --note: #0063a0}
@media (prefers-color-scheme: dark) {:root {--page: #10151a; --ink: #e6edf3;
  --quiet: #9da7b1; --line: #303a44; --error: #ff9a96; --warning: #f0b45f;
  --note: #74c2f0}}
body {font: 16px/1.5 system-ui, "DejaVu Sans", sans-serif; max-width: 76rem;
  margin: 0 auto; padding: 2rem 1.25rem 4rem; background: var(--page);
  color: var(--ink)}
h1 {font-size: 1.7rem; line-height: 1.2; overflow-wrap: anywhere}
h2 {font-size: 1.25rem; margin: 2.5rem 0 .5rem}
h3 {font-size: 1rem; margin: 1.75rem 0 0}
p {max-width: 46rem} .quiet, figcaption {color: var(--quiet); font-size: .9rem}
table {border-collapse: collapse; margin: .5em 0 1.5em; width: 100%}
th, td {text-align: left; padding: .35em .7em; border-bottom: 1px solid var(--line);
  vertical-align: top; overflow-wrap: anywhere}
td.n, th.n {text-align: right; font-variant-numeric: tabular-nums}
td.n small {display: block; color: var(--quiet)} tr.sum > * {font-weight: 600}
.error {color: var(--error); font-weight: 600}
.warning {color: var(--warning); font-weight: 600} .note {color: var(--note)}
img {max-width: 100%} .scroll {overflow-x: auto}
@media (max-width: 40rem) {
  body {padding: 1.25rem 1rem 3rem}
  .stack, .stack tbody, .stack tr, .stack th, .stack td {display: block}
  .stack thead {display: none}
  .stack tr {padding: .5rem 0; border-bottom: 1px solid var(--line)}
  .stack th, .stack td {border: 0; padding: .1rem 0}
  .stack td.n {display: flex; gap: .8rem; justify-content: space-between}
  .stack td.n::before {content: attr(data-label); color: var(--quiet);
    margin-right: auto}
}
</style></head><body>
<h1>{{ title }}</h1>
{% if about %}<table>{% for key, value in about.items() %}
<tr><th scope="row">{{ key }}</th><td class="{{ value }}">{{ value }}</td></tr>
{% endfor %}</table>{% endif %}
<h2>Findings</h2>
{% if findings %}<div class="scroll"><table class="stack">
<thead><tr><th>severity</th><th>axis</th><th>check</th><th>what was found</th>
<th>action</th></tr></thead><tbody>
{% for f in findings %}<tr><td class="{{ f.severity }}">{{ f.severity }}</td>
<td>{{ f.axis }}</td><td>{{ f.check }}</td><td>{{ f.message }}
{% if f.tiles %}<br><small>tiles {{ f.tiles[:20] | join(", ") }}
{% if f.tiles | length > 20 %}, ...{% endif %}</small>{% endif %}</td>
<td>{{ f.action }}</td></tr>
{% endfor %}</tbody></table></div>{% else %}<p>None.</p>{% endif %}
{% for picture in pictures %}<figure><img alt="{{ picture[0] }}"
src="data:image/png;base64,{{ picture[1] }}"><figcaption>{{ picture[0] }}</figcaption>
</figure>{% endfor %}
{% if classes %}<h2>Classes</h2>
<p class="quiet">Pixels (of labels of boxes: objects) of all tiles, and their share of
the row; where tiles overlap, each counts once for every tile.</p>{% endif %}
{% for label, columns in classes.items() %}{% for column, values in columns.items() %}
<h3>{{ label | words }} by {{ column | words }}</h3>
<div class="scroll"><table class="stack">
<thead><tr><th>{{ column | words }}</th>{% for name in values | names %}
<th class="n">{{ name | words }}</th>{% endfor %}<th class="n">total</th></tr></thead>
<tbody>{% for value, counts in (values | with_total).items() %}
<tr{% if loop.last and loop.length > 1 %} class="sum"{% endif %}>
<th scope="row">{{ value }}</th>{% for name, n in counts.items() %}
<td class="n" data-label="{{ name | words }}">{{ "{:,}".format(n) }}
<small>{{ n | share(counts) }}</small></td>{% endfor %}
<td class="n" data-label="total">{{ "{:,}".format(counts.values() | sum) }}</td></tr>
{% endfor %}</tbody></table></div>{% endfor %}{% endfor %}
</body></html>
"""


def write_page(
    path: str | Path,
    title: str,
    findings: Sequence[Any],
    *,
    about: Mapping[str, Any] | None = None,
    classes: Mapping[str, Any] | None = None,
    pictures: Sequence[tuple[str, str]] = (),
) -> None:
    """Writes findings as HTML.

    Args:
        path: Of the page.
        title: Its heading.
        findings: `quality.Finding` objects, most severe first on the page.
        about: Facts above the findings.
        classes: The histogram of `QualityReport`.
        pictures: (caption, PNG in base64).
    """
    order = {"error": 0, "warning": 1, "note": 2}
    text = _template().render(
        title=title,
        findings=sorted(findings, key=lambda f: order[f.severity]),
        about=about or {},
        classes=classes or {},
        pictures=pictures,
    )
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    write_text(path, text)


@cache
def _template() -> Any:
    from jinja2 import Environment

    environment = Environment(autoescape=True)
    environment.filters |= {
        "names": lambda values: next(iter(values.values()), {}),
        "share": _share,
        "with_total": _with_total,
        "words": lambda name: str(name).replace("_", " "),
    }
    return environment.from_string(_TEMPLATE)


def _share(count: int, counts: Mapping[str, int]) -> str:
    total = sum(counts.values())
    return f"{100 * count / total:.1f} %" if total else "–"


def _with_total(
    values: Mapping[str, Mapping[str, int]],
) -> dict[str, Mapping[str, int]]:
    """The rows, and where there are several their sum."""
    if len(values) < 2:
        return dict(values)
    names = next(iter(values.values()))
    total = {name: sum(row[name] for row in values.values()) for name in names}
    return {**values, "all": total}
