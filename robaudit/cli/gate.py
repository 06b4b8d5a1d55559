"""``robaudit gate``: decide gates again on a finished run."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal, cast

import typer

__all__ = ["gate"]


def gate(
    run: Annotated[Path, typer.Argument(help="Run directory, or a result's JSON.")],
    min_robust: Annotated[
        float | None, typer.Option(help="Least robust accuracy that passes; default: the run's own gates.")
    ] = None,
    on_inconclusive: Annotated[str, typer.Option(help="What an inconclusive gate means: fail, warn or pass.")] = "fail",
) -> None:
    """Evaluate the gates of a run again, without compute; the exit code says how they fell."""
    from pydantic import ValidationError

    from robaudit.audit.profile import GateSpec, Profile, merge_gates
    from robaudit.audit.resultfile import load_result
    from robaudit.audit.verdict import conclude
    from robaudit.cli.report import result_path
    from robaudit.errors import UsageError

    if min_robust is not None and not 0 <= min_robust <= 1:
        raise UsageError(f"--min-robust is a share between 0 and 1, not {min_robust:g}")
    if on_inconclusive not in ("fail", "warn", "pass"):
        raise UsageError(f"--on-inconclusive is fail, warn or pass, not {on_inconclusive!r}")
    result = load_result(result_path(run))
    try:
        gates = list(Profile.model_validate(result.profile.resolved).gates)
    except ValidationError as error:
        raise UsageError(f"the result {str(run)!r} holds no profile that this version reads") from error
    if min_robust is not None:
        gates = list(merge_gates(gates, [GateSpec(metric="robust_accuracy", min=min_robust)]))
    choice = cast(Literal["fail", "warn", "pass"], on_inconclusive)
    decided = conclude(result, gates, choice)
    for entry in decided.gates:
        typer.echo(f"{entry.status:<13}{entry.metric:<20}{entry.message}")
    typer.echo(decided.verdict.headline)
    raise typer.Exit(decided.verdict.exit_code)
