"""The threat models of a profile, one by one."""

from __future__ import annotations

from robaudit.audit.config.profile import Profile

__all__ = ["attack_keys", "single_threats"]


def single_threats(profile: Profile, norm: str | None = None) -> list[Profile]:
    """The profile once for each of its threat models, with that one alone; of one norm if told."""
    main = profile.threat
    if not main.also:
        return [profile]
    balls = [(main.norm, main.eps), *((other.norm, other.eps) for other in main.also)]
    threats = [main.model_copy(update={"norm": n, "eps": eps, "also": ()}) for n, eps in balls]
    return [profile.model_copy(update={"threat": t}) for t in threats if norm in (None, t.norm)]


def attack_keys(profile: Profile) -> list[str]:
    """Names of the cascade's attacks as gates know them."""
    prefixes = [f"{part.threat.norm}/" for part in single_threats(profile)] if profile.threat.also else [""]
    return [prefix + spec.id for prefix in prefixes for spec in profile.attacks]
