"""``robaudit scan``: its flags, and the audit that they ask for."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from robaudit.cli.complete import formats
from robaudit.cli.confine import warn_unconfined
from robaudit.cli.endpoint import named_model, with_cap
from robaudit.cli.settings import Given, takes_settings

__all__ = ["scan"]


@takes_settings("scan")
def scan(
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
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Print the verdict alone.")] = False,
    verbose: Annotated[int, typer.Option("--verbose", "-v", count=True, help="Say more; list every sample.")] = 0,
    no_progress: Annotated[bool, typer.Option("--no-progress", help="No live progress on stderr.")] = False,
) -> None:
    """Audit a model file: run the attacks of a profile, check the audit itself, report, and gate."""
    import os

    from robaudit.audit.config.resolve import resolve_settings
    from robaudit.audit.run.asking import command_line, read_files, request_of
    from robaudit.cli.output import chosen_format, config_words, say
    from robaudit.errors import UsageError
    from robaudit.report.outputs import check_output, check_outputs

    chosen_format(format)
    path = named_model(model, endpoint)
    resolved = with_cap(resolve_settings(given, os.environ, path), path)
    settings = resolved.settings
    for report in settings.output:
        check_output(report)
    warn_unconfined(settings)
    request = request_of(path, resolved, command_line(["robaudit", *sys.argv[1:]], resolved.sources))
    check_outputs(settings.output, read_files(request, resolved))
    if settings.dry_run and format == "json":
        raise UsageError("--dry-run tells in words alone; leave --format json out")
    if settings.dry_run:
        from robaudit.cli.preview import preview

        folder = None if settings.run_dir is None else Path(settings.run_dir)
        preview(request, folder, fresh=settings.fresh, reports=settings.output)
        if resolved.config_file is not None and not quiet:
            say(config_words(resolved.config_file))
        return

    from robaudit.cli.audit import audit_and_report

    code = audit_and_report(
        request,
        as_json=format == "json",
        quiet=quiet,
        live=not no_progress,
        verbose=verbose > 0,
        config=resolved.config_file,
    )
    raise typer.Exit(code)
