"""Audits a model without and behind each of several defenses, and says what each buys."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from robaudit.audit.config.attack_specs import AttackSpec
from robaudit.audit.config.profile import Profile
from robaudit.audit.config.profile_files import load_profile
from robaudit.audit.config.resolve import Resolved
from robaudit.audit.defenses.behind import BehindRequest, ask_behind
from robaudit.audit.defenses.document import DefenseComparison
from robaudit.audit.defenses.weighing import ranked, weighed
from robaudit.audit.process.persist import persistently
from robaudit.audit.result.document import Result
from robaudit.audit.run.limits import confinement_of
from robaudit.audit.several.running import Asked, SideBySide, Told, audited, distinct, replay_of
from robaudit.defenses.registry import parse_chain, words_of_chain

__all__ = ["compare_defenses"]

TRANSFER = "transfer-mi-fgsm"
LABEL_QUERIES = 500
"""Of each sample that still stands, for an attack with labels alone: as much as shows a gradient that misleads."""
NONE = "no defense to compare; name each with --defense, such as --defense jpeg:75 --defense bits:4"


def compare_defenses(asked: Asked, told: Told) -> DefenseComparison:
    """Audit a model without a defense, then behind each, with the same seed and samples; a finished audit is not run
    again.

    Raises:
        UsageError: a request is refused.
        AuditInterrupted: an audit was stopped; what is finished is kept, and the same call goes on.
        AuditError: an audit failed before anything could be told.
    """
    chains = distinct([words_of_chain(parse_chain(chain)) for chain in asked.words], "defense", NONE)
    side = SideBySide.of(asked, "defense", "defenses are compared on a model file, and an endpoint is none")
    request = side.request()
    bare, bare_folder = audited(request, side.below("bare"), told, "without a defense")
    behind, added = _behind(side.resolved, bare, asked.model)
    results: list[tuple[Result, Path]] = []
    for place, chain in enumerate(chains, 1):
        folder = side.below(f"{place}-{'+'.join(one.id for one in parse_chain(chain))}")
        what = f"behind {chain} ({place} of {len(chains)})"
        results.append(audited(side.request(behind, defense=chain), folder, told, what))
    answers = persistently(
        ask_behind,
        BehindRequest(replay_of(request, bare_folder), tuple(chains)),
        confinement=confinement_of(request),
        about=asked.model,
        told=told.said,
    )
    rows = [
        weighed(bare, result, answer, str(folder)) for (result, folder), answer in zip(results, answers, strict=True)
    ]
    return DefenseComparison(**side.shared(bare, bare_folder), added=added, rows=ranked(rows))


def _behind(resolved: Resolved, bare: Result, model: Path) -> tuple[Resolved, tuple[str, ...]]:
    """The settings of the audits behind defenses, with the attacks of one who knows them, and the ids of these.

    Beside the attacks of the profile, which go through the defense: one from the model without it, where it has a
    gradient and no surrogate is given; and those with labels alone.
    """
    profile, settings = resolved.profile, resolved.settings
    extra = [
        AttackSpec.model_validate({**spec.model_dump(), "queries": LABEL_QUERIES})
        for spec in load_profile("labels").attacks
        if _serves(spec, profile)
    ]
    if bare.target.gradient.available and not settings.surrogates:
        extra.insert(0, AttackSpec(id=TRANSFER))
        settings = replace(settings, surrogates=(str(model),))
    known = {spec.id for spec in profile.attacks if spec.when in (None, _most(bare))}
    added = tuple(spec for spec in extra if spec.id not in known)
    changed = profile.model_copy(update={"attacks": (*profile.attacks, *added)})
    return replace(resolved, profile=changed, settings=settings), tuple(spec.id for spec in added)


def _most(bare: Result) -> str:
    """The most access to the file that there is, as attacks of a profile that suits itself to it say."""
    if bare.target.gradient.available:
        return "white-box"
    return "labels" if bare.target.head == "labels" else "scores"


def _serves(spec: AttackSpec, profile: Profile) -> bool:
    """Whether an attack of the profile of labels serves a norm and the goal of another profile."""
    norms = {profile.threat.norm, *(other.norm for other in profile.threat.also)}
    goal = "untargeted" if profile.threat.goal == "untargeted" else "targeted"
    return bool(norms & {*spec.norms}) and (not spec.goals or goal in spec.goals)
