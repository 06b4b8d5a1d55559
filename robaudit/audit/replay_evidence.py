"""The evidence of a run against its result: neither tells of an adversarial example that the other does not."""

from __future__ import annotations

from pathlib import Path

from robaudit.audit.archive import EVIDENCE, Example, read_examples
from robaudit.audit.derive import of_every
from robaudit.audit.result import Attack, Result, Sample
from robaudit.errors import AuditError

__all__ = ["evidence_of", "told_of"]


def evidence_of(folder: Path, result: Result, *, kept: bool) -> list[Example]:
    """The adversarial examples: each is what the result tells of its sample, and each sample that fell has its own.

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
        if kept and (folder / EVIDENCE).exists():
            raise AuditError(f"the result says that nothing was broken, and {EVIDENCE} lies beside it")
        return []
    if Path(evidence.path).is_absolute() or ".." in Path(evidence.path).parts:
        raise AuditError(f"the result names evidence outside of its own folder ({evidence.path}); refused")
    examples = read_examples(folder, evidence, evidence.count + 1)
    if len(examples) != evidence.count:
        more = "more" if len(examples) > evidence.count else len(examples)
        raise AuditError(f"{evidence.path} holds {more} examples, and the result tells of {evidence.count}")
    attacks = {attack.id: attack for attack in result.attacks}
    known = {sample.index: sample for sample in result.samples}
    if len({(e.original.shape, e.adversarial.shape) for e in examples}) > 1:
        raise AuditError(f"{evidence.path} does not fit the result: its samples differ in shape")
    seen: dict[tuple[int, str], set[int | None]] = {}
    for example in examples:
        sample, attack = known.get(example.index), attacks.get(example.attack)
        fault = "it was not audited" if sample is None or attack is None else _misfit(example, sample, attack, result)
        reached = seen.setdefault((example.index, "" if attack is None else attack.norm), set())
        if fault is not None or example.target in reached:
            name = f"sample {example.index}" if sample is None else sample.id
            raise AuditError(f"{evidence.path} does not fit the result at {name}: {fault or 'it comes twice'}")
        reached.add(example.target)
    every = of_every(result.threat_model) and not result.threat_model.also
    for sample in result.samples:
        norms = [b.norm for b in sample.breaches] or [result.threat_model.norm] * (sample.broken_by is not None)
        for norm in norms:
            had = seen.get((sample.index, norm), set())
            if not had or (every and had != set(sample.reached) and had != {None}):
                raise AuditError(f"{evidence.path} holds no example of {sample.id}, which the result calls broken")
    return examples


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
