"""Whose signature a result must bear, as a flag, a variable or ``robaudit.yaml`` says."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TypeAlias

import typer

if TYPE_CHECKING:
    from robaudit.audit.stored.signing import Trusted

__all__ = ["Verify", "sign_file", "trusted"]

VARIABLE = "ROBAUDIT_VERIFY"
Verify: TypeAlias = Annotated[
    Path | None,
    typer.Option(
        "--verify",
        help="Refuse a result that is not signed by this Ed25519 public key. Default: ROBAUDIT_VERIFY, then `verify` "
        "in the nearest robaudit.yaml.",
    ),
]


def trusted(flag: Path | None) -> Trusted | None:
    """The keys that results must be signed with: of the flag, else of the variable, else of the ``robaudit.yaml`` in
    the working directory or above; None: they need not be signed.

    Raises:
        UsageError: a file cannot be read, or is no public key.
    """
    from robaudit.audit.config.discovery import find_config, read_config
    from robaudit.audit.stored.signing import read_trusted
    from robaudit.errors import UsageError

    if flag is not None:
        return read_trusted(flag)
    if named := os.environ.get(VARIABLE):
        return read_trusted(Path(named))
    config = find_config(Path.cwd() / "result")
    if config is None:
        return None
    document = read_config(config)
    said = document.content.get("verify")
    if said is None:
        return None
    if not isinstance(said, str):
        raise UsageError(f"{document.where(('verify',))}: verify is the path of a public key")
    return read_trusted(config.parent / os.path.expanduser(said))


def sign_file(path: Path, key: Path, wrote: str | None = None) -> str:
    """Write the signature of a file beside it; returns the key's fingerprint.

    Args:
        path: of the file.
        key: private key.
        wrote: what this process has written there, so that nothing else is signed; None: what it holds is signed.

    Raises:
        UsageError: the key is none, or the file cannot be read.
        ChangedFileError: it holds something else than was written.
        AuditError: the signature cannot be written.
    """
    from robaudit.audit.stored.signing import SUFFIX, read_private, signature, signed_by
    from robaudit.errors import ChangedFileError, UsageError
    from robaudit.files import write_atomic

    private = read_private(key)
    try:
        content = path.read_bytes()
    except OSError as error:
        raise UsageError(f"the result {str(path)!r} cannot be read: {error.strerror or error}") from error
    if wrote is not None and content != wrote.encode():
        raise ChangedFileError(f"{str(path)!r} was changed after it was written, and is not signed")
    write_atomic(path.with_name(path.name + SUFFIX), signature(content, private))
    return signed_by(private)
