"""The slopes of losses at the samples themselves, as an attack is given them: what the checks look at."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any

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

__all__ = ["largest_slopes", "slopes_along"]

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
    return _looked_at(engine, threat, samples, functools.partial(_largest, loss))


def slopes_along(
    engine: Engine, threat: ThreatModel, loss: Loss, samples: Sequence[Sample], directions: NDArray[Any]
) -> tuple[NDArray[np.float64], Cost]:
    """[N, D] slope of a loss at each sample along directions [D, *shape], by the gradient that an attack is given."""
    flat = torch.from_numpy(np.asarray(directions, np.float64)).flatten(1)

    def along(ask: Callable[[Gradient], Answer], problem: Problem) -> NDArray[np.float64]:
        gradient = ask(Gradient(problem.x, loss=loss)).gradient
        assert gradient is not None
        found: NDArray[np.float64] = (gradient.flatten(1).double().cpu() @ flat.T).numpy()
        return found

    return _looked_at(engine, threat, samples, along)


def _looked_at(
    engine: Engine,
    threat: ThreatModel,
    samples: Sequence[Sample],
    look: Callable[[Callable[[Gradient], Answer], Problem], NDArray[np.float64]],
) -> tuple[NDArray[np.float64], Cost]:
    """What is seen of the gradients at samples, part by part, with the cost."""
    found, cost = [], Cost()
    for start in range(0, len(samples), CHUNK):
        part = samples[start : start + CHUNK]
        problem = problem_at(part, threat, engine.oracle, engine.pool)
        account = Account.empty(len(problem), problem.x.device)
        ask = functools.partial(
            engine.evaluator.answer, problem=problem, access=Access.WHITE_BOX, account=account, budget=None
        )
        with engine.watch.about("its gradients were looked at", [sample_of(s.index) for s in part]):
            found.append(look(ask, problem))
        cost += Cost(int(account.forwards.sum()), int(account.backwards.sum()), int(account.queries.sum()))
    result: NDArray[np.float64] = np.concatenate(found)
    return result, cost


def _largest(loss: Loss, ask: Callable[[Gradient], Answer], problem: Problem) -> NDArray[np.float64]:
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
