"""Several surrogates as one model: what is averaged over them, and which of them are asked."""

import pytest
import torch
from models import FakeFile, linear, network
from test_through_transforms import problem_of
from torch import Tensor

from robaudit.attacks.requests import Answer, Gradient, How, ModelRef
from robaudit.engine.evaluator import Evaluator
from robaudit.engine.models import Ensemble
from robaudit.engine.oracle import Oracle
from robaudit.engine.rows import Account
from robaudit.errors import AuditError
from robaudit.threat.losses import cross_entropy
from robaudit.threat.model import Access

MEMBERS = {"a": network((4,), 3, seed=1), "b": network((4,), 3, seed=2), "c": linear((4,), 3, seed=3)}


def asked(how: How, *, careful: bool = False, micro_batch: int = 64) -> tuple[Answer, Account, Tensor, Tensor]:
    target = network((4,), 3)
    problem, account = problem_of(target, 5), Account.empty(5, torch.device("cpu"))
    request = Gradient(problem.x, loss=cross_entropy, model=ModelRef.SURROGATES, how=how)
    evaluator = Evaluator(Oracle(target, MEMBERS), micro_batch)
    if careful:
        answer, _ = evaluator._answer(request, problem, account, None, careful=True)
    else:
        answer = evaluator.answer(request, problem, Access.TRANSFER, account, None)
    return answer, account, problem.x, problem.label


def wanted(fusion: str, members: list[FakeFile], x: Tensor, label: Tensor) -> Tensor:
    """The gradient as the definitions have it."""
    x = x.clone().requires_grad_()
    logits = [member.logits(x) for member in members]
    if fusion == "losses":
        loss = sum(torch.nn.functional.cross_entropy(z, label, reduction="sum") for z in logits) / len(logits)
    elif fusion == "predictions":
        mean = sum(z.softmax(1) for z in logits) / len(logits)
        loss = -mean.gather(1, label[:, None]).log().sum()
    else:
        loss = torch.nn.functional.cross_entropy(sum(logits) / len(logits), label, reduction="sum")
    (gradient,) = torch.autograd.grad(loss, x)
    return gradient


@pytest.mark.parametrize("careful", [False, True])
@pytest.mark.parametrize("micro_batch", [2, 64])
@pytest.mark.parametrize("fusion", ["logits", "predictions", "losses"])
def test_what_is_averaged(fusion: str, micro_batch: int, careful: bool) -> None:
    answer, account, x, label = asked(How(fusion=fusion), micro_batch=micro_batch, careful=careful)
    expected = wanted(fusion, list(MEMBERS.values()), x, label)
    torch.testing.assert_close(answer.gradient, expected)
    assert account.forwards.tolist() == account.backwards.tolist() == [1] * 5


@pytest.mark.parametrize("fusion", ["logits", "predictions", "losses"])
def test_the_three_ways_differ_and_are_one_of_a_single_model(fusion: str) -> None:
    alone, _, x, label = asked(How(members=("b",), fusion=fusion))
    torch.testing.assert_close(alone.gradient, wanted("logits", [MEMBERS["b"]], x, label))
    others = {"logits", "predictions", "losses"} - {fusion}
    mine = wanted(fusion, list(MEMBERS.values()), x, label)
    assert not any(torch.allclose(mine, wanted(other, list(MEMBERS.values()), x, label)) for other in others)


def test_the_members_that_are_named_are_asked() -> None:
    answer, _, x, label = asked(How(members=("c", "a")))
    torch.testing.assert_close(answer.gradient, wanted("logits", [MEMBERS["c"], MEMBERS["a"]], x, label))


def test_an_unknown_member_is_refused() -> None:
    with pytest.raises(AuditError, match="no surrogate 'd'"):
        asked(How(members=("d",)))


def test_an_ensemble_averages_logits_and_probabilities() -> None:
    a, b = linear((4,), 3, seed=0), linear((4,), 3, seed=1)
    u = torch.rand(5, 4, dtype=torch.float64)
    assert torch.allclose(Ensemble((a, b)).logits(u), (a.logits(u) + b.logits(u)) / 2)
    mean = (a.logits(u).softmax(1) + b.logits(u).softmax(1)) / 2
    assert torch.allclose(Ensemble((a, b), "predictions").logits(u).exp(), mean)


def test_a_member_added_later_is_one_of_all() -> None:
    oracle = Oracle(network((4,), 3), {"a": MEMBERS["a"]})
    oracle.add_surrogate("b", MEMBERS["b"])
    u = torch.rand(5, 4, dtype=torch.float64)
    both = oracle.differentiable(ModelRef.SURROGATES).logits(u)
    assert torch.allclose(both, (MEMBERS["a"].logits(u) + MEMBERS["b"].logits(u)) / 2)
