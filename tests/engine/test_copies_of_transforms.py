"""Copies that transforms ask for, what they are told of each, and gradients that are smoothed after all else."""

from __future__ import annotations

import dataclasses
from typing import ClassVar

import pytest
import torch
from models import FakeFile, network
from problems import problem_of
from torch import Tensor
from torch.nn import functional

from robaudit.attacks.base import Problem, StartingPool
from robaudit.attacks.requests import Answer, Gradient, How, Jacobian, Request
from robaudit.attacks.transforms.base import Copies, Transform
from robaudit.attacks.transforms.scale_invariance import ScaleInvariance
from robaudit.attacks.transforms.translation_invariance import TranslationInvariance
from robaudit.engine.evaluator import Evaluator
from robaudit.engine.oracle import Oracle
from robaudit.engine.rows import Account
from robaudit.threat.losses import margin
from robaudit.threat.model import Access

SHAPE = (1, 6, 6)


def asked(
    target: FakeFile, request: Request, problem: Problem | None = None, micro_batch: int = 64
) -> tuple[Answer, Account]:
    problem, account = problem or problem_of(target, 3), Account.empty(3, torch.device("cpu"))
    answer = Evaluator(Oracle(target), micro_batch).answer(request, problem, Access.WHITE_BOX, account, None)
    return answer, account


class Watched(Transform):
    """Notes what it is told; three copies."""

    id = "watched"
    copies = 3  # type: ignore[assignment]
    seen: ClassVar[list[tuple[int, int, int, int]]] = []
    pools: ClassVar[list[tuple[int, list[int]]]] = []

    def apply(self, points: Tensor, copies: Copies) -> Tensor:
        told = (copies.draws.keys, copies.step, copies.number, copies.label)
        self.seen.extend(zip(*(values.tolist() for values in told), strict=True))
        self.pools.append((len(copies.points), copies.labels.tolist()))
        return points


class Twofold(Watched):
    """The same, of two copies."""

    id = "twofold"
    copies = 2  # type: ignore[assignment]
    seen: ClassVar[list[tuple[int, int, int, int]]] = []
    pools: ClassVar[list[tuple[int, list[int]]]] = []


@pytest.mark.parametrize("micro_batch", [1, 5, 64])
def test_several_transforms_see_every_pair_of_their_copies_as_often_as_eot_says(micro_batch: int) -> None:
    target = network(SHAPE, 4)
    problem = problem_of(target, 3)
    pool = StartingPool(problem.x[:2], torch.tensor([3, 1]))
    problem = dataclasses.replace(problem, pool=pool, label=torch.tensor([2, 0, 1]))
    how = How((Watched(), Twofold()), 2)
    for kind in (Watched, Twofold):
        kind.seen.clear()
        kind.pools.clear()
    points = torch.stack([problem.x, problem.x * 0.5], 1)
    rows = torch.tensor([[True, True], [False, True], [True, False]])
    _, account = asked(target, Gradient(points, rows, loss=margin, how=how), problem, micro_batch)
    assert account.backwards.tolist() == [24, 12, 12]
    assert account.forwards.tolist() == [26, 13, 13]  # and each point itself
    first, second = Watched.seen, Twofold.seen
    assert len(first) == len(second) == 4 * 12
    for row in range(4):
        steps = [step for _, step, _, _ in first[row * 12 : row * 12 + 12]]
        assert steps == list(range(steps[0], steps[0] + 12))
        pairs = [(a[2], b[2]) for a, b in zip(first, second, strict=True)][row * 12 : row * 12 + 12]
        assert sorted(pairs) == sorted([(i, j) for i in range(3) for j in range(2)] * 2)
    assert [step for _, step, _, _ in first[:24]] == list(range(24))  # the second point of a slot draws on
    assert [label for *_, label in first[::12]] == [2, 2, 0, 1]
    assert {key for key, *_ in first}.isdisjoint(key for key, *_ in second)  # draws of their own
    assert set(map(str, Watched.pools)) == {str((2, [3, 1]))}


@pytest.mark.parametrize("micro_batch", [1, 3, 64])
def test_the_mean_over_copies_is_the_answer_and_the_logits_are_the_points_own(micro_batch: int) -> None:
    target = network(SHAPE, 4)
    x, how = problem_of(target, 3).x, How((ScaleInvariance(scales=3),))
    answer, account = asked(target, Gradient(x, loss=margin, how=how), micro_batch=micro_batch)
    parts = [asked(target, Gradient(x / 2**i, loss=margin))[0] for i in range(3)]
    torch.testing.assert_close(answer.gradient, sum(part.gradient / 2**i for i, part in enumerate(parts)) / 3)
    torch.testing.assert_close(answer.loss, sum(part.loss for part in parts) / 3)
    torch.testing.assert_close(answer.logits, parts[0].logits)
    assert (account.forwards.tolist(), account.backwards.tolist()) == ([4] * 3, [3] * 3)


def smooth(gradient: Tensor) -> Tensor:
    """By the kernel of one pixel to each side, two standard deviations wide."""
    row = torch.exp(-torch.tensor([2.0, 0.0, 2.0], dtype=torch.float64))
    kernel = torch.outer(row / row.sum(), row / row.sum())
    return functional.conv2d(gradient, kernel[None, None], padding=1)


TI = TranslationInvariance(radius=1, deviations=2.0)


def test_smoothing_alone_costs_nothing_and_keeps_logits_and_loss() -> None:
    target = network(SHAPE, 4)
    x = problem_of(target, 3).x
    answer, account = asked(target, Gradient(x, loss=margin, how=How((TI,))))
    plain, _ = asked(target, Gradient(x, loss=margin))
    torch.testing.assert_close(answer.gradient, smooth(plain.gradient))
    assert torch.equal(answer.logits, plain.logits)
    assert torch.equal(answer.loss, plain.loss)
    assert (account.forwards.tolist(), account.backwards.tolist()) == ([1] * 3, [1] * 3)
    torch.testing.assert_close(answer.steep, answer.gradient.abs().flatten(1).sum(1))


class Mirrored(Transform):
    """The left half from right to left, which a blur does not commute with."""

    id = "mirrored"

    def apply(self, points: Tensor, copies: Copies) -> Tensor:
        return torch.cat([points[..., :3].flip(-1), points[..., 3:]], -1)


def test_smoothing_comes_last_in_any_order_of_names() -> None:
    target = network(SHAPE, 4)
    x = problem_of(target, 3).x
    found = [asked(target, Gradient(x, loss=margin, how=How(t)))[0] for t in ((TI, Mirrored()), (Mirrored(), TI))]
    plain, _ = asked(target, Gradient(x, loss=margin, how=How((Mirrored(),))))
    for answer in found:
        torch.testing.assert_close(answer.gradient, smooth(plain.gradient))


def test_rows_of_the_jacobian_are_smoothed_one_by_one() -> None:
    target = network(SHAPE, 4)
    x, classes = problem_of(target, 3).x, torch.tensor([[0, 2], [1, 3], [3, 0]])
    slopes = torch.tensor([True, False, True])
    answer, _ = asked(target, Jacobian(x, classes=classes, slopes=slopes, how=How((Mirrored(), TI))))
    plain, _ = asked(target, Jacobian(x, classes=classes, slopes=slopes, how=How((Mirrored(),))))
    for place in range(2):
        torch.testing.assert_close(answer.gradient[:, place], smooth(plain.gradient[:, place]))


def test_what_is_fixed_takes_no_part_and_is_not_smoothed_into() -> None:
    target = network(SHAPE, 4)
    fixed = torch.zeros(3, *SHAPE, dtype=torch.bool)
    fixed[:, :, 2:4, 1:3] = True
    problem = problem_of(target, 3, fixed)
    answer, _ = asked(target, Gradient(problem.x, loss=margin, how=How((TI,))), problem)
    plain, _ = asked(target, Gradient(problem.x, loss=margin), problem)
    assert not plain.gradient[fixed].any()
    torch.testing.assert_close(answer.gradient, smooth(plain.gradient).masked_fill(fixed, 0))
    rows, _ = asked(target, Jacobian(problem.x, classes=torch.tensor([[1]] * 3), how=How((TI,))), problem)
    assert not rows.gradient[fixed[:, None]].any()
    assert rows.gradient.any()
