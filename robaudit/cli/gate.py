"""``robaudit gate``: decide gates again on a finished run."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, cast

import typer

from robaudit.cli.complete import formats
from robaudit.cli.trust import Verify, trusted

if TYPE_CHECKING:
    from robaudit.audit.config.gatespecs import GateSpec
    from robaudit.audit.result.document import Result

__all__ = ["choice", "gate", "gates_on_line", "print_gates"]


def gate(
    run: Annotated[Path, typer.Argument(help="Run directory, or a result's JSON.")],
    gate: Annotated[
        list[str] | None,
        typer.Option(
            help="Gate to decide too, such as 'robust_accuracy>=0.6'; it replaces the run's on the same metric; "
            "repeatable."
        ),
    ] = None,
    gates: Annotated[
        Path | None,
        typer.Option(help="YAML file with a list `gates`, such as robaudit.yaml; instead of the run's own."),
    ] = None,
    min_robust: Annotated[
        float | None, typer.Option(help="Least robust accuracy that passes; default: the run's own gates.")
    ] = None,
    baseline: Annotated[
        Path | None, typer.Option(help="Earlier result to compare with, for gates on the regression.")
    ] = None,
    on_inconclusive: Annotated[str, typer.Option(help="What an inconclusive gate means: fail, warn or pass.")] = "fail",
    fail_on: Annotated[
        str,
        typer.Option(help="Gates that decide the exit code: error (level), warn (all), never; an invalid audit is 3."),
    ] = "error",
    as_of: Annotated[
        str | None,
        typer.Option(help="Day on which exceptions to gates are judged, such as 2026-12-31. Default: today (UTC)."),
    ] = None,
    format: Annotated[
        str,
        typer.Option("--format", "-f", help="text, or json: the result with these gates.", autocompletion=formats),
    ] = "text",
    verify: Verify = None,
) -> None:
    """Evaluate the gates of a run again, without compute; the exit code says how they fell."""
    from robaudit.audit.config.gatespecs import merge_gates
    from robaudit.audit.stored.file import load_result, result_path
    from robaudit.audit.verdict.compare import with_comparison
    from robaudit.audit.verdict.conclusion import FailOn, OnInconclusive, conclude
    from robaudit.audit.verdict.gates import check_class_gates, check_gates, specs_of
    from robaudit.cli.output import for_a_reader, write_json
    from robaudit.errors import UsageError

    choice("format", format, "text", "json")
    if min_robust is not None and not 0 <= min_robust <= 1:
        raise UsageError(f"--min-robust is a share between 0 and 1, not {min_robust:g}")
    undecided = cast(OnInconclusive, choice("on-inconclusive", on_inconclusive, "fail", "warn", "pass"))
    binding = cast(FailOn, choice("fail-on", fail_on, "error", "warn", "never"))
    extra = gates_on_line(gate or ())
    keys = trusted(verify)
    result = load_result(result_path(run), keys)
    wanted = gates_in_file(gates) if gates is not None else specs_of(result)
    wanted = merge_gates(wanted, extra)
    if min_robust is not None:
        wanted = merge_gates(wanted, gates_on_line([f"robust_accuracy>={min_robust!r}"]))
    known = None if baseline is None else load_result(result_path(baseline), keys)
    attacks, checks = [attack.id for attack in result.attacks], [check.id for check in result.checks]
    norms = [result.threat_model.norm, *(other.norm for other in result.threat_model.also)]
    compared = known is not None or result.comparison is not None
    check_gates(wanted, attacks, checks, norms, curve=bool(result.curves), baseline=compared)
    check_class_gates(wanted, result.data.classes, result.target.num_classes)
    result = with_comparison(result, known)
    decided = conclude(result, wanted, undecided, binding, _day(as_of))
    with for_a_reader():
        if format == "json":
            write_json(json.loads(decided.to_json()))
        else:
            print_gates(decided)
    raise typer.Exit(decided.verdict.exit_code)


def choice(flag: str, value: str, *options: str) -> str:
    """The value of a flag.

    Raises:
        UsageError: it is none of the options.
    """
    from robaudit.errors import UsageError

    if value not in options:
        raise UsageError(f"--{flag} is {', '.join(options[:-1])} or {options[-1]}, not {value!r}")
    return value


def gates_on_line(texts: Sequence[str]) -> tuple[GateSpec, ...]:
    """Gates written on one line each.

    Raises:
        UsageError: one is none, with a suggestion.
    """
    from robaudit.audit.config.gatespecs import GateSpec

    return tuple(_checked(GateSpec, text, "command line") for text in texts)


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
    from robaudit.report.facts import gate_words, verdict_line
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
