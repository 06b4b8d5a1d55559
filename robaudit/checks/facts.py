"""What a check says of itself, beside what it measures. Needs no torch: profiles, gates and reports read it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias

__all__ = ["CheckFacts", "CheckRule", "Level"]

Level: TypeAlias = Literal["error", "warning", "note"]


@dataclass(frozen=True)
class CheckRule:
    """The rule that a check's findings are reported under, in SARIF and elsewhere."""

    id: str
    """Stable, such as ``RA106``: capitals and digits. Those that begin with RA are robaudit's own."""
    name: str
    """In one word, such as ``CheckZeroGradient``."""
    why: str
    """Why it matters."""
    action: str
    """What to do."""
    level: Level
    """How severe a finding is, where nothing says otherwise."""


@dataclass(frozen=True)
class CheckFacts:
    """All that the rest of an audit knows of a check; it stands in the check's own file."""

    id: str
    """Its name, as profiles and gates write it, such as ``zero-gradient``."""
    title: str
    """What a finding says, in one sentence."""
    next_step: str
    """What a report advises where it fails; it follows a dash and has no full stop."""
    cost: str = "nothing: it reads what the audit knows"
    """What it costs, in words."""
    rule: CheckRule | None = None
    """Of its findings in reports; None: the general one, RA100."""
    fatal: bool = False
    """Where it fails nothing that was measured counts: the exit code is 3, even if a gate failed."""
    doubts_evidence: bool = False
    """Where it fails a broken sample proves nothing, so that no gate is judged."""
    voids_repetition: bool = False
    """Where it fails the same audit may come out differently."""
    after_time: bool = False
    """It is carried out after the time is over too, as without it nothing could be reported. It may run no attack."""
    ignores_attacks: bool = False
    """The measurement depends on model and samples alone, so that a resumed audit keeps it."""
    tells_masking: bool = False
    """Where it warns or fails gradients may be masked, so that the audit reacts with further attacks."""
    starts_reaction: bool = True
    """Whether it does so where no other check tells of it: not where the cascade has attacked what it tells of."""
    after_reaction: bool = False
    """It is carried out at the end, as it looks at what the reaction broke too."""
    usual: bool = True
    """Of robaudit's own checks: whether ``checks: usual`` names it, as most built-in profiles do; ``all`` names
    the others too."""
    on_request: bool = False
    """Of robaudit's own checks: ``checks: all`` leaves it out as it costs much or says nothing of the headline;
    ``checks: every`` names it, and so may a profile."""
