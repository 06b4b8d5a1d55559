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


def sign_file(path: Path, key: Path) -> str:
    """Write the signature of a file beside it; returns the key's fingerprint.

    Raises:
        UsageError: the key is none, or the file cannot be read.
        AuditError: the signature cannot be written.
    """
    from robaudit.audit.stored.signing import SUFFIX, read_private, signature, signed_by
    from robaudit.errors import UsageError
    from robaudit.files import write_atomic

    private = read_private(key)
    try:
        content = path.read_bytes()
    except OSError as error:
        raise UsageError(f"the result {str(path)!r} cannot be read: {error.strerror or error}") from error
    write_atomic(path.with_name(path.name + SUFFIX), signature(content, private))
    return signed_by(private)
