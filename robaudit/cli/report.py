"""``robaudit report``: render a finished run again, without compute."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Annotated

import typer

from robaudit.cli.complete import formats
from robaudit.cli.trust import Verify, trusted
from robaudit.report.registry import suffixes

__all__ = ["report"]


def report(
    run: Annotated[Path | None, typer.Argument(help="Run directory, or a result's JSON.")] = None,
    output: Annotated[
        list[Path] | None, typer.Option("--output", "-o", help=f"Report file ({', '.join(suffixes())}); repeatable.")
    ] = None,
    format: Annotated[
        str, typer.Option("--format", "-f", help="What stdout gets: text or json.", autocompletion=formats)
    ] = "text",
    schema: Annotated[bool, typer.Option("--schema", help="Print the JSON Schema of results.")] = False,
    verify: Verify = None,
) -> None:
    """Render a run again: to the terminal, or to files by their suffix."""
    from robaudit.audit.result.document import result_schema
    from robaudit.audit.run.rundir import command_of
    from robaudit.audit.stored.file import load_result, result_path
    from robaudit.cli.output import chosen_format, write_json
    from robaudit.errors import UsageError
    from robaudit.report.outputs import check_outputs
    from robaudit.report.render import write_report
    from robaudit.report.terminal import print_report

    chosen_format(format)
    if schema:
        typer.echo(json.dumps(result_schema(), indent=2))
        return
    if run is None:
        raise UsageError("name a run directory or a result file, or use --schema")
    source = result_path(run)
    check_outputs(output or [], [("the result that it is made from", source)])
    result = load_result(source, trusted(verify))
    for path in output or []:
        write_report(result, path, source.parent)
    if format == "json":
        write_json(json.loads(result.to_json()))
    elif not output:
        print_report(result, sys.stdout, command=command_of(source.parent, result.run.id))
