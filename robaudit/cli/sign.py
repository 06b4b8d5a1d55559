"""``robaudit sign`` and ``robaudit verify``: who confirms a result."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from robaudit.plural import counted

__all__ = ["sign", "verify"]


def sign(
    result: Annotated[Path, typer.Argument(help="A result's JSON, or a run directory.")],
    key: Annotated[Path, typer.Option(help="Ed25519 private key: PEM (openssl genpkey), or OpenSSH's.")],
) -> None:
    """Sign a result with an Ed25519 key: RESULT.sig beside it, over its exact bytes."""
    from robaudit.audit.stored.file import load_result, result_path
    from robaudit.audit.stored.signing import SUFFIX
    from robaudit.audit.stored.trust import sign_file
    from robaudit.cli.output import write_lines

    path = result_path(result)
    load_result(path)  # nothing is signed that contradicts itself
    write_lines([f"{path}{SUFFIX}: signed by {sign_file(path, key)}"])


def verify(
    result: Annotated[Path, typer.Argument(help="A result's JSON, or a run directory.")],
    key: Annotated[
        Path | None,
        typer.Option(help="Ed25519 public key. Default: ROBAUDIT_VERIFY, then `verify` in the nearest robaudit.yaml."),
    ] = None,
) -> None:
    """Check a result's signature, and that all it says fits its samples; exit code 2 if not."""
    from robaudit.audit.stored.file import load_result, result_path
    from robaudit.audit.stored.signing import check_signature
    from robaudit.cli.output import write_lines
    from robaudit.cli.trust import trusted
    from robaudit.errors import UsageError

    keys = trusted(key)
    if keys is None:
        raise UsageError("name the public key: --key PUBLIC, ROBAUDIT_VERIFY, or `verify` in robaudit.yaml")
    path = result_path(result)
    found = load_result(path, keys)
    name = check_signature(path.read_bytes(), path, keys)
    write_lines([f"{path}: signed by {name}; its figures fit its {counted(len(found.samples), 'sample')}"])
