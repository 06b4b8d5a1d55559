"""Writing a report: the suffix picks the format."""

from __future__ import annotations

import os
from pathlib import Path

from robaudit.audit.result.document import Result
from robaudit.errors import AuditError, RobauditError
from robaudit.files import write_atomic
from robaudit.report.base import Format
from robaudit.report.registry import format_of

__all__ = ["rendered", "write_report"]


def rendered(format: Format, result: Result, run: Path | None = None) -> bytes:
    """A report as the content of its file.

    Args:
        format: of the report.
        result: to report.
        run: the folder that holds the result and its evidence, or None.

    Raises:
        AuditError: the format fails.
    """
    try:
        content = format.render(result, run if format.evidence else None)
        return content if isinstance(content, bytes) else content.encode()
    except RobauditError:
        raise
    except Exception as error:  # of a package that is not ours too
        what = f"{type(error).__name__}: {' '.join(str(error).split())}"
        raise AuditError(f"the {format.name} report cannot be made: unexpected {what}; please report it") from error


def write_report(result: Result, path: str | os.PathLike[str], run: Path | None = None) -> bytes:
    """Render a result into a file, whole or not at all.

    Args:
        result: to report.
        path: whose suffix names the format.
        run: the folder that holds the result and its evidence, or None.

    Returns:
        What was written.

    Raises:
        UsageError: no format has this suffix.
        AuditError: the format fails, or the file cannot be written.
    """
    target = Path(path)
    content = rendered(format_of(target), result, run)
    write_atomic(target, content)
    return content
