"""What a format of reports is; each declares itself as ``FORMAT`` in its own file."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from robaudit.audit.result.document import Result

__all__ = ["Format"]


@dataclass(frozen=True)
class Format:
    """A format of reports, made from the result, so that it can be written at the audit or years later.

    Args:
        name: as people call it.
        suffixes: of file names, in lower case with the dot, such as ``.cdx.json``; the longest that fits counts.
        help: one line: what the file holds.
        render: called with the result, and with the run directory where ``evidence`` says so (else with None); returns
            the whole file. It raises :class:`~robaudit.errors.RobauditError` with a sentence where it cannot.
        evidence: it shows evidence of the run directory, such as pictures, where there is one.

    Raises:
        ValueError: no suffix, or one that is not written as above.
    """

    name: str
    suffixes: tuple[str, ...]
    help: str
    render: Callable[[Result, Path | None], str | bytes]
    evidence: bool = False

    def __post_init__(self) -> None:
        if isinstance(self.suffixes, str) or not self.suffixes:
            raise ValueError(f"the format {self.name!r} needs a tuple of suffixes")
        for suffix in self.suffixes:
            if not suffix.startswith(".") or len(suffix) < 2 or suffix != suffix.lower():
                raise ValueError(f"a suffix is written in lower case with its dot, such as '.xml', not {suffix!r}")
