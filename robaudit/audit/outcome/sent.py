"""What was sent over a network, for the journal and the result."""

from __future__ import annotations

from typing import Any

from robaudit.audit.journal.journal import Record
from robaudit.plural import counted
from robaudit.target.files.remote.answers import Totals
from robaudit.target.files.remote.endpoint import Endpoint

__all__ = ["sent_record", "sent_words"]


def sent_record(endpoint: Endpoint, totals: Totals) -> Record:
    """What was sent to an endpoint, over all sessions so far."""
    price = endpoint.price
    cost = None if price is None else {"amount": round(totals.cost(price), 6), "currency": price.currency}
    return {
        "kind": "sent",
        "to": endpoint.address.shown,
        "queries": totals.queries,
        "requests": totals.requests,
        "bytes": totals.octets,
        "cost": cost,
    }


def sent_words(record: Record | None) -> dict[str, Any]:
    """The field of a run that says what was sent; none where nothing was, which is its default."""
    if record is None:
        return {}
    cost = record["cost"]
    words = (
        f"{counted(record['queries'], 'input', 'was/were')} sent to {record['to']} in "
        f"{counted(record['requests'], 'request')} ({record['bytes'] / 1e6:.1f} MB)"
    )
    return {"network": words + ("" if cost is None else f", at most {cost['amount']:.2f} {cost['currency']}")}
