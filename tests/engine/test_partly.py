"""Requests that want the gradient at some of a slot's points only."""

from __future__ import annotations

import pytest
import torch
from models import network
from problems import problem_of

from robaudit.attacks.requests import Gradient, How
from robaudit.engine.evaluator import Evaluator
from robaudit.engine.oracle import Oracle
from robaudit.engine.rows import Account
from robaudit.threat.losses import margin
from robaudit.threat.model import Access


@pytest.mark.parametrize("draws", [1, 2])
def test_plain_points_get_logits_and_loss_at_no_backward(draws: int) -> None:
    target = network((2, 3), 5)
    problem = problem_of(target, 4)
    points = torch.rand(4, 3, *target.shape, dtype=target.dtype)
    whole, partly = (
        Evaluator(Oracle(target), 64).answer(
            Gradient(points, loss=margin, plain=plain, how=How(copies=draws)), problem, Access.WHITE_BOX, account, None
        )
        for plain, account in ((0, Account.empty(4, target.device)), (2, Account.empty(4, target.device)))
    )
    torch.testing.assert_close(partly.logits, whole.logits)
    torch.testing.assert_close(partly.loss, whole.loss)
    torch.testing.assert_close(partly.gradient[:, 2], whole.gradient[:, 2])
    assert torch.equal(partly.points, points)
    assert torch.equal(partly.fooled, whole.fooled)
    assert not partly.gradient[:, :2].any()
    assert whole.gradient[:, :2].any()


def test_each_slot_is_billed_for_what_it_asked() -> None:
    target = network((2, 3), 5)
    problem = problem_of(target, 4)
    account = Account.empty(4, target.device)
    points = torch.rand(4, 3, *target.shape, dtype=target.dtype)
    rows = torch.ones(4, 3, dtype=torch.bool)
    rows[1, 0] = False
    request = Gradient(points, rows, loss=margin, plain=1)
    answer = Evaluator(Oracle(target), 64).answer(request, problem, Access.WHITE_BOX, account, None)
    assert account.forwards.tolist() == [3, 2, 3, 3]
    assert account.backwards.tolist() == [2, 2, 2, 2]
    assert torch.equal(answer.answered, rows)
    one = answer.at(2)
    assert torch.equal(one.points, points[:, 2])
    assert one.loss.shape == (4,)
