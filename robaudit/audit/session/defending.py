"""Puts the defenses that are asked for in front of a target."""

from __future__ import annotations

from dataclasses import replace

from robaudit.audit.config.request import AuditRequest
from robaudit.defenses.registry import fitted, parse_chain
from robaudit.target.inputs.spec import InputSpec

__all__ = ["defended"]


def defended(request: AuditRequest, spec: InputSpec) -> InputSpec:
    """The input behind the defenses that are asked for, in their order.

    Raises:
        UsageError: one does not apply to it.
    """
    if request.settings.defense is None:
        return spec
    trust = request.settings.trust_model
    return replace(
        spec, defenses=tuple(fitted(one, spec, trust=trust) for one in parse_chain(request.settings.defense))
    )
