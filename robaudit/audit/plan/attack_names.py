"""Whether the attacks that a profile names are there, and have the parameters that it gives them."""

from __future__ import annotations

from collections.abc import Sequence

from robaudit.attacks.fitted import FittedSearch
from robaudit.attacks.names import canonical, parts
from robaudit.attacks.registry import attack_classes, make_composed
from robaudit.audit.config.profile import AttackSpec, Profile
from robaudit.errors import UsageError
from robaudit.extensions import ParameterError

__all__ = ["validate_attack", "validate_attacks", "validate_order"]


def validate_attacks(profile: Profile) -> None:
    """Check every attack's name and parameters.

    Raises:
        UsageError: unknown attack or parameter, or a value out of range: the file and line, and the key.
    """
    for place, spec in enumerate(profile.attacks):
        validate_attack(profile, spec, profile.threat.norm, "attacks", place)
    validate_order(profile, profile.attacks, "attacks")


def validate_order(profile: Profile, specs: Sequence[AttackSpec], *location: str) -> None:
    """Check that what an attack waits for stands before it.

    Raises:
        UsageError: it does not.
    """
    names = [canonical(spec.id) for spec in specs]
    for place, spec in enumerate(specs):
        if spec.if_broke is not None and spec.if_broke not in names[:place]:
            where = profile.where(*location, place, "if_broke")
            raise UsageError(f"{where}{spec.if_broke} is no attack that stands before {spec.id} in the profile")


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
    if spec.pilot is not None and issubclass(attack_classes()[parts(spec.id)[0]], FittedSearch):
        where = profile.where(*location, "pilot")
        raise UsageError(f"{where}{spec.id} is fitted for all samples at once, so that it has no pilot: remove the key")
