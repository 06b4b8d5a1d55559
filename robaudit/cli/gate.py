"""``robaudit gate``: decide gates again on a finished run."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from robaudit.cli.complete import formats
from robaudit.cli.settings import Given, takes_settings
from robaudit.cli.trust import trusted

if TYPE_CHECKING:
    from robaudit.audit.config.gatespecs import GateSpec
    from robaudit.audit.config.settings import Settings
    from robaudit.audit.result.document import Result
    from robaudit.audit.verdict.gates import Available

__all__ = ["gate", "print_gates"]


@takes_settings("gate")
def gate(
    run: Annotated[Path, typer.Argument(help="Run directory, or a result's JSON.")],
    given: Given,
    file: Annotated[
        Path | None,
        typer.Option("--gates", help="YAML file with a list `gates`, such as robaudit.yaml; instead of the run's own."),
    ] = None,
    as_of: Annotated[
        str | None,
        typer.Option(help="Day on which exceptions to gates are judged, such as 2026-12-31. Default: today (UTC)."),
    ] = None,
    format: Annotated[
        str,
        typer.Option("--format", "-f", help="text, or json: the result with these gates.", autocompletion=formats),
    ] = "text",
) -> None:
    """Evaluate the gates of a run again, without compute; the exit code says how they fell."""
    from robaudit.audit.config.levels import settings_of_flags
    from robaudit.audit.stored.file import load_result, result_path
    from robaudit.audit.verdict.compare import with_comparison
    from robaudit.audit.verdict.conclusion import conclude
    from robaudit.audit.verdict.gates import check_class_gates, check_gates
    from robaudit.cli.output import chosen_format, for_a_reader, write_json

    chosen_format(format)
    settings = settings_of_flags(given)
    keys = trusted(settings.verify)
    result = load_result(result_path(run), keys)
    known = None if settings.baseline is None else load_result(result_path(Path(settings.baseline)), keys)
    wanted = _wanted(result, file, settings)
    check_gates(wanted, _available(result, known))
    check_class_gates(wanted, result.data.classes, result.target.num_classes)
    decided = conclude(with_comparison(result, known), wanted, settings.on_inconclusive, settings.fail_on, _day(as_of))
    with for_a_reader():
        if format == "json":
            write_json(json.loads(decided.to_json()))
        else:
            print_gates(decided)
    raise typer.Exit(decided.verdict.exit_code)


def _wanted(result: Result, file: Path | None, settings: Settings) -> tuple[GateSpec, ...]:
    """Gates of a file, else the run's own, with those of the command line put over them."""
    from robaudit.audit.config.gatespecs import merge_gates
    from robaudit.audit.config.resolve import short_gate
    from robaudit.audit.verdict.gates import specs_of

    gates = merge_gates(specs_of(result) if file is None else gates_in_file(file), settings.gates)
    if settings.min_robust is None:
        return gates
    return merge_gates(gates, [short_gate("min_robust", settings.min_robust)])


def _available(result: Result, baseline: Result | None) -> Available:
    """What a run has that a gate can be about."""
    from robaudit.audit.verdict.gates import Available

    return Available(
        [attack.id for attack in result.attacks],
        [check.id for check in result.checks],
        [result.threat_model.norm, *(other.norm for other in result.threat_model.also)],
        curve=bool(result.curves),
        baseline=baseline is not None or result.comparison is not None,
    )


def gates_in_file(path: Path) -> tuple[GateSpec, ...]:
    """The gates of a YAML file, such as a profile or a ``robaudit.yaml``.

    Raises:
        UsageError: it cannot be read, has none, or one is refused.
    """
    from robaudit.audit.config.gatespecs import GateSpec
    from robaudit.audit.config.yaml_file import read_settings
    from robaudit.errors import UsageError

    document = read_settings(path)
    content = document.content.get("gates")
    if not isinstance(content, list) or not content:
        raise UsageError(f"{path} holds no list `gates`")
    return tuple(
        _checked(GateSpec, item, f"{document.where(('gates', place))}: gates.{place}")
        for place, item in enumerate(content)
    )


def _checked(model: type[GateSpec], content: object, where: str) -> GateSpec:
    from pydantic import ValidationError

    from robaudit.audit.config.yaml_file import refuse

    try:
        return model.model_validate(content)
    except ValidationError as error:
        raise refuse(error, where, model) from error


def _day(text: str | None) -> Any:
    """The day of a flag; default today."""
    from datetime import UTC, date, datetime

    from robaudit.errors import UsageError

    try:
        return datetime.now(UTC).date() if text is None else date.fromisoformat(text)
    except ValueError:
        raise UsageError(f"--as-of is a day such as 2026-12-31, not {text!r}") from None


def print_gates(decided: Result) -> None:
    """A line a gate, then the verdict."""
    from robaudit.cli.output import write_lines
    from robaudit.report.sentences import gate_words, verdict_line
    from robaudit.report.words import plain

    names = [plain(gate_words(entry), 100) for entry in decided.gates]
    width = min(max(map(len, names), default=0), 48)
    for entry, name in zip(decided.gates, names, strict=True):
        status = entry.status if entry.ignore is None or not entry.ignore.active else f"({entry.status})"
        write_lines([f"{status:<12} {name:<{width}} {plain(entry.message)}"])
    for reason in decided.verdict.reasons:
        if reason.startswith(("ignored until", "the exception to")):
            write_lines([plain(reason)])
    write_lines([plain(verdict_line(decided))])
