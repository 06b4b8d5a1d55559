"""The page of ``robaudit explain`` on a check, from its docstring, settings and facts."""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING

from robaudit.cli.explain_attack import parameter_lines

if TYPE_CHECKING:
    from robaudit.checks.base import Check
    from robaudit.checks.facts import CheckFacts

__all__ = ["check_page"]


def check_page(cls: type[Check]) -> str:
    """All that a user needs to know of a check: what it tests, settings, cost, and what its failure means."""
    from robaudit.checks.registry import own_checks, package_of
    from robaudit.report.rules import rule_id

    facts = cls.facts
    body, _, _ = (inspect.getdoc(cls) or facts.title).partition("\nArgs:")
    declared = parameter_lines(cls)
    lines = [f"{cls.id}: check", "", body.strip(), ""]
    lines += ["Settings, as a profile sets them:" if declared else "Settings: none", *declared]
    lines += ["", f"Cost: {facts.cost}", f"If it fails: {_consequences(facts)}", f"Then: {facts.next_step}"]
    lines += ["", f"In reports: rule {rule_id(facts)}"]
    if cls.id not in own_checks():
        lines.append(f"From the package {package_of(cls) or cls.__module__}")
    return "\n".join(lines)


def _consequences(facts: CheckFacts) -> str:
    found = ["the headline is withheld"]
    found += ["no gate on the model is judged"] if facts.doubts_evidence else []
    found += ["the exit code is 3 whatever the gates say"] if facts.fatal else []
    found += ["the audit is not reproducible"] if facts.voids_repetition else []
    return ", ".join(found)
