"""An attack on a random target whose draws are held still."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from robaudit.attacks.base import SlotAttack
from robaudit.attacks.cost import Cost
from robaudit.audit.journal.causes import Cause, sentence
from robaudit.engine.executor import Executor
from robaudit.engine.frozen import FrozenFile
from robaudit.engine.job import Job
from robaudit.engine.models import AuditedFile
from robaudit.engine.oracle import Oracle
from robaudit.engine.units import Sample, UnitResult, best_of
from robaudit.errors import AuditInterrupted
from robaudit.threat.model import Goal, ThreatModel

__all__ = ["search_frozen"]


def search_frozen(
    executor: Executor, file: AuditedFile, attack: SlotAttack[Any], threat: ThreatModel, samples: Sequence[Sample]
) -> tuple[dict[int, bool], Cost]:
    """Whether an attack breaks each sample that is answered rightly with the draws held still, by index; and the cost.

    Raises:
        AuditInterrupted: the audit was told to stop.
    """
    frozen = FrozenFile(file)
    u = torch.from_numpy(np.stack([sample.u for sample in samples])).to(frozen.device, frozen.dtype)
    clean = frozen.scores(u).cpu().numpy()
    own = {
        sample.index: dataclasses.replace(sample, clean=row, goal=-1)
        for sample, row in zip(samples, clean, strict=True)
        if int(row.argmax()) == sample.label
    }
    cost = Cost(forwards=len(samples))
    if not own:
        return {}, cost
    on_frozen = executor.on(Oracle(frozen))
    threat = dataclasses.replace(threat, goal=Goal.UNTARGETED, minimal=False)
    job = Job(attack, threat, on_frozen.units(attack, threat, list(own)), f"frozen/{attack.id}", any_wrong=True)
    results: dict[int, list[UnitResult]] = {}
    if not on_frozen.run(job, own.__getitem__, lambda one: results.setdefault(one.unit.sample, []).append(one)):
        raise AuditInterrupted(sentence(Cause.INTERRUPTED))
    best = {case: best_of(found) for case, found in results.items()}
    for one in best.values():
        cost += Cost(one.forwards + one.judged, one.backwards, one.queries)
    return {case: one.success for case, one in best.items()}, cost
