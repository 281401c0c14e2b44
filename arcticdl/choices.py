"""Looking a name up in a table of choices."""

import difflib
from collections.abc import Mapping
from typing import TypeVar

Entry = TypeVar("Entry")


def choose(argument: str, name: str, table: Mapping[str, Entry]) -> Entry:
    """Returns ``table[name]``.

    Args:
        argument: Name of the caller's argument, for the message.
        name: The choice.
        table: The choices.

    Raises:
        ValueError: No such choice; the message holds the nearest spelling and all
            choices, sorted.
    """
    if name in table:
        return table[name]
    near = difflib.get_close_matches(str(name).lower(), table, n=1)
    hint = f" Did you mean {near[0]!r}?" if near else ""
    raise ValueError(
        f"`{argument}` must be one of {sorted(table)}. "
        f"Received: {argument}={name!r}.{hint}"
    )
