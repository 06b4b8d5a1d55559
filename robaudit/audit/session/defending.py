"""Puts the defense that is asked for in front of a target."""

from __future__ import annotations

from dataclasses import replace

from robaudit.audit.config.request import AuditRequest
from robaudit.defenses.registry import parse_defense
from robaudit.errors import UsageError
from robaudit.target.inputs.spec import InputSpec

__all__ = ["defended"]


def defended(request: AuditRequest, spec: InputSpec) -> InputSpec:
    """The input behind the defense that is asked for.

    Raises:
        UsageError: the defense does not apply to it.
    """
    if request.settings.defense is None:
        return spec
    defense = parse_defense(request.settings.defense)
    if (why := defense.unsuited(spec.shape)) is not None:
        raise UsageError(f"the defense {defense.id} does not apply: {why}")
    return replace(spec, defense=defense)
