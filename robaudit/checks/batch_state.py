"""Batch state: is an input's answer the same alone and in company?"""

from __future__ import annotations

from robaudit.checks.base import Bench, Check, Finding, Measured

__all__ = ["BatchState"]

MOST = 1e-3


class BatchState(Check):
    """Warns where an input alone and in a permuted batch differ by more than 1e-3; such a file is asked singly."""

    id = "batch-state"

    def measure(self, bench: Bench) -> Measured:
        """Compare batches with single inputs."""
        return {"deviation": bench.target.batch_deviation()}

    def verdict(self, measured: Measured) -> Finding:
        """Compare with the threshold."""
        deviation = measured["deviation"]
        if deviation is None:
            return Finding("skipped", "the file takes one input at a time")
        if not deviation <= MOST:
            return Finding(
                "warn",
                f"an input's scores change by {deviation:.1e} with its batch; it was judged alone throughout",
                deviation,
                MOST,
            )
        return Finding("pass", f"scores alone and in a batch differ by {deviation:.1e}", deviation, MOST)
