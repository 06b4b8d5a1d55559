"""Profile -> plan: each attack of the cascade, ready to run or with the reason why it cannot."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from pydantic import TypeAdapter

from robaudit.attacks.base import SlotAttack
from robaudit.attacks.fitted import FittedSearch
from robaudit.attacks.names import canonical, numbered
from robaudit.attacks.registry import make_composed
from robaudit.attacks.requests import TRUE, How
from robaudit.audit.config.goals import parse_goal
from robaudit.audit.config.profile import AttackSpec, Profile
from robaudit.audit.config.specs import most_access
from robaudit.audit.journal.records.attacks import Phase, PlannedEntry, Status
from robaudit.audit.result.sections.base import Attacker
from robaudit.engine.job import Job
from robaudit.engine.units import Unit
from robaudit.plural import counted
from robaudit.threat.model import Access, Goal, ThreatModel
from robaudit.threat.norms import Norm
from robaudit.threat.service import Service

__all__ = [
    "Planned",
    "TargetTraits",
    "needs_surrogate",
    "plan_attacks",
    "threat_model",
]


BEYOND: dict[str, tuple[Access, ...]] = {
    "white-box": (),
    "scores": (Access.WHITE_BOX,),
    "labels": (Access.WHITE_BOX, Access.SCORES),
}
"""What an attacker lacks who has no more than that."""
ACCESS_NAMES = {"white-box": "the file", "scores": "scores", "labels": "labels"}


@dataclass(frozen=True)
class Planned:
    """An attack of the cascade.

    Args:
        key: its id; a second one with the same id is ``id#2``.
        attack: the update rule with its parameters.
        status: ``ready``, or why it will not run: ``skipped`` (does not apply), ``unavailable``, or ``failed`` before.
        reason: one sentence where it is not ready.
        how: its gradients are taken: through the transforms that its name ends with, and averaged.
        if_broke: key of an earlier attack, without a success of which it does not run; None: it runs.
        pilot: of the standing samples those that it tries before the others; None: all.
    """

    key: str
    attack: SlotAttack[Any]
    status: Status = "ready"
    reason: str | None = None
    how: How = TRUE
    if_broke: str | None = None
    pilot: int | None = None

    def renamed(self, prefix: str) -> Planned:
        """The same with keys that begin with a prefix."""
        after = None if self.if_broke is None else prefix + self.if_broke
        return replace(self, key=prefix + self.key, if_broke=after)

    @property
    def parameters(self) -> dict[str, Any]:
        """Resolved parameters; those of a transform under its id."""
        how = self.how
        values = _dumped(self.attack) | {transform.id: _dumped(transform) for transform in how.through}
        values |= {} if how.copies == 1 else {"eot": how.copies}
        values |= {"surrogates": list(how.members)} if how.members else {}
        values |= {} if how.smooth is None else {"smooth": {"width": how.smooth.width, "pool": how.smooth.pool}}
        values |= {} if self.if_broke is None else {"if_broke": self.if_broke}
        values |= {} if self.pilot is None else {"pilot": self.pilot}
        return values if how.fusion == "logits" else values | {"fusion": how.fusion}

    def job(self, threat: ThreatModel, units: tuple[Unit, ...]) -> Job:
        """What an executor is to run."""
        return Job(self.attack, threat, units, self.key, self.how)

    def entry(self, norm: str, phase: Phase) -> PlannedEntry:
        """What a report says of it before it runs, in the norm of its threat model."""
        name = (type(self.attack).__doc__ or self.attack.id).strip().splitlines()[0].rstrip(".")
        through = ", then ".join(transform.id for transform in self.how.through)
        return PlannedEntry(
            id=self.key,
            name=name
            + (f"; gradients through {through}" if through else "")
            + ("; gradients by a smooth backward" if self.how.smooth is not None else ""),
            access=self.attack.access.value,
            status=self.status,
            reason=self.reason,
            parameters=self.parameters,
            norm=norm,
            phase=phase,
        )


def _dumped(parameters: Any) -> dict[str, Any]:
    values: dict[str, Any] = TypeAdapter(type(parameters)).dump_python(parameters, mode="json")
    return values


def threat_model(profile: Profile) -> ThreatModel:
    """The profile's threat model."""
    threat = profile.threat
    goal = Goal.TARGETED if parse_goal(threat.goal).targeted else Goal.UNTARGETED
    return ThreatModel(Norm(threat.norm), threat.radius, goal, threat.queries)


def service_of(profile: Profile) -> Service:
    """What an outsider gets of the target's answers."""
    threat = profile.threat
    answers = threat.answers
    return Service(
        answers.top, answers.decimals, answers.noise, answers.reject_below, free_repeats=threat.duplicates == "free"
    )


def _all(norms: Iterable[str]) -> str:
    *most, last = sorted(str(norm) for norm in norms)
    return f"{', '.join(most)} and {last}" if most else last


def _too_few(attack: SlotAttack[Any], others: Callable[[int], Sequence[int]] | None) -> str | None:
    """Why there is too little to fit an attack on, or None."""
    if not isinstance(attack, FittedSearch) or others is None:
        return None
    found = len(others(attack.fit_samples))
    if found >= attack.fit_needs:
        return None
    return (
        f"it fits on at least {counted(attack.fit_needs, 'sample')} apart from the audited ones, and the data "
        f"{'hold' if found else 'hold none'}{f' {found}' if found else ''} (give more data, or audit fewer: --samples)"
    )


@dataclass(frozen=True)
class TargetTraits:
    """What decides which attacks can run on a target.

    Args:
        classes: number of classes.
        shape: of one sample.
        no_gradient: why the target has none, or None.
        files: names of all surrogates that are given as files.
        surrogates: names of those that can be used, and of those that can be made.
        misfits: why others cannot; ``unmade``: why those cannot be made that are no gap in the audit.
        no_scores: why the target's scores cannot be asked for, or None.
        pupil: the target's own network, to be trained anew, or raises :class:`UsageError`; None: it is not known.
        others: at most so many samples beside the audited ones; None: it is not known which there are.
        unsmooth: why its gradient cannot be taken by a smooth backward, or None.
        detector: whether one stands beside it; None: it is not known.
    """

    classes: int
    shape: tuple[int, ...]
    no_gradient: str | None = None
    files: tuple[str, ...] = ()
    surrogates: tuple[str, ...] = ()
    misfits: Sequence[str] = ()
    unmade: Sequence[str] = ()
    no_scores: str | None = None
    pupil: Callable[[], Any] | None = None
    others: Callable[[int], Sequence[int]] | None = None
    unsmooth: str | None = None
    detector: bool | None = None

    def most(self, allowed: Attacker) -> Attacker:
        """The most that an attacker to whom so much is allowed has of the target."""
        return most_access(allowed, gradient=self.no_gradient is None, scores=self.no_scores is None)


def plan_attacks(profile: Profile, target: TargetTraits) -> list[Planned]:
    """The cascade, in the profile's order, without the attacks for attackers who have more of the target, or less.

    Args:
        profile: names the attacks.
        target: what they run on.

    Raises:
        UsageError: as :func:`validate_attacks`.
    """
    plan: list[Planned] = []
    most = target.most(profile.threat.access)
    suited = [spec for spec in profile.attacks if spec.when in (None, most)]
    for key, spec in zip(numbered(canonical(spec.id) for spec in suited), suited, strict=True):
        attack, how = make_composed(spec.id, spec.parameters(profile.threat.norm), spec.eot)
        status, reason = _status(profile, spec, attack, how, target)
        if needs_surrogate(attack):
            how = replace(how, members=_members(spec, target), fusion=spec.fusion)
        runs = any(one.key == spec.if_broke and one.status == "ready" for one in plan)
        plan.append(Planned(key, attack, status, reason, how, spec.if_broke if runs else None, spec.pilot))
    return plan


def _status(
    profile: Profile, spec: AttackSpec, attack: SlotAttack[Any], how: How, target: TargetTraits
) -> tuple[Status, str | None]:
    """Whether an attack of the profile will run, and why not."""
    threat = threat_model(profile)
    if threat.norm not in attack.norms:
        return "skipped", f"it searches in {_all(attack.norms)}, the threat model is {threat.norm}"
    if spec.norms and threat.norm not in spec.norms:
        return "skipped", f"the profile runs it in {_all(spec.norms)} alone, the threat model is {threat.norm}"
    if spec.goals and threat.goal not in spec.goals:
        return "skipped", f"the profile runs it in {_all(spec.goals)} audits alone"
    if threat.goal not in attack.goals:
        return "skipped", f"it has no {threat.goal} form"
    if (why := _unsuited(attack, how, target) or _beyond(profile, spec, attack, target)) is not None:
        return "skipped", why
    if (why := attack.no_room(target.shape, threat.eps)) is not None:
        return "skipped", why
    if attack.joint and target.detector is False:
        return "skipped", "there is no detector to get past (--detector)"
    if attack.access is Access.WHITE_BOX and target.no_gradient is not None:
        return "unavailable", target.no_gradient
    if attack.access is Access.SCORES and target.no_scores is not None:
        return "unavailable", target.no_scores
    named = [name for name in target.surrogates if name in (spec.surrogates or target.surrogates)]
    if needs_surrogate(attack) and not named:
        if target.misfits:
            return "unavailable", target.misfits[0]
        none = "no surrogate was given (--surrogate FILE) or is made (--make-surrogate RECIPE)"
        return "skipped", next(iter(target.unmade), none)
    if needs_surrogate(attack) and len(named) < attack.least_surrogates:
        return "skipped", f"it needs {attack.least_surrogates} surrogates, and there is {named[0]} alone"
    if (why := _too_few(attack, target.others)) is not None:
        return "unavailable", why
    return "ready", None


def needs_surrogate(attack: SlotAttack[Any]) -> bool:
    """Whether an attack takes gradients of surrogates."""
    return attack.prior or attack.access is Access.TRANSFER


def _members(spec: AttackSpec, target: TargetTraits) -> tuple[str, ...]:
    """The surrogates that an attack is made on, in the order in which they were named; none: all that there are."""
    if not spec.surrogates and set(target.surrogates) <= set(target.files):
        return ()
    return tuple(name for name in target.surrogates if name in spec.surrogates or not spec.surrogates)


def _beyond(profile: Profile, spec: AttackSpec, attack: SlotAttack[Any], target: TargetTraits) -> str | None:
    """Why the attack needs more than the attacker has; None: it does not.

    Where the profile chooses by what the target gives, scores that it does not give are no gap in the audit.
    """
    allowed = profile.threat.access
    if attack.access in BEYOND[allowed]:
        needed, has = ACCESS_NAMES[attack.access], ACCESS_NAMES[allowed]
        return f"it needs {needed}, and the threat model's attacker has {has} alone"
    if spec.when is not None and attack.access is Access.SCORES:
        return target.no_scores
    return None


def _unsuited(attack: SlotAttack[Any], how: How, target: TargetTraits) -> str | None:
    """Why the attack, or what its gradients are to go through, does not apply; None: it does."""
    through = (transform.unsuited(target.shape) for transform in how.through)
    reasons = [attack.unsuited(target.classes, target.shape), *through]
    if how.smooth is not None and target.no_gradient is None and target.unsmooth is not None:
        reasons.append(f"there is no smooth backward: {target.unsmooth}")
    return next((reason for reason in reasons if reason is not None), None)
