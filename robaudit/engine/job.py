"""What is to be run: an attack on units, under a threat model."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from robaudit.attacks.base import SlotAttack
from robaudit.attacks.fitted import Artefact
from robaudit.attacks.requests import TRUE, How
from robaudit.engine.units import Sample, Unit
from robaudit.threat.model import Goal, ThreatModel

__all__ = ["Job", "unit_budget"]


@dataclass(frozen=True)
class Job:
    """What is to be run; picklable.

    Args:
        attack: the update rule with its parameters.
        threat: norm, radius and goal.
        units: lowest rank first; a success of a unit drops the sample's later ones, unless the smallest distance is
            sought.
        key: name that keys the random numbers.
        how: its gradients are taken, beside what the attack asks for by itself.
        radii: a radius of its own for each of these cases, as a fraction of the domain's width.
        any_wrong: any wrong class counts, whatever class a sample is to be made to answer.
        won: units that succeeded in an earlier session, by sample.
        finished: those of the units that an earlier session carried to their end.
        artefact: of a fitted attack.
        one_draw: of a random target, gradients are those of one draw each.
    """

    attack: SlotAttack[Any]
    threat: ThreatModel
    units: tuple[Unit, ...]
    key: str
    how: How = TRUE
    radii: Mapping[int, float] = field(default_factory=dict)
    any_wrong: bool = False
    won: Mapping[int, Unit] = field(default_factory=dict)
    finished: Collection[Unit] = ()
    artefact: Artefact = field(default_factory=dict)
    one_draw: bool = False

    def sample(self, sample: Sample) -> Sample:
        """A sample as the job sees it: with its own radius and goal."""
        if self.any_wrong:
            sample = replace(sample, goal=-1)
        radius = self.radii.get(sample.index)
        return sample if radius is None else replace(sample, eps=radius)

    @property
    def budget(self) -> int | None:
        """Most queries of a unit."""
        return unit_budget(self.attack, self.threat)


def unit_budget(attack: SlotAttack[Any], threat: ThreatModel) -> int | None:
    """Most queries of a unit: the attack's own, and an equal share of what the threat model allows a sample."""
    budgets = [] if attack.query_budget is None else [attack.query_budget]
    if threat.queries is not None:
        aims = max(attack.unit_aims, 1) if threat.goal is Goal.UNTARGETED else 1
        budgets.append(max(1, threat.queries // (attack.unit_restarts * aims)))
    return min(budgets, default=None)
