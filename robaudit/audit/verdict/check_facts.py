"""The facts of a result's checks: our own from their files, those of another package from the result.

A result is thus read, judged and reported in the same way where that package is not installed.
"""

from __future__ import annotations

from robaudit.audit.result.document import Check, PlugInCheck, PlugInRule
from robaudit.checks.base import Check as CheckClass
from robaudit.checks.facts import CheckFacts, CheckRule
from robaudit.checks.registry import own_checks, package_of

__all__ = ["facts_of", "plug_in"]

FIELDS = ("id", "name", "why", "action", "level")


def facts_of(check: Check) -> CheckFacts:
    """What is known of a check beside what it found."""
    if (own := own_checks().get(check.id)) is not None:
        return own.facts
    told = check.plug_in
    if told is None:  # of another version, say
        return CheckFacts(check.id, title="", next_step="")
    rule = None if told.rule is None else CheckRule(**{name: getattr(told.rule, name) for name in FIELDS})
    return CheckFacts(
        check.id,
        title=told.title,
        next_step=told.next_step,
        rule=rule,
        fatal=told.fatal,
        doubts_evidence=told.doubts_evidence,
    )


def plug_in(cls: type[CheckClass]) -> PlugInCheck | None:
    """What a result keeps of a check that another package brought; None for our own."""
    if cls.id in own_checks():
        return None
    facts = cls.facts
    rule = None if facts.rule is None else PlugInRule(**{name: getattr(facts.rule, name) for name in FIELDS})
    return PlugInCheck(
        package=package_of(cls),
        title=facts.title,
        next_step=facts.next_step,
        fatal=facts.fatal,
        doubts_evidence=facts.doubts_evidence,
        rule=rule,
    )
