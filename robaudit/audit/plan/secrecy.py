"""What runs for the price of secrecy: a cascade of its own for each access that an attacker may have."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from robaudit.attacks.base import Budgeted
from robaudit.attacks.names import parts
from robaudit.attacks.registry import attack_classes, make_composed
from robaudit.audit.config.attack_specs import SecrecySpec
from robaudit.audit.config.profile import AttackSpec, Profile
from robaudit.audit.config.threats import single_threats
from robaudit.audit.plan.attack_names import validate_attack
from robaudit.audit.plan.attacks import Planned, TargetTraits, plan_attacks, threat_model
from robaudit.errors import UsageError
from robaudit.threat.model import Access, Goal, ThreatModel

__all__ = ["AccessPlan", "own_access", "plan_secrecy", "validate_secrecy"]

ACCESSES = (Access.TRANSFER, Access.LABELS, Access.SCORES)
"""From the least to the most."""
USUAL: dict[Access, dict[str, tuple[str, ...]]] = {
    Access.TRANSFER: dict.fromkeys(("linf", "l2"), ("transfer-mi-fgsm",)),
    Access.LABELS: {"linf": ("rays",), "l2": ("surfree", "cgba"), "l0": ("pointwise",)},
    Access.SCORES: {"linf": ("square",), "l2": ("square",), "l1": ("square",), "l0": ("sparse-rs",)},
}
"""Attacks of each access where the profile names none, by norm; where there are none we know of none.

They are those of the profile ``labels``, and the first of ``transfer`` and ``blackbox``: a second one by scores, for
what the first leaves, would take half of its queries.
"""
PARAMETERS: dict[str, dict[str, Any]] = {"square": {"p_init": None}}
"""With what they run beside their budget, as in these profiles."""
TARGETED = {"rays": "hopskipjump"}
"""What stands in for those that have no targeted form."""


@dataclass(frozen=True)
class AccessPlan:
    """The cascade of one access.

    Args:
        access: of its attacks.
        plan: attacks in order.
        share: most queries of each for a sample; None: as the attack says, which is one where candidates are thrown.
    """

    access: Access
    plan: list[Planned]
    share: int | None

    def threat(self, threat: ThreatModel) -> ThreatModel:
        """The threat model with what each attack may spend."""
        return threat if self.share is None else replace(threat, queries=self.share)

    def renewed(self, change: Callable[[Planned], Planned]) -> AccessPlan:
        """The same with each attack changed."""
        return replace(self, plan=list(map(change, self.plan)))


def own_access(plan: Sequence[Planned]) -> Access | None:
    """The access that a cascade shows the curve of, as all its attacks that apply ask for scores or labels alone."""
    found = {planned.attack.access for planned in plan if planned.status != "skipped"}
    if not found or not found <= {Access.SCORES, Access.LABELS}:
        return None
    return Access.SCORES if Access.SCORES in found else Access.LABELS


def plan_secrecy(profile: Profile, target: TargetTraits, cascade: Sequence[Planned]) -> list[AccessPlan]:
    """The cascades of a profile with one norm, the least access first; none where it does not ask for them.

    The access that the audit's own cascade has is left out, as its curve comes of that one.

    Args:
        profile: with one threat model.
        target: what they run on.
        cascade: the audit's own.
    """
    if profile.secrecy is None:
        return []
    known = own_access(cascade)
    plans = (_plan(profile, target, access) for access in ACCESSES if access is not known)
    return [plan for plan in plans if plan.plan]


def _plan(profile: Profile, target: TargetTraits, access: Access) -> AccessPlan:
    assert profile.secrecy is not None
    specs = _named(profile.secrecy, access)
    if specs is None:
        specs = _usual(profile, access)
    share = None
    if access is not Access.TRANSFER and specs:
        limit = min(profile.secrecy.queries, profile.threat.queries or profile.secrecy.queries)
        serving = [spec for spec in specs if _serves(profile, spec)]
        share = max(1, limit // max(1, len(serving)))
        specs = tuple(_with_budget(spec, profile.threat.norm, share) for spec in specs)
    planned = plan_attacks(profile.model_copy(update={"attacks": specs}), target)
    return AccessPlan(access, [_applied(p, access) for p in planned], share)


def _named(spec: SecrecySpec, access: Access) -> tuple[AttackSpec, ...] | None:
    """The attacks that a profile names for an access, None where it leaves them to us."""
    return {Access.TRANSFER: spec.transfer, Access.LABELS: spec.labels, Access.SCORES: spec.scores}[access]


def _usual(profile: Profile, access: Access) -> tuple[AttackSpec, ...]:
    names = USUAL[access].get(profile.threat.norm, ())
    if threat_model(profile).goal is Goal.TARGETED:
        names = tuple(TARGETED.get(name, name) for name in names)
    return tuple(AttackSpec.model_validate({"id": name, **PARAMETERS.get(name, {})}) for name in names)


def _serves(profile: Profile, spec: AttackSpec) -> bool:
    """Whether an attack runs in the norm of a profile, so that it takes a share of the queries."""
    norm = profile.threat.norm
    return norm in attack_classes()[parts(spec.id)[0]].norms and (not spec.norms or norm in spec.norms)


def _with_budget(spec: AttackSpec, norm: str, share: int) -> AttackSpec:
    """An attack that may spend its whole share, unless it says how much it spends."""
    parameters = spec.parameters(norm)
    attack, _ = make_composed(spec.id, parameters)
    if "queries" in parameters or not isinstance(attack, Budgeted):
        return spec
    return AttackSpec.model_validate({**spec.model_dump(), "queries": share})


def _applied(planned: Planned, access: Access) -> Planned:
    """The attack under its access; a file that does not give scores has no attacker with scores."""
    planned = planned.renamed(f"{access}/")
    if planned.status == "unavailable" and access is Access.SCORES:
        return replace(planned, status="skipped")
    return planned


def validate_secrecy(profile: Profile) -> None:
    """Check the attacks that the price of secrecy is measured with.

    Raises:
        UsageError: an unknown one, a bad parameter, or one that has another access.
    """
    spec = profile.secrecy
    for access in ACCESSES if spec is not None else ():
        assert spec is not None
        for place, attack in enumerate(_named(spec, access) or ()):
            location = ("secrecy", str(access), place)
            for part in single_threats(profile):
                validate_attack(profile, attack, part.threat.norm, *location)
            own = attack_classes()[parts(attack.id)[0]].access
            if own is not access:
                raise UsageError(f"{profile.where(*location)}{attack.id} is an attack with {own}, not with {access}")
