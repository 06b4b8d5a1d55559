"""``robaudit detectors``: list them, and evaluate how good they are."""

from __future__ import annotations

import contextlib
import json
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from robaudit.cli.complete import detectors as detector_names
from robaudit.cli.complete import formats
from robaudit.cli.confine import warn_unconfined
from robaudit.cli.settings import Given, takes_settings

if TYPE_CHECKING:
    from robaudit.audit.journal.events import Observer

__all__ = ["app"]

app = typer.Typer(help="Detectors beside a model: list, evaluate.", no_args_is_help=True)
SUFFIXES = (".json", ".txt")


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
        list[Path] | None, typer.Option("--output", "-o", help="Report file (.json, .txt); repeatable.")
    ] = None,
    format: Annotated[
        str, typer.Option("--format", "-f", help="What stdout gets: text or json.", autocompletion=formats)
    ] = "text",
    no_progress: Annotated[bool, typer.Option("--no-progress", help="No live progress on stderr.")] = False,
) -> None:
    """How well each detector tells adversarial examples that were made without knowing of it, and what is left of that
    against an attack on model and detector at once."""
    from robaudit.audit.config.levels import settings_of_flags
    from robaudit.audit.defenses.comparing import Told
    from robaudit.audit.detectors.evaluating import Evaluating, evaluate_detectors
    from robaudit.audit.run.asking import command_line
    from robaudit.cli.output import chosen_format, columns, for_a_reader, model_says, say, write_json
    from robaudit.files import write_atomic
    from robaudit.report.detectors import evaluation_text
    from robaudit.report.progress import progress
    from robaudit.report.words import plain

    chosen_format(format)
    reports = _checked(output or (), model)
    warn_unconfined(settings_of_flags(given))

    @contextlib.contextmanager
    def beginning(what: str) -> Iterator[Observer]:
        say(f"audit {what}")
        with progress(sys.stderr, enabled=not no_progress, verbose=False) as observer:
            yield observer

    found = evaluate_detectors(
        Evaluating(model, given, tuple(detector or ()), command_line(["robaudit", *sys.argv[1:]], {})),
        Told(beginning, lambda message: say(f"robaudit: warning: {plain(message, 2000)}"), model_says),
    )
    with for_a_reader():
        if format == "json":
            write_json(json.loads(found.to_json()))
        else:
            sys.stdout.write(evaluation_text(found, columns() or 160))
    for path in reports:
        write_atomic(path, found.to_json() if path.suffix.lower() == ".json" else evaluation_text(found))
        say(f"wrote {path}")
    raise typer.Exit(found.exit_code)


def _checked(paths: Sequence[Path], model: Path) -> Sequence[Path]:
    """Reports that can be written.

    Raises:
        UsageError: one cannot, or would replace the model.
    """
    from robaudit.errors import UsageError
    from robaudit.report.outputs import check_outputs

    for path in paths:
        if path.suffix.lower() not in SUFFIXES:
            raise UsageError(f"an evaluation of detectors is written as {', '.join(SUFFIXES)}, not as {path.name!r}")
    check_outputs(paths, [("the model", model)])
    return paths
