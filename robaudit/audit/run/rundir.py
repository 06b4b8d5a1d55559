"""The run directory: named by what is audited and how, locked while an audit works in it."""

from __future__ import annotations

import errno
import hmac
import json
import os
import shlex
import stat
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from robaudit.audit.journal.files import JOURNAL, POINTS
from robaudit.audit.journal.keys import RunKey, run_key
from robaudit.audit.ownfiles import read_own, strange
from robaudit.audit.result.archive import EVIDENCE
from robaudit.audit.result.pictures import FOLDER, clear_pictures
from robaudit.audit.run.locks import HOLDER, held, locked
from robaudit.errors import AuditError, UsageError
from robaudit.files import write_atomic
from robaudit.target.files.remote.answers import ANSWERS

__all__ = [
    "KEPT",
    "MARKER",
    "RESULT",
    "TESTS",
    "WORKER_LOCK",
    "check_apart",
    "claimable",
    "claimed",
    "command_of",
    "data_of",
    "model_of",
]

RESULT = "result.json"
MARKER = "robaudit-run.json"
TESTS = "tests.json"
RUN_LOCK, WORKER_LOCK = "run.lock", "worker.lock"
FILES = (JOURNAL, POINTS, RESULT, EVIDENCE, MARKER)
"""What an audit writes, and ``--fresh`` removes."""
KEPT = (*FILES, ANSWERS, TESTS, RUN_LOCK, WORKER_LOCK, HOLDER)
"""All files of the directory."""
MARKER_BYTES = 2**20
ORPHAN_SECONDS = 30.0
"""How long the worker of a killed audit may take to die."""


@contextmanager
def claimed(
    folder: Path, run_id: str, *, fresh: bool, key: RunKey, kept: Mapping[str, str] | None = None
) -> Iterator[str | None]:
    """Make the run directory, or take up the one that is there, and hold it.

    Args:
        folder: the directory.
        run_id: digest of what is audited and how.
        fresh: start over; only files that robaudit wrote are removed.
        key: of the run. What was written with another one is started over too.
        kept: what else the directory keeps for itself, which no report tells: full paths, the command as given.

    Yields:
        Why what was there does not count, in a sentence; None where it does, or nothing was there.

    Raises:
        UsageError: it cannot be written, holds another audit, another audit works in it, or something lies in it that
            is no file of robaudit's.
    """
    with _explained(folder):
        folder.mkdir(parents=True, exist_ok=True)
    _plain(folder)
    with locked(folder, RUN_LOCK, wait=1.0), held(folder):
        with locked(folder, WORKER_LOCK, wait=ORPHAN_SECONDS):
            pass
        with _explained(folder):
            told = _take_up(folder, run_id, key, kept or {}, fresh=fresh)
        yield told


def claimable(folder: Path, run_id: str, *, fresh: bool) -> None:
    """Refuse a run directory that :func:`claimed` would, and change nothing.

    Raises:
        UsageError: as :func:`claimed` does.
    """
    with _explained(folder):
        there = next(path for path in (folder, *folder.absolute().parents) if os.path.lexists(path))
        if not there.is_dir():
            code = errno.EEXIST if there == folder else errno.ENOTDIR
            raise OSError(code, os.strerror(code))
        if not os.access(there, os.W_OK | os.X_OK):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
        if not folder.exists():
            return
        _plain(folder)
        _fits(folder, run_id, fresh=fresh)
    if (folder / RUN_LOCK).exists():
        with locked(folder, RUN_LOCK, wait=1.0):
            pass


def check_apart(folder: Path, reports: Iterable[str | os.PathLike[str]], data: Path | None = None) -> None:
    """Refuse reports that would replace what the run directory keeps for itself, and a run directory among the data.

    Args:
        folder: the run directory.
        reports: files that will be written.
        data: folder of images, which would gain the pictures that the run directory keeps, or a file; None: not given.

    Raises:
        UsageError: a report has the name of such a file there, or the directory lies in the data.
    """
    if data is not None and data.is_dir():
        place, images = Path(os.path.realpath(folder)), Path(os.path.realpath(data))
        inside = place.is_relative_to(images)
        if inside and not any(part.startswith(".") for part in place.relative_to(images).parts):
            raise UsageError(
                f"the run directory {folder} lies in the data {data}, which it would change; choose another with "
                "--run-dir"
            )
    for path in map(Path, reports):
        if path.name in KEPT and path.parent.resolve() == folder.resolve():
            raise UsageError(f"the report {str(path)!r} would replace the run directory's own file; name it otherwise")


def _plain(folder: Path) -> None:
    """Refuse a directory in which others may have laid something that is no file of robaudit's.

    Raises:
        UsageError: it is another user's that anybody may write to, or a link, a pipe or a folder lies under the name of
            a file, dangling or not.
    """
    about = folder.stat()
    user = getattr(os, "geteuid", lambda: about.st_uid)()
    if about.st_uid not in (user, 0) and about.st_mode & stat.S_IWOTH:
        raise UsageError(f"the run directory {folder} is another user's that anybody may write to; choose another")
    wrong = {name: what for name in KEPT if (what := strange(folder / name)) is not None}
    pictures = folder / FOLDER
    if os.path.lexists(pictures) and (pictures.is_symlink() or not pictures.is_dir()):
        wrong[FOLDER] = strange(pictures) or "a file"
    for name, what in wrong.items():
        kind = "folder" if name == FOLDER else "file"
        raise UsageError(
            f"in the run directory {folder}, {name} is {what} and not robaudit's own {kind}; remove it, or choose "
            "another --run-dir"
        )


def _fits(folder: Path, run_id: str, *, fresh: bool) -> Mapping[str, Any] | None:
    """The marker where what the directory holds is this audit's; None where it is to be cleared.

    Raises:
        UsageError: it is another's.
    """
    marker = folder / MARKER
    if not marker.exists():
        foreign = [name for name in (*FILES, ANSWERS) if (folder / name).exists()]
        if foreign:
            raise UsageError(f"{folder} holds a {foreign[0]} that is of no audit; choose another --run-dir")
        return {}
    if fresh or not (folder / JOURNAL).exists():  # an audit that was refused left nothing
        return None
    content: dict[str, Any] = json.loads(read_own(marker, MARKER_BYTES))
    if content.get("run") != run_id:
        raise UsageError(
            f"{folder} holds another audit (of another file, data, profile, seed or version); choose another "
            "--run-dir, or --fresh to discard it"
        )
    return content


def _take_up(folder: Path, run_id: str, key: RunKey, kept: Mapping[str, str], *, fresh: bool) -> str | None:
    found, told = _fits(folder, run_id, fresh=fresh), None
    if found and found.get("key") != key.name:
        told = (
            "the run directory was written with the key of another user or machine, or with one that was not kept: "
            "nothing in it is believed, and all of it is computed again"
        )
    if found is None or told is not None:
        paid = () if told is None and not fresh else (ANSWERS,)  # answers outlive an audit that ended before it began
        for name in (*FILES, *paid):
            (folder / name).unlink(missing_ok=True)
        clear_pictures(folder)
    content = {"run": run_id, "key": key.name, **kept}
    try:
        write_atomic(folder / MARKER, json.dumps({**content, "seal": _seal(content, key)}) + "\n")
    except AuditError as error:
        raise error.__cause__ or error from None
    return told


def _seal(content: Mapping[str, Any], key: RunKey) -> str:
    """Of what a marker holds."""
    return hmac.digest(key.key, json.dumps(content, sort_keys=True).encode(), "sha256").hex()


def model_of(folder: Path, run_id: str) -> Path | None:
    """Where the audited file lay, as the directory of this run keeps it; None where it does not tell."""
    model = _marker(folder, run_id).get("model")
    return None if model is None else Path(model)  # whoever takes it compares its digest


def data_of(folder: Path, run_id: str) -> Path | None:
    """Where the audited data lay, likewise."""
    data = _marker(folder, run_id).get("data")
    return None if data is None else Path(data)


def command_of(folder: Path, run_id: str) -> str | None:
    """The command that reproduces this run wherever it is pasted, as its directory keeps it; None where it does not, or
    was written by another user or on another machine."""
    kept = _marker(folder, run_id)
    seal = kept.pop("seal", "")
    if not kept.get("command") or "folder" not in kept or not seal.isascii():
        return None
    if not hmac.compare_digest(seal, _seal(kept, run_key(run_id, make=False))):
        return None
    return f"cd {shlex.quote(kept['folder'])} && {kept['command']}"


def _marker(folder: Path, run_id: str) -> dict[str, str]:
    """What the directory keeps for itself of a run; nothing where it is another's, or damaged."""
    try:
        kept = json.loads(read_own(folder / MARKER, MARKER_BYTES))
        whole = kept["run"] == run_id and all(isinstance(value, str) for value in kept.values())
    except (OSError, ValueError, TypeError, LookupError, AttributeError, RecursionError):
        return {}
    return kept if whole else {}


@contextmanager
def _explained(folder: Path) -> Iterator[None]:
    try:
        yield
    except (OSError, ValueError, AttributeError, RecursionError) as error:
        reason = error.strerror if isinstance(error, OSError) else "its marker file is damaged"
        raise UsageError(
            f"the run directory {folder} cannot be used: {reason}; choose another with --run-dir"
        ) from error
