"""What each sample cost an attacker with one access: its queries, attack after attack, until it fell."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence

from robaudit.audit.journal.tally import Tally
from robaudit.audit.result.secrecy import cascades_of
from robaudit.audit.result.sections.findings import Attack
from robaudit.audit.result.sections.samples import Sample
from robaudit.audit.result.sections.secrecy import Price
from robaudit.engine.units import sample_of
from robaudit.threat.arrays import TOLERANCE

__all__ = ["prices_of", "with_prices"]


def prices_of(attacks: Sequence[Attack], tally: Tally) -> Mapping[int, tuple[Price, ...]]:
    """The prices of each sample that fell to a cascade of one access, by index.

    Of a sample with several goals the case that was reached for the fewest queries counts, as one is enough.

    Args:
        attacks: of the result, in order.
        tally: what they did.
    """
    found: dict[int, list[Price]] = defaultdict(list)
    for norm in dict.fromkeys(attack.norm for attack in attacks):
        for own in cascades_of(attacks, norm).values():
            for sample, price in _cheapest(own, tally).items():
                found[sample].append(price)
    return {sample: tuple(prices) for sample, prices in found.items()}


def with_prices(samples: Iterable[Sample], prices: Mapping[int, tuple[Price, ...]]) -> tuple[Sample, ...]:
    """Samples with their prices, which stand by index."""
    return tuple(sample.model_copy(update={"prices": prices.get(sample.index, ())}) for sample in samples)


def _cheapest(cascade: Iterable[Attack], tally: Tally) -> dict[int, Price]:
    """The price of each sample along one cascade."""
    spent: dict[int, int] = defaultdict(int)
    found: dict[int, Price] = {}
    for attack in cascade:
        for case, result in sorted(tally.results[attack.id].items()):
            spent[case] += result.queries
            if not result.success or result.distance is None:
                continue
            # the candidate that gets through is thrown blind: only those that failed before it were seen to
            queries = max(0, spent[case] - 1) if attack.access == "transfer" else spent[case]
            # the judge's radius is that of the search's float type: a rounding above eps
            distance = min(result.distance, attack.eps + TOLERANCE)
            price = Price(attack=attack.id, queries=queries, distance=distance)
            known = found.get(sample_of(case))
            if known is None or price.queries < known.queries:
                found[sample_of(case)] = price
    return found
