"""What an audit is asked to do and which files it reads, for the command line and for calls."""

from __future__ import annotations

import os
import shlex
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from robaudit.audit.config.building import build_request
from robaudit.audit.config.declaring import Read
from robaudit.audit.config.request import AuditRequest
from robaudit.audit.config.resolve import Resolved
from robaudit.audit.config.settings import SETTINGS, Settings
from robaudit.audit.journal.events import Observer
from robaudit.audit.plan.auxiliary import auxiliaries
from robaudit.audit.result.document import Result
from robaudit.audit.run.audit import ExitRules, run_audit
from robaudit.audit.run.identity import files_beside
from robaudit.audit.stored.file import load_result, result_path
from robaudit.audit.stored.signing import read_trusted
from robaudit.defenses.registry import named_files, parse_chain
from robaudit.detectors import registry as detectors

__all__ = ["carry_out", "command_line", "read_files", "request_of"]


def request_of(model: Path, resolved: Resolved, command: str = "") -> AuditRequest:
    """The audit that resolved settings describe, with the earlier result that they name.

    Args:
        model: the file under audit.
        resolved: settings and where each came from (:func:`robaudit.audit.config.resolve.resolve_settings`).
        command: for the record.

    Raises:
        UsageError: a file is missing, or cannot be what it should be.
    """
    return build_request(model, resolved, command=command, baseline=_baseline(resolved.settings))


def carry_out(request: AuditRequest, observer: Observer, warn: Callable[[str], None]) -> tuple[Result, Path]:
    """Run an audit as its settings ask for it; see :func:`robaudit.audit.run.audit.run_audit`."""
    asked = request.settings
    return run_audit(
        request,
        None if asked.run_dir is None else Path(asked.run_dir),
        observer,
        fresh=asked.fresh,
        rules=ExitRules(asked.on_inconclusive, asked.fail_on),
        warn=warn,
        reports=asked.output,
    )


def command_line(words: Sequence[str], sources: Mapping[str, str]) -> str:
    """A command as it is typed, with the variables of the environment that it took settings from.

    Args:
        words: of the command.
        sources: where each setting came from.
    """
    origins = sorted(set(sources.values()))
    used = [name for name in (origin.removeprefix("environment ") for origin in origins) if name in os.environ]
    variables = [f"{name}={shlex.quote(os.environ[name])}" for name in used]
    return " ".join([*variables, shlex.join(words)])


def _baseline(settings: Settings) -> Result | None:
    """The earlier result, signed as it must be."""
    keys = None if settings.verify is None else read_trusted(Path(settings.verify))
    return None if settings.baseline is None else load_result(result_path(Path(settings.baseline)), keys)


def read_files(request: AuditRequest, resolved: Resolved) -> list[tuple[str, Path | None]]:
    """The files and folders that an audit reads, each with what it is; None where it is not given."""
    settings = resolved.settings
    found: list[tuple[str, Path | None]] = [
        ("the model", request.model),
        ("the data", request.data),
        ("the ranges of the features", request.feature_ranges),
        ("the settings", None if resolved.config_file is None else Path(resolved.config_file)),
        ("the profile", Path(resolved.profile_source)),
        ("the baseline", None if settings.baseline is None else result_path(Path(settings.baseline))),
    ]
    for name, each in SETTINGS.items():
        value = vars(settings)[name]
        if isinstance(each.path, Read) and value not in each.path.words:
            texts = value if each.paths else [value] if isinstance(value, str) else []
            found += [(each.path.called, Path(text)) for text in texts]
    if settings.defense is not None:
        found += [("a file of a defense", path) for path in named_files(parse_chain(settings.defense))]
    found += [("a file of the detector", path) for path in detectors.named_files(settings.detector)]
    found += [("what is written about the model", path) for path in files_beside(request.model)]
    for other in auxiliaries(request):
        found += [(f"what is written about {other.name}", path) for path in files_beside(other.path)]
    found += [("the value of an input", Path(os.path.expanduser(text))) for text in request.interface.fixed.values()]
    return found
