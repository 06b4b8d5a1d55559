"""The key that the journals of a user are sealed with, kept outside of every run directory.

Whoever can write to a run directory alone, as one that came with a repository or from a cache, cannot seal a record,
and what is not sealed is computed again. It is no guard against those who can read the user's own files.
"""

from __future__ import annotations

import contextlib
import hmac
import os
import secrets
import tempfile
from dataclasses import dataclass
from pathlib import Path

from robaudit.audit.ownfiles import open_own

__all__ = ["RunKey", "key_path", "run_key"]

SIZE = 32


@dataclass(frozen=True)
class RunKey:
    """The key of one run.

    Args:
        key: derived from the user's key and the run's id.
        name: tells keys apart, and tells nothing of them.
        problem: why the user's key could not be kept, in a sentence, so that this one is gone with the process; or
            None.
    """

    key: bytes
    name: str
    problem: str | None = None


def key_path() -> Path:
    """Where the user's key is kept: ``$XDG_STATE_HOME/robaudit/journal.key``, by default in ``~/.local/state``.

    Raises:
        OSError: the user has no home folder.
    """
    state = os.environ.get("XDG_STATE_HOME", "")
    if not os.path.isabs(state):
        try:
            state = str(Path.home() / ".local" / "state")
        except RuntimeError as error:
            raise FileNotFoundError(2, "there is no home folder") from error
    return Path(state) / "robaudit" / "journal.key"


def run_key(run_id: str, *, make: bool = True) -> RunKey:
    """The key of a run; ``make``: that of the user is made where there is none yet."""
    problem = None
    try:
        path = key_path()
        if make and not os.path.lexists(path):
            _make(path)
        master = _read(path)
    except OSError as error:
        where = "" if error.filename is None else f" {error.filename}"
        problem = f"the key{where} that the journal is sealed with cannot be kept: {error.strerror or error}"
        master = secrets.token_bytes(SIZE)
    key = hmac.digest(master, b"robaudit run " + run_id.encode(), "sha256")
    return RunKey(key, hmac.digest(key, b"name", "sha256").hex()[:16], problem)


def _make(path: Path) -> None:
    path.parent.parent.mkdir(parents=True, exist_ok=True)
    path.parent.mkdir(mode=0o700, exist_ok=True)
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=".journal.key.")  # readable by the user alone
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(secrets.token_bytes(SIZE))
            file.flush()
            os.fsync(file.fileno())
        with contextlib.suppress(FileExistsError):  # another audit was quicker
            try:
                os.link(temporary, path)
            except FileExistsError:
                raise
            except OSError:  # a file system without links
                os.replace(temporary, path)
    finally:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(temporary)


def _read(path: Path) -> bytes:
    with open_own(path, "rb") as file:
        about = os.fstat(file.fileno())
        owner = getattr(os, "geteuid", lambda: about.st_uid)()
        if (os.name == "posix" and about.st_mode & 0o077) or about.st_uid != owner:
            raise PermissionError(1, "it is not a file that you alone may read and write; remove it", str(path))
        content = file.read(SIZE + 1)
    if len(content) != SIZE:
        raise OSError(22, "it is damaged; remove it", str(path))
    return content
