"""What makes two audits the same: the digest that names a run."""

from __future__ import annotations

import inspect
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from robaudit import __version__
from robaudit.audit.config.request import AuditRequest
from robaudit.audit.process.child import in_child
from robaudit.audit.run.limits import confinement_of
from robaudit.data.folder import LABELS, walk
from robaudit.errors import RobauditError, UsageError
from robaudit.files import digest_of, sha256_file
from robaudit.target.class_names import files_with_names
from robaudit.target.onnx_external import digests, may_have_weights_elsewhere
from robaudit.target.sidecar import files_with_meaning
from robaudit.target.sniff import model_format

__all__ = ["Identity", "default_folder", "files_beside", "folder_of", "identity_of"]


@dataclass
class Identity:
    """What names a run.

    Args:
        files: SHA-256 of each file that was looked at, by its full path; None of one that was not there.
        run_id: digest of what decides the outcome.
    """

    files: dict[str, str | None] = field(default_factory=dict)
    run_id: str = ""

    def digest(self, path: Path) -> str:
        """SHA-256 of a file, which an audit of this run must find to be the same."""
        found = sha256_file(path)
        self.files[os.path.abspath(path)] = found
        return found


def identity_of(request: AuditRequest) -> Identity:
    """Of file, data, resolved profile, seed and version: what decides the outcome, and nothing else."""
    known = Identity()
    known.run_id = digest_of(
        {
            "version": __version__,
            "model": _model_digest(known, request, request.model),
            "data": _data_digest(known, request.data),
            "labels": _data_digest(known, request.labels),
            "label column": request.label_column,
            "target column": request.target_column,
            "feature ranges": _data_digest(known, request.feature_ranges),
            "reference": request.reference,
            "classes": request.classes,
            "surrogates": [_auxiliary_digest(known, request, path) for path in request.surrogates],
            "stand-in": None if request.stand_in is None else _auxiliary_digest(known, request, request.stand_in),
            "input": request.input_values,
            "interface": [request.interface.output, request.interface.input, _fixed(known, request.interface.fixed)],
            "reading": [str(request.interface.rule), request.interface.fresh_state],
            "profile": request.profile.model_dump(mode="json", exclude={"gates", "description"}),
            "plug-ins": _plug_ins(request),
            "custom operators": [known.digest(path) for path in request.custom_ops],
            "seed": request.seed,
            "declared": request.declared_accuracy,
        }
        | ({} if request.search_precision == "float32" else {"search precision": request.search_precision})
        | _stopping(request)
    )
    return known


def _plug_ins(request: AuditRequest) -> dict[str, str]:
    """Source of the profile's attacks that are not ours, which the version does not tell."""
    from robaudit.attacks.registry import attack_classes  # loads torch, which whoever wants a file's digest may lack

    profile, known = request.profile, attack_classes()
    curve = [] if profile.curve is None else [*profile.curve.attacks, profile.curve.search]
    ids = {spec.id for spec in (*profile.attacks, *curve) if spec is not None}
    ours = f"{__name__.partition('.')[0]}."
    foreign = {id: known[id] for id in sorted(ids & known.keys()) if not known[id].__module__.startswith(ours)}
    return {id: sha256_file(Path(inspect.getfile(cls))) for id, cls in foreign.items()}


def _stopping(request: AuditRequest) -> dict[str, Any]:
    """The gates, where they decide how many samples are audited."""
    if not request.until_decided:
        return {}
    return {"until decided": [gate.model_dump(mode="json") for gate in request.profile.gates]}


def _fixed(known: Identity, values: Mapping[str, str]) -> dict[str, Any]:
    """Values of fixed inputs; of a file its content."""
    return {
        name: known.digest(Path(os.path.expanduser(text))) if Path(os.path.expanduser(text)).is_file() else text
        for name, text in values.items()
    }


def _model_digest(known: Identity, request: AuditRequest, path: Path) -> Any:
    """Of the model, the weights that it keeps in other files, and what is written beside it about its input and its
    classes."""
    if not path.is_file():
        return str(path)
    digest, others = known.digest(path), {}
    for file in files_beside(path):
        if file.is_file() and os.access(file, os.R_OK):
            others[_from(path.parent, file)] = known.digest(file)
        elif not os.path.lexists(file):
            known.files.setdefault(os.path.abspath(file), None)
    if may_have_weights_elsewhere(path):
        weights = in_child(digests, path, confinement=confinement_of(request), about=path)
        known.files |= {os.path.abspath(path.parent / name): found for name, found in weights.items()}
        others |= weights
    return [digest, others]


def _auxiliary_digest(known: Identity, request: AuditRequest, path: Path) -> Any:
    """The same of a model beside the one under audit; of one that cannot be looked at, its size and time."""
    try:
        model_format(path)
        return _model_digest(known, request, path)
    except RobauditError:  # the audit says why
        found = path.stat()
        return [str(path), found.st_size, found.st_mtime_ns]


def files_beside(model: Path) -> list[Path]:
    """Files that are read with a model where they are there: what its input means, and the names of its classes."""
    return list(dict.fromkeys((*files_with_meaning(model), *files_with_names(model))))


def _from(folder: Path, file: Path) -> str:
    """A file as it is named from a folder."""
    return Path(os.path.relpath(file, folder)).as_posix()


def _data_digest(known: Identity, path: Path | None) -> str | None:
    """Of a file its content; of a folder the names, sizes and times of its files (reading all would be slow; the audit
    itself does, and compares when it is taken up), and the content of its labels.

    Links are followed as the data's reader follows them.
    """
    if path is None:
        return None
    if path.is_file():
        return known.digest(path)
    found = walk(path) if path.is_dir() else None
    files = [] if found is None else sorted(found.files + found.others)
    folders = [] if found is None else found.classes
    labels = path / LABELS
    told = [known.digest(labels)] if labels.is_file() else []
    if not os.path.lexists(labels):
        known.files[os.path.abspath(labels)] = None
    times = [[str(p.relative_to(path)), p.stat().st_size, p.stat().st_mtime_ns] for p in files]
    return digest_of([folders, *told, times])


def folder_of(request: AuditRequest, folder: Path | None) -> tuple[Path, Identity]:
    """The run directory, by default ``.robaudit/MODEL-DIGEST``, and what names the run.

    Raises:
        UsageError: a file of the audit cannot be read, or the default is a link.
    """
    identity = identity_of(request)
    return folder or default_folder(request.model, identity.run_id), identity


def default_folder(model: Path, run_id: str) -> Path:
    """The run directory of an audit that names none, in the working directory.

    Raises:
        UsageError: it is a link, which may have come with somebody else's files.
    """
    folder = Path(".robaudit") / f"{model.stem}-{run_id[:12]}"
    if folder.is_symlink():
        raise UsageError(f"the run directory {folder} is a link; name it with --run-dir if it is yours")
    return folder
