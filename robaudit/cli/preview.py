"""``robaudit scan --dry-run``: what would be done."""

from __future__ import annotations

from typing import TYPE_CHECKING

import typer

if TYPE_CHECKING:
    from robaudit.audit.request import AuditRequest

__all__ = ["preview"]


def preview(request: AuditRequest) -> None:
    """Load model and data, and print the plan without attacking.

    Raises:
        UsageError: as the audit itself would; nothing is printed then.
    """
    from robaudit.audit.facts import assumptions
    from robaudit.audit.loading import load
    from robaudit.audit.plan import plan_attacks, validate_attacks
    from robaudit.report.words import plain

    validate_attacks(request.profile)
    loaded = load(request)
    target, profile = loaded.target, request.profile
    target.calibrate()
    plan = plan_attacks(
        profile,
        classes=target.num_classes,
        shape=target.spec.shape,
        no_gradient=None if target.gradient.available else target.gradient.reason,
        surrogates=len(loaded.surrogates),
    )
    threat = profile.threat
    default = " (default)" if request.eps_default else ""
    typer.echo(f"model    {plain(target.path)}, {target.format}, {target.num_classes} classes")
    typer.echo(f"data     {plain(loaded.data.source)}: {len(loaded.drawn)} of {len(loaded.data)} samples")
    for note in loaded.data.notes:
        typer.echo(f"         {plain(note)}")
    for sentence in assumptions(target.spec.assumed):
        typer.echo(f"assumed  {sentence}")
    typer.echo(f"threat   {threat.norm}, eps {threat.eps}{default}, {threat.goal}")
    typer.echo(f"profile  {plain(profile.name)}, seed {request.seed}")
    for planned in plan:
        reason = f": {planned.reason}" if planned.reason else ""
        parameters = ", ".join(f"{k} {v}" for k, v in planned.parameters.items() if v is not None)
        typer.echo(f"  {planned.key:<14}{planned.status}{plain(reason)}   {plain(parameters)}")
    typer.echo("nothing was attacked (--dry-run)")
