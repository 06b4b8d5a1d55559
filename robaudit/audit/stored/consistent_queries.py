"""Whether what a result says of queries can be true: of each sample and attack, and of all together."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping

from robaudit.audit.result.derive import RAN
from robaudit.audit.result.document import Attack, Result, Sample, Spent
from robaudit.audit.result.queried import spent_by
from robaudit.errors import UsageError
from robaudit.query_rate import parse_query_rate

__all__ = ["query_faults"]


def query_faults(result: Result) -> Iterator[str]:
    """What cannot be true of the queries, a clause each; what is summed up of them is derived elsewhere."""
    yield from _served(result)
    attacks = {attack.id: attack for attack in result.attacks}
    told = any(sample.spent for sample in result.samples)  # older results do not tell
    for sample in result.samples:
        for fault in _sample(result, sample, attacks) if told else ():
            yield f"sample {sample.index} ({sample.id}) {fault}"
    for attack in result.attacks if told else ():
        spent = spent_by(result.samples, attack.id)
        if (total := sum(entry.queries for entry in spent.values())) != attack.queries:
            yield f"the attack {attack.id} spent {attack.queries} queries, and its samples tell of {total}"
        if len(spent) > attack.attempted:
            yield f"the attack {attack.id} was tried on {attack.attempted} samples, and asked queries of {len(spent)}"


def _served(result: Result) -> Iterator[str]:
    served = result.threat_model.served
    rejects = result.detector is not None or (served is not None and served.reject_below is not None)
    for sample in result.samples:
        if sample.rejected and (not rejects or sample.clean_prediction is None):
            yield f"sample {sample.index} ({sample.id}) is rejected, and nothing rejects it"
    if served is None:
        return
    if (served.rate is None) != (served.per_second is None):
        yield "threat_model.served.per_second does not follow from its rate"
    elif served.rate is not None and served.per_second is not None:
        try:
            same = math.isclose(parse_query_rate(served.rate), served.per_second, rel_tol=1e-9)
        except UsageError:
            same = False
        if not same:
            yield f"threat_model.served.rate is {served.rate!r:.40}, and per_second {served.per_second:g}"


def _sample(result: Result, sample: Sample, attacks: Mapping[str, Attack]) -> Iterator[str]:
    names = [spent.attack for spent in sample.spent]
    if names != [id for id in attacks if id in set(names)]:
        yield "was asked by attacks that the audit does not have, or twice"
        return
    if sample.spent and not (sample.counted and sample.correct):
        yield "was attacked, and was not answered correctly or does not count"
    if (total := sum(spent.queries for spent in sample.spent)) != sample.queries:
        yield f"cost {sample.queries} queries, and its attacks tell of {total}"
    served = result.threat_model.served
    free = served is not None and served.duplicates == "free"
    for spent in sample.spent:
        if attacks[spent.attack].status not in RAN or _impossible(spent, free=free):
            yield f"was asked by {spent.attack} what cannot be: its counts of queries contradict each other"


def _impossible(spent: Spent, *, free: bool) -> bool:
    """Whether counts contradict each other; repeats that are free are no part of the queries."""
    parts = [spent.bad, spent.watched, *([] if free else [spent.repeated])]
    flags = (spent.flagged > 0, spent.first_flagged is not None, spent.burst > 0)
    return (
        max(parts) > spent.queries
        or not spent.burst <= spent.flagged <= spent.watched
        or len(set(flags)) > 1
        or (spent.first_flagged or 0) > spent.watched
    )
