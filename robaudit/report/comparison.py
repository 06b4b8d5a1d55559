"""The comparison with a baseline, in words."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from robaudit.audit.result.document import ChangedSample, Comparison, PairedChange, Result
from robaudit.plural import counted
from robaudit.report.words import plain, short_rate

__all__ = ["change_words", "comparison_lines", "comparison_text", "fate_words"]

LISTED = 20
"""Changed samples listed each way; the JSON result has them all."""


def comparison_lines(comparison: Comparison, listed: int = LISTED) -> Iterator[tuple[int, str]]:
    """The comparison as lines, each with its depth: 0 facts, 1 samples.

    Args:
        comparison: of a result.
        listed: most samples listed each way.
    """
    base = comparison.baseline
    same = ", the same file byte for byte" if comparison.same_model else ""
    by = f" by robaudit {plain(base.version, 40)}" if base.version is not None else ""
    yield (
        0,
        f"baseline: {plain(base.file)}, sha256 {base.sha256[:16]}{same}; run {base.run[:12]} of {base.finished[:10]}"
        f"{by}",
    )
    yield 0, plain(comparison.message, 2000)
    change = comparison.worst_case
    yield 0, f"{_name(comparison)}: {short_rate(change.base)} before, {short_rate(change.new)} now"
    if comparison.clean is not None:
        yield 0, f"clean accuracy: {change_words(comparison.clean)}"
    if comparison.left_out:
        verb = "could not be judged in both audits and is/could not be judged in both audits and are"
        yield 0, f"{counted(comparison.left_out, 'sample', verb)} left out"
    yield from _samples("newly broken", comparison.newly_broken, listed)
    yield from _samples("newly fixed", comparison.newly_fixed, listed)


def _name(comparison: Comparison) -> str:
    return "robust accuracy" if comparison.metric == "robust_accuracy" else "stability"


def _samples(title: str, samples: Sequence[ChangedSample], listed: int) -> Iterator[tuple[int, str]]:
    if not samples:
        return
    yield 0, f"{title}: {len(samples)}"
    for sample in samples[:listed]:
        yield 1, f"{plain(sample.id, 80)}: {fate_words(sample)}"
    if len(samples) > listed:
        yield 1, f"and {len(samples) - listed} more; the JSON result has them all"


def change_words(change: PairedChange) -> str:
    """A change: both rates, the paired difference with its interval, and the test."""
    if change.difference is None:
        return "no pairs"
    interval = f"[{100 * change.low:+.1f}, {100 * change.high:+.1f}]"
    words = f"{short_rate(change.base)} before, {short_rate(change.new)} now; {100 * change.difference:+.1f} points "
    words += f"{interval} at {change.confidence:.0%}, {change.lost} lost and {change.gained} gained of {change.pairs}, "
    return words + f"p = {change.p_value:.3g}: {change.outcome}"


def fate_words(sample: ChangedSample) -> str:
    """What became of a sample in both audits."""
    before = _state(sample.base_state, sample.base_broken_by)
    return f"{before} before, {_state(sample.new_state, sample.new_broken_by)} now"


def _state(state: str, by: str | None) -> str:
    if state == "broken":
        return f"broken by {plain(by, 40)}" if by else "broken"
    return "stands" if state == "stands" else "misclassified without an attack"


def comparison_text(result: Result) -> str:
    """The comparison as plain text; nothing where there is no baseline."""
    if result.comparison is None:
        return ""
    lines = [f"{plain(result.target.file)} against the baseline"]
    lines += [f"{'    ' * depth}  {text}" for depth, text in comparison_lines(result.comparison)]
    return "\n".join(lines) + "\n"
