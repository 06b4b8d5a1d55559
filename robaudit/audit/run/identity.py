"""What makes two audits the same: the digest that names a run."""

from __future__ import annotations

import inspect
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from robaudit import __version__
from robaudit.attacks.names import parts
from robaudit.audit.config.declaring import ALWAYS
from robaudit.audit.config.request import AuditRequest
from robaudit.audit.config.sets import declared_files
from robaudit.audit.config.settings import SETTINGS
from robaudit.audit.process.calling import in_child
from robaudit.audit.run.limits import confinement_of
from robaudit.checks.registry import check_class, own_checks
from robaudit.data.folder import LABELS, walk
from robaudit.data.registry import is_ours, reader_of
from robaudit.defenses.registry import parse_chain
from robaudit.detectors.registry import parse_detector
from robaudit.errors import RobauditError, UsageError
from robaudit.files import UNREAD, digest_of, sha256_file
from robaudit.target.files.onnx.external import digests, may_have_weights_elsewhere
from robaudit.target.files.remote.endpoint import is_endpoint, read_endpoint
from robaudit.target.files.sniff import model_format
from robaudit.target.inputs.beside import MOST
from robaudit.target.inputs.sidecar import files_with_meaning
from robaudit.target.reading.class_names import files_with_names

__all__ = ["Identity", "default_folder", "files_beside", "folder_of", "identity_of"]

APART: dict[str, Any] = {"gates": True, "description": True, "threat": {"sets"}}
"""Parts of a profile that do not name a run, or do so by the content of files."""


@dataclass
class Identity:
    """What names a run.

    Args:
        files: SHA-256 of each file that was looked at, by its full path; None of one that was not there, ``UNREAD`` of
            one that cannot be read and need not be.
        run_id: digest of what decides the outcome.
    """

    files: dict[str, str | None] = field(default_factory=dict)
    run_id: str = ""

    def digest(self, path: Path) -> str:
        """SHA-256 of a file, which an audit of this run must find to be the same."""
        found = sha256_file(path)
        self.files[os.path.abspath(path)] = found
        return found

    def digest_beside(self, path: Path) -> str | None:
        """The same of a file beside a model; None of one that is not there, or cannot be read and so says nothing."""
        try:
            found = sha256_file(path, MOST)
        except (OSError, UsageError):
            found = None
        state = UNREAD if found is None and os.path.lexists(path) else found
        if state is None:
            self.files.setdefault(os.path.abspath(path), None)
        else:
            self.files[os.path.abspath(path)] = state
        return found


def identity_of(request: AuditRequest) -> Identity:
    """Of what decides the outcome, and nothing else: version, model, resolved profile, plug-ins, and what each setting
    declares (``Setting.identity``)."""
    known = Identity()
    known.run_id = digest_of(
        {
            "version": __version__,
            "model": _model_digest(known, request, request.model),
            "profile": request.profile.model_dump(mode="json", exclude=APART),
            "plug-ins": _plug_ins(request),
        }
        | _of_settings(known, request)
        | _sets(known, request)
    )
    return known


def _of_settings(known: Identity, request: AuditRequest) -> dict[str, Any]:
    """The entries that settings declare; those that share one are put together by key or position."""
    found: dict[str, Any] = {}
    shared: dict[str, dict[str | int | None, Any]] = {}
    for declared, part in ((setting, part) for setting in SETTINGS.values() for part in setting.parts):
        value = vars(request.settings)[declared.name] if part.of is None else part.of(request)
        counts = part.unless is ALWAYS or value != part.unless
        entries = {part.within: _read(known, request, value, part.read)} if counts else {}
        if part.within is None:
            found |= {part.label: entries[None]} if counts else {}
        else:
            shared[part.label] = shared.get(part.label, {}) | entries
    for label, entries in shared.items():
        positions = sorted(place for place in entries if isinstance(place, int))
        found[label] = [entries[place] for place in positions] if positions else entries
    return found


def _read(known: Identity, request: AuditRequest, value: Any, how: str) -> Any:
    """A value as it counts: of files their content."""
    if isinstance(value, tuple) and how in ("file", "model"):
        return [_read(known, request, each, how) for each in value]
    if value is None or how == "value":
        return value
    if how == "model":
        return _auxiliary_digest(known, request, Path(value))
    return _data_digest(known, Path(value)) if how == "file" else _fixed(known, value)


def _plug_ins(request: AuditRequest) -> dict[str, str]:
    """Source of what is not ours (attacks, transforms, checks, defenses, detectors, reader), which the version does not
    tell."""
    # loads torch, which whoever wants a file's digest may lack
    from robaudit.attacks.registry import attack_classes, transform_classes
    from robaudit.surrogates.registry import surrogate_classes

    profile, known = request.profile, dict[str, type](transform_classes()) | dict[str, type](attack_classes())
    curve = [] if profile.curve is None else [*profile.curve.attacks, profile.curve.search]
    asked = profile.secrecy
    secrecy = () if asked is None else (*(asked.labels or ()), *(asked.scores or ()), *(asked.transfer or ()))
    matrix = () if profile.matrix is None else profile.matrix.attacks
    react = () if profile.reaction is None else profile.reaction.attacks
    ids = {
        id
        for spec in (*profile.attacks, *curve, *secrecy, *matrix, *react)
        if spec is not None
        for id in parts(spec.id)
    }
    chain = () if request.settings.defense is None else parse_chain(request.settings.defense)
    known |= {f"defense {one.id}": type(one) for one in chain}
    ids |= {f"defense {one.id}" for one in chain}
    if request.settings.detector is not None:
        detector = parse_detector(request.settings.detector)
        known |= {f"detector {detector.id}": type(detector)}
        ids |= {f"detector {detector.id}"}
    ours = f"{__name__.partition('.')[0]}."
    makers: dict[str, type] = dict(surrogate_classes())
    known |= {f"surrogate {spec.id}": makers[spec.id] for spec in profile.surrogates if spec.id in makers}
    ids |= {f"surrogate {spec.id}" for spec in profile.surrogates}
    foreign = {id: known[id] for id in sorted(ids & known.keys()) if not known[id].__module__.startswith(ours)}
    classes: dict[str, type] = dict(foreign)
    reader = None if request.data is None else reader_of(request.data)
    if reader is not None and not is_ours(reader):
        classes["data"] = type(reader)
    classes |= {f"check {id}": check_class(id) for id in profile.checks if id not in own_checks()}
    return {id: sha256_file(Path(inspect.getfile(cls))) for id, cls in classes.items()}


def _sets(known: Identity, request: AuditRequest) -> dict[str, Any]:
    """The perturbation sets, with the content of their files, and the source of those that are not ours."""
    if not request.profile.threat.sets:
        return {}
    ours = f"{__name__.partition('.')[0]}."
    told: list[Any] = []
    for one, paths in declared_files(request.profile):
        source = None if type(one).__module__.startswith(ours) else sha256_file(Path(inspect.getfile(type(one))))
        parameters = {name: value for name, value in one.content().items() if name not in one.files}
        told.append([one.id, parameters, [known.digest(path) for path in paths], source])
    return {"perturbation sets": told}


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
    if is_endpoint(path):
        digest = read_endpoint(path).identity()
    for file in files_beside(path):
        if (found := known.digest_beside(file)) is not None:
            others[_from(path.parent, file)] = found
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
