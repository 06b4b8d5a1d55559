"""``robaudit inspect``: what the file is, what its input means, what an audit would cost."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from robaudit.cli.complete import formats
from robaudit.cli.confine import warn_unconfined
from robaudit.cli.settings import Given, takes_settings

__all__ = ["inspect"]


@takes_settings("inspect")
def inspect(
    model: Annotated[Path, typer.Argument(help="ONNX or TorchScript file of a classifier.")],
    given: Given,
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
    resolved = resolve_settings(given, os.environ, model)
    warn_unconfined(resolved.settings)
    request = request_of(model, resolved)
    found = persistently(survey, request, confinement=confinement_of(request), about=model, told=model_says)
    if resolved.config_file is not None:
        say(config_words(resolved.config_file))
    if format == "json":
        write_json(found.model_dump(mode="json"))
        return
    write_lines(inspection_lines(found))
