"""``robaudit defenses``: list them, and compare what they buy."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from robaudit.cli.complete import defenses as defense_names
from robaudit.cli.complete import formats
from robaudit.cli.confine import warn_unconfined
from robaudit.cli.settings import Given, takes_settings
from robaudit.cli.several import checked_reports, delivered, told_on_stderr

__all__ = ["app"]

app = typer.Typer(help="Defenses in front of a model: list, compare.", no_args_is_help=True)


@app.command("list")
def _list() -> None:
    """The defenses: what each does, its parameters, and its source."""
    from robaudit.cli.explain_attack import defense_lines
    from robaudit.cli.output import columns, write_lines
    from robaudit.defenses.registry import defense_classes

    for _, cls in sorted(defense_classes().items()):
        write_lines(defense_lines(cls, columns() or 100))


@app.command("compare")
@takes_settings("defenses compare")
def _compare(
    given: Given,
    model: Annotated[Path, typer.Argument(help="ONNX or TorchScript file of a classifier.", show_default=False)],
    defense: Annotated[
        list[str] | None,
        typer.Option(
            "--defense",
            help="Defense to compare, such as jpeg:75, or a chain, such as jpeg:75+bits:4; repeat for each.",
            autocompletion=defense_names,
        ),
    ] = None,
    output: Annotated[
        list[Path] | None, typer.Option("--output", "-o", help="Report file (.json, .html, .txt); repeatable.")
    ] = None,
    format: Annotated[
        str, typer.Option("--format", "-f", help="What stdout gets: text or json.", autocompletion=formats)
    ] = "text",
    no_progress: Annotated[bool, typer.Option("--no-progress", help="No live progress on stderr.")] = False,
) -> None:
    """What each defense costs and buys: clean accuracy lost, gain under plain and under adaptive attacks, time, and how
    much of the gain is feigned."""
    from robaudit.audit.config.levels import settings_of_flags
    from robaudit.audit.defenses.comparing import compare_defenses
    from robaudit.audit.run.asking import command_line
    from robaudit.audit.several.running import Asked
    from robaudit.cli.output import chosen_format
    from robaudit.report.defenses import compared_page

    chosen_format(format)
    reports = checked_reports(output or (), model, "a comparison of defenses")
    warn_unconfined(settings_of_flags(given))
    asked = Asked(model, given, tuple(defense or ()), command_line(["robaudit", *sys.argv[1:]], {}))
    delivered(compared_page(compare_defenses(asked, told_on_stderr(no_progress))), format, reports)
