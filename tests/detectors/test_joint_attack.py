"""Attacks on a model and a detector beside it: known cases where one alone does not get past."""

from __future__ import annotations

import numpy as np
import torch
from detector_kit import FakeSlope, FakeView
from models import FakeFile, attack_all
from torch import nn

from robaudit.attacks.registry import make_attack
from robaudit.detectors.base import Detector
from robaudit.detectors.guard import Guard
from robaudit.engine.guarding import Guarding
from robaudit.engine.oracle import Oracle, Purpose
from robaudit.engine.units import Sample
from robaudit.threat.model import Goal, ThreatModel
from robaudit.threat.norms import Norm
from robaudit.threat.service import Service


class First(Detector):
    """The first feature is its suspicion."""

    id = "first"

    def scores(self, u, view, fitted):
        return u.reshape(len(u), -1)[:, 0].astype(np.float64)

    def slope(self, u, view, fitted):
        return u.flatten(1)[:, 0]


class Blind(First):
    """The same without a gradient."""

    def slope(self, u, view, fitted):
        return None


def linear() -> FakeFile:
    """The second class wins where the mean of four features is above 0.5."""
    module = nn.Sequential(nn.Flatten(), nn.Linear(4, 2)).double()
    with torch.no_grad():
        module[1].weight.copy_(torch.tensor([[-1.0] * 4, [1.0] * 4]))
        module[1].bias.copy_(torch.tensor([2.0, -2.0]))
    return FakeFile(module, (4,), 2)


def guarded(target: FakeFile, threshold: float, detector: Detector | None = None) -> Guarding:
    view = FakeView(lambda u: torch.softmax(target.logits(torch.from_numpy(u)), 1).detach().numpy())
    guard = Guard(detector or First(), {}, threshold, view, view)
    return Guarding.tried(guard, FakeSlope(target.logits), torch.full((2, 4), 0.4, dtype=torch.float64))


def sample(target: FakeFile) -> Sample:
    u = np.full(4, 0.45)
    return Sample(0, u, 0, target.logits(torch.from_numpy(u)[None])[0].detach().numpy(), "0" * 64)


THREAT = ThreatModel(Norm.LINF, 0.1, Goal.UNTARGETED)


def test_plain_attacks_are_caught_where_the_joint_one_leaves_the_watched_feature_alone() -> None:
    """Three features at their bound reach 0.525 on average with the first as it was: accepted, and wrong."""
    target = linear()
    guard = guarded(target, 0.47)
    assert guard.differentiable
    plain = attack_all(target, make_attack("fgsm", {}), THREAT, [sample(target)], guard=guard)[0]
    assert not plain.success
    assert attack_all(target, make_attack("fgsm", {}), THREAT, [sample(target)])[0].success
    for restarts in (1, 2, 3):  # each rule by itself is the last one tried
        found = attack_all(
            target, make_attack("orthogonal-pgd", {"restarts": restarts}), THREAT, [sample(target)], guard=guard
        )[0]
        assert found.success
        assert found.point is not None
        assert found.point[0] <= 0.47
        assert found.point.mean() > 0.5


def test_no_attack_succeeds_where_all_that_is_wrong_is_rejected() -> None:
    """With the others at their bound the first must be above 0.35 for a wrong answer."""
    target = linear()
    found = attack_all(
        target, make_attack("orthogonal-pgd", {}), THREAT, [sample(target)], guard=guarded(target, 0.3499)
    )[0]
    assert not found.success
    assert found.judged > 0


def test_a_detector_without_a_gradient_still_rejects() -> None:
    target = linear()
    guard = guarded(target, 0.47, Blind())
    assert not guard.differentiable
    found = attack_all(target, make_attack("orthogonal-pgd", {"restarts": 1}), THREAT, [sample(target)], guard=guard)[0]
    assert not found.success, "plain steps raise all features alike"


def test_an_attack_by_labels_is_told_of_rejections_and_finds_what_is_accepted() -> None:
    target, threat = linear(), ThreatModel(Norm.LINF, 0.12, Goal.UNTARGETED)
    found = attack_all(
        target, make_attack("hopskipjump", {"queries": 800}), threat, [sample(target)], guard=guarded(target, 0.5)
    )[0]
    assert found.success
    assert found.point is not None
    assert found.point[0] <= 0.5


def test_the_oracle_joins_what_service_and_detector_reject() -> None:
    target = linear()
    oracle = Oracle(target, service=Service(reject_below=0.6), guard=guarded(target, 0.5))
    u = torch.tensor([[0.9, 0.9, 0.9, 0.9], [0.2, 0.2, 0.2, 0.2], [0.49, 0.51, 0.5, 0.5]], dtype=torch.float64)
    reply = oracle.ask(u, Purpose.JUDGE, alone=True)
    assert reply.rejected is not None
    assert reply.rejected.tolist() == [True, False, True]
    told = oracle.ask(u, Purpose.SEARCH)
    assert told.rejected is not None
    assert told.rejected.tolist() == [False, False, True], "the attacker is told later, once"
    assert oracle.rejects(told.scores, u).tolist() == [True, False, True]  # type: ignore[union-attr]
