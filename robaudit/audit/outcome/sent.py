"""What was sent over a network, for the journal and the result."""

from __future__ import annotations

from robaudit.audit.journal.records.session import InputsSent
from robaudit.audit.result.sections.base import Free
from robaudit.plural import counted
from robaudit.target.files.remote.answers import Totals
from robaudit.target.files.remote.endpoint import Endpoint

__all__ = ["inputs_sent", "sent_details", "sent_words"]

NOTHING = "nothing was sent"


def inputs_sent(endpoint: Endpoint, totals: Totals) -> InputsSent:
    """What was sent to an endpoint, over all sessions so far."""
    price = endpoint.price
    return InputsSent(
        to=endpoint.address.shown,
        queries=totals.queries,
        requests=totals.requests,
        octets=totals.octets,
        cost=None if price is None else round(totals.cost(price), 6),
        currency=None if price is None else price.currency,
    )


def sent_words(sent: InputsSent | None) -> str:
    """What a run says of it."""
    if sent is None:
        return NOTHING
    cost = "" if sent.cost is None else f", at most {sent.cost:.2f} {sent.currency}"
    return (
        f"{counted(sent.queries, 'input', 'was/were')} sent to {sent.to} in {counted(sent.requests, 'request')} "
        f"({sent.octets / 1e6:.1f} MB){cost}"
    )


def sent_details(sent: InputsSent | None) -> Free:
    """The same for the details of a target; empty where nothing was sent."""
    if sent is None:
        return {}
    cost: Free | None = None if sent.cost is None else {"amount": sent.cost, "currency": sent.currency}
    return {
        "sent": {
            "to": sent.to,
            "queries": sent.queries,
            "requests": sent.requests,
            "bytes": sent.octets,
            "cost": cost,
        }
    }
