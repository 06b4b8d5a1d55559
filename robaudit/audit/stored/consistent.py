"""What a result says twice must agree: its samples with each other, with the attacks, the evidence and the baseline."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Mapping
from datetime import date
from typing import Any

from robaudit.attacks.names import numbered
from robaudit.audit.config.metrics import parse_metric
from robaudit.audit.config.specs import most_access, parse_eps
from robaudit.audit.result.derive import RAN, balls, fallen, fooled_by, of_every, with_curve
from robaudit.audit.result.document import Attack, Attacker, Radius, Result, Threat
from robaudit.audit.result.masking import for_the_reaction
from robaudit.audit.result.secrecy import for_secrecy, for_the_curve
from robaudit.audit.result.transfer import for_the_matrix
from robaudit.audit.stored.consistent_certified import certificate_faults
from robaudit.audit.stored.consistent_pairs import comparison_faults
from robaudit.audit.stored.consistent_queries import query_faults
from robaudit.audit.stored.consistent_samples import sample_faults
from robaudit.audit.stored.consistent_secrecy import left_of_access, price_faults
from robaudit.audit.stored.sets import set_faults
from robaudit.errors import UsageError
from robaudit.stats.looks import design
from robaudit.threat.arrays import TOLERANCE

__all__ = ["contradictions"]


def contradictions(result: Result) -> Iterator[str]:
    """Facts of a result that cannot all be true, a clause each."""
    yield from _identities(result)
    yield from _threat(result)
    yield from query_faults(result)
    yield from _attacks(result)
    yield from _fits(result)
    attacks = {attack.id: attack for attack in result.attacks}
    for sample in result.samples:
        for fault in sample_faults(result, sample, attacks):
            yield f"sample {sample.index} ({sample.id}) {fault}"
    yield from price_faults(result)
    yield from _tried(result)
    yield from _evidence(result)
    yield from _sequential(result)
    yield from certificate_faults(result)
    if result.comparison is not None:
        yield from comparison_faults(result, result.comparison)


def _identities(result: Result) -> Iterator[str]:
    named: dict[str, list[object]] = {
        "attacks": [attack.id for attack in result.attacks],
        "checks": [check.id for check in result.checks],
        "samples' positions": [sample.index for sample in result.samples],
        "samples": [sample.id for sample in result.samples],
    }
    for what, names in named.items():
        twice = [name for name, count in Counter(names).items() if count > 1]
        if twice:
            yield f"two of its {what} are called {twice[0]}"
    if result.data.drawn != len(result.samples):
        yield f"data.drawn is {result.data.drawn}, and it holds {len(result.samples)} samples"
    if (copies := sum(sample.copies for sample in result.samples)) > result.data.repeats:
        yield f"data.repeats is {result.data.repeats}, and its samples have {copies} copies"
    if result.data.drawn + result.data.repeats > result.data.count:
        yield (
            f"data.drawn is {result.data.drawn} and data.repeats {result.data.repeats}, of {result.data.count} samples "
            "in all"
        )
    if result.data.contradictions > result.data.repeats:
        yield f"data.contradictions is {result.data.contradictions}, and data.repeats {result.data.repeats}"
    if result.run.budget_spent and result.run.time_budget is None:
        yield "run.budget_spent is true, and run.time_budget null"
    if (judged := result.verdict.judged) is not None and not _is_day(judged):
        yield f"verdict.judged is {judged!r:.40}, which is no day"
    if result.data.count < result.data.drawn:
        yield f"data.drawn is {result.data.drawn} of {result.data.count}"
    if (result.data.reference == "model") != (result.worst_case.metric == "stability"):
        yield f"worst_case.metric is {result.worst_case.metric}, and the reference is {result.data.reference}"
    resolved = result.profile.resolved
    if result.attacks and not result.threat_model.also and isinstance(listed := resolved.get("attacks"), list):
        suited = [entry for entry in listed if isinstance(entry, dict) and entry.get("when") in (None, _most(result))]
        wanted = numbered(str(entry.get("id")) for entry in suited)
        found = [attack.id for attack in result.attacks if not _apart(attack)]
        if wanted != found:
            yield f"its attacks are {', '.join(found)}, and its profile's {', '.join(wanted)}"
    if isinstance(checks := resolved.get("checks"), dict) and list(checks) != [check.id for check in result.checks]:
        yield f"its checks are not those of its profile ({', '.join(checks)})"


def _apart(attack: Attack) -> bool:
    """Whether it is not of the cascade."""
    return for_the_curve(attack) or for_secrecy(attack) or for_the_matrix(attack) or for_the_reaction(attack)


def _most(result: Result) -> Attacker:
    """The most that the attacker had of the model."""
    target, allowed = result.target, result.threat_model.attacker
    return most_access(allowed, gradient=target.gradient.available, scores=target.head != "labels")


def _is_day(text: str) -> bool:
    try:
        date.fromisoformat(text)
    except ValueError:
        return False
    return True


def _threat(result: Result) -> Iterator[str]:
    threat = result.threat_model
    if threat.tolerance != TOLERANCE:
        yield f"threat_model.tolerance is {threat.tolerance:g}, and distances are judged with {TOLERANCE:g}"
    yield from set_faults(threat.sets)
    norms = [ball.norm for ball in balls(threat)]
    if len(set(norms)) < len(norms):
        yield "two of its balls are of one norm"
    for ball in balls(threat):
        try:
            eps = parse_eps(ball.eps_text, ball.norm)
        except UsageError as error:
            yield f"threat_model.eps_text: {error}"
        else:
            if not math.isclose(eps, ball.eps, rel_tol=1e-9):
                yield f"threat_model.eps_text is {ball.eps_text}, and eps is {ball.eps:g}"
    ran = {attack.access for attack in result.attacks if attack.status in RAN}
    if set(threat.access) != ran:
        yield f"threat_model.access is {', '.join(threat.access) or 'none'}, and its attacks had {_listed(ran)}"


def _listed(names: set[Any]) -> str:
    return ", ".join(sorted(names)) or "none"


def _attacks(result: Result) -> Iterator[str]:
    radii: Mapping[str, Threat | Radius] = {ball.norm: ball for ball in balls(result.threat_model)}
    targeted = result.threat_model.goal != "untargeted"
    for attack in result.attacks:
        ball = radii.get(attack.norm)
        if ball is None or not math.isclose(ball.eps, attack.eps, rel_tol=1e-9):
            yield f"the attack {attack.id} is of {attack.norm} {attack.eps:g}, which is no ball of its threat model"
        if (attack.goal == "targeted") != targeted:
            yield f"the attack {attack.id} is {attack.goal}, and the goal is {result.threat_model.goal}"
        if attack.seed != result.run.seed:
            yield f"the attack {attack.id} has the seed {attack.seed}, and the run {result.run.seed}"
        if (attack.pairs is not None) != of_every(result.threat_model):
            yield f"the attack {attack.id} counts pairs, or does not, against its goal"
        if attack.pairs is not None and attack.pairs.reached > attack.pairs.tried:
            yield f"the attack {attack.id} reached {attack.pairs.reached} of {attack.pairs.tried} pairs"
        spent = attack.attempted, attack.queries, attack.forwards, attack.backwards, attack.judge_queries
        if attack.status not in RAN and any(spent):
            yield f"the attack {attack.id} is {attack.status}, and was tried on {attack.attempted} samples"
        if attack.status == "failed" and not any(error.attack == attack.id for error in result.errors):
            yield f"the attack {attack.id} failed, and errors do not tell why"


def _tried(result: Result) -> Iterator[str]:
    """What the attacks were tried on, against what the ones before them left."""
    attacked = sum(sample.counted and sample.correct for sample in result.samples)
    fell = {ball.norm: fallen(result, ball.norm) for ball in balls(result.threat_model)}
    left = dict.fromkeys(fell, attacked)
    every, fits, apart = of_every(result.threat_model), fooled_by(result), left_of_access(result)
    for attack in result.attacks:
        by = fell.get(attack.norm, {})
        newly = sum(name == attack.id for name in by.values())
        anew = for_the_curve(attack) or attack.id in fits or every
        most = attacked if anew else apart.get(attack.id, left.get(attack.norm, attacked))
        pilot = attack.parameters.get("pilot")
        least = min(pilot, most) if isinstance(pilot, int) else most
        whole = attack.status == "done" and not for_the_curve(attack) and not every
        if attack.attempted > most or (whole and attack.attempted < least) or attack.broken > attack.attempted:
            yield (
                f"the attack {attack.id} broke {attack.broken} of {attack.attempted} samples, and the ones before it "
                f"left {most}"
            )
        left[attack.norm] = left.get(attack.norm, attacked) - newly
    spent = sum(sample.queries for sample in result.samples)
    if (told := sum(attack.queries for attack in result.attacks)) != spent:
        yield f"its attacks spent {told} queries, and its samples {spent}"


def _fits(result: Result) -> Iterator[str]:
    """What was fitted, against the attacks and the samples."""
    attacks = {attack.id: attack for attack in result.attacks}
    attacked = {sample.index for sample in result.samples if sample.counted and sample.correct}
    if len({fit.attack for fit in result.fits}) < len(result.fits):
        yield "two of its fits are of one attack"
    for fit in result.fits:
        attack = attacks.get(fit.attack)
        if attack is None:
            yield f"it tells of a fit of {fit.attack}, which the audit does not have"
            continue
        if len(set(fit.fooled)) < len(fit.fooled) or not set(fit.fooled) <= attacked:
            yield f"{fit.attack} fooled samples that the audit does not have, or that were not answered correctly"
        missing = {i for i, by in fallen(result, attack.norm).items() if by == fit.attack} - set(fit.fooled)
        if missing:
            yield f"{fit.attack} broke the sample {min(missing)}, and its fit does not tell so"
        if fit.rounds > fit.of or (attack.status == "done" and fit.rounds != fit.of):
            yield f"the fit of {fit.attack} came to {fit.rounds} of {fit.of} rounds, and the attack is {attack.status}"
        standing = {s.index for s in result.samples if s.stands} & set(fit.fooled)
        if standing:
            yield f"the sample {min(standing)} stands, and {fit.attack} fooled it"


def _evidence(result: Result) -> Iterator[str]:
    kept = result.evidence
    if (kept.path is None) != (kept.sha256 is None) or (kept.path is None and kept.count + kept.nearest):
        yield "evidence has a path without a digest, or a digest or examples without a path"
    norms = {attack.id: attack.norm for attack in result.attacks}
    near = sum(len({norms.get(entry.attack) for entry in sample.nearest}) for sample in result.samples)
    near = near if with_curve(result) else 0
    if kept.nearest > near or (result.run.complete and kept.nearest != near):
        yield f"evidence.nearest is {kept.nearest}, and its samples tell of {near} nearest adversarial examples"
    if not result.run.complete:
        return  # an earlier session's evidence may be all there is
    broken = [sample for sample in result.samples if sample.broken_by is not None]
    least = sum(max(len(s.reached) if of_every(result.threat_model) else 1, len(s.breaches)) for s in broken)
    exact = not (of_every(result.threat_model) and result.threat_model.also)
    if kept.count < least or (exact and kept.count > least):
        yield f"evidence.count is {kept.count}, and its samples tell of {least} adversarial examples"


def _sequential(result: Result) -> Iterator[str]:
    found = result.sequential
    if found is None:
        return
    plan = design(max(found.most, 1))
    if found.samples != len(result.samples) or found.samples > found.most:
        yield f"sequential.samples is {found.samples} of {found.most}, and it holds {len(result.samples)} samples"
    looks = found.looks
    same = len(looks) <= len(plan.sizes)
    for look, size, share in zip(looks, plan.sizes, plan.shares, strict=False):
        # the data may turn out to hold no more distinct inputs, so that a look that was planned for more is the last
        early = look is looks[-1] and look.samples <= size and math.isclose(look.share, plan.shares[-1])
        same = same and (early or (look.samples == size and math.isclose(look.share, share)))
    spent = looks[-1].share if looks else plan.shares[0]
    if not same or found.planned != plan.sizes or not math.isclose(found.share, spent):
        yield f"sequential.share is {found.share:g}, or its looks are others than were planned for {found.most} samples"
    if looks:
        for gate in found.looks[-1].gates:
            if (gate.k, gate.n) != (counts := _counted(result, gate.metric)):
                yield f"the last look at {gate.metric} is {gate.k} of {gate.n}, and its samples give {counts}"


def _counted(result: Result, name: str) -> tuple[int, int]:
    """(k, n) of a gate that decides when to stop."""
    metric = parse_metric(name)
    if metric.name == "clean_accuracy":
        known = [sample for sample in result.samples if sample.counted or sample.left_out is not None]
        return sum(sample.correct for sample in known), len(known)
    counted = [sample for sample in result.samples if sample.counted]
    if metric.norm is None or not result.threat_model.also:
        return sum(sample.stands for sample in counted), len(counted)
    fell = fallen(result, metric.norm)
    return sum(sample.correct and sample.index not in fell for sample in counted), len(counted)
