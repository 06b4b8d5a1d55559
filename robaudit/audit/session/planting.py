"""The audit's attacks on a model in which adversarial examples were planted."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from robaudit.attacks.cost import Cost
from robaudit.attacks.fitted import FittedSearch
from robaudit.audit.journal.causes import Cause, sentence
from robaudit.audit.plan.attacks import Planned, needs_surrogate
from robaudit.checks.base import Planted
from robaudit.engine.executor import Executor
from robaudit.engine.models import AuditedFile
from robaudit.engine.oracle import Oracle
from robaudit.engine.planted import PlantedFile
from robaudit.engine.units import Sample, UnitResult, best_of
from robaudit.errors import AuditInterrupted
from robaudit.target.target import Target
from robaudit.threat.model import Access, Goal, ThreatModel

__all__ = ["feature_map", "features_at", "planted_file", "search_planted", "tried"]

CHUNK = 64


def tried(plan: Sequence[Planned], threat: ThreatModel, shape: tuple[int, ...]) -> Mapping[str, Planned]:
    """The white-box attacks of a plan that run on a model of two classes with samples of a shape, in order.

    One that is fitted on other samples, or takes gradients of surrogates, is none: those know no planted head.
    """
    found = {}
    for planned in plan:
        attack = planned.attack
        runs = planned.status == "ready" and attack.access is Access.WHITE_BOX and not needs_surrogate(attack)
        fits = Goal.UNTARGETED in attack.goals and attack.unsuited(2, shape) is None
        if runs and fits and threat.norm in attack.norms and not isinstance(attack, FittedSearch):
            found[planned.key] = planned
    return found


def feature_map(target: Target) -> tuple[Callable[[Tensor], Tensor], bool]:
    """(features [N, F] of inputs [N, *shape] with a gradient, whether they are those before the last linear layer).

    Where that layer is not found, or what stands before it does not run row by row, the logits are the features.
    """
    try:
        found = target.features()
        if found is not None:
            probe = torch.zeros(2, *target.spec.shape, device=target.device, dtype=target.dtype)
            with torch.no_grad():
                if len(found(probe)) == 2:
                    return found, True
    except Exception:  # an odd graph may break a translation anywhere; its scores are features too
        pass
    return target.logits, False


def features_at(target: Target, features: Callable[[Tensor], Tensor], points: NDArray[Any]) -> NDArray[np.float64]:
    """[N, F] features of points [N, *shape] in u-space."""
    found = []
    for start in range(0, len(points), CHUNK):
        u = torch.from_numpy(np.array(points[start : start + CHUNK])).to(target.device, target.dtype)
        with torch.no_grad():
            found.append(features(u).double().cpu().numpy())
    return np.concatenate(found)


def planted_file(file: AuditedFile, features: Callable[[Tensor], Tensor], planted: Sequence[Planted]) -> PlantedFile:
    """The model of two classes that planted samples make of a file."""

    def tensor(values: list[NDArray[Any]], dtype: torch.dtype) -> Tensor:
        return torch.from_numpy(np.stack(values)).to(file.device, dtype)

    origins = tensor([one.sample.u for one in planted], file.dtype)
    weights = tensor([one.weights for one in planted], torch.float64)
    biases = tensor([np.asarray(one.bias) for one in planted], torch.float64)
    return PlantedFile(file, features, origins, weights, biases)


def search_planted(
    executor: Executor, model: PlantedFile, planned: Planned, threat: ThreatModel, samples: Sequence[Sample]
) -> tuple[dict[int, bool], Cost]:
    """Whether an attack finds an example of class 1 in the ball of each sample, by index; and what that cost.

    Args:
        executor: of the audit, for its batch, seed and precision.
        model: in which examples were planted.
        planned: the attack.
        threat: of the audit; any example of class 1 counts, whatever its goal.
        samples: of the audit.

    Raises:
        AuditInterrupted: the audit was told to stop.
    """
    threat = dataclasses.replace(threat, goal=Goal.UNTARGETED, minimal=False)
    u = torch.from_numpy(np.stack([sample.u for sample in samples])).to(model.device, model.dtype)
    clean = model.scores(u, alone=True).cpu().numpy()
    own = {
        sample.index: dataclasses.replace(sample, label=0, goal=-1, clean=row)
        for sample, row in zip(samples, clean, strict=True)
    }
    on_planted = executor.on(Oracle(model))
    units = on_planted.units(planned.attack, threat, list(own))
    job = dataclasses.replace(planned.job(threat, units), key=f"planted/{planned.key}", any_wrong=True)
    results: dict[int, list[UnitResult]] = {}
    if not on_planted.run(job, own.__getitem__, lambda one: results.setdefault(one.unit.sample, []).append(one)):
        raise AuditInterrupted(sentence(Cause.INTERRUPTED))
    best = {case: best_of(found) for case, found in results.items()}
    cost = Cost(forwards=len(samples))
    for one in best.values():
        cost += Cost(one.forwards + one.judged, one.backwards, one.queries)  # the judge asks the same model
    return {case: one.success for case, one in best.items()}, cost
