"""What a result says of each threat model of an audit, of their union, and of the curves."""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping

from robaudit.audit import result as model
from robaudit.audit.curve import build_curve
from robaudit.audit.distances import smallest_distances
from robaudit.audit.journal import Journal
from robaudit.audit.profile import Profile
from robaudit.audit.tally import Tally
from robaudit.audit.threats import single_threats
from robaudit.engine.units import UnitResult, sample_of
from robaudit.stats import rate

__all__ = ["breaches_of", "build_curves", "build_outcomes", "nearest_of"]


def build_curves(profile: Profile, tally: Tally, journal: Journal, share: float = 1.0) -> tuple[model.Curve, ...]:
    """The curve of each threat model, if asked for; its intervals spend a share of their error."""
    found = []
    for part in single_threats(profile) if profile.curve is not None else ():
        front = tally.fronts.get(part.threat.norm)
        if front is not None:
            nearest = _of_samples(smallest_distances(journal, frozenset(front.attacks), part.threat.radius))
            sizes = {sample: size for sample, (size, _) in nearest.items()}
            keys = [key for key in front.attacks if any(by == key for _, by in nearest.values())]
            threat = part.threat
            curve = build_curve(threat.norm, threat.radius, sizes, tally.whole, tally.audited, keys, share)
            found.append(curve)
    return tuple(found)


def nearest_of(profile: Profile, tally: Tally, journal: Journal) -> Mapping[int, tuple[float, str]]:
    """Smallest verified distance by sample in the first norm, and the attack, if a curve was asked for."""
    front = tally.fronts.get(profile.threat.norm)
    if profile.curve is None or front is None:
        return {}
    return _of_samples(smallest_distances(journal, frozenset(front.attacks), profile.threat.radius))


def _of_samples(distances: Mapping[int, tuple[float, str]]) -> dict[int, tuple[float, str]]:
    """Of several cases of a sample the nearest."""
    nearest: dict[int, tuple[float, str]] = {}
    for case, found in distances.items():
        if found[0] < nearest.get(sample_of(case), (math.inf, ""))[0]:
            nearest[sample_of(case)] = found
    return nearest


def build_outcomes(profile: Profile, tally: Tally) -> tuple[model.ThreatOutcome, ...]:
    """What became of each of several threat models; nothing where there is one alone."""
    parts = single_threats(profile)
    if len(parts) == 1:
        return ()
    found = []
    for part in parts:
        norm = part.threat.norm
        front = tally.fronts.get(norm)
        broken = front.broken_by if front is not None else {}
        others = {sample for name, other in tally.fronts.items() if name != norm for sample in other.broken_by}
        distances = [d for d in (_winner(tally, key, i).distance for i, key in broken.items()) if d is not None]
        found.append(
            model.ThreatOutcome(
                norm=norm,
                eps=part.threat.radius,
                eps_text=part.threat.eps,
                attacks=tuple(front.attacks) if front is not None else (),
                broken=len(broken),
                broken_here_alone=len(broken.keys() - others),
                upper_bound_observed=rate(tally.whole - len(broken), tally.audited),
                median_distance=statistics.median(distances) if distances else None,
            )
        )
    return tuple(found)


def breaches_of(profile: Profile, tally: Tally, sample: int) -> tuple[model.SampleBreach, ...]:
    """Each norm that broke a sample, of several threat models."""
    found = []
    for part in single_threats(profile) if profile.threat.also else ():
        front = tally.fronts.get(part.threat.norm)
        if front is not None and sample in front.broken_by:
            winner = _winner(tally, front.broken_by[sample], sample)
            found.append(
                model.SampleBreach(
                    norm=part.threat.norm,
                    attack=front.broken_by[sample],
                    distance=winner.distance,
                    prediction=winner.prediction,
                )
            )
    return tuple(found)


def _winner(tally: Tally, key: str, sample: int) -> UnitResult:
    return tally.best[key][sample]
