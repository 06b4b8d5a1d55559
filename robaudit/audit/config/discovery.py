"""Finds the ``robaudit.yaml`` of a model, and keeps one that a stranger has written from reaching beyond its folder.

Whose file counts is decided as git decides it (``safe.directory``, CVE-2022-24765): one of another user is refused, as
is one of root, and only the environment can allow it.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from pathlib import Path

from robaudit.audit.config.yaml_file import read_settings
from robaudit.documents import MOST as LARGEST
from robaudit.documents import Document
from robaudit.errors import UsageError
from robaudit.files import open_regular

__all__ = ["ALLOWED", "CONFIG_NAME", "beyond", "find_config", "read_config"]

CONFIG_NAME = "robaudit.yaml"
ALLOWED = "ROBAUDIT_SAFE_DIRECTORY"
"""Variable with the folders whose files count whoever owns them: ``DIR``, ``DIR/*`` for all below, ``*`` for any."""


def find_config(model: Path, environment: Mapping[str, str] | None = None) -> Path | None:
    """The nearest ``robaudit.yaml`` in the model's folder or above.

    The search ends with the root of a repository, the home folder, or the root of a mounted file system.

    Args:
        model: path of the model.
        environment: variables; default those of the process.

    Raises:
        UsageError: the nearest one is no ordinary file, or another user's.
    """
    for folder in _upward(model):
        path = folder / CONFIG_NAME
        if os.path.lexists(path):
            _check(path, os.environ if environment is None else environment)
            return path
    return None


def _upward(model: Path) -> Iterator[Path]:
    # Without links the parents are those that the user sees; with ".." only the system knows them.
    folder = Path(os.path.realpath(model.parent)) if ".." in model.parts else model.absolute().parent
    home = os.path.realpath(os.path.expanduser("~"))
    for parent in (folder, *folder.parents):
        yield parent
        if os.path.lexists(parent / ".git") or os.path.realpath(parent) == home or os.path.ismount(parent):
            return


def read_config(path: Path, environment: Mapping[str, str] | None = None) -> Document:
    """The settings of a file that was found; whose it is is asked of the very file that is read.

    Raises:
        UsageError: it cannot be read, is another user's, or is no map of settings.
    """
    try:
        with open_regular(path) as file:
            _check(path, os.environ if environment is None else environment, os.fstat(file.fileno()))
            raw = file.read(LARGEST + 1)
    except OSError as error:
        raise UsageError(f"{path} cannot be read: {error.strerror or error}") from error
    if len(raw) > LARGEST:
        raise UsageError(f"{path} is larger than the {LARGEST // 1024} kB that such a file may have; refused")
    return read_settings(path, raw)


def _check(path: Path, environment: Mapping[str, str], opened: os.stat_result | None = None) -> None:
    """Refuse a file of another user, or a link of one; ``opened``: of the file that the path led to."""
    try:
        owners = {path.lstat().st_uid, (opened or path.stat()).st_uid}
    except OSError as error:
        raise UsageError(f"{path} cannot be read: {error.strerror or error}") from error
    if not path.is_file():
        raise UsageError(f"{path} is no ordinary file; remove or rename it")
    strangers = owners - _own_users(environment)
    if strangers and not _allowed(path.parent, environment.get(ALLOWED, "")):
        raise UsageError(
            f"{path} belongs to another user ({_name(min(strangers))}) and could change what is audited and where "
            f"reports are written; remove it, make it yours, or set {ALLOWED}={path.parent} if you trust it"
        )


def _own_users(environment: Mapping[str, str]) -> set[int]:
    """Users whose files count: this one, and for root the one who used sudo."""
    if not hasattr(os, "geteuid"):  # Windows, where st_uid is always 0
        return {0}
    user = os.geteuid()
    sudo = environment.get("SUDO_UID", "")
    return {user, int(sudo)} if user == 0 and sudo.isdecimal() and len(sudo) < 11 else {user}


def _allowed(folder: Path, listed: str) -> bool:
    real = os.path.realpath(folder)
    for entry in filter(None, listed.split(os.pathsep)):
        if entry == "*":
            return True
        base = os.path.realpath(entry.removesuffix("*") if entry.endswith(("/*", f"{os.sep}*")) else entry)
        if real == base or (entry.endswith("*") and Path(real).is_relative_to(base)):
            return True
    return False


def _name(user: int) -> str:
    try:
        import pwd

        return pwd.getpwuid(user).pw_name
    except (ImportError, KeyError):
        return f"number {user}"


def beyond(path: str | os.PathLike[str], folder: Path) -> bool:
    """Whether a path leads out of a folder, links resolved."""
    return not Path(os.path.realpath(path)).is_relative_to(os.path.realpath(folder))
