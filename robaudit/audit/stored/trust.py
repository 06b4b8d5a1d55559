"""Whose signature a result must bear, and signing one."""

from __future__ import annotations

import os
from pathlib import Path

from robaudit.audit.config.discovery import find_config, read_config
from robaudit.audit.stored.signing import SUFFIX, Trusted, read_private, read_trusted, signature, signed_by
from robaudit.errors import ChangedFileError, UsageError
from robaudit.files import write_atomic

__all__ = ["sign_file", "trusted"]

VARIABLE = "ROBAUDIT_VERIFY"


def trusted(named: Path | None) -> Trusted | None:
    """The keys that results must be signed with: of the file that is named, else of the variable, else of the
    ``robaudit.yaml`` in the working directory or above; None: they need not be signed.

    Raises:
        UsageError: a file cannot be read, or is no public key.
    """
    if named is not None:
        return read_trusted(named)
    if variable := os.environ.get(VARIABLE):
        return read_trusted(Path(variable))
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


def sign_file(path: Path, key: Path, wrote: bytes | None = None) -> str:
    """Write the signature of a file beside it; returns the key's fingerprint.

    Args:
        path: of the file.
        key: private key.
        wrote: what this process has written there, so that nothing else is signed; None: what it holds is signed.

    Raises:
        UsageError: it is no key, or the file cannot be read.
        ChangedFileError: it holds something else than was written.
        AuditError: the signature cannot be written.
    """
    private = read_private(key)
    try:
        content = path.read_bytes()
    except OSError as error:
        raise UsageError(f"the result {str(path)!r} cannot be read: {error.strerror or error}") from error
    if wrote is not None and content != wrote:
        raise ChangedFileError(f"{str(path)!r} was changed after it was written, and is not signed")
    write_atomic(path.with_name(path.name + SUFFIX), signature(content, private))
    return signed_by(private)
