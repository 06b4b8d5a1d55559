"""From the audits without and with something to what it changes; pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection
from dataclasses import dataclass

from robaudit.audit.result.document import PairedChange, Result, Sample
from robaudit.audit.several.document import Bare, Outcome
from robaudit.audit.verdict.compare import paired_change
from robaudit.errors import AuditError
from robaudit.threat.goals import is_right

__all__ = ["Changes", "bare_row", "changes"]


def bare_row(result: Result, folder: str) -> Bare:
    """The audit without a defense."""
    return Bare(
        run=result.run.id,
        folder=folder,
        clean=result.clean.accuracy,
        robust=paired_change([(sample.stands, sample.stands) for sample in result.samples if sample.counted]).new,
        complete=result.run.complete,
        failed_checks=_failed(result),
    )


@dataclass(frozen=True)
class Changes:
    """What a defense or a detector changes, paired with the model without it, and how far that can be relied on."""

    clean: PairedChange
    plain: PairedChange
    adaptive: PairedChange
    false_security: PairedChange
    broken_by: dict[str, int]
    failed_checks: tuple[str, ...]
    outcome: Outcome


def changes(bare: Result, behind: Result, fooled: Collection[int], words: str) -> Changes:
    """What the audits without and with something tell of it.

    A sample stands against plain attacks where the model behind the defense answers it as the reference says, and is
    not fooled by the example that was made of it without the defense; the sample itself is the example where the model
    without a defense is wrong without one. An attacker who knows the defense has these examples, too.

    Args:
        bare: the audit without it.
        behind: the audit with it, on the same samples.
        fooled: indices of the samples of which an example of the first still fools.
        words: that name it.

    Raises:
        AuditError: the two have no sample in common.
    """
    now = {sample.index: sample for sample in behind.samples}
    pairs = [(one, now[one.index]) for one in bare.samples if one.index in now and one.counted]
    if not pairs:
        raise AuditError(f"the audits with and without {words} have no sample in common")
    correct = [_right(before, after) for before, after in pairs]
    plain = [right and before.index not in fooled for right, (before, _) in zip(correct, pairs, strict=True)]
    known = [stands and after.broken_by is None for stands, (_, after) in zip(plain, pairs, strict=True)]
    stood = [before.stands for before, _ in pairs]
    adaptive = paired_change(list(zip(stood, known, strict=True)))
    feigned = paired_change(list(zip(known, plain, strict=True)))
    broken = Counter(sample.broken_by for sample in behind.samples if sample.counted and sample.broken_by is not None)
    return Changes(
        clean=paired_change([(before.correct, right) for right, (before, _) in zip(correct, pairs, strict=True)]),
        plain=paired_change(list(zip(stood, plain, strict=True))),
        adaptive=adaptive,
        false_security=feigned,
        broken_by={attack.id: broken[attack.id] for attack in behind.attacks if broken[attack.id]},
        failed_checks=_failed(behind),
        outcome=_outcome(adaptive, feigned),
    )


def _right(before: Sample, after: Sample) -> bool:
    """Whether the model behind a defense answers a sample as the reference of the audit without one says."""
    return after.clean_prediction is not None and bool(is_right(after.clean_prediction, before.label, after.rejected))


def _failed(result: Result) -> tuple[str, ...]:
    return tuple(check.id for check in result.checks if check.status == "fail")


def _outcome(adaptive: PairedChange, feigned: PairedChange) -> Outcome:
    if adaptive.outcome == "better":
        return "adds robustness"
    if adaptive.outcome == "worse":
        return "costs robustness"
    return "false security" if feigned.outcome == "better" else "no gain found"
