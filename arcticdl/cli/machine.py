"""``arcticdl doctor``: what this machine can do."""

import json
from typing import Annotated

import typer


def doctor(
    as_json: Annotated[bool, typer.Option("--json", help="Machine-readable.")] = False,
) -> None:
    """Tell what this machine can do, and what is wrong with it.

    Exit status 1 when something would stop an experiment.

    Example: `arcticdl doctor`
    """
    from arcticdl import doctor as machine

    findings = machine.check_machine()
    if as_json:
        typer.echo(json.dumps([finding.to_dict() for finding in findings], indent=2))
    else:
        machine.show(findings)
    raise typer.Exit(machine.exit_code(findings))
