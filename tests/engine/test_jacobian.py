"""Requests for the gradients of several classes."""

from __future__ import annotations

import pytest
import torch
from models import FakeFile, network
from problems import problem_of

from robaudit.attacks.base import Problem
from robaudit.attacks.requests import Jacobian
from robaudit.engine.evaluator import Evaluator
from robaudit.engine.oracle import Oracle
from robaudit.engine.rows import Account
from robaudit.threat.model import Access


def ask(target: FakeFile, problem: Problem, micro_batch: int = 64, **request):
    account = Account.empty(len(problem), target.device)
    answer = Evaluator(Oracle(target), micro_batch).answer(
        Jacobian(problem.x, **request), problem, Access.WHITE_BOX, account, None
    )
    return answer, account


@pytest.mark.parametrize("micro_batch", [1, 2, 64])
def test_rows_are_the_gradients_of_the_classes(micro_batch: int) -> None:
    target = network((2, 3), 5)
    problem = problem_of(target, 5)
    whole = torch.stack([torch.func.jacrev(lambda u: target.module(u[None])[0])(u) for u in problem.x])
    classes = torch.tensor([[0, 3], [4, 1], [2, 2], [-1, 0], [1, -1]])
    answer, account = ask(target, problem, micro_batch, classes=classes)
    expected = torch.stack(
        [torch.stack([j.sum(0) if c < 0 else j[c] for c in row]) for j, row in zip(whole, classes, strict=True)]
    )
    torch.testing.assert_close(answer.gradient, expected)
    torch.testing.assert_close(answer.logits, target.module(problem.x))
    assert account.forwards.tolist() == [1] * 5
    assert account.backwards.tolist() == [2] * 5

    differences, _ = ask(target, problem, micro_batch, classes=classes[:3].repeat(2, 1)[:5], base=problem.label)
    rows = classes[:3].repeat(2, 1)[:5]
    expected = torch.stack(
        [j[row] - j[label] for j, row, label in zip(whole, rows, problem.label, strict=True)],
    )
    torch.testing.assert_close(differences.gradient, expected)


def test_slots_without_slopes_pay_no_backward() -> None:
    target = network((2, 3), 4)
    problem = problem_of(target, 4)
    classes = torch.tensor([[0], [1], [2], [3]])
    whole, _ = ask(target, problem, classes=classes)
    for slopes in ([True, False, True, False], [False] * 4):
        part, account = ask(target, problem, classes=classes, slopes=torch.tensor(slopes))
        torch.testing.assert_close(part.logits, whole.logits)
        mask = torch.tensor(slopes)
        torch.testing.assert_close(part.gradient[mask], whole.gradient[mask])
        assert not bool(part.gradient[~mask].any())
        assert account.forwards.tolist() == [1] * 4
        assert account.backwards.tolist() == [int(s) for s in slopes]


def test_what_is_fixed_has_no_slope() -> None:
    target = network((6,), 4)
    fixed = torch.zeros(3, 6, dtype=torch.bool)
    fixed[:, 2] = True
    answer, _ = ask(target, problem_of(target, 3, fixed), classes=torch.tensor([[0, 1]] * 3))
    assert not bool(answer.gradient[:, :, 2].any())
    assert bool(answer.gradient[:, :, 3].any())
