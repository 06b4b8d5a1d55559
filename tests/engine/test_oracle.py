"""What the oracle is asked, counts and makes of refusals."""

from __future__ import annotations

import pytest
import torch
from models import FakeFile, network

from robaudit.attacks.requests import ModelRef
from robaudit.engine.oracle import Oracle, Purpose, Reply
from robaudit.errors import AuditError


def refusing(target: FakeFile) -> FakeFile:
    """The same, which raises for inputs that begin with 1."""
    scores, logits = target.scores, target.logits

    def checked(run, u, **rest):
        if bool((u.flatten(1)[:, 0] == 1).any()):
            raise RuntimeError("too bright")
        return run(u, **rest)

    target.scores = lambda u, *, alone=False: checked(scores, u, alone=alone)  # type: ignore[method-assign]
    target.logits = lambda u: checked(logits, u)  # type: ignore[method-assign]
    return target


def points(count: int = 4) -> torch.Tensor:
    return torch.rand(count, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64) * 0.9


@pytest.mark.parametrize("purpose", list(Purpose))
def test_inputs_are_counted_by_purpose(purpose: Purpose) -> None:
    oracle, u = Oracle(network((3,), 4)), points()
    reply = oracle.ask(u, purpose)
    oracle.ask(u[:1], purpose, alone=True)
    assert oracle.asked == {purpose: 5}
    assert reply.rejected is None
    assert torch.equal(reply.label, reply.scores.argmax(1))


@pytest.mark.parametrize("purpose", [Purpose.SEARCH, Purpose.JUDGE])
def test_an_input_that_is_refused_has_an_answer_without_a_class(purpose: Purpose) -> None:
    oracle, u = Oracle(refusing(network((3,), 4))), points()
    u[2, 0] = 1
    reply = oracle.ask(u, purpose)
    assert (reply.label < 0).tolist() == [False, False, True, False]
    assert reply.scores[2].isnan().all()
    assert oracle.refusals.why == "too bright"


@pytest.mark.parametrize("purpose", [Purpose.CLEAN, Purpose.MEASURE, Purpose.CHECK])
def test_elsewhere_whoever_asks_is_told_of_a_refusal(purpose: Purpose) -> None:
    oracle, u = Oracle(refusing(network((3,), 4))), points()
    u[2, 0] = 1
    with pytest.raises(RuntimeError, match="too bright"):
        oracle.ask(u, purpose)


def test_a_refused_point_has_no_slope_and_costs_no_other() -> None:
    target = network((3,), 4)
    whole = target.logits(points())
    oracle, u = Oracle(refusing(target)), points()
    u[2, 0] = 1
    logits = oracle.differentiable().logits(u)
    assert logits[2].isnan().all()
    torch.testing.assert_close(logits[[0, 1, 3]], whole[[0, 1, 3]])


def test_surrogates_are_asked_apart() -> None:
    target, other = network((3,), 4), network((3,), 4, seed=1)
    oracle = Oracle(target, {"other": other})
    assert torch.equal(oracle.differentiable(ModelRef.SURROGATES).logits(points()), other.module(points()))
    with pytest.raises(AuditError, match="--surrogate"):
        Oracle(target).differentiable(ModelRef.SURROGATES)


def test_an_answer_that_is_not_finite_names_no_class() -> None:
    assert Reply(torch.tensor([[0.0, float("nan")], [float("inf"), 0.0], [1.0, 0.0]])).label.tolist() == [-1, -1, 0]
