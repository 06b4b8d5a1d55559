"""Gradients that are taken through a transform, while the answer is that of the point itself."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest
import torch
from models import FakeFile, attack_all, network, samples_for
from problems import problem_of
from torch import Tensor, nn

from robaudit.attacks.registry import make_attack, make_composed
from robaudit.attacks.requests import Answer, Gradient, How, Jacobian, Logits, ModelRef, Request
from robaudit.attacks.transforms.base import Copies, Transform
from robaudit.engine.evaluator import Evaluator
from robaudit.engine.oracle import Oracle
from robaudit.engine.rows import Account
from robaudit.errors import AuditError
from robaudit.threat.losses import margin
from robaudit.threat.model import Access, ThreatModel
from robaudit.threat.norms import Norm
from robaudit.threat.random import Draws, key_of

SHAPE = (1, 6, 6)


class Mirrored(Transform):
    """Left and right are exchanged."""

    id = "mirrored"

    def apply(self, points: Tensor, copies: Copies) -> Tensor:
        return points.flip(-1)


class Scaled(Transform):
    """By a random factor, so that a gradient tells which draw it is of."""

    id = "scaled"

    def apply(self, points: Tensor, copies: Copies) -> Tensor:
        return points * (1 + copies.uniform("scale", (1, 1, 1)).to(points))


class Coarse(Transform):
    """Eight levels; as it stands it has no gradient."""

    id = "coarse"
    straight_through = True

    def apply(self, points: Tensor, copies: Copies) -> Tensor:
        assert not points.requires_grad
        return (points * 8).round() / 8


def asked(target: FakeFile, request: Request, surrogate: bool = False, micro_batch: int = 64) -> tuple[Answer, Account]:
    problem, account = problem_of(target, 3), Account.empty(3, torch.device("cpu"))
    oracle = Oracle(target, {"itself": target} if surrogate else None)
    access = Access.TRANSFER if surrogate else Access.WHITE_BOX
    return Evaluator(oracle, micro_batch).answer(request, problem, access, account, None), account


def spent(account: Account) -> tuple[list[int], list[int]]:
    return account.forwards.tolist(), account.backwards.tolist()


def test_the_gradient_is_that_through_the_transform_and_the_logits_those_of_the_point() -> None:
    target = network(SHAPE, 4)
    x = problem_of(target, 3).x
    answer, account = asked(target, Gradient(x, loss=margin, how=How((Mirrored(),))))
    plain, _ = asked(target, Gradient(x.flip(-1), loss=margin))
    here, _ = asked(target, Logits(x))
    torch.testing.assert_close(answer.gradient, plain.gradient.flip(-1))
    torch.testing.assert_close(answer.loss, plain.loss)
    torch.testing.assert_close(answer.logits, here.logits)
    assert answer.labels.tolist() == here.labels.tolist()
    assert spent(account) == ([2] * 3, [1] * 3)  # one forward more, at the point itself


def test_transforms_follow_each_other_in_their_order() -> None:
    target = network(SHAPE, 4)
    x = problem_of(target, 3).x
    answer, _ = asked(target, Gradient(x, loss=margin, how=How((Coarse(), Mirrored()))))
    there = ((x * 8).round() / 8).flip(-1)
    plain, _ = asked(target, Gradient(there, loss=margin))
    torch.testing.assert_close(answer.gradient, plain.gradient.flip(-1))  # straight through the levels


def test_a_surrogate_is_not_asked_at_the_point_itself() -> None:
    target = network(SHAPE, 4)
    x = problem_of(target, 3).x
    request = Gradient(x, loss=margin, model=ModelRef.SURROGATES, how=How((Mirrored(),), 3))
    answer, account = asked(target, request, surrogate=True)
    there, _ = asked(target, Logits(x.flip(-1)))
    torch.testing.assert_close(answer.logits, there.logits)
    assert spent(account) == ([3] * 3, [3] * 3)


@pytest.mark.parametrize("micro_batch", [1, 2, 64])
def test_copies_are_different_draws_and_their_mean_is_the_answer(micro_batch: int) -> None:

    target = network(SHAPE, 3)
    problem = problem_of(target, 3)
    points = torch.stack([problem.x, problem.x * 0.9], 1)
    rows = torch.tensor([[True, True], [False, True], [True, False]])
    how = How((Scaled(),), 2)
    answer, account = asked(target, Gradient(points, rows, loss=margin, how=how), micro_batch=micro_batch)
    keys = Draws(problem.keys ^ key_of("transform", "scaled"))
    for slot, place, rank in ((0, 0, 0), (0, 1, 1), (1, 1, 0), (2, 0, 0)):
        expected = torch.zeros(SHAPE, dtype=torch.float64)
        for copy in range(2):
            scale = 1 + keys.uniform("scale", rank * 2 + copy, (1, 1, 1))[slot].double()
            point = (points[slot, place] * scale).detach().requires_grad_()
            logits = target.module(point[None])
            label, target_class = problem.label[slot : slot + 1], problem.target_class[slot : slot + 1]
            expected += torch.autograd.grad(margin(logits, label, target_class).sum(), point)[0] * scale / 2
        torch.testing.assert_close(answer.gradient[slot, place], expected)
    assert spent(account) == ([6, 3, 3], [4, 2, 2])


def test_rows_of_the_jacobian_are_taken_through_the_transform() -> None:
    target = network(SHAPE, 4)
    x, classes = problem_of(target, 3).x, torch.tensor([[0, 2]] * 3)
    slopes = torch.tensor([True, False, True])
    answer, account = asked(target, Jacobian(x, classes=classes, slopes=slopes, how=How((Mirrored(),), 2)))
    plain, _ = asked(target, Jacobian(x.flip(-1), classes=classes, slopes=slopes))
    here, _ = asked(target, Logits(x))
    torch.testing.assert_close(answer.gradient, plain.gradient.flip(-1))
    torch.testing.assert_close(answer.logits, here.logits)
    assert spent(account) == ([3, 1, 3], [4, 0, 4])


def test_an_unchanged_image_gives_the_attack_that_it_was() -> None:
    target = network((3, 8, 8), 5)
    samples = samples_for(target, 8)
    threat = ThreatModel(Norm.LINF, 0.03)
    for name, parameters in (("pgd", {"steps": 6}), ("transfer-mi-fgsm", {"steps": 4})):
        attack, how = make_composed(f"{name}+di", parameters | {"di": {"probability": 0}})
        plain = attack_all(target, make_attack(name, parameters), threat, samples, surrogates=target)
        same = attack_all(target, attack, threat, samples, surrogates=target, how=how)
        for index, result in plain.items():
            found = same[index]
            assert (found.success, found.distance, found.backwards) == (
                result.success,
                result.distance,
                result.backwards,
            )
            assert found.forwards == result.forwards * (2 if name == "pgd" else 1)


@pytest.mark.parametrize(
    ("name", "parameters"),
    [
        ("pgd+di", {"steps": 6}),
        ("transfer-mi-fgsm+di", {"steps": 5}),
        ("deepfool+di", {}),
        ("apgd-ce+di", {"steps": 8}),
    ],
)
def test_outcomes_do_not_depend_on_the_batch_or_the_order(name: str, parameters: dict[str, Any]) -> None:
    target, surrogate = network((3, 8, 8), 5), network((3, 8, 8), 5, seed=1)
    samples = samples_for(target, 9)
    attack, how = make_composed(name, parameters | {"di": {"probability": 0.8, "smallest": 0.5}}, copies=2)
    threat = ThreatModel(Norm.LINF, 0.02)

    def outcome(part: list, **more: int) -> dict[int, tuple[Any, ...]]:
        found = attack_all(target, attack, threat, part, surrogates=surrogate, pool=False, how=how, **more)
        return {
            i: (r.success, r.prediction, r.forwards, r.backwards, None if r.distance is None else round(r.distance, 9))
            for i, r in found.items()
        }

    whole = outcome(samples)
    assert outcome(samples, slots=3, micro_batch=5) == whole
    assert outcome(samples[::-1], slots=1, micro_batch=1) == whole
    assert outcome(samples[4:6]) == {i: whole[i] for i in (samples[4].index, samples[5].index)}
    other = dataclasses.replace(how, through=())
    plain = attack_all(target, attack, threat, samples, surrogates=surrogate, pool=False, how=other)
    assert any(plain[i].distance is None or round(plain[i].distance, 9) != whole[i][-1] for i in whole)


def test_what_fools_through_the_transform_alone_is_not_shown_to_the_judge() -> None:
    class Light(nn.Module):
        """Class 1 where the image is light."""

        def forward(self, u: Tensor) -> Tensor:
            light = u.flatten(1).mean(1) - 0.5
            return torch.stack([-light, light], 1)

    class Lightened(Transform):
        id = "lightened"

        def apply(self, points: Tensor, copies: Copies) -> Tensor:
            return points + 0.4

    target = FakeFile(Light().double(), 2, SHAPE)
    dark = [dataclasses.replace(s, u=s.u * 0 + 0.2, label=0) for s in samples_for(target, 2)]
    attack, threat = make_attack("pgd", {"steps": 2, "random_start": False}), ThreatModel(Norm.LINF, 0.05)
    found = attack_all(target, attack, threat, dark, how=How((Lightened(),)))
    assert [(r.success, r.judged) for r in found.values()] == [(False, 0)] * 2


def test_a_transform_that_changes_the_shape_is_named() -> None:
    class Cut(Transform):
        id = "cut"

        def apply(self, points: Tensor, copies: Copies) -> Tensor:
            return points[..., 1:]

    target = network(SHAPE, 4)
    with pytest.raises(AuditError, match=r"the transform cut made \[3, 1, 6, 5\] of points of shape \[3, 1, 6, 6\]"):
        asked(target, Gradient(problem_of(target, 3).x, loss=margin, how=How((Cut(),))))
