"""Determinism: does the same input give the same answer?"""

from __future__ import annotations

from robaudit.checks.base import Bench, Check, Finding, Measured

__all__ = ["Determinism"]

MOST = 1e-4

OFFER = "--fresh-state audits the answer that it gives first after loading"
KEPT = "--fresh-state could not undo it"


class Determinism(Check):
    """Fails where five repeats of an input differ by more than 1e-4: single answers cannot judge such a file.

    Fresh loads tell a file that keeps a state between its calls from one that is random: they answer alike.
    """

    id = "determinism"

    def measure(self, bench: Bench) -> Measured:
        """Ask five times."""
        return {
            "deviation": bench.target.repeat_deviation(),
            "state": bench.target.keeps_state(),
            "fresh": bench.target.fresh_state,
        }

    def verdict(self, measured: Measured) -> Finding:
        """Compare with the threshold."""
        deviation = measured["deviation"]
        if not deviation <= MOST:
            why = {
                True: "the file keeps a state between calls (loaded afresh, it repeats its answers), so that an answer "
                "depends on what was asked before; " + (KEPT if measured.get("fresh") else OFFER),
                False: "the model is random, and a random model cannot be judged on single draws",
                None: "the model is random, or keeps a state between calls, and cannot be judged on single answers",
            }[measured.get("state")]
            return Finding("fail", f"five answers to the same input differ by {deviation:.1e}: {why}", deviation, MOST)
        return Finding("pass", f"five answers to the same input differ by {deviation:.1e}", deviation, MOST)
