"""``robaudit diff``: two audits of the same data, sample by sample."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from robaudit.cli.settings import Given, takes_settings
from robaudit.cli.trust import trusted

if TYPE_CHECKING:
    from robaudit.audit.config.gatespecs import GateSpec
    from robaudit.audit.config.settings import Settings

__all__ = ["diff"]


@takes_settings("diff")
def diff(
    base: Annotated[Path, typer.Argument(help="The baseline: a run directory, or a result's JSON.")],
    new: Annotated[Path, typer.Argument(help="The audit to compare with it: likewise.")],
    given: Given,
    format: Annotated[
        str, typer.Option("--format", "-f", help="What stdout gets: text, or json (the new result, with comparison).")
    ] = "text",
) -> None:
    """Compare two audits: paired per sample, with McNemar's exact test; only the gates on the comparison count."""
    from robaudit.audit.config.gatespecs import check_contradictions, merge_gates
    from robaudit.audit.config.levels import settings_of_flags
    from robaudit.audit.stored.file import load_result, result_path
    from robaudit.audit.verdict.compare import with_comparison
    from robaudit.audit.verdict.conclusion import conclude
    from robaudit.audit.verdict.gates import compares, specs_of
    from robaudit.cli.gate import print_gates
    from robaudit.cli.output import chosen_format, say, write_json, write_lines
    from robaudit.report.comparison import comparison_text
    from robaudit.report.outputs import check_outputs
    from robaudit.report.render import write_report

    settings = settings_of_flags(given)
    chosen_format(format)
    check_outputs(settings.output, [("a result that is compared", result_path(path)) for path in (base, new)])
    asked = _asked(settings)
    keys = trusted(settings.verify)
    baseline, source = load_result(result_path(base), keys), result_path(new)
    result = with_comparison(load_result(source, keys), baseline)
    gates = [entry for entry in merge_gates(specs_of(result), asked) if compares(entry.metric)]
    check_contradictions(gates)
    decided = conclude(result, gates, settings.on_inconclusive)
    if format == "json":
        write_json(json.loads(decided.to_json()))
    else:
        write_lines(comparison_text(decided).splitlines())
        print_gates(decided)
    for path in settings.output:
        write_report(decided, path, source.parent)
        say(f"wrote {path}")
    raise typer.Exit(decided.verdict.exit_code)


def _asked(settings: Settings) -> tuple[GateSpec, ...]:
    """The gates of the command line.

    Raises:
        UsageError: one is not about the comparison.
    """
    from robaudit.audit.config.gatespecs import merge_gates
    from robaudit.audit.config.resolve import short_gate
    from robaudit.audit.verdict.gates import compares
    from robaudit.errors import UsageError

    gates = settings.gates
    if (margin := settings.non_inferiority_margin) is not None:
        gates = merge_gates(gates, [short_gate("non_inferiority_margin", margin)])
    other = [entry.metric for entry in gates if not compares(entry.metric)]
    if other:
        raise UsageError(f"the gate on {other[0]!r} is not about the comparison; `robaudit gate` decides it")
    return gates
