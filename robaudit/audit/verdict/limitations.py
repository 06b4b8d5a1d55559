"""What an audit does not say: threats that were not tried, and assumptions that its figures rest on."""

from __future__ import annotations

import inspect
import math
from collections.abc import Iterator

from robaudit.audit.process.sandbox import NOT_OFFERED
from robaudit.audit.result.derive import balls
from robaudit.audit.result.document import Result
from robaudit.audit.result.sections.base import ACCESSES
from robaudit.audit.result.sections.target import training_words
from robaudit.audit.verdict.phrases import NORM_SIGNS
from robaudit.checks.registry import own_checks
from robaudit.plural import part_of
from robaudit.threat.arrays import widest

__all__ = ["boundless", "limitations"]

FAMILIES = ("spatial", "patch", "universal")
"""Perturbations other than one for each sample, within its ball."""


def limitations(draft: Result) -> tuple[str, ...]:
    """What the figures of an audit do not cover, a sentence each; it follows from the rest of the result."""
    return tuple(
        sentence
        for part in (_attacks, _certificates, _radii_and_goal, _answers, _assumptions, _surroundings, _own_settings)
        for sentence in part(draft)
    )


def _attacks(draft: Result) -> Iterator[str]:
    """What was not tried."""
    threat = draft.threat_model
    tried = {ball.norm for ball in balls(threat)}
    others = [sign for name, sign in NORM_SIGNS.items() if name not in tried]
    yield (
        "what stands is an upper bound: an attack that was not tried can only break more of it; the interval covers "
        "sampling alone"
    )
    yield (
        "not tested: "
        + (f"other norms ({', '.join(others)}), " if others else "")
        + f"{_families(draft)}, "
        + ("changes of what was to stay as it is, " if threat.sets else "")
        + "and changes outside the domain's box"
    )
    ran = {attack.access for attack in draft.attacks if attack.ran}
    missing = [access for access in ACCESSES if access not in ran]
    if missing:
        yield f"no attack ran with this access: {', '.join(missing)}"


def _certificates(draft: Result) -> Iterator[str]:
    if draft.certified is not None:
        yield (
            "what is certified is a lower bound, proved of the operators of the file's graph as robaudit reads them "
            "(the check parity compares them with the file): a sample that is not certified may stand all the same"
        )


def _radii_and_goal(draft: Result) -> Iterator[str]:
    if whole := boundless(draft):
        signs = ", ".join(NORM_SIGNS[norm] for norm in whole)
        yield (
            f"the radius in {signs} reaches every valid input: there a sample stands only if the model never answers "
            "otherwise; choose one that suits this input"
        )
    if draft.threat_model.goal != "untargeted":
        yield (
            "targeted: a sample counts as broken only where the class asked for is answered; an attacker to whom any "
            "wrong answer is good breaks at least as many"
        )


def _answers(draft: Result) -> Iterator[str]:
    """What the model answers to unperturbed samples."""
    drawn = [sample for sample in draft.samples if sample.counted]
    if silent := sum(sample.clean_prediction is None for sample in drawn):
        yield (
            f"{part_of(silent, len(drawn), 'sample', 'drawn has/drawn have')} no answer, as the input cannot be used "
            "(unreadable, or out of its range) or the output names no class (errors say which): each counts as not "
            "answered correctly, and none was attacked"
        )
    if draft.detector is not None and not draft.detector.differentiable:
        yield (
            f"the suspicion of the detector {draft.detector.id} has no gradient, so that no attack lowered it step by "
            "step: a stronger attack may get past it"
        )
    if draft.data.reference == "model":
        yield "stability mode: the model's own clean answers are the reference; no accuracy is claimed"
    if draft.target.training:
        yield training_words(draft.target.training)
    if draft.target.fresh_state:
        yield (
            "what the model keeps between calls was undone before each (--fresh-state): the figures are those of its "
            "first answer after loading, and a deployment that goes on calling it is another model"
        )


def _assumptions(draft: Result) -> Iterator[str]:
    """How output, input and classes are read."""
    if draft.target.reading.disputed is not None:
        yield draft.target.reading.disputed
    yield from draft.target.assumed
    if (order := draft.data.class_order) is not None and order.endswith("assumed"):
        names = "sorted labels" if order.startswith("sorted") else "order of the columns"
        yield (
            f"that class numbers follow the {names} is assumed (give --classes): where the outputs are in another "
            "order, the figures are wrong"
        )


def _surroundings(draft: Result) -> Iterator[str]:
    """How the audit ran, and when it stopped."""
    if draft.environment.details.get("sandbox") == NOT_OFFERED:
        yield (
            "this system offers no sandbox: beyond answering, the file could write files and use the network while it "
            "was loaded and run"
        )
    if (sequential := draft.sequential) is not None:
        yield (
            f"sequential audit ({sequential.reason}): every interval spends {sequential.share:.1%} of its error, the "
            "share of the look at which it ended, so that it holds although the data decided when to stop; the tests "
            "inside of checks are at the number of samples that it came to"
        )


def _own_settings(draft: Result) -> Iterator[str]:
    """Checks of ours that the profile gave other settings than they have by themselves."""
    checks = draft.profile.resolved.get("checks")
    for name, given in checks.items() if isinstance(checks, dict) else ():
        if name not in own_checks() or not isinstance(given, dict):
            continue
        usual = {field: p.default for field, p in inspect.signature(own_checks()[name]).parameters.items()}
        changed = [
            f"{field} {given[field]}, not {usual[field]}"
            for field in usual
            if given.get(field, usual[field]) != usual[field]
        ]
        if changed:
            yield f"the profile set what the check {name} judges by: {'; '.join(changed)}"


def boundless(draft: Result) -> list[str]:
    """The norms whose ball holds every valid input: there a radius asks only if the model ever answers otherwise."""
    if draft.threat_model.sets:  # what may change is chosen there, and a radius that reaches all of it is no mistake
        return []
    spec = draft.target.input
    still = sum(feature.immutable or feature.low == feature.high for feature in spec.features)
    free = math.prod(size if isinstance(size, int) and size else 1 for size in spec.shape[1:]) - still
    return [ball.norm for ball in balls(draft.threat_model) if ball.eps >= widest(ball.norm, free)]


def _families(draft: Result) -> str:
    """The families of perturbations that no attack tested, and norms in which it was not."""
    attacks = {attack.id: attack for attack in draft.attacks}
    norms = {family: set[str]() for family in FAMILIES}
    for fit in draft.fits:
        attack = attacks.get(fit.attack)
        if attack is not None and attack.status == "done" and fit.family in norms:
            norms[fit.family].add(attack.norm)
    untested = [family for family, tested in norms.items() if not tested]
    *most, last = untested or ["other"]
    found = f"{', '.join(most)} and {last} perturbations" if most else f"{last} perturbations"
    for family, tested in norms.items():
        missing = [NORM_SIGNS[ball.norm] for ball in balls(draft.threat_model) if ball.norm not in tested]
        if tested and missing:
            found += f", {family} ones in {', '.join(missing)}"
    return found
