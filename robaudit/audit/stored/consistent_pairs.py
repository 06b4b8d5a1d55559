"""Whether what a result says of its comparison with a baseline can be true."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator

from robaudit.audit.result.document import Comparison, PairedChange, Result
from robaudit.audit.verdict.compare import change_of, change_words
from robaudit.stats.looks import at_share
from robaudit.stats.rates import CONFIDENCE

__all__ = ["comparison_faults", "retold"]

COMMON = r"; on the \d+ samples that both audits took \(one of them took \d+\)$"
"""What is added where one of the audits took fewer samples."""


def comparison_faults(result: Result, found: Comparison) -> Iterator[str]:
    """Its comparison with a baseline, as far as it follows from its own samples and the counts of the pairs."""
    confidence = at_share(CONFIDENCE, found.share)
    known = {sample.index: sample for sample in result.samples}
    counted = sum(sample.counted for sample in result.samples)
    most = 1.0 if result.sequential is None else result.sequential.share
    if not 0 < found.share <= most:
        yield f"comparison.share is {found.share:g}, and the audit may spend {most:g}"
        return
    for name, change in (("worst_case", found.worst_case), ("clean", found.clean)):
        if change is not None and not (_follows(change, confidence) and change.pairs <= counted):
            yield f"comparison.{name} does not follow from its counts of {change.pairs} pairs"
    standing = sum(sample.stands for sample in result.samples)
    alone = counted - found.worst_case.pairs
    if not standing - alone <= found.worst_case.new.k <= standing:
        yield f"comparison.worst_case.new is {found.worst_case.new.k}, and {standing} of its samples stand"
    lists = (found.newly_broken, found.worst_case.lost, False), (found.newly_fixed, found.worst_case.gained, True)
    for changed, count, stands in lists:
        if len(changed) != count:
            yield f"comparison counts {count} samples that changed, and lists {len(changed)}"
        for entry in changed:
            sample = known.get(entry.index)
            if sample is None or sample.id != entry.id or sample.stands != stands:
                yield f"comparison lists {entry.id} as changed, which its samples do not tell"
            elif entry.new_broken_by != sample.broken_by or (entry.base_state == "stands") == stands:
                yield f"comparison tells of {entry.id} what its samples do not"
    if (result.data.reference == "model") != (found.clean is None) or found.metric != result.worst_case.metric:
        yield "comparison measures something else than the audit"


def retold(found: Comparison | None) -> Comparison | None:
    """A comparison with its sentence written anew; how many samples the other audit took is in its old one alone."""
    if found is None:
        return None
    common = re.search(COMMON, found.message)
    words = change_words(found.worst_case, stability=found.metric == "stability")
    return found.model_copy(update={"message": words + (common[0] if common else "")})


def _follows(other: PairedChange, confidence: float) -> bool:
    """Whether the statistics of a change are those of its counts."""
    try:
        one = change_of(other.pairs, other.base.k, other.lost, other.gained, confidence)
    except ValueError:
        return False

    def close(a: float | None, b: float | None) -> bool:
        return a == b if a is None or b is None else math.isclose(a, b, rel_tol=1e-9, abs_tol=1e-12)

    figures = ("difference", "low", "high", "confidence", "p_value")
    rates = all(
        (a.k, a.n) == (b.k, b.n) and close(a.low, b.low) and close(a.high, b.high) and close(a.estimate, b.estimate)
        for a, b in ((one.base, other.base), (one.new, other.new))
    )
    return rates and one.outcome == other.outcome and all(close(getattr(one, f), getattr(other, f)) for f in figures)
