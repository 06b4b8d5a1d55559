"""``robaudit diff``: two audits of the same data, sample by sample."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from robaudit.cli.trust import Verify, trusted
from robaudit.report.registry import suffixes

__all__ = ["diff"]


def diff(
    base: Annotated[Path, typer.Argument(help="The baseline: a run directory, or a result's JSON.")],
    new: Annotated[Path, typer.Argument(help="The audit to compare with it: likewise.")],
    non_inferiority_margin: Annotated[
        float | None,
        typer.Option(help="Largest loss of robust accuracy that passes, such as 0.02: the exit code says."),
    ] = None,
    gate: Annotated[
        list[str] | None,
        typer.Option(help="Gate on the comparison: 'newly_broken<=0', 'clean_regression<=0.01'; repeatable."),
    ] = None,
    on_inconclusive: Annotated[str, typer.Option(help="What an inconclusive gate means: fail, warn or pass.")] = "fail",
    format: Annotated[
        str, typer.Option("--format", "-f", help="What stdout gets: text, or json (the new result, with comparison).")
    ] = "text",
    output: Annotated[
        list[Path] | None,
        typer.Option(
            "--output", "-o", help=f"Report of the new audit with the comparison ({', '.join(suffixes())}); repeatable."
        ),
    ] = None,
    verify: Verify = None,
) -> None:
    """Compare two audits: paired per sample, with McNemar's exact test; only the gates on the comparison count."""
    from typing import cast

    from robaudit.audit.config.gatespecs import check_contradictions, merge_gates
    from robaudit.audit.stored.file import load_result, result_path
    from robaudit.audit.verdict.compare import with_comparison
    from robaudit.audit.verdict.conclusion import OnInconclusive, conclude
    from robaudit.audit.verdict.gates import compares, specs_of
    from robaudit.cli.gate import choice, gates_on_line, print_gates
    from robaudit.cli.output import say, write_json, write_lines
    from robaudit.errors import UsageError
    from robaudit.report.comparison import comparison_text
    from robaudit.report.outputs import check_outputs
    from robaudit.report.render import write_report

    if non_inferiority_margin is not None and not 0 <= non_inferiority_margin < 1:
        raise UsageError(f"--non-inferiority-margin is a share from 0 to below 1, not {non_inferiority_margin:g}")
    undecided = cast(OnInconclusive, choice("on-inconclusive", on_inconclusive, "fail", "warn", "pass"))
    choice("format", format, "text", "json")
    check_outputs(output or [], [("a result that is compared", result_path(path)) for path in (base, new)])
    asked = gates_on_line(gate or ())
    if non_inferiority_margin is not None:
        asked = merge_gates(asked, gates_on_line([f"regression<={non_inferiority_margin!r}"]))
    other = [entry.metric for entry in asked if not compares(entry.metric)]
    if other:
        raise UsageError(f"the gate on {other[0]!r} is not about the comparison; `robaudit gate` decides it")
    keys = trusted(verify)
    baseline, source = load_result(result_path(base), keys), result_path(new)
    result = with_comparison(load_result(source, keys), baseline)
    gates = [entry for entry in merge_gates(specs_of(result), asked) if compares(entry.metric)]
    check_contradictions(gates)
    decided = conclude(result, gates, undecided)
    if format == "json":
        write_json(json.loads(decided.to_json()))
    else:
        write_lines(comparison_text(decided).splitlines())
        print_gates(decided)
    for path in output or []:
        write_report(decided, path, source.parent)
        say(f"wrote {path}")
    raise typer.Exit(decided.verdict.exit_code)
