"""What attacks by queries may ask that take gradients of surrogates too."""

from __future__ import annotations

import pytest
import torch
from models import network
from test_through_transforms import problem_of

from robaudit.attacks.requests import Gradient, ModelRef
from robaudit.engine.evaluator import Evaluator
from robaudit.engine.oracle import Oracle
from robaudit.engine.rows import Account
from robaudit.errors import AuditError
from robaudit.threat.losses import margin
from robaudit.threat.model import Access


def test_gradients_of_the_target_stay_out_of_reach() -> None:
    target = network((4,), 3)
    problem = problem_of(target, 3)
    evaluator = Evaluator(Oracle(target, {"a": target}), 8)
    account = Account.empty(3, torch.device("cpu"))
    evaluator.answer(
        Gradient(problem.x, loss=margin, model=ModelRef.SURROGATES), problem, Access.SCORES, account, None, prior=True
    )
    assert min(account.forwards.tolist()) >= 1
    with pytest.raises(AuditError, match="outside scores access"):
        evaluator.answer(Gradient(problem.x, loss=margin), problem, Access.SCORES, account, None, prior=True)
    with pytest.raises(AuditError, match="outside scores access"):
        evaluator.answer(
            Gradient(problem.x, loss=margin, model=ModelRef.SURROGATES), problem, Access.SCORES, account, None
        )
