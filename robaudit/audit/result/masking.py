"""Which attacks of a result are those of a reaction to masked gradients."""

from __future__ import annotations

from robaudit.audit.result.sections.findings import Attack

__all__ = ["REACTION", "for_the_reaction"]

REACTION = "reaction/"
"""Begins the keys of attacks that ran where the checks told that gradients are masked."""


def for_the_reaction(attack: Attack) -> bool:
    """Whether an attack ran as gradients were found to be masked, on what stood then."""
    return REACTION in f"/{attack.id}"
