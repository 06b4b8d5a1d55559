"""Comparing an audit with an earlier one of the same data, sample by sample."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Sequence
from typing import Any

from robaudit.audit.result import Baseline, ChangedSample, Comparison, PairedChange, Result, Sample
from robaudit.audit.sections.comparison import SampleState
from robaudit.errors import AuditError
from robaudit.paired_stats import mcnemar_p, paired_interval
from robaudit.sequential import at_share
from robaudit.stats import CONFIDENCE, rate

__all__ = ["check_comparable", "compare", "differences", "paired_change", "with_comparison"]

OF_INPUT = ("shape", "dtype", "layout", "channels", "domain", "features", "mean", "std", "scale", "resize")
"""What the input means; its name may differ."""


def with_comparison(result: Result, baseline: Result | None) -> Result:
    """A result with its comparison, for the gates to decide on; without a baseline as it is.

    Raises:
        AuditError: the two cannot be compared.
    """
    if baseline is None:
        return result
    check_comparable(baseline, result)
    return result.model_copy(update={"comparison": compare(baseline, result)})


def check_comparable(base: Result, new: Result) -> None:
    """Refuse to compare audits of different things, or with an audit that vouches for nothing.

    Raises:
        AuditError: what differs, and the command that makes a new baseline.
    """
    found = next(differences(base, new), None)
    if found is None:
        return
    raise AuditError(f"the audits cannot be compared: {found}; a new baseline: {_command(base, new)}")


def _command(base: Result, new: Result) -> str:
    """The new audit's command on the baseline's model."""
    try:
        words = shlex.split(new.run.command)
        place = words.index(new.target.file)
    except ValueError:
        return f"scan {base.target.file} with the options of `{new.run.command}`"
    words[place] = base.target.file
    kept = [word for i, word in enumerate(words) if not _is_of_comparison(words, i)]
    return shlex.join(kept)


def _is_of_comparison(words: Sequence[str], place: int) -> bool:
    """Whether a word is an option that a baseline itself does not take, or its value."""
    options = ("--baseline", "--non-inferiority-margin", "--output", "-o", "--run-dir")
    word, before = words[place], words[place - 1] if place else ""
    return word in options or before in options or word.startswith(tuple(f"{option}=" for option in options[:3]))


def differences(base: Result, new: Result) -> Iterator[str]:
    """What makes two audits incomparable, a clause each, the most telling first; the model is not looked at."""
    if base.tool.version != new.tool.version:
        yield f"the baseline is of robaudit {base.tool.version}, and this is {new.tool.version}"
    if base.worst_case.metric != new.worst_case.metric:
        yield f"the baseline measured {_kind(base)}, and this audit {_kind(new)}"
    yield from _of_data(base, new)
    mine, theirs = new.target.input.model_dump(mode="json"), base.target.input.model_dump(mode="json")
    for name in OF_INPUT:
        if mine[name] != theirs[name]:
            yield f"the input spec differs: {name} was {_short(theirs[name])} and is {_short(mine[name])}"
    threats = [r.threat_model.model_dump(exclude={"access", "eps_default", "eps_text"}) for r in (base, new)]
    for name in threats[0]:
        if threats[0][name] != threats[1][name]:
            yield f"the threat model differs: {name} was {_short(threats[0][name])} and is {_short(threats[1][name])}"
    if base.run.seed != new.run.seed:
        yield f"the seed was {base.run.seed} and is {new.run.seed}"
    yield from _of_attacks(base, new)
    yield from _soundness(base)


def _kind(result: Result) -> str:
    return "robust accuracy" if result.worst_case.metric == "robust_accuracy" else "stability"


def _short(value: Any) -> str:
    text = str(value)
    return text if len(text) <= 60 else text[:59] + "…"


def _of_data(base: Result, new: Result) -> Iterator[str]:
    if base.data.drawn != new.data.drawn:
        yield f"the data differ: {base.data.drawn} samples were drawn, and {new.data.drawn} are"
    elif base.data.sha256 != new.data.sha256:
        yield f"the data differ: their digest was {base.data.sha256[:12]} and is {new.data.sha256[:12]}"
    elif [sample.index for sample in base.samples] != [sample.index for sample in new.samples]:
        yield "the data differ: other samples were drawn"
    elif new.data.reference == "labels" and any(
        _relabelled(*pair) for pair in zip(base.samples, new.samples, strict=True)
    ):
        yield "the data differ: samples have other labels"
    if base.target.num_classes != new.target.num_classes:
        yield f"the classes differ: there were {base.target.num_classes}, and there are {new.target.num_classes}"
    elif base.data.classes != new.data.classes:
        yield f"the classes differ: they were {_names(base)} and are {_names(new)}"


def _relabelled(before: Sample, now: Sample) -> bool:
    return before.label is not None and now.label is not None and before.label != now.label


def _names(result: Result) -> str:
    return _short(", ".join(result.data.classes)) if result.data.classes else "without names"


def _of_attacks(base: Result, new: Result) -> Iterator[str]:
    helpers = [[str(path).replace("\\", "/").rpartition("/")[2] for path in _surrogates(r)] for r in (base, new)]
    if helpers[0] != helpers[1]:
        yield f"the attacks differ: the surrogates were {_short(helpers[0])} and are {_short(helpers[1])}"
    before, now = ({attack.id: attack for attack in result.attacks} for result in (base, new))
    if list(before) != list(now):
        gone, added = sorted(before.keys() - now.keys()), sorted(now.keys() - before.keys())
        words = [f"without {', '.join(gone)}"] if gone else []
        words += [f"with {', '.join(added)}"] if added else []
        yield f"the attacks differ: now {' and '.join(words) or 'in another order'}"
        return
    for id, attack in now.items():
        old = before[id]
        if attack.parameters != old.parameters:
            names = {**old.parameters, **attack.parameters}
            changed = [name for name in names if old.parameters.get(name) != attack.parameters.get(name)]
            yield f"the attacks differ: {id} has another {', '.join(sorted(changed))}"
        elif (attack.norm, attack.eps, attack.goal) != (old.norm, old.eps, old.goal):
            yield f"the attacks differ: {id} has another threat model"
        elif (attack.status == "skipped") != (old.status == "skipped"):
            yield f"the attacks differ: {id} was {old.status} and is {attack.status}"


def _surrogates(result: Result) -> list[Any]:
    """Paths of the surrogates; only their names are compared, because their folders may differ."""
    found = result.profile.settings.get("surrogates")
    return list(found) if isinstance(found, list) else []


def _soundness(base: Result) -> Iterator[str]:
    """A baseline that is incomplete, or whose checks failed, is none."""
    failed = [check.id for check in base.checks if check.status == "fail"]
    if failed:
        yield f"the baseline vouches for nothing, because its checks failed ({', '.join(failed)})"
    unfinished = [a.id for a in base.attacks if a.status in ("partial", "failed", "not run", "unavailable")]
    if unfinished or not base.run.complete:
        words = f" ({', '.join(unfinished)} did not run to the end)" if unfinished else ""
        yield f"the baseline is incomplete{words}"


def paired_change(pairs: Sequence[tuple[bool, bool]], confidence: float = CONFIDENCE) -> PairedChange:
    """The change of a property.

    Args:
        pairs: for each sample whether it has the property, before and now.
        confidence: of interval and test.
    """
    n = len(pairs)
    lost = sum(before and not now for before, now in pairs)
    gained = sum(now and not before for before, now in pairs)
    low, high = paired_interval(gained, lost, n, confidence) if n else (-1.0, 1.0)
    p = mcnemar_p(gained, lost)
    found = p < 1 - confidence
    return PairedChange(
        pairs=n,
        base=rate(sum(before for before, _ in pairs), n, confidence),
        new=rate(sum(now for _, now in pairs), n, confidence),
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
    """The comparison of two comparable audits; pure.

    Args:
        base: the baseline.
        new: the audit.
        confidence: of intervals and tests.
    """
    pairs = [(before, now) for before, now in zip(base.samples, new.samples, strict=True)]
    both = [(before, now) for before, now in pairs if before.counted and now.counted]
    if new.sequential is not None:
        confidence = at_share(confidence, new.sequential.share)  # so that it holds although the data ended the audit
    change = paired_change([(before.stands, now.stands) for before, now in both], confidence)
    stability = new.worst_case.metric == "stability"
    return Comparison(
        baseline=Baseline(
            run=base.run.id,
            finished=base.run.finished,
            file=base.target.file,
            sha256=base.target.sha256,
            command=base.run.command,
        ),
        same_model=base.target.sha256 == new.target.sha256,
        metric=new.worst_case.metric,
        worst_case=change,
        clean=None if stability else paired_change([(before.correct, now.correct) for before, now in both], confidence),
        left_out=len(pairs) - len(both),
        newly_broken=tuple(_changed(*pair) for pair in both if pair[0].stands and not pair[1].stands),
        newly_fixed=tuple(_changed(*pair) for pair in both if pair[1].stands and not pair[0].stands),
        message=_message(change, stability),
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


def _message(change: PairedChange, stability: bool) -> str:
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
