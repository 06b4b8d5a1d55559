"""What an audit of an endpoint keeps of its answers, and may spend."""

from __future__ import annotations

from pathlib import Path

from robaudit.audit.config.request import AuditRequest
from robaudit.audit.plan.validate import validate_spending
from robaudit.target.files.remote.answers import ANSWERS, Answers, Caps
from robaudit.target.files.remote.endpoint import is_endpoint, read_endpoint

__all__ = ["answers_of"]


def answers_of(request: AuditRequest, folder: Path | None = None, key: bytes = b"") -> Answers | None:
    """Where the answers of an endpoint are kept, with the caps that the user set; None where the model is a file.

    Args:
        request: what to audit.
        folder: the run directory; None: they are kept in memory, and asked for again by the next process.
        key: of the run.

    Raises:
        UsageError: it costs money, and nobody said how much it may cost.
        AuditError: they cannot be kept there.
    """
    validate_spending(request)
    if not is_endpoint(request.model):
        return None
    caps = Caps(request.settings.max_queries, request.settings.max_cost)
    path = None if folder is None else folder / ANSWERS
    return Answers(path, key, caps, read_endpoint(request.model).price)
