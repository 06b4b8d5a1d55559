"""The slopes of losses at the samples themselves, as an attack is given them: what the checks look at."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from robaudit.attacks.base import Problem
from robaudit.attacks.cost import Cost
from robaudit.attacks.requests import Answer, Gradient
from robaudit.engine.engine import Engine
from robaudit.engine.problems import problem_at
from robaudit.engine.rows import Account
from robaudit.engine.units import Sample, sample_of
from robaudit.threat.losses import Loss, dlr, margin
from robaudit.threat.model import Access, ThreatModel

__all__ = ["largest_slopes"]

CHUNK = 64


def largest_slopes(
    engine: Engine, threat: ThreatModel, loss: Loss, samples: Sequence[Sample]
) -> tuple[NDArray[np.float64], Cost]:
    """[N] largest absolute entry of the gradient of a loss at each sample, as an attack is given it; and the cost.

    0 where a ratio's numerator has no slope, so that the gradient is that of its denominator, which leads astray.

    Args:
        engine: holds the target.
        threat: the threat model.
        loss: that is differentiated.
        samples: at least one.
    """
    largest, cost = [], Cost()
    for start in range(0, len(samples), CHUNK):
        part = samples[start : start + CHUNK]
        problem = problem_at(part, threat, engine.oracle, engine.pool)
        account = Account.empty(len(problem), problem.x.device)
        ask = functools.partial(
            engine.evaluator.answer, problem=problem, access=Access.WHITE_BOX, account=account, budget=None
        )
        with engine.watch.about("its gradients were looked at", [sample_of(s.index) for s in part]):
            largest.append(_slopes(ask, loss, problem))
        cost += Cost(int(account.forwards.sum()), int(account.backwards.sum()), int(account.queries.sum()))
    result: NDArray[np.float64] = np.concatenate(largest)
    return result, cost


def _slopes(ask: Callable[[Gradient], Answer], loss: Loss, problem: Problem) -> NDArray[np.float64]:
    answer = ask(Gradient(problem.x, loss=loss))
    assert answer.gradient is not None
    slope = answer.gradient.flatten(1).abs().amax(1)
    if loss is dlr:
        margins = ask(Gradient(problem.x, loss=margin))
        astray = ~_replaced(answer, dlr, problem) & _replaced(margins, margin, problem)
        slope = slope.masked_fill(astray & (problem.goal < 0), 0.0)
    found: NDArray[np.float64] = slope.double().cpu().numpy()
    return found


def _replaced(answer: Answer, loss: Loss, problem: Problem) -> torch.Tensor:
    """[S] bool: the lead of another rival was answered in place of a loss without a slope."""
    assert answer.logits is not None
    assert answer.loss is not None
    own = loss(answer.logits, problem.label, problem.target_class)
    return ~torch.isclose(answer.loss, own, rtol=1e-4, atol=0.0, equal_nan=True)
