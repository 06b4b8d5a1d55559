"""Audits a model without and behind each of several defenses, and says what each buys."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from robaudit import __version__
from robaudit.audit.config.attack_specs import AttackSpec
from robaudit.audit.config.places import shown_command
from robaudit.audit.config.profile import Profile
from robaudit.audit.config.profile_files import load_profile
from robaudit.audit.config.request import AuditRequest
from robaudit.audit.config.resolve import Resolved, resolve_settings
from robaudit.audit.defenses.behind import BehindRequest, ask_behind
from robaudit.audit.defenses.document import DefenseComparison
from robaudit.audit.defenses.weighing import bare_row, ranked, weighed
from robaudit.audit.journal.events import Observer
from robaudit.audit.process.persist import persistently
from robaudit.audit.replay.request import ReplayRequest
from robaudit.audit.result.document import Result
from robaudit.audit.run.asking import request_of
from robaudit.audit.run.audit import run_audit
from robaudit.audit.run.limits import confinement_of
from robaudit.defenses.registry import parse_chain, words_of_chain
from robaudit.errors import AuditInterrupted, UsageError
from robaudit.stats.rates import CONFIDENCE
from robaudit.target.files.sniff import model_format

__all__ = ["Comparing", "Told", "audited", "below", "compare_defenses", "replay_of"]

TRANSFER = "transfer-mi-fgsm"
LABEL_QUERIES = 500
"""Of each sample that still stands, for an attack with labels alone: as much as shows a gradient that misleads."""


@dataclass(frozen=True)
class Told:
    """Who hears of what is being done.

    Args:
        beginning: called with what is audited, in words; gives who observes that audit.
        warn: told in one sentence what went wrong beside an audit.
        said: what a process with the model in it printed.
    """

    beginning: Callable[[str], Any]
    warn: Callable[[str], None] = lambda _: None
    said: Callable[[str], None] = lambda _: None


@dataclass(frozen=True)
class Comparing:
    """What is compared.

    Args:
        model: the file.
        given: settings as flags give them, without a defense.
        chains: defenses and chains, as settings name them.
        command: for the record.
    """

    model: Path
    given: Mapping[str, Any]
    chains: tuple[str, ...]
    command: str = ""


def compare_defenses(asked: Comparing, told: Told) -> DefenseComparison:
    """Audit a model without a defense, then behind each, with the same seed and samples; a finished audit is not run
    again.

    Raises:
        UsageError: a request is refused.
        AuditInterrupted: an audit was stopped; what is finished is kept, and the same call goes on.
        AuditError: an audit failed before anything could be told.
    """
    chains = _distinct(asked.chains)
    if model_format(asked.model) == "endpoint":
        raise UsageError("defenses are compared on a model file, and an endpoint is none")
    resolved = resolve_settings(asked.given, os.environ, asked.model)
    resolved = replace(resolved, settings=replace(resolved.settings, defense=None, baseline=None, output=()))
    base = None if resolved.settings.run_dir is None else Path(resolved.settings.run_dir)
    bare, bare_folder = audited(
        request_of(asked.model, resolved, asked.command), below(base, "bare"), told, "without a defense"
    )
    behind, added = _behind(resolved, bare, asked.model)
    results: list[tuple[Result, Path]] = []
    for place, chain in enumerate(chains, 1):
        settings = replace(behind.settings, defense=chain)
        request = request_of(asked.model, replace(behind, settings=settings), asked.command)
        folder = below(base, f"{place}-{'+'.join(one.id for one in parse_chain(chain))}")
        results.append(audited(request, folder, told, f"behind {chain} ({place} of {len(chains)})"))
    request = request_of(asked.model, resolved)
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
    return DefenseComparison(
        version=__version__,
        model=str(asked.model),
        sha256=bare.target.sha256,
        data=bare.data,
        metric=bare.worst_case.metric,
        profile=bare.profile.name,
        threat_model=bare.threat_model,
        seed=bare.run.seed,
        command=shown_command(asked.command),
        added=added,
        confidence=CONFIDENCE,
        bare=bare_row(bare, str(bare_folder)),
        rows=ranked(rows),
    )


def _distinct(chains: Sequence[str]) -> list[str]:
    """Chains with all their parameters.

    Raises:
        UsageError: none is named, or one twice.
    """
    words = [words_of_chain(parse_chain(chain)) for chain in chains]
    if not words:
        raise UsageError("no defense to compare; name each with --defense, such as --defense jpeg:75 --defense bits:4")
    twice = [word for word in words if words.count(word) > 1]
    if twice:
        raise UsageError(f"the defense {twice[0]} is named twice")
    return words


def below(base: Path | None, name: str) -> Path | None:
    """The run directory of one audit of several, where the user names one for all."""
    return None if base is None else base / name


def audited(request: AuditRequest, folder: Path | None, told: Told, what: str) -> tuple[Result, Path]:
    """One audit of several, and its run directory; one that was stopped ends them all."""
    with told.beginning(what) as observer:
        watcher: Observer = observer
        result, found = run_audit(request, folder, watcher, fresh=request.settings.fresh, warn=told.warn)
    if result.run.interrupted:
        raise AuditInterrupted(f"the audit {what} was stopped; what is finished is kept: the same command goes on")
    return result, found


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


def replay_of(request: AuditRequest, folder: Path) -> ReplayRequest:
    """What is asked to see the examples of an audit again."""
    device = "cuda" if request.settings.device.startswith("cuda") else "cpu"
    return ReplayRequest(
        run=folder,
        model=None,
        device=device,
        trust_model=request.settings.trust_model,
        custom_ops=request.custom_ops,
    )
