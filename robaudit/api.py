"""The Python interface: an audit as ``robaudit scan`` runs it, as a function.

Settings, run directory, worker process, sandbox and errors are those of the command line; nothing is printed. The audit
itself runs in a process of its own, which runs nothing of the caller's script.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypeAlias

from robaudit.audit.config.resolve import resolve_settings
from robaudit.audit.config.settings import SETTINGS
from robaudit.audit.journal.events import Note, Observer, silent
from robaudit.audit.process.sandbox import missing
from robaudit.audit.result.document import Norm, Result
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

PathLike: TypeAlias = str | os.PathLike[str]


def audit(
    model: PathLike,
    data: PathLike | None = None,
    *,
    profile: PathLike | None = None,
    norm: Norm | None = None,
    eps: str | float | None = None,
    goal: str | None = None,
    samples: int | None = None,
    seed: int | None = None,
    labels: PathLike | None = None,
    classes: PathLike | Sequence[str] | None = None,
    gates: Sequence[str] = (),
    min_robust: float | None = None,
    baseline: PathLike | None = None,
    surrogates: Sequence[PathLike] = (),
    time_budget: str | float | None = None,
    device: str | None = None,
    output: Sequence[PathLike] = (),
    run_dir: PathLike | None = None,
    fresh: bool = False,
    trust_model: bool = False,
    sandbox: bool | None = None,
    observer: Observer = silent,
    **settings: Any,
) -> Result:
    """Audit a model file, as ``robaudit scan`` does.

    What is not given comes from ``ROBAUDIT_*`` variables, the nearest ``robaudit.yaml``, and the profile, in turn. The
    same call takes up an audit that was interrupted, and returns a finished one without computing it again.

    Args:
        model: ONNX or TorchScript file of a classifier, the ``https://`` address of one, or an ``endpoint.yaml``.
        data: image folder, table or ``.npz``; None: a file beside the model, else bundled images.
        profile: name or YAML file; None: ``quick``, unless a ``robaudit.yaml`` names another.
        norm: of the threat model.
        eps: radius as a fraction of the domain's width: ``0.03`` or ``"8/255"``.
        goal: what counts as a success.
        samples: to draw; None: the profile's.
        seed: of all random numbers.
        labels: CSV of labels, or ``"model"``: the model's own answers are the reference (stability).
        classes: names in the order of the model's outputs, or a file with one a line.
        gates: such as ``"robust_accuracy >= 40%"``; they decide the verdict.
        min_robust: gate: least robust accuracy that passes.
        baseline: earlier result or run directory to compare with.
        surrogates: model files for transfer attacks.
        time_budget: after which nothing new is begun, such as ``"10m"``, or seconds.
        device: auto, cpu, cuda or cuda:N.
        output: report files to write; the suffix picks the format.
        run_dir: folder of journal, evidence and result; None: one in ``.robaudit``.
        fresh: discard what the run directory holds.
        trust_model: load a TorchScript archive whose code is not known to be harmless, or a torch.export archive.
        sandbox: True: refuse to run without one; False: run without; None: use one where the system has it.
        observer: called with each event, in this thread; must not raise. Warnings are events too.
        settings: any other setting, named as its key in ``robaudit.yaml`` with underscores, such as ``mean``, ``std``,
            ``domain``, ``batch_size``, ``until_decided``, ``call_timeout``.

    Returns:
        The result. A gate that fails, or an audit that is incomplete, is no error: ``result.verdict`` says so.

    Raises:
        UsageError: the request is refused, in one sentence that says what to do.
        AuditInterrupted: Ctrl-C or SIGTERM stopped it; what is finished is kept.
        AuditError: the audit could not be carried out, or a report cannot be written.
    """
    given = _given(
        settings,
        data=data,
        profile=profile,
        norm=norm,
        eps=eps,
        goal=goal,
        samples=samples,
        seed=seed,
        labels=labels,
        classes=classes,
        gates=gates,
        min_robust=min_robust,
        baseline=baseline,
        surrogates=surrogates,
        time_budget=time_budget,
        device=device,
        output=output,
        run_dir=run_dir,
        fresh=fresh,
        trust_model=trust_model,
        sandbox=sandbox,
    )
    return _audited(model_path(model), given, observer)


def _audited(model: Path, given: Mapping[str, Any], observer: Observer) -> Result:
    resolved = resolve_settings(given, os.environ, model)
    asked = resolved.settings
    for path in asked.output:
        check_output(path)
    request = request_of(model, resolved, command_line(_words(model, given), resolved.sources))
    check_outputs(asked.output, read_files(request, resolved))
    key = None if asked.sign is None else Path(asked.sign)
    if key is not None:
        read_private(key)  # one that is none is reported before the audit

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


def _given(more: Mapping[str, Any], **common: Any) -> dict[str, Any]:
    """Settings as the command line gives them.

    Raises:
        UsageError: there is no such setting.
    """
    known = [name for name in SETTINGS if name != "dry_run"]
    for name in more:
        if name not in known:
            raise UsageError(f"there is no setting {name!r}{did_you_mean(name, known)}")
    given = {name: value for name, value in {**common, **more}.items() if value is not None}
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
