"""Every failure that a user can cause or must hear of: one sentence each, with its exit code."""

from __future__ import annotations


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
