"""Batch state: is an input's answer the same alone and in company?"""

from __future__ import annotations

from robaudit.attacks.parameters import Positive
from robaudit.checks.base import Bench, Check, Finding, Measured, check_settings
from robaudit.checks.facts import CheckFacts, CheckRule

__all__ = ["BatchState"]


@check_settings
class BatchState(Check):
    """Warns where an input alone and in a permuted batch differ by more than ``threshold``.

    Such a file is asked singly.

    Args:
        threshold: largest relative difference of the scores that passes.
    """

    facts = CheckFacts(
        id="batch-state",
        title="The answer to an input depends on the others in its batch.",
        next_step="answers depend on the batch; export the file in evaluation mode",
        cost="nothing further: it is measured when the model is loaded",
        rule=CheckRule(
            "RA104",
            "CheckBatchState",
            "Such a file, often one exported in training mode, answers differently in use than in the audit; it is "
            "asked one input at a time.",
            "Export the file in evaluation mode.",
            "warning",
        ),
    )

    threshold: Positive = 1e-3

    def measure(self, bench: Bench) -> Measured:
        """Compare batches with single inputs."""
        return {"deviation": bench.target.batch_deviation()}

    def verdict(self, measured: Measured) -> Finding:
        """Compare with the threshold."""
        deviation = measured["deviation"]
        if deviation is None:
            return Finding("skipped", "the file takes one input at a time")
        if not deviation <= self.threshold:
            return Finding(
                "warn",
                f"an input's scores change by {deviation:.1e} with its batch; it was judged alone throughout",
                deviation,
                self.threshold,
            )
        return Finding("pass", f"scores alone and in a batch differ by {deviation:.1e}", deviation, self.threshold)
