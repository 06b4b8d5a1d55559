"""Whether what a result says of each sample can be true, by itself and beside its attacks."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping

from robaudit.audit.result.derive import RAN, balls, fooled_by, of_every, with_curve
from robaudit.audit.result.document import Attack, Result, Sample
from robaudit.audit.result.secrecy import for_secrecy, for_the_curve
from robaudit.threat.arrays import TOLERANCE

__all__ = ["sample_faults", "within_ball"]

ROUNDING = 1e-6
"""Relative excess of a distance over its radius that the search's float type explains."""


def within_ball(distance: float | None, eps: float) -> bool:
    """Whether a success can lie at a distance, with what the search's float type and the judge allow for."""
    return distance is not None and 0 <= distance <= eps * (1 + ROUNDING) + TOLERANCE * (1 + ROUNDING)


def sample_faults(result: Result, sample: Sample, attacks: Mapping[str, Attack]) -> Iterator[str]:
    """What cannot be true of a sample, a clause each.

    Args:
        result: that holds it.
        sample: looked at.
        attacks: of the result, by id, in order.
    """
    classes = range(result.target.num_classes)
    answers = (sample.label, sample.clean_prediction, sample.adversarial_prediction, *sample.targets)
    if wrong := [answer for answer in answers if answer is not None and answer not in classes]:
        yield f"has the class {wrong[0]}, and the model {result.target.num_classes}"
    if sample.counted and sample.left_out is not None:
        yield "counts, and is left out"
    if not sample.counted and sample.left_out is None and sample.error is None:
        yield "does not count, and nothing says why"
    if sample.clean_prediction is None and sample.error is None:
        yield "has no answer, and nothing says why"
    if result.data.reference == "model" and sample.clean_prediction not in (None, sample.label):
        yield "has another reference than the model's own answer"
    if sample.draws is not None and max(sample.draws.wrong, sample.draws.fooled) > sample.draws.asked:
        yield "was fooled at more draws than were asked"
    yield from _fate(result, sample, attacks)
    if sample.nearest or (with_curve(result) and sample.broken_by is not None):
        yield from _nearest(result, sample, attacks)


def _fate(result: Result, sample: Sample, attacks: Mapping[str, Attack]) -> Iterator[str]:
    """How it was broken, if it was."""
    threat, label = result.threat_model, sample.label
    targeted = threat.goal != "untargeted"
    if not set(sample.reached) <= set(sample.targets) or label in sample.targets:
        yield "was made to answer a class that was not sought"
    if bool(sample.targets) and not targeted:
        yield "has a class to reach, and the goal is untargeted"
    if targeted and bool(sample.reached) != (sample.broken_by is not None):
        yield "is broken, or reached a class, but not both"
    if sample.broken_by is None:
        rest = sample.adversarial_prediction, sample.distance, sample.distance_8bit, sample.breaches or None
        if any(value is not None for value in rest):
            yield "is broken by nothing, and has an adversarial example"
        return
    if not (sample.counted and sample.correct):
        yield f"is broken by {sample.broken_by}, and was not answered correctly or does not count"
    first = sample.breaches[0] if sample.breaches else None
    told = (sample.broken_by, sample.distance, sample.adversarial_prediction)
    if threat.also and (first is None or told != (first.attack, first.distance, first.prediction)):
        yield "is broken by another attack than its first breach tells"
    if not threat.also and sample.breaches:
        yield "has breaches of several norms, and the audit is of one"
    norms = [ball.norm for ball in balls(threat)]
    if [n for n in norms if n in {b.norm for b in sample.breaches}] != [b.norm for b in sample.breaches]:
        yield "has breaches that are not in the order of the audit's norms"
    falls: list[tuple[str, str, float | None, int | None]]
    falls = [(b.attack, b.norm, b.distance, b.prediction) for b in sample.breaches]
    for name, norm, distance, answer in falls or [(sample.broken_by, threat.norm, told[1], told[2])]:
        attack = attacks.get(name)
        if attack is None or attack.norm != norm:
            yield f"is broken in {norm} by {name}, which the audit does not have"
        elif attack.status not in RAN:
            yield f"is broken by {name}, which was {attack.status}"
        elif not within_ball(distance, attack.eps):
            yield f"is broken by {name} at the distance {distance}, outside of {attack.eps:g}"
        if answer is None or answer == label or (targeted and answer not in sample.reached):
            yield f"is broken by {name} with the answer {answer}, which is no success"


def _nearest(result: Result, sample: Sample, attacks: Mapping[str, Attack]) -> Iterator[str]:
    """What each attack found of it, where that is told, against how it was broken."""
    every = of_every(result.threat_model)
    if not (with_curve(result) or every):
        yield "tells the nearest of each attack, and no curve was searched"
    names = [entry.attack for entry in sample.nearest]
    if names != [id for id in attacks if id in set(names)] or not (sample.counted and sample.correct):
        yield "tells the nearest of attacks that the audit does not have, or twice, or was not attacked"
        return
    within: dict[str, list[tuple[str, float]]] = {}
    for entry in sample.nearest:
        attack = attacks[entry.attack]
        if attack.status not in RAN or entry.distance < 0:
            yield f"has an adversarial example of {attack.id}, which was {attack.status}, at {entry.distance:g}"
        if entry.distance <= attack.eps + TOLERANCE:
            within.setdefault(attack.norm, []).append((attack.id, entry.distance))
        elif not for_the_curve(attack):
            yield f"has an adversarial example of {attack.id} outside of its ball"
    falls = {b.norm: (b.attack, b.distance) for b in sample.breaches}
    if not result.threat_model.also and sample.broken_by is not None:
        falls = {result.threat_model.norm: (sample.broken_by, sample.distance)}
    if falls.keys() != within.keys():
        yield "is broken in other norms than its nearest adversarial examples tell"
        return
    for norm, (name, distance) in falls.items():
        first, size = within[norm][0]
        if first != name or distance is None or not math.isclose(size, distance, rel_tol=ROUNDING, abs_tol=ROUNDING):
            yield f"is broken by {name} at {distance}, and its nearest adversarial examples tell {first} at {size:g}"
        fitted = fooled_by(result)
        apart = {id for id, _ in within[norm] if for_the_curve(attacks[id]) or for_secrecy(attacks[id])}
        alone = [id for id, _ in within[norm] if id not in apart and id not in fitted]
        if len(alone) > 1 and not every:
            yield f"fell to {alone[0]}, so that {alone[1]} was not tried on it"
