"""From what each sample cost at each access to curves of accuracy against queries."""

from __future__ import annotations

import bisect
import math
from collections.abc import Iterator, Mapping, Sequence

from robaudit.audit.result.curves import median_with_interval
from robaudit.audit.result.masking import for_the_reaction
from robaudit.audit.result.sections.base import ACCESSES, Access, Norm
from robaudit.audit.result.sections.findings import Attack
from robaudit.audit.result.sections.secrecy import AccessCurve, QueryPoint, Secrecy
from robaudit.audit.result.transfer import for_the_matrix
from robaudit.stats.looks import at_share, rate_at_share
from robaudit.stats.rates import CONFIDENCE, rate

__all__ = ["RISING", "build_secrecy", "cascades_of", "for_secrecy", "for_the_curve", "query_grid", "reach_of"]

RISING: tuple[Access, ...] = tuple(a for a in ("transfer", "labels", "scores", "white-box") if a in ACCESSES)
"""From the attacker who has the least to the one who has the most."""
APART: tuple[Access, ...] = RISING[:-1]
"""Accesses with cascades of their own."""
RAN = ("done", "partial", "failed")


def for_the_curve(attack: Attack) -> bool:
    """Whether an attack ran on every sample, whatever fell before: one of the curve's."""
    return "curve/" in f"/{attack.id}"


def for_secrecy(attack: Attack) -> bool:
    """Whether an attack ran in the cascade of its access alone, for the price of secrecy."""
    return f"/{attack.access}/" in f"/{attack.id}" and attack.access in APART


def cascades_of(attacks: Sequence[Attack], norm: str) -> dict[Access, tuple[Attack, ...]]:
    """The attacks along which the queries of each access are counted in a norm, by rising access.

    They are those that ran for it alone; or the audit's own cascade, where all of it that applies asks for scores or
    labels alone.
    """
    mine = [attack for attack in attacks if attack.norm == norm and attack.status != "skipped"]
    found = {access: tuple(a for a in mine if for_secrecy(a) and a.access == access) for access in APART}
    apart = (for_secrecy, for_the_curve, for_the_matrix, for_the_reaction)
    main = tuple(attack for attack in mine if not any(is_apart(attack) for is_apart in apart))
    accesses = {attack.access for attack in main}
    own: Access = "scores" if "scores" in accesses else "labels"
    if accesses and accesses <= {"scores", "labels"} and not found[own]:
        found[own] = main
    return {access: cascade for access, cascade in found.items() if cascade}


def reach_of(access: Access, attacks: Sequence[Attack]) -> int | None:
    """Most queries of a cascade for a sample; None: unknown. With transfer: candidates that fail before the last."""
    budgets = [attack.query_budget for attack in attacks]
    if not budgets or any(budget is None for budget in budgets):
        return None
    whole = sum(budget for budget in budgets if budget is not None)
    return max(0, whole - 1) if access == "transfer" else whole


def query_grid(most: int) -> Iterator[int]:
    """0, 1, 2, 5, 10, 20, 50, ... below ``most``, and that."""
    yield 0
    power = 1
    while power < most:
        yield from (power * unit for unit in (1, 2, 5) if power * unit < most)
        power *= 10
    yield most


def build_secrecy(
    norm: Norm,
    attacks: Sequence[Attack],
    costs: Mapping[Access, Mapping[int, int]],
    standing: int,
    correct: int,
    n: int,
    share: float = 1.0,
) -> Secrecy | None:
    """The curves of a norm; None where no access has a cascade of its own that began.

    Args:
        norm: of the threat model.
        attacks: of the audit.
        costs: queries until each sample fell, by access and sample, of those answered correctly.
        standing: samples answered correctly that no attack of the norm broke.
        correct: samples answered correctly.
        n: samples in all; those answered wrongly stand at no number of queries.
        share: of their error that the intervals spend, less than 1 at the looks of a sequential audit.
    """
    curves: list[AccessCurve] = []
    least: dict[int, int] = {}
    reach, complete = 0, True
    for access, own in cascades_of(attacks, norm).items():
        end = reach_of(access, own)
        if end is None or not any(attack.status in RAN for attack in own):
            continue
        for sample, queries in costs.get(access, {}).items():
            least[sample] = min(queries, least.get(sample, queries))
        reach = max(reach, end)
        complete = complete and all(attack.status == "done" for attack in own)
        facts = {"access": access, "attacks": tuple(a.id for a in own), "main": not for_secrecy(own[0])}
        figures = _figures(sorted(least.values()), reach, correct, n, share)
        curves.append(AccessCurve.model_validate({**facts, "complete": complete, "queries": reach, **figures}))
    if not curves:
        return None
    white = [a for a in attacks if a.norm == norm and a.access == "white-box" and a.status in RAN]
    if white:
        done = complete and all(attack.status in ("done", "skipped") for attack in attacks if attack.norm == norm)
        curves.append(
            AccessCurve(
                access="white-box",
                attacks=tuple(attack.id for attack in white),
                main=True,
                complete=done,
                queries=None,
                points=(_point(0, standing, n, share),),
                broken=correct - standing,
                unbroken=standing,
            )
        )
    return Secrecy(norm=norm, confidence=CONFIDENCE, curves=tuple(curves))


def _figures(ordered: Sequence[int], reach: int, correct: int, n: int, share: float) -> dict[str, object]:
    """What follows from the queries until each sample fell, by rising number."""
    standing = correct - len(ordered)
    middle, low, high = median_with_interval([*ordered, *[math.inf] * standing], at_share(CONFIDENCE, share))
    places = sorted({*query_grid(reach), *ordered})
    return {
        "points": tuple(_point(q, correct - bisect.bisect_right(ordered, q), n, share) for q in places),
        "broken": len(ordered),
        "unbroken": standing,
        "median_queries": middle,
        "median_low": low,
        "median_high": high,
        "mean_queries": (sum(ordered) + standing * reach) / correct if correct else None,
    }


def _point(queries: int, stands: int, n: int, share: float) -> QueryPoint:
    found = rate_at_share(rate(stands, n), share)
    return QueryPoint(queries=queries, k=found.k, n=n, estimate=found.estimate, low=found.low, high=found.high)
