"""What a journal says of the models beside the one under audit."""

from __future__ import annotations

from robaudit.audit.journal.journal import Journal
from robaudit.audit.journal.records.attacks import AuxiliaryModel

__all__ = ["ROLES", "STAND_IN", "SURROGATE", "problems_in"]

SURROGATE, STAND_IN = ROLES = "surrogate", "stand-in"
"""Of such models; also where an error of one is reported."""


def problems_in(journal: Journal) -> dict[str, str]:
    """Why auxiliary models could not be used, by key, as the last session found."""
    found = journal.keyed(AuxiliaryModel, "key")
    return {key: record.problem for key, record in found.items() if record.problem is not None}
