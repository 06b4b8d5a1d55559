"""Whether what a result says of the price of secrecy can be true: what samples cost, beside the attacks."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from robaudit.audit.result.derive import balls, fallen, of_every
from robaudit.audit.result.document import Access, Attack, Norm, Price, Result, Sample
from robaudit.audit.result.secrecy import RISING, cascades_of, for_secrecy, reach_of
from robaudit.audit.stored.consistent_samples import within_ball

__all__ = ["left_of_access", "price_faults"]


def left_of_access(result: Result) -> dict[str, int]:
    """Samples that each attack of an access's own cascade was left, by its id."""
    attacked = sum(sample.counted and sample.correct for sample in result.samples)
    found: dict[str, int] = {}
    for ball in balls(result.threat_model):
        for own in cascades_of(result.attacks, ball.norm).values():
            left = attacked
            for attack in own if for_secrecy(own[0]) else ():
                found[attack.id] = left
                left -= attack.broken
    return found


@dataclass(frozen=True)
class _Cascade:
    """An access in a norm: its attacks up to one of them, and ``place`` in the order in which prices stand."""

    place: tuple[int, int]
    until: tuple[Attack, ...]

    @property
    def access(self) -> Access:
        return self.until[-1].access

    @property
    def norm(self) -> Norm:
        return self.until[-1].norm


def price_faults(result: Result) -> Iterator[str]:
    """Facts of the samples' prices that cannot be true, a clause each."""
    norms = [ball.norm for ball in balls(result.threat_model)]
    known: dict[str, _Cascade] = {}
    for place, norm in enumerate(norms):
        for access, own in cascades_of(result.attacks, norm).items():
            for until, attack in enumerate(own, 1):
                known[attack.id] = _Cascade((place, RISING.index(access)), own[:until])
    fell = {norm: fallen(result, norm) for norm in norms}
    every = of_every(result.threat_model)
    for sample in result.samples:
        for fault in _of_sample(sample, known, fell, every=every):
            yield f"sample {sample.index} ({sample.id}) {fault}"


def _of_sample(
    sample: Sample, known: Mapping[str, _Cascade], fell: Mapping[Norm, Mapping[int, str]], *, every: bool
) -> Iterator[str]:
    """What cannot be true of a sample's prices.

    Args:
        sample: looked at.
        known: each attack's cascade, by its id.
        fell: the first attack that broke each sample, by norm.
        every: several classes are sought, so that the cheapest need not be the first that was reached.
    """
    if strange := [price.attack for price in sample.prices if price.attack not in known]:
        yield f"has a price of {strange[0]}, which is in no cascade of one access"
        return
    places = [known[price.attack].place for price in sample.prices]
    if places != sorted(set(places)):
        yield "has prices that are not in the order of norms and accesses, or two of one"
    if sample.prices and not (sample.counted and sample.correct):
        yield "has a price, and was not answered correctly or does not count"
    spent = sum(price.queries + (known[price.attack].access == "transfer") for price in sample.prices)
    if spent > sample.queries:
        yield f"cost {spent} queries, and {sample.queries} were spent on it"
    for price in sample.prices:
        yield from _of_price(price, known[price.attack], fell[known[price.attack].norm].get(sample.index), every=every)
    told = {price.attack for price in sample.prices}
    for by in (found[sample.index] for found in fell.values() if sample.index in found):
        # results from before prices were told know no budgets either
        if by in known and by not in told and known[by].until[-1].query_budget is not None and not every:
            yield f"is broken by {by}, and has no price of it"


def _of_price(price: Price, cascade: _Cascade, broken_by: str | None, *, every: bool) -> Iterator[str]:
    attack = cascade.until[-1]
    most = reach_of(cascade.access, cascade.until)
    if most is not None and price.queries > most:
        yield f"fell to {price.attack} after {price.queries} queries, which may spend {most}"
    if not within_ball(price.distance, attack.eps):
        yield f"has a price of {price.attack} at the distance {price.distance}, outside of {attack.eps:g}"
    if broken_by is None:
        yield f"has a price of {price.attack}, and is not broken in {attack.norm}"
    elif not for_secrecy(attack) and broken_by != price.attack and not every:
        yield f"has a price of {price.attack}, and is broken by {broken_by} before"
