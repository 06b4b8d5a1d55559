"""Determinism: does the same input give the same answer?"""

from __future__ import annotations

from robaudit.checks.base import Bench, Check, Finding, Measured

__all__ = ["Determinism"]

MOST = 1e-4


class Determinism(Check):
    """Fails where five repeats of an input differ by more than 1e-4: a random target needs fresh draws to judge."""

    id = "determinism"

    def measure(self, bench: Bench) -> Measured:
        """Ask five times."""
        return {"deviation": bench.target.repeat_deviation()}

    def verdict(self, measured: Measured) -> Finding:
        """Compare with the threshold."""
        deviation = measured["deviation"]
        if not deviation <= MOST:
            return Finding(
                "fail",
                f"five answers to the same input differ by {deviation:.1e}: the model is random, and a random "
                "model cannot be judged on single draws",
                deviation,
                MOST,
            )
        return Finding("pass", f"five answers to the same input differ by {deviation:.1e}", deviation, MOST)
