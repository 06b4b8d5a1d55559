"""Steps of white-box attacks on a device that never talks to the host: meta tensors have no numbers to be read."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest
import torch
from attack_cases import BY_NORM, CASES, EPS
from models import network, samples_for
from torch import Tensor

from robaudit.attacks.base import Slots, StartingPool
from robaudit.attacks.registry import attack_classes, make_attack
from robaudit.attacks.requests import Answer, Gradient, Jacobian, Request
from robaudit.engine.oracle import Oracle
from robaudit.engine.problems import problem_of
from robaudit.engine.units import Unit
from robaudit.threat.model import Access, ThreatModel
from robaudit.threat.norms import Norm

WAITS: dict[str, str] = {}
"""Attacks whose steps read values on the host, and what for."""

WHITE_BOX = [(name, norm) for name, norm in BY_NORM if attack_classes()[name].access is Access.WHITE_BOX]


def without_numbers(value: Any) -> Any:
    """The same state in tensors of shapes alone."""
    if isinstance(value, Tensor):
        return torch.empty(value.shape, dtype=value.dtype, device="meta")
    if isinstance(value, Slots | StartingPool):
        fields = {f.name: without_numbers(getattr(value, f.name)) for f in dataclasses.fields(value)}
        return dataclasses.replace(value, **fields)
    return value


def answered(request: Request, shape: tuple[int, ...], classes: int) -> Answer:
    """An answer of the right shapes."""
    points = request.points
    lead = points.shape[: points.dim() - len(shape)]
    gradient = classes_ = base = None
    if isinstance(request, Jacobian):
        assert request.classes is not None
        gradient, classes_, base = points.new_empty(*request.classes.shape, *shape), request.classes, request.base
    elif isinstance(request, Gradient):
        gradient = torch.empty_like(points)
    flags = torch.empty(lead, dtype=torch.bool, device=points.device)
    labels = torch.empty(lead, dtype=torch.int64, device=points.device)
    logits, loss = points.new_empty(*lead, classes), points.new_empty(lead)
    return Answer(points, flags, flags, flags, labels, logits, loss, gradient, classes_, base)


@pytest.mark.parametrize(("name", "norm"), WHITE_BOX)
def test_no_step_waits_for_the_device(name: str, norm: Norm) -> None:
    if name in WAITS:
        pytest.skip(f"{name} {WAITS[name]}")
    target = network((1, 6, 6), 5)
    samples = samples_for(target, 6)
    attack = make_attack(name, CASES[name].parameters)
    units = [(Unit(0, 0, s.index), s) for s in samples]
    pool = StartingPool(torch.rand(4, 1, 6, 6), torch.zeros(4, dtype=torch.int64))
    problem = problem_of(units, list(range(6)), attack, ThreatModel(norm, EPS[norm]), Oracle(target), 8, pool)
    state = attack.init(problem)
    problem, state = without_numbers(problem), without_numbers(state)
    for _ in range(2):
        request = attack.query(problem, state)
        assert request.points.is_meta
        state = attack.update(problem, state, answered(request, problem.shape, 5))
        assert attack.done(problem, state).is_meta


def test_a_wait_would_be_noticed() -> None:
    mask = torch.empty(3, dtype=torch.bool, device="meta")
    for wait in (lambda: bool(mask.any()), mask.nonzero, lambda: mask[mask], lambda: mask & torch.ones(3).bool()):
        with pytest.raises((RuntimeError, NotImplementedError)):
            wait()
