"""From units and their samples to the problem that an attack is given."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from robaudit.attacks.base import Problem, SlotAttack, StartingPool
from robaudit.engine.oracle import Oracle
from robaudit.engine.units import Sample, Unit
from robaudit.threat.model import Access, ThreatModel

__all__ = ["problem_at", "problem_of"]


def problem_of(
    fresh: list[tuple[Unit, Sample]],
    keys: list[int],
    attack: SlotAttack[Any],
    threat: ThreatModel,
    oracle: Oracle,
    max_points: int,
    pool: StartingPool,
) -> Problem:
    """What an attack knows of new slots.

    Args:
        fresh: units with their samples.
        keys: of their random numbers.
        attack: sees the clean scores where its access allows it.
        threat: the threat model.
        oracle: asks the target.
        max_points: most points that one request may hold for a slot.
        pool: samples to start from.
    """
    device = oracle.device
    plain = problem_at([s for _, s in fresh], threat, oracle, pool)
    wanted = [_ranked(s.clean, s.label)[u.aim] if s.goal < 0 and attack.unit_aims else s.goal for u, s in fresh]
    sees_scores = attack.access in (Access.WHITE_BOX, Access.SCORES)
    return dataclasses.replace(
        plain,
        target_class=_integers(wanted, device),
        restart=_integers([u.restart for u, _ in fresh], device),
        keys=_integers(keys, device),
        clean=plain.clean if sees_scores else plain.clean[:, :0],
        max_points=max_points,
    )


def problem_at(samples: Sequence[Sample], threat: ThreatModel, oracle: Oracle, pool: StartingPool) -> Problem:
    """Samples with nothing tried yet, aiming at their goals: the first restart, one point a request, no randomness.

    Args:
        samples: at least one.
        threat: the threat model.
        oracle: asks the target.
        pool: samples to start from.
    """
    device, dtype = oracle.device, oracle.dtype
    x = torch.from_numpy(np.stack([s.u for s in samples])).to(device=device, dtype=dtype)
    clean = torch.from_numpy(np.stack([s.clean for s in samples])).to(device=device, dtype=dtype)
    goal = _integers([s.goal for s in samples], device)
    return Problem(
        x=x,
        label=_integers([s.label for s in samples], device),
        goal=goal,
        target_class=goal,
        eps=torch.tensor([threat.eps if s.eps is None else s.eps for s in samples], dtype=dtype, device=device),
        restart=torch.zeros_like(goal),
        keys=torch.zeros_like(goal),
        clean=clean,
        norm=threat.norm,
        classes=oracle.classes,
        max_points=1,
        pool=pool,
        fixed=threat.mask(x),
        joint=tuple(one for one in threat.sets if one.joint),
        minimal=threat.minimal,
    )


def _integers(values: list[int], device: torch.device) -> Tensor:
    return torch.tensor(values, dtype=torch.int64, device=device)


def _ranked(clean: np.ndarray[Any, Any], label: int) -> list[int]:
    """Classes by falling clean score, the label left out (Croce & Hein 2020, section 4.3).

    Those with the label's very score come last: they are likely twins of it, which nothing moves past.
    """
    order = np.lexsort((-clean, clean == clean[label])).tolist()
    return [c for c in order if c != label]
