"""What runs against one threat model: its cascade, and what else was asked for, a curve or the price of secrecy."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from operator import methodcaller
from typing import Any

from robaudit.attacks.base import Stop
from robaudit.attacks.fitted import FittedSearch
from robaudit.attacks.names import parts
from robaudit.attacks.registry import attack_classes
from robaudit.audit.config.profile import AttackSpec, Profile
from robaudit.audit.config.threats import single_threats
from robaudit.audit.journal.records.attacks import PlannedEntry
from robaudit.audit.plan.attack_names import validate_attack
from robaudit.audit.plan.attacks import Planned, TargetTraits, plan_attacks, threat_model
from robaudit.audit.plan.matrix import plan_matrix
from robaudit.audit.plan.reaction import plan_reaction, reacting
from robaudit.audit.plan.secrecy import AccessPlan, plan_secrecy
from robaudit.audit.plan.surrogates import PlannedSurrogate, plan_surrogates
from robaudit.errors import UsageError
from robaudit.threat.model import ThreatModel

__all__ = ["CURVE", "Front", "plan_fronts", "validate_curve"]

CURVE = "curve/"
"""Begins the keys of attacks that run for the curve."""

MINIMAL = {
    "linf": ("deepfool", "fmn"),
    "l2": ("deepfool", "ddn", "fmn"),
    "l1": ("fmn",),
    "l0": ("sigma-zero", "fmn"),
}
"""Minimal-norm attacks of a curve whose profile names none."""
BLIND = {"linf": ("hopskipjump",), "l2": ("hopskipjump",)}
"""The same where the target has no gradient; in other norms the cascade alone makes the curve."""
STEPS = 60
QUERIES = 300
"""Of the bisection's attack at each radius: apgd-ce, or square where the target has no gradient."""


@dataclass(frozen=True)
class Front:
    """A threat model with all that runs against it.

    Args:
        profile: with this threat model alone.
        threat: the same for the engine, without what the data fixes.
        plan: the cascade.
        minimal: attacks that seek smallest distances, on every sample.
        search: attack of the bisection, or None.
        secrecy: a cascade of its own for each access, on every sample.
        matrix: attacks made on each surrogate alone, on every sample.
        reaction: attacks on what stands where checks tell that gradients are masked.
        reacts: whether they did.
    """

    profile: Profile
    threat: ThreatModel
    plan: list[Planned]
    minimal: list[Planned]
    search: Planned | None
    secrecy: list[AccessPlan]
    matrix: list[Planned]
    reaction: list[Planned]
    reacts: bool = False

    @property
    def rounds(self) -> int:
        """Most radii of the bisection."""
        return self.profile.curve.rounds if self.profile.curve is not None else 0

    def times(self, planned: Planned) -> int:
        """How often an attack runs on a sample at most."""
        return self.rounds if planned is self.search else 1

    def attacks(self) -> list[Planned]:
        """All attacks in order."""
        apart = [planned for own in self.secrecy for planned in own.plan]
        further = self.reaction if self.reacts else []
        return [*self.plan, *self.minimal, *([self.search] if self.search else []), *apart, *self.matrix, *further]

    def threat_of(self, planned: Planned) -> ThreatModel:
        """The threat model as an attack has it: for the price of secrecy with its share of the queries."""
        own = next((own for own in self.secrecy if any(planned is other for other in own.plan)), None)
        return self.threat if own is None else own.threat(self.threat)

    def renewed(self, change: Callable[[Planned], Planned]) -> Front:
        """The same with each attack changed."""
        search = None if self.search is None else change(self.search)
        secrecy = [own.renewed(change) for own in self.secrecy]
        plan, minimal = list(map(change, self.plan)), list(map(change, self.minimal))
        matrix, reaction = list(map(change, self.matrix)), list(map(change, self.reaction))
        return replace(
            self, plan=plan, minimal=minimal, search=search, secrecy=secrecy, matrix=matrix, reaction=reaction
        )

    def entries(self) -> list[PlannedEntry]:
        """What a report says of the attacks before they run, in order."""
        norm = str(self.threat.norm)
        found = [p.entry(norm, "fitted" if isinstance(p.attack, FittedSearch) else "cascade") for p in self.plan]
        found += [p.entry(norm, "curve") for p in self.minimal]
        found += [] if self.search is None else [self.search.entry(norm, "bisection")]
        found += [p.entry(norm, "secrecy") for own in self.secrecy for p in own.plan]
        found += [p.entry(norm, "matrix") for p in self.matrix]
        return found + [p.entry(norm, "cascade") for p in (self.reaction if self.reacts else [])]


def plan_fronts(profile: Profile, target: TargetTraits) -> list[Front]:
    """All fronts of a profile on a target.

    With several threat models the keys begin with the norm, and attacks that do not serve a norm are left out of its
    plan, unless none does.
    """
    whole, target = target, with_made(profile, target)
    parts = single_threats(profile)
    if len(parts) == 1:
        return [_plan_front(profile, target, whole)]
    fronts = []
    for part in parts:
        front = _plan_front(part, target, whole)
        prefix = f"{part.threat.norm}/"
        serving = [p for p in front.plan if front.threat.norm in p.attack.norms]
        front = replace(front, plan=serving or front.plan)
        fronts.append(front.renewed(methodcaller("renamed", prefix)))
    return fronts


def with_made(profile: Profile, target: TargetTraits) -> TargetTraits:
    """A target with the surrogates that the profile has made, or why they cannot be."""
    planned = plan_surrogates(profile, target)
    return replace(
        target,
        surrogates=(*target.surrogates, *(one.name for one in planned if one.problem is None)),
        misfits=(*target.misfits, *(_unmade(one) for one in planned if one.problem and not one.optional)),
        unmade=tuple(_unmade(one) for one in planned if one.problem and one.optional),
    )


def _unmade(planned: PlannedSurrogate) -> str:
    return f"the surrogate {planned.name} cannot be made: {planned.problem}"


def _plan_front(profile: Profile, target: TargetTraits, whole: TargetTraits) -> Front:
    """``target``: with the surrogates that the profile has made; ``whole``: without."""
    plan = plan_attacks(profile, target)
    minimal: list[Planned] = []
    search = None
    if profile.curve is not None:
        named, bisection = _curve_attacks(profile, blind=target.no_gradient is not None)

        def planned(specs: tuple[AttackSpec, ...]) -> list[Planned]:
            part = profile.model_copy(update={"attacks": specs})
            return [p.renamed(CURVE) for p in plan_attacks(part, target)]

        minimal = planned(named)
        if bisection is not None and profile.curve.rounds:
            [search] = planned((bisection,))
            if any(search.key == p.key for p in minimal):
                search = replace(search, key=f"{search.key}#2")
    secrecy, matrix = plan_secrecy(profile, target, plan), plan_matrix(profile, target, profile.attacks)
    further = [] if profile.reaction is None else plan_reaction(profile, with_made(reacting(profile), whole))
    return Front(profile, threat_model(profile), plan, minimal, search, secrecy, matrix, further)


def _curve_attacks(profile: Profile, *, blind: bool) -> tuple[tuple[AttackSpec, ...], AttackSpec | None]:
    """The minimal-norm attacks and the bisection's attack, None where the norm has none of fixed radius."""
    curve, norm = profile.curve, profile.threat.norm
    assert curve is not None
    names = BLIND.get(norm, ()) if blind else MINIMAL[norm]
    minimal = curve.attacks or tuple(AttackSpec(id=name) for name in names)
    if curve.search is not None or norm == "l0":
        return minimal, curve.search
    settings: dict[str, Any] = {"id": "square", "queries": QUERIES} if blind else {"id": "apgd-ce", "steps": STEPS}
    return minimal, AttackSpec.model_validate(settings)


def validate_curve(profile: Profile) -> None:
    """Check the attacks of a curve.

    Raises:
        UsageError: an unknown one, a bad parameter, or one that cannot play its part.
    """
    if profile.curve is None:
        return
    specs: list[tuple[AttackSpec, tuple[str | int, ...]]] = [
        (spec, ("curve", "attacks", place)) for place, spec in enumerate(profile.curve.attacks)
    ]
    if profile.curve.search is not None:
        specs.append((profile.curve.search, ("curve", "search")))
    for spec, location in specs:
        for part in single_threats(profile):
            validate_attack(profile, spec, part.threat.norm, *location)
        runs_on = attack_classes()[parts(spec.id)[0]].stop is Stop.RUN_ON
        if location[1] == "attacks" and not runs_on:
            raise UsageError(f"{profile.where(*location)}{spec.id} has a fixed radius and seeks no smallest distance")
        if location[1] == "search" and runs_on:
            raise UsageError(f"{profile.where(*location)}{spec.id} has no fixed radius, which the bisection needs")
        if location[1] == "search" and issubclass(attack_classes()[parts(spec.id)[0]], FittedSearch):
            raise UsageError(
                f"{profile.where(*location)}{spec.id} is fitted at one radius, and the bisection tries many"
            )
