"""What runs for the matrix of surrogates and attacks: each attack made on each surrogate alone, and on all together."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

from robaudit.attacks.names import parts
from robaudit.attacks.registry import attack_classes
from robaudit.audit.config.profile import AttackSpec, Profile
from robaudit.audit.config.threats import single_threats
from robaudit.audit.plan.attack_names import validate_attack
from robaudit.audit.plan.attacks import Planned, TargetTraits, plan_attacks
from robaudit.audit.result.transfer import ALL, cell_key
from robaudit.errors import UsageError
from robaudit.threat.model import Access

__all__ = ["plan_matrix", "validate_matrix"]

USUAL = ("transfer-mi-fgsm", "transfer-mi-fgsm+di")
"""Attacks of a matrix whose profile has none made on surrogates."""


def plan_matrix(profile: Profile, target: TargetTraits, cascade: Sequence[AttackSpec]) -> list[Planned]:
    """The cells of the matrix of a profile with one norm, attack by attack; none where it does not ask for them.

    An attack that does not apply, or has no surrogate, is one entry with its reason.

    Args:
        profile: with one threat model.
        target: what they run on.
        cascade: the audit's own attacks, of which those made on surrogates are tried where the profile names no others.
    """
    if profile.matrix is None:
        return []
    specs = profile.matrix.attacks or tuple(_without_surrogates(cascade))
    specs = specs or tuple(AttackSpec(id=name) for name in USUAL)
    found = []
    for planned in plan_attacks(profile.model_copy(update={"attacks": specs}), target):
        if planned.status != "ready":
            found.append(replace(planned, key=cell_key(planned.key, None)))
            continue
        sides: list[tuple[str, tuple[str, ...]]] = [(name, (name,)) for name in target.surrogates]
        sides += [(ALL, target.surrogates)] if len(target.surrogates) > 1 else []
        for name, members in sides:
            key = cell_key(planned.key, name)
            found.append(replace(planned, key=key, how=replace(planned.how, members=members)))
    return found


def _without_surrogates(cascade: Sequence[AttackSpec]) -> Iterator[AttackSpec]:
    """The attacks of a cascade that are made on surrogates, each once, on whichever surrogates."""
    seen = []
    for spec in cascade:
        plain = spec.model_copy(update={"surrogates": (), "when": None, "if_broke": None, "pilot": None})
        if attack_classes()[parts(spec.id)[0]].access is Access.TRANSFER and plain not in seen:
            seen.append(plain)
            yield plain


def validate_matrix(profile: Profile) -> None:
    """Check the attacks of a matrix.

    Raises:
        UsageError: an unknown one, a bad parameter, or one that is not made on surrogates alone.
    """
    for place, spec in enumerate(profile.matrix.attacks if profile.matrix is not None else ()):
        location = ("matrix", "attacks", place)
        for part in single_threats(profile):
            validate_attack(profile, spec, part.threat.norm, *location)
        access = attack_classes()[parts(spec.id)[0]].access
        if access is not Access.TRANSFER:
            raise UsageError(f"{profile.where(*location)}{spec.id} is an attack with {access}, not one of transfer")
        if spec.surrogates:
            raise UsageError(f"{profile.where(*location)}a matrix has every surrogate, and {spec.id} names some")
