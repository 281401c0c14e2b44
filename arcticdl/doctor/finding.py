"""A finding, how findings are shown, and what they mean to a job script."""

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Literal

Status = Literal["ok", "warn", "fail"]


@dataclass(frozen=True)
class Finding:
    """One thing looked at.

    Attributes:
        name: What was looked at.
        status: ``"ok"``; ``"warn"``: slower or less than it could be; ``"fail"``: an
            experiment would stop, or run without what it was granted.
        message: What was found.
        way_out: What to do about it; empty where nothing needs doing.
    """

    name: str
    status: Status
    message: str
    way_out: str = ""

    def to_dict(self) -> dict[str, str]:
        """Returns the finding as a dictionary, ready for JSON."""
        return asdict(self)


def exit_code(findings: Iterable[Finding]) -> int:
    """Returns what a job script is told by the findings.

    Args:
        findings: The findings.

    Returns:
        1 if any failed, else 0: warnings do not stop a job script.

    Example:
        >>> exit_code([Finding("gpu", "warn", "none visible")])
        0
    """
    return int(any(finding.status == "fail" for finding in findings))


def show(findings: Iterable[Finding]) -> None:
    """Writes the findings to the terminal, one a line, with the ways out.

    Args:
        findings: The findings.
    """
    from rich.console import Console
    from rich.table import Table

    marks = {"ok": "[green]ok[/]", "warn": "[yellow]warn[/]", "fail": "[red]fail[/]"}
    table = Table(box=None, show_header=False, padding=(0, 2, 0, 0))
    for finding in findings:
        # Brackets in a message are text, not markup.
        message = finding.message.replace("[", r"\[")
        way_out = finding.way_out.replace("[", r"\[")
        text = f"{message}\n[bold]-> {way_out}[/]" if way_out else message
        table.add_row(marks[finding.status], finding.name, text)
    Console().print(table)
