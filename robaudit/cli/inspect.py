"""``robaudit inspect``: what the file is, what its input means, what an audit would cost."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from robaudit.cli.complete import formats
from robaudit.cli.confine import warn_unconfined
from robaudit.cli.endpoint import named_model, with_cap
from robaudit.cli.settings import Given, takes_settings

__all__ = ["inspect"]


@takes_settings("inspect")
def inspect(
    given: Given,
    model: Annotated[
        Path | None,
        typer.Argument(
            help="ONNX or TorchScript file of a classifier, or the https:// address of one.", show_default=False
        ),
    ] = None,
    endpoint: Annotated[
        Path | None, typer.Option("--endpoint", help="A classifier behind HTTP, as this YAML file describes it.")
    ] = None,
    format: Annotated[
        str, typer.Option("--format", "-f", help="What stdout gets: text or json.", autocompletion=formats)
    ] = "text",
) -> None:
    """Show inputs, outputs, operators, preprocessing, gradient, parity, speed, and the cost of each profile."""
    import os

    from robaudit.audit.config.resolve import resolve_settings
    from robaudit.audit.inspection.survey import survey
    from robaudit.audit.process.persist import persistently
    from robaudit.audit.run.asking import request_of
    from robaudit.audit.run.limits import confinement_of
    from robaudit.cli.output import chosen_format, config_words, model_says, say, write_json, write_lines
    from robaudit.report.inspection import inspection_lines

    chosen_format(format)
    path = named_model(model, endpoint)
    resolved = with_cap(resolve_settings(given, os.environ, path), path)
    warn_unconfined(resolved.settings)
    request = request_of(path, resolved)
    found = persistently(survey, request, confinement=confinement_of(request), about=path, told=model_says)
    if resolved.config_file is not None:
        say(config_words(resolved.config_file))
    if format == "json":
        write_json(found.model_dump(mode="json"))
        return
    write_lines(inspection_lines(found))
