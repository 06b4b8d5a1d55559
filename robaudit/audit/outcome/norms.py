"""What a result says of how each sample fell in each norm, and how near each attack came to it."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping

from robaudit.audit.config.goals import parse_goal
from robaudit.audit.config.profile import Profile
from robaudit.audit.config.threats import single_threats
from robaudit.audit.journal.distances import smallest_distances
from robaudit.audit.journal.journal import Journal
from robaudit.audit.journal.tally import Tally
from robaudit.audit.result import document as model
from robaudit.engine.units import sample_of
from robaudit.threat.arrays import TOLERANCE

__all__ = ["breaches_of", "nearest_of"]


def nearest_of(profile: Profile, tally: Tally, journal: Journal) -> Mapping[int, tuple[model.Nearest, ...]]:
    """By sample the smallest verified distance of each attack, where a curve or the goal ``every`` asks for it."""
    if profile.curve is None and parse_goal(profile.threat.goal).kind != "every":
        return {}
    found: dict[int, list[model.Nearest]] = {}
    for part in single_threats(profile):
        front = tally.fronts.get(part.threat.norm)
        for key in front.attacks if front is not None else ():
            for sample, distance in _of_samples(tally, journal, key, part.threat.radius):
                found.setdefault(sample, []).append(model.Nearest(attack=key, distance=distance))
    return {sample: tuple(entries) for sample, entries in found.items()}


def _of_samples(tally: Tally, journal: Journal, key: str, eps: float) -> Iterable[tuple[int, float]]:
    """Of several cases of a sample the nearest; of an attack of the cascade what broke it."""
    if key not in tally.searches:
        won = {sample: result.distance for sample, result in tally.best[key].items() if result.success}
        return [(sample, min(size, eps + TOLERANCE)) for sample, size in won.items() if size is not None]
    nearest: dict[int, float] = {}
    for case, (distance, _) in smallest_distances(journal, frozenset({key}), eps).items():
        sample = sample_of(case)
        nearest[sample] = min(distance, nearest.get(sample, math.inf))
    return nearest.items()


def breaches_of(profile: Profile, tally: Tally, sample: int) -> tuple[model.SampleBreach, ...]:
    """Each norm that broke a sample, of several threat models."""
    found = []
    for part in single_threats(profile) if profile.threat.also else ():
        front = tally.fronts.get(part.threat.norm)
        if front is not None and sample in front.broken_by:
            winner = tally.best[front.broken_by[sample]][sample]
            found.append(
                model.SampleBreach(
                    norm=part.threat.norm,
                    attack=front.broken_by[sample],
                    distance=winner.distance,
                    prediction=winner.prediction,
                )
            )
    return tuple(found)
