"""The evidence of a run against its result: neither tells of an adversarial example that the other does not."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from robaudit.audit.result.archive import EVIDENCE, NEAREST, Example, check_artefacts, read_examples
from robaudit.audit.result.derive import of_every, with_curve
from robaudit.audit.result.document import Attack, Result, Sample
from robaudit.errors import AuditError

__all__ = ["Claim", "evidence_of", "kept_arrays", "told_of"]


@dataclass(frozen=True)
class Claim:
    """An adversarial example, and what the result tells of it.

    Args:
        example: from the archive.
        attack: that found it.
        distance: that the result tells, None where it tells of another class of that sample.
        nearest: whether the curve rests on it, so that it may lie outside of the ball.
    """

    example: Example
    attack: Attack
    distance: float | None
    nearest: bool = False


def evidence_of(folder: Path, result: Result, *, kept: bool) -> list[Claim]:
    """The adversarial examples: each is what the result tells of its sample, and each sample that fell, or has a place
    on a curve, has its own.

    Args:
        folder: that the archive's path is relative to.
        result: of the audit.
        kept: whether the folder is a run's own, where nothing else may lie.

    Raises:
        AuditError: archive and result do not fit each other.
    """
    evidence = result.evidence
    if evidence.path is None:
        if any(sample.broken_by is not None for sample in result.samples):
            raise AuditError("the result tells of broken samples and names no evidence: there is nothing to replay")
        if result.detector is not None and result.detector.arrays:
            raise AuditError("the result tells of a detector that was fitted and names no evidence that holds it")
        if kept and (folder / EVIDENCE).exists():
            raise AuditError(f"the result says that nothing was broken, and {EVIDENCE} lies beside it")
        return []
    check_artefacts(folder, evidence, kept_arrays(result))
    broken = _read(folder, result, evidence.count, "")
    near = _read(folder, result, evidence.nearest, NEAREST)
    if len({example.original.shape for example in (*broken, *near)}) > 1:
        raise AuditError(f"{evidence.path} does not fit the result: its samples differ in shape")
    return [*_breaches(result, broken), *_nearest(result, near)]


def kept_arrays(result: Result) -> dict[str, tuple[int, ...]]:
    """Names and shapes of the arrays in the archive that attacks, and a detector, were fitted to."""
    found = {name: shape for fit in result.fits for name, shape in fit.arrays.items()}
    return found | ({} if result.detector is None else result.detector.arrays)


def _read(folder: Path, result: Result, count: int, prefix: str) -> list[Example]:
    path = result.evidence.path
    examples = read_examples(folder, result.evidence, count + 1, prefix)
    if len(examples) != count:
        more = "more" if len(examples) > count else len(examples)
        raise AuditError(f"{path} holds {more} {'nearest ' if prefix else ''}examples, and the result tells of {count}")
    return examples


def _breaches(result: Result, examples: Sequence[Example]) -> Iterator[Claim]:
    """What broke each sample."""
    seen: dict[tuple[int, str], set[int | None]] = {}
    for example, sample, attack in _placed(result, examples):
        reached = seen.setdefault((example.index, attack.norm), set())
        fault = _misfit(example, sample, attack, result)
        if fault is not None or example.target in reached:
            raise _unfit(result, sample.id, fault or "it comes twice")
        reached.add(example.target)
        told = told_of(sample, attack)
        yield Claim(example, attack, None if of_every(result.threat_model) or told is None else told[2])
    every = of_every(result.threat_model) and not result.threat_model.also
    for sample in result.samples:
        norms = [b.norm for b in sample.breaches] or [result.threat_model.norm] * (sample.broken_by is not None)
        for norm in norms:
            had = seen.get((sample.index, norm), set())
            if not had or (every and had != set(sample.reached) and had != {None}):
                raise AuditError(f"the evidence holds no example of {sample.id}, which the result calls broken")


def _nearest(result: Result, examples: Sequence[Example]) -> Iterator[Claim]:
    """What the curves rest on: the nearest of each sample in each norm."""
    attacks = {attack.id: attack for attack in result.attacks}
    smallest: dict[tuple[int, str], float] = {}
    for sample in result.samples if with_curve(result) else ():
        for entry in sample.nearest:
            key = sample.index, attacks[entry.attack].norm
            smallest[key] = min(entry.distance, smallest.get(key, entry.distance))
    for example, sample, attack in _placed(result, examples):
        distance = smallest.pop((sample.index, attack.norm), None)
        told = {entry.attack for entry in sample.nearest}
        if distance is None or example.attack not in told or sample.label != example.label:
            raise _unfit(result, sample.id, f"the result does not tell of this {attack.norm} distance, or only once")
        yield Claim(example, attack, distance, nearest=True)
    if smallest:
        index, norm = min(smallest)
        raise AuditError(f"the evidence does not hold the nearest example of sample {index} in {norm}")


def _placed(result: Result, examples: Sequence[Example]) -> Iterator[tuple[Example, Sample, Attack]]:
    known = {sample.index: sample for sample in result.samples}
    attacks = {attack.id: attack for attack in result.attacks}
    for example in examples:
        if example.index not in known or example.attack not in attacks:
            raise _unfit(result, f"sample {example.index}", f"{example.attack} was not tried on it")
        yield example, known[example.index], attacks[example.attack]


def _unfit(result: Result, where: str, fault: str) -> AuditError:
    return AuditError(f"{result.evidence.path} does not fit the result at {where}: {fault}")


def _misfit(example: Example, sample: Sample, attack: Attack, result: Result) -> str | None:
    """Why a piece of evidence is not what the result tells of its sample, or None."""
    told = told_of(sample, attack)
    if sample.label != example.label:
        return f"its label is {sample.label}, and {example.label} in the evidence"
    if told is None:
        return "the result says that nothing broke it"
    if example.target is not None and example.target not in sample.reached:
        return f"the result does not say that it was made to answer {example.target}"
    # for several classes a sample has several examples, and the result tells of one
    if not of_every(result.threat_model) and told[:2] != (example.attack, example.prediction):
        return (
            f"the result says {told[0]} and the answer {told[1]}, the evidence {example.attack}, {example.prediction}"
        )
    return None


def told_of(sample: Sample, attack: Attack) -> tuple[str, int | None, float | None] | None:
    """The attack that broke a sample in an attack's norm, the answer and the distance; None where nothing did."""
    if not sample.breaches and sample.broken_by is not None:
        return sample.broken_by, sample.adversarial_prediction, sample.distance
    found = (b for b in sample.breaches if b.norm == attack.norm)
    return next(((b.attack, b.prediction, b.distance) for b in found), None)
