"""From units and their samples to the problem that an attack is given."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from robaudit.attacks.base import Problem, SlotAttack, StartingPool
from robaudit.engine.models import AuditedFile
from robaudit.engine.units import Sample, Unit
from robaudit.threat.model import Access, ThreatModel

__all__ = ["problem_of"]


def problem_of(
    fresh: list[tuple[Unit, Sample]],
    keys: list[int],
    attack: SlotAttack[Any],
    threat: ThreatModel,
    target: AuditedFile,
    max_points: int,
    pool: StartingPool,
) -> Problem:
    """What an attack knows of new slots.

    Args:
        fresh: units with their samples.
        keys: of their random numbers.
        attack: sees the clean scores where its access allows it.
        threat: the threat model.
        target: that is attacked.
        max_points: most points that one request may hold for a slot.
        pool: samples to start from.
    """
    device, dtype = target.device, target.dtype

    def integers(values: list[int]) -> Tensor:
        return torch.tensor(values, dtype=torch.int64, device=device)

    x = torch.from_numpy(np.stack([s.u for _, s in fresh])).to(device=device, dtype=dtype)
    clean = torch.from_numpy(np.stack([s.clean for _, s in fresh])).to(device=device, dtype=dtype)
    aims = [_ranked(s.clean, s.label)[u.target] if s.target < 0 and attack.unit_targets else s.target for u, s in fresh]
    sees_scores = attack.access in (Access.WHITE_BOX, Access.SCORES)
    return Problem(
        x=x,
        label=integers([s.label for _, s in fresh]),
        goal=integers([s.target for _, s in fresh]),
        target=integers(aims),
        eps=torch.tensor([threat.eps if s.eps is None else s.eps for _, s in fresh], dtype=dtype, device=device),
        restart=integers([u.restart for u, _ in fresh]),
        keys=integers(keys),
        clean=clean if sees_scores else clean[:, :0],
        norm=threat.norm,
        classes=target.num_classes,
        max_points=max_points,
        pool=pool,
        fixed=threat.mask(x),
        minimal=threat.minimal,
    )


def _ranked(clean: np.ndarray[Any, Any], label: int) -> list[int]:
    """Classes by falling clean score, the label left out (Croce & Hein 2020, section 4.3)."""
    order = np.argsort(-clean, kind="stable").tolist()
    return [c for c in order if c != label]
