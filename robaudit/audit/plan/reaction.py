"""What runs where the checks tell that gradients are masked: further attacks on what stands."""

from __future__ import annotations

from dataclasses import replace

from robaudit.audit.config.profile import Profile
from robaudit.audit.config.threats import single_threats
from robaudit.audit.plan.attack_names import validate_attack, validate_order
from robaudit.audit.plan.attacks import Planned, TargetTraits, plan_attacks
from robaudit.audit.result.masking import REACTION

__all__ = ["plan_reaction", "reacting", "validate_reaction"]


def reacting(profile: Profile) -> Profile:
    """The profile with the attacks and surrogates of its reaction in place of its own attacks."""
    reaction = profile.reaction
    assert reaction is not None
    known = {spec.id for spec in profile.surrogates}
    more = (spec.model_copy(update={"optional": True}) for spec in reaction.surrogates if spec.id not in known)
    return profile.model_copy(update={"attacks": reaction.attacks, "surrogates": (*profile.surrogates, *more)})


def plan_reaction(profile: Profile, target: TargetTraits) -> list[Planned]:
    """The attacks of the reaction of a profile with one norm; none where it has none.

    What cannot run is no gap in the audit: nobody asked for it by name.

    Args:
        profile: with one threat model.
        target: what they run on, with the surrogates that the reaction makes.
    """
    if profile.reaction is None:
        return []
    found = [planned.renamed(REACTION) for planned in plan_attacks(reacting(profile), target)]
    return [replace(p, status="skipped") if p.status == "unavailable" else p for p in found]


def validate_reaction(profile: Profile) -> None:
    """Check the attacks of a reaction.

    Raises:
        UsageError: an unknown one, or a bad parameter.
    """
    if profile.reaction is None:
        return
    for place, spec in enumerate(profile.reaction.attacks):
        for part in single_threats(profile):
            validate_attack(profile, spec, part.threat.norm, "reaction", "attacks", place)
    validate_order(profile, profile.reaction.attacks, "reaction", "attacks")
