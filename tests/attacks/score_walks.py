"""Walks an attack by scores step by step, without an engine around."""

from __future__ import annotations

import torch
from models import FakeFile

from robaudit.attacks.base import Problem, SlotAttack
from robaudit.attacks.requests import Answer, Request


def answered(target: FakeFile, slots: Problem, request: Request) -> Answer:
    """What the target says of all points that are wanted, of which none fools."""
    points = request.points
    lead = points.shape[: points.dim() - len(slots.shape)]
    logits = target.scores(points.reshape(-1, *slots.shape)).reshape(*lead, -1)
    wanted = torch.ones(lead, dtype=torch.bool) if request.rows is None else request.rows
    none = torch.zeros(lead, dtype=torch.bool)
    return Answer(points, wanted, none, none, logits.argmax(-1), logits)


def walked(attack: SlotAttack, target: FakeFile, slots: Problem, steps: int) -> list[tuple[Request, object]]:
    """The requests of some steps, each with the state that it leads to."""
    state, found = attack.init(slots), []
    for _ in range(steps):
        request = attack.query(slots, state)
        state = attack.update(slots, state, answered(target, slots, request))
        found.append((request, state))
    return found
