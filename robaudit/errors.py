"""Every failure that a user can cause or must hear of: one sentence each, with its exit code."""

from __future__ import annotations

import errno
import re

__all__ = [
    "AuditError",
    "AuditInterrupted",
    "ChangedFileError",
    "FinalError",
    "RobauditError",
    "UnreadableSampleError",
    "UnsupportedOperatorError",
    "UsageError",
    "on_one_line",
    "path_words",
    "reason",
]

PATHS = (
    *(errno.ENOENT, errno.ENOTDIR, errno.EISDIR, errno.ENAMETOOLONG, errno.ELOOP, errno.EACCES, errno.EPERM),
    *(errno.EIO, errno.ESTALE, errno.ENXIO, errno.ENODEV),
)
"""What is wrong with a path, or with what lies there: taken away, or closed, wherever it is used first."""
PLACE = re.compile(r"\S*\.(?:cc|cpp|cu|h):\d+ ")
"""Where in its own source a runtime failed, which comes before what failed."""
STATUS = re.compile(r"\[ONNXRuntimeError\] : \d+ : \w+ : ")


class RobauditError(Exception):
    """Base of all errors whose text is meant for the user: one sentence, what is wrong and what to do."""

    exit_code = 3


class UsageError(RobauditError):
    """Input is refused before the audit starts (exit 2)."""

    exit_code = 2


class AuditError(RobauditError):
    """The audit started and could not be completed (exit 3)."""


class AuditInterrupted(AuditError):  # noqa: N818
    """The audit was stopped by the user or the system (exit 130)."""

    exit_code = 130


class FinalError(AuditError):
    """Nothing more can be asked or believed: it ends the audit, and does not cost one attack, check or sample alone."""


class ChangedFileError(FinalError):
    """A file is not what it was when it was looked at: what was checked would not be what is used (exit 3)."""


class UnsupportedOperatorError(RobauditError):
    """An ONNX operator that the importer lacks, so that the graph has no torch twin (no gradient).

    ``str(error)`` names the operator; ``operator`` is ``domain::OpType-opset`` (``ai.onnx`` left out).
    """

    def __init__(self, operator: str, node: str = "") -> None:
        super().__init__(f"operator {operator} has no torch counterpart yet" + (f" (node {node})" if node else ""))
        self.operator = operator
        self.node = node


class UnreadableSampleError(RobauditError):
    """One sample cannot be read; it costs that sample alone."""


def path_words(error: OSError) -> str | None:
    """The sentence for a file or folder that the system does not give; None where it was something else."""
    if error.filename is None or error.errno not in PATHS:
        return None
    return f"{str(error.filename)[-200:]!r} cannot be used: {error.strerror}"


def on_one_line(error: object, most: int | None = None) -> str:
    """The text of an error on one line, of at most so many characters; its type's name where it says nothing."""
    return " ".join(str(error).split())[:most] or type(error).__name__


def reason(error: BaseException | str, most: int = 400) -> str:
    """What a library says is wrong, on one line: without places and signatures of its own source, which come first.

    What is too long loses its middle, for the reason tends to stand at an end.

    Args:
        error: the error, or its text.
        most: characters.
    """
    system = getattr(error, "strerror", None)  # which the text of the error has with a number and a path
    text = STATUS.sub("", " ".join(str(system or error).split()))
    while (place := PLACE.search(text)) is not None:
        rest = _after_signature(text[place.end() :])
        if not rest:
            break
        text = text[: place.start()] + rest
    if len(text) > most:
        text = f"{text[: most // 2 - 2]} ... {text[-(most // 2 - 3) :]}"
    return text or type(error).__name__


def _after_signature(text: str) -> str:
    """What follows ``name(arguments) const`` in C++; the whole text where it does not begin so."""
    opened = text.find("(")
    if opened < 0 or ("::" not in text[:opened] and " " in text[:opened].strip()):
        return text
    depth = 0
    for place, letter in enumerate(text[opened:], opened):
        depth += (letter == "(") - (letter == ")")
        if depth == 0:
            return text[place + 1 :].removeprefix(" const").strip()
    return text
