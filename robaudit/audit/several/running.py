"""Runs the audits of one model that are put side by side."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from robaudit import __version__
from robaudit.audit.config.places import shown_command
from robaudit.audit.config.request import AuditRequest
from robaudit.audit.config.resolve import Resolved, resolve_settings
from robaudit.audit.journal.events import Observer
from robaudit.audit.replay.request import ReplayRequest
from robaudit.audit.result.document import Result
from robaudit.audit.run.asking import request_of
from robaudit.audit.run.audit import run_audit
from robaudit.audit.several.changes import bare_row
from robaudit.errors import AuditInterrupted, UsageError
from robaudit.stats.rates import CONFIDENCE
from robaudit.target.files.sniff import model_format

__all__ = ["Asked", "SideBySide", "Told", "audited", "distinct", "replay_of"]


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
class Asked:
    """What is put side by side.

    Args:
        model: the file.
        given: settings as flags give them.
        words: defenses or detectors, as settings name them.
        command: for the record.
    """

    model: Path
    given: Mapping[str, Any]
    words: tuple[str, ...]
    command: str = ""


@dataclass(frozen=True)
class SideBySide:
    """The settings that all of the audits share, and where their run directories go.

    Args:
        model: the file.
        resolved: the settings, without what is compared.
        command: for the record.
    """

    model: Path
    resolved: Resolved
    command: str

    @classmethod
    def of(cls, asked: Asked, kind: str, refusal: str) -> SideBySide:
        """From settings as flags give them.

        Args:
            asked: what is put side by side.
            kind: the setting that is another in each audit: ``defense`` or ``detector``.
            refusal: what is said of an endpoint, which is no file.

        Raises:
            UsageError: the settings are refused, or the model is an endpoint.
        """
        model, command = asked.model, asked.command
        if model_format(model) == "endpoint":
            raise UsageError(refusal)
        resolved = resolve_settings(asked.given, os.environ, model)
        cleared: dict[str, Any] = {kind: None, "baseline": None, "output": ()}
        settings = replace(resolved.settings, **cleared)
        return cls(model, replace(resolved, settings=settings), command)

    def request(self, resolved: Resolved | None = None, **changed: Any) -> AuditRequest:
        """One audit, some of its settings changed; ``resolved``: of others than the shared ones."""
        resolved = self.resolved if resolved is None else resolved
        resolved = replace(resolved, settings=replace(resolved.settings, **changed))
        return request_of(self.model, resolved, self.command)

    def below(self, name: str) -> Path | None:
        """The run directory of one audit, where the user names one for all."""
        base = self.resolved.settings.run_dir
        return None if base is None else Path(base) / name

    def shared(self, bare: Result, folder: Path) -> dict[str, Any]:
        """What a document says of all of them; ``bare``: the audit without any, in its folder."""
        return {
            "version": __version__,
            "model": str(self.model),
            "sha256": bare.target.sha256,
            "data": bare.data,
            "metric": bare.worst_case.metric,
            "profile": bare.profile.name,
            "threat_model": bare.threat_model,
            "seed": bare.run.seed,
            "command": shown_command(self.command),
            "confidence": CONFIDENCE,
            "bare": bare_row(bare, str(folder)),
        }


def distinct(words: Sequence[str], kind: str, none: str) -> list[str]:
    """The same words.

    Args:
        words: that name what is compared, with all parameters.
        kind: what each is, such as ``defense``.
        none: what is said where there are none.

    Raises:
        UsageError: there are none, or one is there twice.
    """
    if not words:
        raise UsageError(none)
    twice = [word for word in words if list(words).count(word) > 1]
    if twice:
        raise UsageError(f"the {kind} {twice[0]} is named twice")
    return list(words)


def audited(request: AuditRequest, folder: Path | None, told: Told, what: str) -> tuple[Result, Path]:
    """One audit of several, and its run directory; one that was stopped ends them all."""
    with told.beginning(what) as observer:
        watcher: Observer = observer
        result, found = run_audit(request, folder, watcher, fresh=request.settings.fresh, warn=told.warn)
    if result.run.interrupted:
        raise AuditInterrupted(f"the audit {what} was stopped; what is finished is kept: the same command goes on")
    return result, found


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
