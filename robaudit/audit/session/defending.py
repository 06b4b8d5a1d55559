"""Puts the defenses that are asked for in front of a target."""

from __future__ import annotations

from dataclasses import replace

from robaudit.audit.config.request import AuditRequest
from robaudit.defenses.registry import fitted, parse_chain
from robaudit.errors import UsageError
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
    found = tuple(fitted(one, spec, trust=trust) for one in parse_chain(request.settings.defense))
    if sum(one.copies > 1 for one in found) > 1:
        raise UsageError("two defenses of the chain answer by vote; one can stand before a model")
    behind = replace(spec, defenses=found)
    served = request.profile.threat.answers
    if behind.voting is not None and served.reject_below is not None:
        raise UsageError("--reject-below is about the confidence of one answer, and the defense answers by votes")
    return behind
