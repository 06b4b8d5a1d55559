"""Reading and writing result files."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path
from typing import Any, NoReturn

from pydantic import ValidationError

from robaudit.audit.result.document import OLDEST_READ, SCHEMA_VERSION, Result, content_digest
from robaudit.audit.stored.signing import Trusted, check_signature
from robaudit.audit.stored.verify import verified
from robaudit.errors import UsageError
from robaudit.files import open_regular, write_atomic

__all__ = ["load_result", "parse_result", "read_result", "result_path", "save_result"]


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is no JSON number")


def parse_result(text: str | bytes, name: str) -> Result:
    """The result that a JSON text holds.

    Args:
        text: JSON.
        name: what to call the text in an error.

    Raises:
        UsageError: invalid or truncated JSON, a schema version that is not read, content that the schema refuses, that
            was edited, or that does not fit its own samples (:func:`robaudit.audit.stored.verify.verified`).
    """
    try:
        content: Any = json.loads(text, parse_constant=_no_constant)
    except UnicodeDecodeError as error:
        raise UsageError(f"{name} is not a robaudit result: it is not UTF-8 text") from error
    except json.JSONDecodeError as error:
        where = f"line {error.lineno}, column {error.colno}"
        raise UsageError(f"{name} is truncated or not valid JSON ({where}: {error.msg})") from error
    except (ValueError, RecursionError) as error:
        raise UsageError(f"{name} is not valid JSON: {error}") from error
    if not isinstance(content, dict) or "schema_version" not in content:
        raise UsageError(f"{name} is not a robaudit result: it has no schema_version")
    older = _is_older(content["schema_version"], name)
    digest = content.pop("digest", None)
    try:
        result = Result.model_validate(content | {"schema_version": SCHEMA_VERSION})
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise UsageError(f"{name} is not a valid robaudit result: {where}: {first['msg']}") from error
    if digest != content_digest(content):
        raise UsageError(
            f"{name} was changed after robaudit wrote it: its digest does not fit its content; take the original, or "
            "audit again"
        )
    return verified(result, name, older=older)


def _is_older(version: object, name: str) -> bool:
    """Whether a result was written with an older minor of the schema, which is read all the same.

    Raises:
        UsageError: it is of a version that is not read, with what to do.
    """
    match = re.fullmatch(r"([1-9][0-9]{0,5})\.(0|[1-9][0-9]{0,5})", version) if isinstance(version, str) else None
    given = (int(match[1]), int(match[2])) if match is not None else (0, 0)
    oldest, own = (tuple(int(part) for part in text.split(".")) for text in (OLDEST_READ, SCHEMA_VERSION))
    if oldest <= given <= own:
        return given < own
    todo = "update robaudit" if given > own else "scan again, or use the robaudit that wrote it"
    reads = SCHEMA_VERSION if oldest == own else f"{OLDEST_READ} to {SCHEMA_VERSION}"
    raise UsageError(f"{name} has schema version {version!s:.20}, and this robaudit reads {reads}; {todo}")


def load_result(path: str | os.PathLike[str], trusted: Trusted | None = None) -> Result:
    """Read a result file.

    Args:
        path: of the file.
        trusted: keys, one of which must have signed it; None: it need not be signed.

    Raises:
        UsageError: it cannot be read, is not signed by one of the keys, or is not a result that :func:`parse_result`
            takes.
    """
    text = read_result(path)
    if trusted is not None:
        check_signature(text, Path(path), trusted)
    return parse_result(text, str(path))


def read_result(path: str | os.PathLike[str]) -> bytes:
    """The bytes of a result file, which are what is checked and what is believed.

    Raises:
        UsageError: it cannot be read.
    """
    try:
        with open_regular(path) as file:
            return file.read()
    except OSError as error:
        raise UsageError(f"the result {str(path)!r} cannot be read: {error.strerror or error}") from error


def result_path(run: Path) -> Path:
    """The result file of a run directory, or the file itself."""
    return run / "result.json" if run.is_dir() else run


def save_result(result: Result, path: str | os.PathLike[str]) -> None:
    """Write a result file, whole or not at all.

    Raises:
        AuditError: the file cannot be written.
    """
    write_atomic(path, result.to_json())
