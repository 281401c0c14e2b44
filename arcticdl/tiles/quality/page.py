"""Findings as one self-contained page."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from arcticdl.files import write_text

_TEMPLATE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>{{ title }}</title>
<style>
body {font: 15px/1.5 system-ui, sans-serif; max-width: 60em; margin: 2em auto;
      padding: 0 1em; color: #1b2733}
table {border-collapse: collapse; margin: .5em 0 1.5em; width: 100%}
th, td {text-align: left; padding: .3em .6em; border-bottom: 1px solid #d5dde5;
        vertical-align: top}
td.n {text-align: right; font-variant-numeric: tabular-nums}
.error {color: #a4161a; font-weight: 600} .warning {color: #8a5a00; font-weight: 600}
.note {color: #33658a} img {max-width: 100%}
</style></head><body>
<h1>{{ title }}</h1>
{% if about %}<table>{% for key, value in about.items() %}
<tr><th>{{ key }}</th><td>{{ value }}</td></tr>{% endfor %}</table>{% endif %}
<h2>Findings</h2>
{% if findings %}<table>
<tr><th></th><th>axis</th><th>check</th><th>what was found</th><th>action</th></tr>
{% for f in findings %}<tr><td class="{{ f.severity }}">{{ f.severity }}</td>
<td>{{ f.axis }}</td><td>{{ f.check }}</td><td>{{ f.message }}
{% if f.tiles %}<br><small>tiles {{ f.tiles[:20] | join(", ") }}
{% if f.tiles | length > 20 %}, ...{% endif %}</small>{% endif %}</td>
<td>{{ f.action }}</td></tr>
{% endfor %}</table>{% else %}<p>None.</p>{% endif %}
{% for picture in pictures %}<figure><img alt="{{ picture[0] }}"
src="data:image/png;base64,{{ picture[1] }}"><figcaption>{{ picture[0] }}</figcaption>
</figure>{% endfor %}
{% for label, columns in classes.items() %}{% for column, values in columns.items() %}
<h3>{{ label }} by {{ column }}</h3><table>
{% for value, counts in values.items() %}
{% if loop.first %}<tr><th>{{ column }}</th>{% for name in counts %}<th>{{ name }}</th>
{% endfor %}</tr>{% endif %}
<tr><td>{{ value }}</td>{% for n in counts.values() %}<td class="n">{{ n }}</td>
{% endfor %}</tr>{% endfor %}</table>{% endfor %}{% endfor %}
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
    from jinja2 import Environment

    order = {"error": 0, "warning": 1, "note": 2}
    text = (
        Environment(autoescape=True)
        .from_string(_TEMPLATE)
        .render(
            title=title,
            findings=sorted(findings, key=lambda f: order[f.severity]),
            about=about or {},
            classes=classes or {},
            pictures=pictures,
        )
    )
    write_text(path, text)
