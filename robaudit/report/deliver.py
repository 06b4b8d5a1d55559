"""What an audit hands out when it is over: its reports, and signatures."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path

from robaudit.audit.result.document import Result
from robaudit.audit.run.rundir import RESULT
from robaudit.audit.stored.trust import sign_file
from robaudit.errors import AuditError
from robaudit.report.render import write_report

__all__ = ["deliver"]


def deliver(
    result: Result,
    folder: Path,
    reports: Iterable[str],
    key: Path | None,
    told: Callable[[str], None] = lambda _: None,
) -> None:
    """Write the reports, and sign every result, that of the run directory too.

    Args:
        result: of the audit.
        folder: the run directory.
        reports: files to write.
        key: private key to sign with; None: nothing is signed.
        told: of each file, in words.

    Raises:
        AuditError: a report cannot be written or signed, which costs no other.
    """
    unwritten: list[str] = []
    files = {folder / RESULT: result.to_json().encode()}
    for report in reports:
        try:
            files[Path(report)] = write_report(result, report, folder)
            told(f"wrote {report}")
        except AuditError as error:
            unwritten.append(str(error))
    for path, wrote in files.items():
        if key is not None and path.suffix.lower() == ".json" and path.is_file():
            try:
                told(f"signed {path} by {sign_file(path, key, wrote)}")
            except AuditError as error:
                unwritten.append(str(error))
    if unwritten:
        raise AuditError("; ".join(unwritten))
