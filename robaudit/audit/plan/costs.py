"""The most that planned attacks may cost: what the attacks declare, times their units."""

from __future__ import annotations

import math
from dataclasses import replace

from robaudit.attacks.cost import Cost, Task
from robaudit.attacks.fitted import FittedSearch
from robaudit.audit.plan.attacks import Planned
from robaudit.audit.plan.fronts import Front
from robaudit.engine.job import unit_budget
from robaudit.engine.units import plan_units
from robaudit.threat.arrays import widest
from robaudit.threat.model import Access, Goal

__all__ = ["most_of_fit", "most_of_sample", "most_of_unit"]


def most_of_unit(front: Front, planned: Planned, classes: int, shape: tuple[int, ...]) -> Cost | None:
    """Most evaluations of a unit, (sample, restart, aim), that nothing ends early; None: the attack cannot say.

    Args:
        front: the threat model that the attack runs against.
        planned: one of its attacks.
        classes: of the model.
        shape: of one sample.
    """
    attack, threat = planned.attack, front.threat_of(planned)
    cost, budget = attack.most(_task(front, planned, classes, shape)), unit_budget(attack, threat)
    if cost is None:
        black_box = attack.access in (Access.SCORES, Access.LABELS)
        return Cost(queries=budget) if black_box and budget is not None else None
    queries = cost.queries if budget is None or attack.access is Access.TRANSFER else min(cost.queries, budget)
    return _taken(planned, replace(cost, queries=queries))


def most_of_sample(front: Front, planned: Planned, classes: int, shape: tuple[int, ...]) -> Cost | None:
    """The same of a sample (of a goal ``every``: of each of its classes), over all units and repetitions."""
    cost = most_of_unit(front, planned, classes, shape)
    units = sum(1 for _ in plan_units(planned.attack, front.threat.goal, [0], classes))
    return None if cost is None else cost * (units * front.times(planned))


def most_of_fit(front: Front, planned: Planned, classes: int, shape: tuple[int, ...], samples: int) -> Cost | None:
    """Most evaluations of the whole fit of a fitted attack on so many samples, nothing of another; None: unknown."""
    if not isinstance(planned.attack, FittedSearch):
        return Cost()
    cost = planned.attack.most_of_fit(_task(front, planned, classes, shape), samples)
    return None if cost is None else _taken(planned, cost)


def _taken(planned: Planned, cost: Cost) -> Cost:
    """The cost with gradients as they are taken."""
    how = planned.how
    # one forward more at each point itself, where the model under attack does not see it for the gradient
    apart = how.apart and planned.attack.access is Access.WHITE_BOX
    return Cost(cost.forwards * (how.gradients + apart), cost.backwards * how.gradients, cost.queries)


def _task(front: Front, planned: Planned, classes: int, shape: tuple[int, ...]) -> Task:
    threat, features = front.threat, math.prod(shape)
    searching = planned is front.search  # at radii of its own
    return Task(
        norm=threat.norm,
        eps=widest(threat.norm, features) if searching else threat.eps,
        classes=classes,
        features=features,
        targeted=threat.goal is Goal.TARGETED,
        minimal=any(planned is other for other in front.minimal),
    )
