"""Profile -> plan: each attack of the cascade, ready to run or with the reason why it cannot."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from pydantic import TypeAdapter

from robaudit.attacks.base import SlotAttack
from robaudit.attacks.fitted import FittedAttack
from robaudit.attacks.names import canonical
from robaudit.attacks.registry import make_composed
from robaudit.attacks.requests import TRUE, How
from robaudit.audit.config.goals import parse_goal
from robaudit.audit.config.profile import AttackSpec, Profile
from robaudit.audit.journal.records.attacks import Phase, PlannedEntry, Status
from robaudit.engine.job import Job
from robaudit.engine.units import Unit
from robaudit.errors import UsageError
from robaudit.extensions import ParameterError
from robaudit.plural import counted
from robaudit.threat.model import Access, Goal, ThreatModel
from robaudit.threat.norms import Norm

__all__ = ["Planned", "plan_attacks", "threat_model", "validate_attack", "validate_attacks"]


@dataclass(frozen=True)
class Planned:
    """An attack of the cascade.

    Args:
        key: its id; a second one with the same id is ``id#2``.
        attack: the update rule with its parameters.
        status: ``ready``, or why it will not run: ``skipped`` (does not apply), ``unavailable``, or ``failed`` before.
        reason: one sentence where it is not ready.
        how: its gradients are taken: through the transforms that its name ends with, and averaged.
    """

    key: str
    attack: SlotAttack[Any]
    status: Status = "ready"
    reason: str | None = None
    how: How = TRUE

    @property
    def parameters(self) -> dict[str, Any]:
        """Resolved parameters; those of a transform under its id."""
        values = _dumped(self.attack) | {transform.id: _dumped(transform) for transform in self.how.through}
        return values if self.how.copies == 1 else values | {"eot": self.how.copies}

    def job(self, threat: ThreatModel, units: tuple[Unit, ...]) -> Job:
        """What an executor is to run."""
        return Job(self.attack, threat, units, self.key, self.how)

    def entry(self, norm: str, phase: Phase) -> PlannedEntry:
        """What a report says of it before it runs, in the norm of its threat model."""
        name = (type(self.attack).__doc__ or self.attack.id).strip().splitlines()[0].rstrip(".")
        through = ", then ".join(transform.id for transform in self.how.through)
        return PlannedEntry(
            id=self.key,
            name=name + (f"; gradients through {through}" if through else ""),
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


def validate_attacks(profile: Profile) -> None:
    """Check every attack's name and parameters.

    Raises:
        UsageError: unknown attack or parameter, or a value out of range: the file and line, and the key.
    """
    for place, spec in enumerate(profile.attacks):
        validate_attack(profile, spec, profile.threat.norm, "attacks", place)


def validate_attack(profile: Profile, spec: AttackSpec, norm: str, *location: str | int) -> None:
    """Check an attack's name and parameters, in the threat model's norm and in those that have parameters of their own.

    Args:
        profile: names it.
        spec: of the attack.
        norm: of the threat model.
        location: keys and places that lead to it in the profile.

    Raises:
        UsageError: as :func:`validate_attacks`.
    """
    for one in (norm, *spec.by_norm):
        try:
            make_composed(spec.id, spec.parameters(one))
        except ParameterError as error:
            own = any(name == one and error.parameter in values for name, values in spec.by_norm.items())
            keys = ("by_norm", one, *error.keys) if own else error.keys
            raise UsageError(f"{profile.where(*location, *keys)}{error}") from error
        except UsageError as error:
            raise UsageError(f"{profile.where(*location)}{error}") from error


def _all(norms: Iterable[str]) -> str:
    *most, last = sorted(str(norm) for norm in norms)
    return f"{', '.join(most)} and {last}" if most else last


def _too_few(attack: SlotAttack[Any], others: Callable[[int], Sequence[int]] | None) -> str | None:
    """Why there is too little to fit an attack on, or None."""
    if not isinstance(attack, FittedAttack) or others is None:
        return None
    found = len(others(attack.fit_samples))
    if found >= attack.fit_needs:
        return None
    return (
        f"it fits on at least {counted(attack.fit_needs, 'sample')} apart from the audited ones, and the data "
        f"{'hold' if found else 'hold none'}{f' {found}' if found else ''} (give more data, or audit fewer: --samples)"
    )


def plan_attacks(
    profile: Profile,
    *,
    classes: int,
    shape: tuple[int, ...],
    no_gradient: str | None,
    surrogates: int,
    misfits: Sequence[str] = (),
    no_scores: str | None = None,
    others: Callable[[int], Sequence[int]] | None = None,
) -> list[Planned]:
    """The cascade, in the profile's order.

    Args:
        profile: names the attacks.
        classes: number of classes of the target.
        shape: of one sample.
        no_gradient: why the target has none, or None.
        surrogates: number of surrogates that fit.
        misfits: why others do not.
        no_scores: why the target's scores cannot be asked for, or None.
        others: at most so many samples beside the audited ones; None: it is not known which there are.

    Raises:
        UsageError: as :func:`validate_attacks`.
    """
    threat = threat_model(profile)
    seen: Counter[str] = Counter()
    plan = []
    for spec in profile.attacks:
        attack, how = make_composed(spec.id, spec.parameters(profile.threat.norm), spec.eot)
        id = canonical(spec.id)
        seen[id] += 1
        key = id if seen[id] == 1 else f"{id}#{seen[id]}"
        status: Status = "ready"
        reason = None
        if threat.norm not in attack.norms:
            status, reason = "skipped", f"it searches in {_all(attack.norms)}, the threat model is {threat.norm}"
        elif spec.norms and threat.norm not in spec.norms:
            status = "skipped"
            reason = f"the profile runs it in {_all(spec.norms)} alone, the threat model is {threat.norm}"
        elif threat.goal not in attack.goals:
            status, reason = "skipped", f"it has no {threat.goal} form"
        elif (why := _unsuited(attack, how, classes, shape)) is not None:
            status, reason = "skipped", why
        elif attack.access is Access.WHITE_BOX and no_gradient is not None:
            status, reason = "unavailable", no_gradient
        elif attack.access is Access.SCORES and no_scores is not None:
            status, reason = "unavailable", no_scores
        elif attack.access is Access.TRANSFER and surrogates == 0 and misfits:
            status, reason = "unavailable", misfits[0]
        elif attack.access is Access.TRANSFER and surrogates == 0:
            status, reason = "skipped", "no surrogate was given (--surrogate FILE)"
        elif (why := _too_few(attack, others)) is not None:
            status, reason = "unavailable", why
        plan.append(Planned(key, attack, status, reason, how))
    return plan


def _unsuited(attack: SlotAttack[Any], how: How, classes: int, shape: tuple[int, ...]) -> str | None:
    """Why the attack, or what its gradients are to go through, does not apply; None: it does."""
    reasons = [attack.unsuited(classes, shape), *(transform.unsuited(shape) for transform in how.through)]
    return next((reason for reason in reasons if reason is not None), None)
