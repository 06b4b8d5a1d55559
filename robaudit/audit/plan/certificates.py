"""Profile -> plan: each certifier, for each ball of the threat model."""

from __future__ import annotations

import inspect
from dataclasses import dataclass
from typing import Any

import torch
from pydantic import TypeAdapter

from robaudit.audit.config.profile import Profile
from robaudit.audit.config.threats import single_threats
from robaudit.audit.plan.attacks import threat_model
from robaudit.certificates.base import Ball, Certifier
from robaudit.certificates.registry import make_certifier
from robaudit.errors import UsageError
from robaudit.threat.model import ThreatModel

__all__ = ["PlannedCertificate", "plan_certificates", "validate_certificates"]


@dataclass(frozen=True)
class PlannedCertificate:
    """A certifier of the plan.

    Args:
        key: its id; with several threat models the norm stands before it.
        certifier: with its parameters.
        threat: the ball.
    """

    key: str
    certifier: Certifier
    threat: ThreatModel

    @property
    def name(self) -> str:
        """Its first line, for people."""
        return (inspect.getdoc(type(self.certifier)) or self.certifier.id).splitlines()[0].rstrip(".")

    def ball(self, shape: tuple[int, ...]) -> Ball:
        """The ball around a sample [*shape] in u-space, with what stays as it is."""
        still = self.threat.mask(torch.zeros(1, *shape))
        fixed = () if still is None else tuple(still.flatten().nonzero()[:, 0].tolist())
        return Ball(self.threat.norm, self.threat.eps, fixed)

    @property
    def parameters(self) -> dict[str, Any]:
        """Resolved parameters."""
        if not hasattr(self.certifier, "__dataclass_fields__"):
            return {}
        found: dict[str, Any] = TypeAdapter(type(self.certifier)).dump_python(self.certifier, mode="json")
        return found


def plan_certificates(profile: Profile) -> list[PlannedCertificate]:
    """All certifiers of a profile, those of one ball after the other.

    Raises:
        UsageError: as :func:`validate_certificates`.
    """
    validate_certificates(profile)
    several = bool(profile.threat.also)
    return [
        PlannedCertificate(f"{part.threat.norm}/{name}" if several else name, make_certifier(name, given), threat)
        for part in single_threats(profile)
        for threat in [threat_model(part)]
        for name, given in profile.certificates.items()
    ]


def validate_certificates(profile: Profile) -> None:
    """Check the names and parameters of a profile's certifiers.

    Raises:
        UsageError: an unknown one, or a parameter that it does not take: the file and line, and the key.
    """
    for name, given in profile.certificates.items():
        try:
            make_certifier(name, given)
        except UsageError as error:
            raise UsageError(f"{profile.where('certificates', name)}{error}") from error
