"""Comparing an audit with an earlier one of the same data, sample by sample."""

from __future__ import annotations

from collections.abc import Sequence

from robaudit.audit.result.document import Baseline, ChangedSample, Comparison, PairedChange, Result, Sample
from robaudit.audit.result.sections.comparison import SampleState
from robaudit.audit.verdict.comparable import check_comparable, paired
from robaudit.stats.looks import at_share
from robaudit.stats.paired import mcnemar_p, paired_interval
from robaudit.stats.rates import CONFIDENCE, rate

__all__ = ["change_of", "change_words", "compare", "paired_change", "with_comparison"]


def with_comparison(result: Result, baseline: Result | None) -> Result:
    """A result with its comparison, for the gates to decide on; without a baseline as it is.

    Raises:
        AuditError: the two cannot be compared.
    """
    if baseline is None:
        return result
    check_comparable(baseline, result)
    return result.model_copy(update={"comparison": compare(baseline, result)})


def paired_change(pairs: Sequence[tuple[bool, bool]], confidence: float = CONFIDENCE) -> PairedChange:
    """The change of a property.

    Args:
        pairs: for each sample whether it has the property, before and now.
        confidence: of interval and test.
    """
    lost = sum(before and not now for before, now in pairs)
    gained = sum(now and not before for before, now in pairs)
    return change_of(len(pairs), sum(before for before, _ in pairs), lost, gained, confidence)


def change_of(n: int, base: int, lost: int, gained: int, confidence: float = CONFIDENCE) -> PairedChange:
    """The change of a property of n samples.

    Args:
        n: samples.
        base: of them, those that had it before.
        lost: of these, those that have it no more; ``gained``: of the others, those that have it now.
        confidence: of interval and test.

    Raises:
        ValueError: no samples have such counts.
    """
    if not 0 <= lost <= base <= n - gained <= n:
        raise ValueError(f"{base} of {n} cannot lose {lost} and gain {gained}")
    low, high = paired_interval(gained, lost, n, confidence) if n else (-1.0, 1.0)
    p = mcnemar_p(gained, lost)
    found = p < 1 - confidence
    return PairedChange(
        pairs=n,
        base=rate(base, n, confidence),
        new=rate(base - lost + gained, n, confidence),
        lost=lost,
        gained=gained,
        difference=(gained - lost) / n if n else None,
        low=low,
        high=high,
        confidence=confidence,
        p_value=p,
        outcome=("worse" if lost > gained else "better") if found else "no change detected",
    )


def compare(base: Result, new: Result, confidence: float = CONFIDENCE) -> Comparison:
    """The comparison of two comparable audits, on the samples that both took; pure.

    Both go through the same order, so that where a sequential audit ended early the shorter one's samples are the first
    of the other's. All intervals spend the smaller of the shares of the error: by the union bound over the looks they
    hold whichever of the audits ended first.

    Args:
        base: the baseline.
        new: the audit.
        confidence: of intervals and tests.
    """
    pairs = paired(base, new)
    both = [(before, now) for before, now in pairs if before.counted and now.counted]
    share = min((result.sequential.share for result in (base, new) if result.sequential is not None), default=1.0)
    confidence = at_share(confidence, share)
    change = paired_change([(before.stands, now.stands) for before, now in both], confidence)
    stability = new.worst_case.metric == "stability"
    return Comparison(
        baseline=Baseline(
            version=base.tool.version,
            run=base.run.id,
            finished=base.run.finished,
            file=base.target.file,
            sha256=base.target.sha256,
            command=base.run.command,
        ),
        same_model=(base.target.sha256, base.target.external) == (new.target.sha256, new.target.external),
        metric=new.worst_case.metric,
        worst_case=change,
        clean=None if stability else paired_change([(before.correct, now.correct) for before, now in both], confidence),
        left_out=len(pairs) - len(both),
        share=share,
        newly_broken=tuple(_changed(*pair) for pair in both if pair[0].stands and not pair[1].stands),
        newly_fixed=tuple(_changed(*pair) for pair in both if pair[1].stands and not pair[0].stands),
        message=change_words(change, stability=stability) + _of_both(base, new, len(pairs)),
    )


def _state(sample: Sample) -> SampleState:
    return "stands" if sample.stands else "broken" if sample.correct else "misclassified"


def _changed(before: Sample, now: Sample) -> ChangedSample:
    return ChangedSample(
        id=now.id,
        index=now.index,
        base_state=_state(before),
        base_broken_by=before.broken_by,
        new_state=_state(now),
        new_broken_by=now.broken_by,
    )


def _of_both(base: Result, new: Result, common: int) -> str:
    """A word on an audit that ended before the other."""
    most = max(len(base.samples), len(new.samples))
    return f"; on the {common} samples that both audits took (one of them took {most})" if common < most else ""


def change_words(change: PairedChange, *, stability: bool) -> str:
    """What changed, with its statistics, in a clause."""
    name = "stability" if stability else "robust accuracy"
    if change.difference is None:
        return f"no sample was judged in both audits, so that nothing is known of the change of {name}"
    points = f"{100 * change.difference:+.1f} points"
    interval = f"{change.confidence:.0%} interval {100 * change.low:+.1f} to {100 * change.high:+.1f}"
    test = f"McNemar's exact test p = {change.p_value:.3g}"
    counts = f"{change.lost} newly broken, {change.gained} newly fixed, of {change.pairs}"
    if change.outcome == "no change detected":
        told = f"no change of {name} was detected, which does not show that there is none"
        return f"{told}: {points} ({interval}; {counts}; {test})"
    return f"{name} is {change.outcome} than in the baseline: {points} ({interval}; {counts}; {test})"
