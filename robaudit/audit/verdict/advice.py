"""What to do about gates that are left open, so that a model's tests keep their confidence however many there are."""

from __future__ import annotations

from collections.abc import Sequence

from robaudit.audit.config.metrics import is_sequential
from robaudit.audit.result.document import Gate, Result
from robaudit.audit.verdict.decisions import sure
from robaudit.plural import counted

__all__ = ["of_open_gates"]


def of_open_gates(draft: Result, gates: Sequence[Gate]) -> list[str]:
    """Next steps, a sentence each.

    Args:
        draft: the audit.
        gates: that it left open.
    """
    steps: list[str] = []
    ended = draft.sequential is None or draft.sequential.stopped != "interrupted"
    again = [gate for gate in gates if gate.further_samples is not None and gate.further_confidence is not None]
    if again and ended:
        size, level = max(g.further_samples or 0 for g in again), max(g.further_confidence or 0 for g in again)
        sequential = any(is_sequential(gate.metric) for gate in again)
        flags = f"{'--until-decided ' if sequential else ''}--samples {size}"
        gone, allowed = (f"{100 * part:.3g}" for part in (_spent_of(again), 1 - again[0].confidence))
        steps.append(
            f"to test this model again, {flags} would decide if the estimate stayed{_short_of(draft, size)}; of the "
            f"{allowed} % error {gone} are spent, so that the further test is held to {sure(level)}: robaudit sees to "
            f"it where the run directories lie together; elsewhere, and for other data, write confidence: {level:.10g} "
            "at the gate"
        )
    none_left = [g for g in gates if g.further_confidence is None and g.samples_needed is None]
    spent = [g for g in none_left if g.spent is not None or g.earlier]
    if spent and ended:
        steps.append(
            f"{spent[0].metric} stays open: the tests of this model on this data have spent the gate's error, so that "
            "no further one can decide it; a bound that the interval clears can be set all the same (`robaudit gate`)"
        )
    unknown = [gate for gate in gates if gate.spent is None and gate.samples_needed is not None]
    if unknown and ended:
        size = max(gate.samples_needed or 0 for gate in unknown)
        steps.append(
            f"plan {unknown[0].metric} for a model that was not tested yet with --samples {size}; on this one a "
            f"further test is one more chance to err, of up to {1 - unknown[0].confidence:.2g}"
        )
    if any(g.samples_needed is None and g.further_confidence is not None for g in gates):
        steps.append("the estimate lies on a gate's bound: no sample size decides it, move the bound")
    if again and draft.sequential is None and any(is_sequential(gate.metric) for gate in again):
        steps.append(
            "audit the next model with --until-decided from the start: its looks share one error, so that it takes as "
            "many samples as the gate needs"
        )
    return steps


def _spent_of(gates: Sequence[Gate]) -> float:
    """Error of gates that this test and those before it have spent."""
    return max((1 - gate.confidence) - (1 - (gate.further_confidence or 0)) for gate in gates)


def _short_of(draft: Result, size: int) -> str:
    """A word on data that do not hold so many samples."""
    data = draft.data
    if data.asked is not None and data.drawn < data.asked and draft.sequential is None:
        return f" (the data hold {counted(data.drawn, 'distinct input')} alone)" if size > data.drawn else ""
    return f" (the data hold {counted(data.count, 'sample')} alone)" if size > data.count else ""
