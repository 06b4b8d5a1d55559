"""The Python interface: an audit as ``robaudit scan`` runs it, as a function.

Settings, run directory, worker process, sandbox and errors are those of the command line; nothing is printed. The audit
itself runs in a process of its own, which runs nothing of the caller's script.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Unpack

from robaudit.audit.config.keywords import PathLike, SettingKeywords
from robaudit.audit.config.resolve import resolve_settings
from robaudit.audit.config.settings import SETTINGS
from robaudit.audit.journal.events import Note, Observer, silent
from robaudit.audit.process.sandbox import missing
from robaudit.audit.result.document import Result
from robaudit.audit.run.asking import carry_out, command_line, read_files, request_of
from robaudit.audit.stored import file as stored
from robaudit.audit.stored.signing import read_private
from robaudit.audit.stored.trust import trusted
from robaudit.errors import AuditInterrupted, UsageError
from robaudit.report.deliver import deliver
from robaudit.report.outputs import check_output, check_outputs
from robaudit.report.render import write_report
from robaudit.suggest import did_you_mean
from robaudit.target.files.remote.address import model_path

__all__ = ["audit", "load_result", "render"]


def audit(
    model: PathLike,
    data: PathLike | None = None,
    *,
    observer: Observer = silent,
    **settings: Unpack[SettingKeywords],
) -> Result:
    """Audit a model file, as ``robaudit scan`` does.

    What is not given comes from ``ROBAUDIT_*`` variables, the nearest ``robaudit.yaml``, and the profile, in turn. The
    same call takes up an audit that was interrupted, and returns a finished one without computing it again.

    Args:
        model: ONNX or TorchScript file of a classifier, the ``https://`` address of one, or an ``endpoint.yaml``.
        data: image folder, table or ``.npz``; None: a file beside the model, else bundled images.
        observer: called with each event, in this thread; must not raise. Warnings are events too.
        settings: any setting, named as its key in ``robaudit.yaml`` with underscores: ``profile``, ``eps``,
            ``samples``, ``gates``, ``min_robust``, ``run_dir``, ``mean``, ``until_decided``. ``sandbox`` is True:
            refuse to run without one; False: run without; None: use one where the system has it.

    Returns:
        The result. A gate that fails, or an audit that is incomplete, is no error: ``result.verdict`` says so.

    Raises:
        UsageError: the request is refused, in one sentence that says what to do.
        AuditInterrupted: Ctrl-C or SIGTERM stopped it; what is finished is kept.
        AuditError: the audit could not be carried out, or a report cannot be written.
    """
    return _audited(model_path(model), _given({"data": data, **settings}), observer)


def _audited(model: Path, given: Mapping[str, Any], observer: Observer) -> Result:
    resolved = resolve_settings(given, os.environ, model)
    asked = resolved.settings
    for path in asked.output:
        check_output(path)
    request = request_of(model, resolved, command_line(_words(model, given), resolved.sources))
    check_outputs(asked.output, read_files(request, resolved))
    key = None if asked.sign is None else Path(asked.sign)
    if key is not None:
        read_private(key)  # a file that is no key is reported before the audit

    def warn(message: str) -> None:
        observer(Note(message, "warning"))

    if request.sandbox == "offered" and (reason := missing()) is not None:
        warn(
            f"{reason}; the model is loaded without a sandbox, where it could write files and use the network "
            "(sandbox=False: say no more of it)"
        )
    result, folder = carry_out(request, observer, warn)
    deliver(result, folder, asked.output, key)
    if result.run.interrupted:
        raise AuditInterrupted(
            f"the audit was stopped; the run directory {folder} keeps what is finished: the same call goes on"
        )
    return result.found_in(folder)


def load_result(path: PathLike, *, verify: PathLike | None = None) -> Result:
    """The result of an audit.

    Args:
        path: run directory, or a result's JSON file.
        verify: Ed25519 public key that must have signed it; None: as ``ROBAUDIT_VERIFY``, then ``verify`` in the
            nearest ``robaudit.yaml`` say.

    Raises:
        UsageError: it cannot be read, is not signed as it must be, was changed, or does not follow from its samples.
    """
    source = stored.result_path(Path(path))
    result = stored.load_result(source, trusted(None if verify is None else Path(verify)))
    return result.found_in(source.parent)


def render(result: Result, path: PathLike) -> None:
    """Write a report of a result; the suffix picks the format.

    Args:
        result: of :func:`audit` or :func:`load_result`; its run directory has the pictures for HTML.
        path: such as ``report.html``.

    Raises:
        UsageError: no format has this suffix, or something is there that a report may not replace.
        AuditError: it cannot be written.
    """
    folder = result.run_directory
    check_outputs([path], [("the result that it is made from", None if folder is None else folder / "result.json")])
    write_report(result, path, folder)


def _given(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Settings as the command line gives them.

    Raises:
        UsageError: there is no such setting.
    """
    known = [name for name in SETTINGS if name != "dry_run"]
    for name in settings:
        if name not in known:
            raise UsageError(f"there is no setting {name!r}{did_you_mean(name, known)}")
    given = {name: value for name, value in settings.items() if value is not None}
    return {name: os.fspath(value) if isinstance(value, os.PathLike) else value for name, value in given.items()}


def _words(model: Path, given: Mapping[str, Any]) -> list[str]:
    """The command that asks for the same, for the record; without what no flag can say, such as a list of classes."""
    words = ["robaudit", "scan", str(model)]
    for name, value in given.items():
        setting = SETTINGS[name]
        option = setting.option
        if isinstance(value, bool):
            words += [option] if value else [f"--no-{option.removeprefix('--')}"] * ("/" in setting.flags[0])
        elif isinstance(value, str | int | float):
            words += [option, str(value)]
        elif isinstance(value, Mapping):
            words += [part for key, each in value.items() for part in (option, f"{key}={each}")]
        elif setting.several:
            words += [part for each in value for part in (option, str(each))]
        elif setting.path is None:
            words += [option, ",".join(map(str, value))]
    return words
