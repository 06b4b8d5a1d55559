"""Every figure of a result that follows from its samples: an audit is built, and a stored result checked, by this.

The facts are the samples, what an attack was tried on and spent, and the checks. Whatever else a result counts is made
of them here, in one pure function, so that a figure which does not follow from its samples cannot be told as one.
"""

from __future__ import annotations

import math
import statistics
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence

from robaudit.audit.result.curves import build_curve
from robaudit.audit.result.document import (
    Access,
    Attack,
    Certified,
    Chances,
    Curve,
    Masking,
    Pairs,
    Radius,
    Result,
    Sample,
    Secrecy,
    Survival,
    Threat,
    ThreatOutcome,
    Transfer,
)
from robaudit.audit.result.masking import for_the_reaction
from robaudit.audit.result.queried import queried
from robaudit.audit.result.secrecy import build_secrecy, for_secrecy, for_the_curve
from robaudit.audit.result.transfer import derive_transfer
from robaudit.stats.chances import TRIES, mean_survival
from robaudit.stats.looks import rate_at_share
from robaudit.stats.rates import Rate, rate, weighted_rate
from robaudit.threat.arrays import TOLERANCE

__all__ = [
    "RAN",
    "balls",
    "derived",
    "fallen",
    "fooled_by",
    "nearest_of",
    "of_every",
    "smallest_in",
    "with_curve",
]

RAN = ("done", "partial", "failed")
"""Statuses of attacks that began."""


def balls(threat: Threat) -> tuple[Threat | Radius, ...]:
    """The threat model's balls, one a norm."""
    return threat, *threat.also


def of_every(threat: Threat) -> bool:
    """Whether each sample is to be made to answer several classes, each sought by itself."""
    return threat.goal.partition(":")[0].strip() == "every"


def with_curve(result: Result) -> bool:
    """Whether the audit was to search every sample's smallest distance."""
    return bool(result.curves) or result.profile.resolved.get("curve") is not None


def fallen(result: Result, norm: str) -> dict[int, str]:
    """The first attack that broke each sample in a norm, by index."""
    if result.threat_model.also:
        return {s.index: b.attack for s in result.samples for b in s.breaches if b.norm == norm}
    return {s.index: s.broken_by for s in result.samples if s.broken_by is not None}


def fooled_by(result: Result) -> dict[str, frozenset[int]]:
    """The audited samples that each fitted attack fooled, and each of the matrix, those that fell before among them, by
    its id."""
    cells = () if result.transfer is None else [cell for matrix in result.transfer.matrices for cell in matrix.cells]
    return {one.attack: frozenset(one.fooled) for one in (*result.fits, *cells)}


def nearest_of(sample: Sample, attacks: Mapping[str, Attack]) -> Iterator[tuple[Attack, float]]:
    """Each attack that found an adversarial example of a sample, with its distance where that is known.

    A distance within the ball is told as such, whatever rounding of the search's float type it bears.
    """
    if sample.nearest:
        told = [(entry.attack, entry.distance) for entry in sample.nearest]
    elif sample.breaches:
        told = [(b.attack, b.distance) for b in sample.breaches if b.distance is not None]
    else:
        told = [(sample.broken_by, sample.distance)] if sample.broken_by and sample.distance is not None else []
    for name, distance in told:
        attack = attacks.get(name)
        if attack is not None:
            yield attack, distance if sample.nearest else min(distance, attack.eps + TOLERANCE)


def smallest_in(result: Result, norm: str) -> list[float]:
    """Of an audit with a curve, the smallest distance in a norm of each sample answered correctly; infinite where
    nothing was found at any."""
    mine = {attack.id for attack in result.attacks if attack.norm == norm}
    first = norm == result.threat_model.norm
    found = []
    for sample in result.samples:
        if sample.counted and sample.correct:
            own = [entry.distance for entry in sample.nearest if entry.attack in mine]
            own += [sample.smallest_distance] if first and sample.smallest_distance is not None else []
            found.append(min(own, default=math.inf))
    return found


def derived(draft: Result) -> Result:
    """The result with all figures that follow from its samples, whatever it held in their places; pure.

    Clean accuracy, the worst case, what each attack broke and left standing, the threat models, each sample's smallest
    distance, the curves, the price of secrecy. Gates and verdict are not among them; ``verdict/conclusion.py`` adds
    these.
    """
    draft = draft.model_copy(update={"samples": tuple(_sample(draft, sample) for sample in draft.samples)})
    share = draft.sequential.share if draft.sequential is not None else 1.0
    figures = _Figures(draft, share)
    known = [sample for sample in draft.samples if sample.counted or sample.left_out is not None]
    stability = draft.worst_case.metric == "stability"
    found = weighted_rate([1 + sample.copies for sample in known], [sample.correct for sample in known])
    clean = None if stability else rate_at_share(found, share)
    worst = {
        "upper_bound_observed": figures.rate(sum(sample.stands for sample in draft.samples), figures.counted),
        "pairs": _pairs(*figures.cases()) if of_every(draft.threat_model) else None,
    }
    return draft.model_copy(
        update={
            "certified": None if draft.certified is None else figures.certified(draft.certified),
            "clean": draft.clean.model_copy(
                update={"accuracy": clean, "rejected": sum(sample.rejected for sample in known)}
            ),
            "worst_case": draft.worst_case.model_copy(update=worst),
            "attacks": tuple(figures.attacks()),
            "threats": tuple(figures.threats()),
            "curves": tuple(figures.curves()),
            "secrecy": tuple(figures.secrecy()),
            "chances": _chances(draft.samples),
            "masking": None if draft.masking is None else figures.masking(draft.masking),
            "transfer": None if draft.transfer is None else figures.transfer(draft.transfer),
        }
    )


def _sample(draft: Result, sample: Sample) -> Sample:
    """A sample with its smallest distance in the first norm, where a curve was searched."""
    attacks = {attack.id: attack for attack in draft.attacks}
    own = [(d, a.id) for a, d in nearest_of(sample, attacks) if a.norm == draft.threat_model.norm]
    distance, by = min(own, key=lambda entry: entry[0]) if own and with_curve(draft) else (None, None)
    return sample.model_copy(update={"smallest_distance": distance, "smallest_by": by})


class _Figures:
    """The figures of a result whose samples are known."""

    def __init__(self, draft: Result, share: float) -> None:
        self.draft = draft
        self.share = share
        self.counted = sum(sample.counted for sample in draft.samples)
        self.attacked = [sample for sample in draft.samples if sample.counted and sample.correct]
        self.by_id = {attack.id: attack for attack in draft.attacks}
        self.found: dict[str, dict[int, float]] = {attack.id: {} for attack in draft.attacks}
        for sample in self.attacked:
            for attack, distance in nearest_of(sample, self.by_id):
                self.found[attack.id][sample.index] = distance
            for price in sample.prices:
                if price.attack in self.found:
                    self.found[price.attack].setdefault(sample.index, price.distance)
        self.fooled = fooled_by(draft)
        self.fell = {ball.norm: fallen(draft, ball.norm) for ball in balls(draft.threat_model)}

    def rate(self, k: int, n: int) -> Rate:
        """A rate at the share of the error that its audit may spend."""
        return rate_at_share(rate(k, n), self.share)

    def cases(self) -> tuple[int, int]:
        """Pairs of sample and class that were sought, and those that were reached."""
        return sum(len(s.targets) for s in self.attacked), sum(len(s.reached) for s in self.attacked)

    def attacks(self) -> Iterator[Attack]:
        """Each attack with what it broke, and what it left standing in its norm."""
        left = dict.fromkeys(self.fell, len(self.attacked))
        every = of_every(self.draft.threat_model)
        sought = self.cases()[0] if every else len(self.attacked)
        first = {norm: Counter(by.values()) for norm, by in self.fell.items()}
        for attack in self.draft.attacks:
            newly = first.get(attack.norm, Counter())[attack.id]
            left[attack.norm] = left.get(attack.norm, len(self.attacked)) - newly
            within = [d for d in self.found[attack.id].values() if d <= attack.eps + TOLERANCE]
            broken = len(within) if every or for_the_curve(attack) or for_secrecy(attack) else newly
            if attack.id in self.fooled:
                broken = len(self.fooled[attack.id])
            tried = attack.pairs.tried if every and attack.pairs is not None else attack.attempted
            saw_all = attack.status == "done" and tried == sought
            if for_the_curve(attack):  # the bisection's attack saw all, each at radii of its own
                saw_all = saw_all and attack.rate_alone is not None
            pairs = attack.pairs
            yield attack.model_copy(
                update={
                    "broken": broken,
                    "newly_broken": newly,
                    "cumulative_robust_accuracy": self.rate(left[attack.norm], self.counted)
                    if attack.status in RAN
                    else None,
                    "rate_alone": self.rate(len(self.attacked) - broken, self.counted) if saw_all else None,
                    "pairs": _pairs(pairs.tried, pairs.reached) if pairs is not None else None,
                    "median_distance": statistics.median(within) if within else None,
                    "queried": queried(self.attacked, attack, self._broken_by(attack)),
                }
            )

    def _broken_by(self, attack: Attack) -> frozenset[int]:
        """Samples that an attack broke, those that had fallen before among them where it ran on these."""
        if attack.id in self.fooled:
            return self.fooled[attack.id]
        return frozenset(i for i, d in self.found[attack.id].items() if d <= attack.eps + TOLERANCE)

    def threats(self) -> Iterator[ThreatOutcome]:
        """Each of several threat models by itself; nothing where there is one alone."""
        threat = self.draft.threat_model
        for ball in balls(threat) if threat.also else ():
            fell = self.fell[ball.norm]
            elsewhere = {index for norm, by in self.fell.items() if norm != ball.norm for index in by}
            sizes = [b.distance for s in self.draft.samples for b in s.breaches if b.norm == ball.norm]
            known = [size for size in sizes if size is not None]
            yield ThreatOutcome(
                norm=ball.norm,
                eps=ball.eps,
                eps_text=ball.eps_text,
                attacks=tuple(attack.id for attack in self.draft.attacks if attack.norm == ball.norm),
                broken=len(fell),
                broken_here_alone=len(fell.keys() - elsewhere),
                upper_bound_observed=self.rate(len(self.attacked) - len(fell), self.counted),
                median_distance=statistics.median(known) if known else None,
            )

    def curves(self) -> Iterator[Curve]:
        """The curve of each threat model that attacks were planned against, if asked for."""
        for ball in balls(self.draft.threat_model) if with_curve(self.draft) else ():
            mine = [attack.id for attack in self.draft.attacks if attack.norm == ball.norm]
            if mine:
                nearest = self._nearest(mine)
                sizes = {index: size for index, (size, _) in nearest.items()}
                first = {by for _, by in nearest.values()}
                keys = [id for id in mine if id in first]
                yield build_curve(ball.norm, ball.eps, sizes, len(self.attacked), self.counted, keys, self.share)

    def secrecy(self) -> Iterator[Secrecy]:
        """Accuracy against queries in each norm in which an access has a cascade of its own."""
        for ball in balls(self.draft.threat_model):
            costs: dict[Access, dict[int, int]] = {}
            for sample in self.attacked:
                for price in sample.prices:
                    attack = self.by_id.get(price.attack)
                    if attack is not None and attack.norm == ball.norm:
                        costs.setdefault(attack.access, {})[sample.index] = price.queries
            standing, attacks = len(self.attacked) - len(self.fell[ball.norm]), self.draft.attacks
            found = build_secrecy(ball.norm, attacks, costs, standing, len(self.attacked), self.counted, self.share)
            if found is not None:
                yield found

    def transfer(self, section: Transfer) -> Transfer:
        """The matrix of surrogates and attacks with its rates."""
        return derive_transfer(section, self.by_id, len(self.attacked), self.rate)

    def masking(self, section: Masking) -> Masking:
        """What stood before a reaction to masked gradients, what each of its attacks broke, and what stands."""
        first = Counter(s.broken_by for s in self.attacked if s.broken_by is not None)
        broken = {a.id: first[a.id] for a in self.draft.attacks if for_the_reaction(a) and a.status in RAN}
        left = sum(sample.stands for sample in self.attacked)
        return section.model_copy(update={"stood": left + sum(broken.values()), "left": left, "attacks": broken})

    def certified(self, section: Certified) -> Certified:
        """What certifiers proved, and the samples that are both proved and broken."""
        found = {entry.id: [sum(s.proved(entry.id) for s in self.attacked), 0] for entry in section.certificates}
        for sample in self.attacked:
            for entry in sample.certified:
                if entry.by in found:
                    found[entry.by][1] += 1
        certificates = tuple(
            entry.model_copy(update={"proved": found[entry.id][0], "tried": found[entry.id][1]})
            for entry in section.certificates
        )
        proved = {
            norm: {s.index for s in self.attacked for e in certificates if e.norm == norm and s.proved(e.id)}
            for norm in self.fell
        }
        every = set.intersection(*proved.values())
        both = {index for norm, fell in self.fell.items() for index in fell.keys() & proved[norm]}
        rate = self.rate(len(every), self.counted)
        return section.model_copy(
            update={"certificates": certificates, "lower_bound": rate, "contradicted": tuple(sorted(both))}
        )

    def _nearest(self, ids: Sequence[str]) -> dict[int, tuple[float, str]]:
        """The smallest distance of each sample, and the first attack of several that found it."""
        found: dict[int, tuple[float, str]] = {}
        for id in ids:
            for index, distance in self.found[id].items():
                if index not in found or distance < found[index][0]:
                    found[index] = distance, id
        return found


def _chances(samples: Sequence[Sample]) -> Chances | None:
    """The mean chance to survive, over the samples of a random model; None where none was asked so."""
    found = [sample.draws for sample in samples if sample.counted and sample.draws is not None]
    if not found:
        return None
    lost = sum(sample.counted and sample.draws is None for sample in samples)  # those without an answer
    return Chances(
        draws=max(drawn.asked for drawn in found),
        samples=len(found),
        survival=tuple(
            Survival(
                tries=tries,
                clean=mean_survival([(d.wrong, d.asked) for d in found], lost, tries),
                attacked=mean_survival([(d.fooled, d.asked) for d in found], lost, tries),
            )
            for tries in TRIES
        ),
    )


def _pairs(tried: int, reached: int) -> Pairs:
    return Pairs(tried=tried, reached=reached, share=reached / tried if tried else None)
