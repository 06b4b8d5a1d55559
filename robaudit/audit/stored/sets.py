"""The perturbation sets that a result tells of, made again from what it holds of them."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

from robaudit.audit.result.document import PerturbationSet as Told
from robaudit.audit.result.document import Result
from robaudit.errors import AuditError, UsageError
from robaudit.threat.sets.base import PerturbationSet
from robaudit.threat.sets.registry import make_set, set_classes

__all__ = ["kept_sets", "set_faults"]


def kept_sets(result: Result, shape: tuple[int, ...]) -> tuple[PerturbationSet, ...]:
    """The sets, as the judge asks them about samples of a shape.

    Raises:
        AuditError: one is not known here, damaged, or not what the result says of it.
    """
    return tuple(_kept(told, shape) for told in result.threat_model.sets)


def _kept(told: Told, shape: tuple[int, ...]) -> PerturbationSet:
    try:
        one = make_set(told.id, told.content)
        facts = one.digest(), one.measure(shape), math.prod(shape)
    except (UsageError, ValueError) as error:
        raise AuditError(f"the perturbation set {told.id} of the result cannot be used: {error}") from error
    if facts != (told.sha256, told.free, told.features):
        raise AuditError(f"the perturbation set {told.id} of the result is not the one that it describes")
    return one


def set_faults(sets: Sequence[Told]) -> Iterator[str]:
    """What cannot be true of the sets of a result, a clause each; of sets from packages that are not here nothing."""
    for told in sets:
        if not 0 < told.free <= told.features:
            yield f"its perturbation set {told.id} lets {told.free} of {told.features} features change"
        try:
            if told.id in set_classes() and make_set(told.id, told.content).digest() != told.sha256:
                yield f"its perturbation set {told.id} has another digest than it says"
        except (UsageError, ValueError) as error:
            yield f"its perturbation set {told.id} cannot be used: {error}"
