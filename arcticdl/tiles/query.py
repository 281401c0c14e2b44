"""Choosing rows of a manifest by an expression, and by nothing more than that.

pandas evaluates it. Before, its syntax tree is held against what a condition on columns
needs: no function is called, no attribute read and no variable seen.
"""

import ast
import re
from typing import Any

import numpy as np

from arcticdl.choices import check_choices

_ALLOWED = (
    ast.Expression,
    *(ast.BoolOp, ast.And, ast.Or, ast.UnaryOp, ast.Not, ast.USub, ast.Invert),
    *(ast.BinOp, ast.Add, ast.Sub, ast.Mult, ast.Div, ast.Mod, ast.BitAnd, ast.BitOr),
    *(ast.Compare, ast.Eq, ast.NotEq, ast.Lt, ast.LtE, ast.Gt, ast.GtE),
    *(ast.In, ast.NotIn, ast.Name, ast.Load, ast.Constant, ast.List, ast.Tuple),
)
_QUOTED = re.compile(r"'[^']*'|\"[^\"]*\"|`([^`]*)`")


def select_rows(manifest: Any, where: str) -> np.ndarray:
    """The rows of a manifest of which an expression is true.

    Comparisons (also chained, as ``0.2 < valid_fraction < 0.9``), ``in`` and ``not in``
    a list, ``and``, ``or``, ``not``, and sums, differences, products and quotients of
    columns and numbers. A time is compared with text: ``time >= '2020-06-01'``. What is
    missing is equal to nothing.

    Args:
        manifest: The manifest.
        where: The expression. A column whose name is no plain word stands in backticks.

    Returns:
        Sorted row numbers, int64.

    Raises:
        ValueError: It is no such expression, names a column that is not there, or
            compares what cannot be compared.

    Example:
        >>> import pandas as pd
        >>> table = pd.DataFrame({"season": ["melt", "melt", None], "ice:a": [1, 0, 9]})
        >>> select_rows(table, "season == 'melt' and `ice:a` > 0").tolist()
        [0]
    """
    import pandas as pd

    text, names = _name_columns(where)
    tree = _parse(text, where)
    used = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)}
    known = [str(name) for name in manifest.columns if name != "geometry"]
    check_choices("column", sorted(names.get(name, name) for name in used), known)
    columns = {name: _comparable(manifest[names.get(name, name)]) for name in used}
    try:
        found = pd.DataFrame(columns, index=range(len(manifest))).eval(
            text, engine="python"
        )
    except (TypeError, ValueError, NotImplementedError) as error:
        raise ValueError(
            "An expression must compare like with like, text in quotes. "
            f"Received: {where!r} ({error})."
        ) from error
    if not isinstance(found, pd.Series) or found.dtype != bool:
        raise _no_condition(where, "it is neither true nor false of a tile")
    return np.flatnonzero(found.to_numpy())


def _name_columns(where: str) -> tuple[str, dict[str, str]]:
    """Gives columns in backticks plain names: the expression, {plain name: column}."""
    names: dict[str, str] = {}

    def plain(match: re.Match[str]) -> str:
        if match[1] is None:  # text in quotes
            return match[0]
        name = f"column_{len(names)}_"
        names[name] = match[1]
        return name

    return _QUOTED.sub(plain, where), names


def _parse(text: str, where: str) -> ast.Expression:
    try:
        tree = ast.parse(text.strip(), mode="eval")
    except (SyntaxError, ValueError) as error:
        raise _no_condition(where, f"it cannot be read: {error}") from error
    for node in ast.walk(tree):
        if not isinstance(node, _ALLOWED):
            raise _no_condition(where, f"it holds a {type(node).__name__.lower()}")
    return tree


def _comparable(column: Any) -> Any:
    """A column as pandas' engine compares it: text as objects, its missing as None."""
    import pandas as pd

    if isinstance(column.dtype, pd.StringDtype):
        column = column.astype(object)
        return column.where(column.notna(), None).to_numpy()
    if isinstance(column.dtype, pd.api.extensions.ExtensionDtype):
        return column.to_numpy("float64", na_value=np.nan)
    return column.to_numpy()


def _no_condition(where: str, why: str) -> ValueError:
    return ValueError(
        "An expression must be a condition on columns of the manifest, such as "
        f"\"season == 'melt' and valid_fraction > 0.5\". Received: {where!r}; {why}."
    )
