"""``robaudit train-purifier``: a defense's file, made of the audit's data."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from robaudit.cli.complete import formats
from robaudit.cli.complete import purifiers as purifier_names
from robaudit.cli.confine import warn_unconfined
from robaudit.cli.settings import Given, takes_settings

if TYPE_CHECKING:
    from robaudit.audit.defenses.training import Progress

__all__ = ["train_purifier"]

SECONDS = 2.0
"""Between two lines of progress."""


@takes_settings("train-purifier")
def train_purifier(
    given: Given,
    model: Annotated[
        Path, typer.Argument(help="ONNX or TorchScript file of the classifier to be defended.", show_default=False)
    ],
    output: Annotated[Path, typer.Option("--output", "-o", help="File to write.", show_default=False)],
    recipe: Annotated[
        str,
        typer.Option(
            "--recipe",
            help="ape-gan, denoiser, magnet or patches, with parameters as magnet:epochs=20; "
            "`robaudit explain magnet` lists them.",
            autocompletion=purifier_names,
        ),
    ] = "denoiser",
    fit_samples: Annotated[
        int, typer.Option("--fit-samples", min=10, help="Most samples to make it of, apart from those audited.")
    ] = 2000,
    format: Annotated[
        str, typer.Option("--format", "-f", help="What stdout gets: text or json.", autocompletion=formats)
    ] = "text",
    no_progress: Annotated[bool, typer.Option("--no-progress", help="No live progress on stderr.")] = False,
) -> None:
    """Make a purifier of the data, apart from the samples that an audit draws, for --defense purifier:FILE."""
    from robaudit.audit.config.levels import settings_of_flags
    from robaudit.audit.defenses.purifiers import Making, make_purifier
    from robaudit.cli.output import chosen_format, model_says, say, write_json, write_lines
    from robaudit.report.purifiers import progress_line, purifier_lines

    chosen_format(format)
    warn_unconfined(settings_of_flags(given))
    last = -SECONDS

    def heard(progress: Progress) -> None:
        nonlocal last
        if not no_progress and (progress.done == progress.rounds or time.monotonic() - last >= SECONDS):
            last = time.monotonic()
            say(progress_line(progress.done, progress.rounds, progress.loss))

    try:
        found = make_purifier(Making(model, given, recipe, fit_samples, output), heard, model_says)
    except KeyboardInterrupt:
        say("stopped; nothing was written")
        raise
    if format == "json":
        write_json(found.model_dump(mode="json"))
        return
    write_lines(purifier_lines(found, str(output)))
    sys.stdout.flush()
