"""``robaudit detectors``: list them, and evaluate how good they are."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from robaudit.cli.complete import detectors as detector_names
from robaudit.cli.complete import formats
from robaudit.cli.confine import warn_unconfined
from robaudit.cli.settings import Given, takes_settings
from robaudit.cli.several import checked_reports, delivered, told_on_stderr

__all__ = ["app"]

app = typer.Typer(help="Detectors beside a model: list, evaluate.", no_args_is_help=True)


@app.command("list")
def _list() -> None:
    """The detectors: what each does, its parameters, and its source."""
    from robaudit.cli.explain_attack import defense_lines
    from robaudit.cli.output import columns, write_lines
    from robaudit.detectors.registry import detector_classes

    for _, cls in sorted(detector_classes().items()):
        write_lines(defense_lines(cls, columns() or 100))


@app.command("evaluate")
@takes_settings("detectors evaluate")
def _evaluate(
    given: Given,
    model: Annotated[Path, typer.Argument(help="ONNX or TorchScript file of a classifier.", show_default=False)],
    detector: Annotated[
        list[str] | None,
        typer.Option(
            "--detector",
            help="Detector to evaluate, such as squeezing or file:PATH; repeat for each.",
            autocompletion=detector_names,
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
    """How well each detector tells adversarial examples that were made without knowing of it, and what is left of that
    against an attack on model and detector at once."""
    from robaudit.audit.config.levels import settings_of_flags
    from robaudit.audit.detectors.evaluating import evaluate_detectors
    from robaudit.audit.run.asking import command_line
    from robaudit.audit.several.running import Asked
    from robaudit.cli.output import chosen_format
    from robaudit.report.detectors import evaluated_page

    chosen_format(format)
    reports = checked_reports(output or (), model, "an evaluation of detectors")
    warn_unconfined(settings_of_flags(given))
    asked = Asked(model, given, tuple(detector or ()), command_line(["robaudit", *sys.argv[1:]], {}))
    delivered(evaluated_page(evaluate_detectors(asked, told_on_stderr(no_progress))), format, reports)
