"""Surrogates made from a target's answers: their bills, their agreement, resume, and what kinds of input they take."""

from __future__ import annotations

import dataclasses
import pickle
from collections.abc import Callable
from typing import Any

import pytest
import torch
from models import FakeFile, Linear, linear, network, samples_for
from torch import nn

from robaudit.attacks.base import StartingPool
from robaudit.engine.engine import Engine
from robaudit.engine.fitting import FitJob, Fitted
from robaudit.engine.oracle import Oracle, Purpose
from robaudit.engine.units import Sample
from robaudit.errors import UsageError
from robaudit.surrogates.base import SurrogateRecipe, digest_of, weights_of
from robaudit.surrogates.registry import make_recipe, surrogate_classes
from robaudit.threat.model import ThreatModel
from robaudit.threat.norms import Norm

THREAT = ThreatModel(Norm.LINF, 0.1)
SMALL: dict[str, dict[str, Any]] = {
    "distilled": {"queries": 130, "samples": 60, "rounds": 3, "epochs": 3},
    "substitute": {"queries": 130, "seeds": 40, "rounds": 4, "epochs": 3},
}


def fit(
    target: FakeFile,
    recipe: SurrogateRecipe,
    samples: list[Sample],
    threat: ThreatModel = THREAT,
    *,
    micro_batch: int = 64,
    before: Fitted | None = None,
    sink: Callable[[Fitted], None] = lambda _: None,
    stop: Callable[[], bool] = lambda: False,
) -> tuple[Fitted | None, Oracle]:
    ordered = sorted(samples, key=lambda s: s.digest)
    empty = StartingPool(torch.zeros(0, *target.shape), torch.zeros(0, dtype=torch.int64))
    oracle = Oracle(target)
    engine = Engine(oracle, 8, 0, empty, micro_batch=micro_batch)
    places, digests = tuple(s.index for s in ordered), tuple(s.digest for s in ordered)
    job = pickle.loads(pickle.dumps(FitJob(recipe, threat, places, digests, "surrogate/x")))
    return engine.fit(job, {s.index: s for s in samples}.__getitem__, before, sink, stop), oracle


def same(one: Fitted, other: Fitted) -> bool:
    return one.cost == other.cost and all(
        torch.equal(one.artefact[name], other.artefact[name]) for name in one.artefact
    )


@pytest.mark.parametrize("id", SMALL)
@pytest.mark.parametrize(
    ("shape", "classes"), [((1, 8, 8), 3), ((3, 9, 5), 2), ((7,), 4), ((2, 40), 2), ((130,), 3)], ids=str
)
def test_any_kind_of_input_within_its_budget(id: str, shape: tuple[int, ...], classes: int) -> None:
    target = network(shape, classes)
    recipe = make_recipe(id, SMALL[id])
    found, oracle = fit(target, recipe, samples_for(target, recipe.fit_samples))
    assert found is not None
    assert found.cost.queries == oracle.asked[Purpose.SEARCH] == 130
    assert (found.cost.forwards, found.cost.backwards) == (0, 0)
    model = recipe.model(found.artefact, classes, shape)
    u = torch.rand(5, *shape, dtype=torch.float64).requires_grad_()
    logits = model.logits(u)
    assert logits.shape == (5, classes)
    assert logits.dtype == torch.float64
    torch.testing.assert_close(model.logits(u[2:3])[0], logits[2], rtol=0, atol=1e-5)
    (slope,) = torch.autograd.grad(logits[:, 0].sum(), u)
    assert slope.abs().sum() > 0
    assert all(weight.dtype == torch.float32 for weight in weights_of(found.artefact).values())
    assert len(digest_of(found.artefact)) == 64


@pytest.mark.parametrize("id", SMALL)
def test_neither_the_batch_nor_the_order_of_the_data_nor_a_kill_changes_it(id: str) -> None:
    target = network((1, 8, 8), 3)
    recipe = make_recipe(id, SMALL[id])
    samples, rounds = samples_for(target, recipe.fit_samples), list[Fitted]()
    whole, _ = fit(target, recipe, samples, sink=rounds.append)
    assert whole is not None
    assert [one.rounds for one in rounds] == list(range(1, recipe.fit_rounds + 1))
    for other in (
        fit(target, recipe, samples[::-1], micro_batch=7)[0],
        fit(target, recipe, samples, before=rounds[0])[0],
    ):
        assert other is not None
        assert same(whole, other)
    for before in rounds[1:-1]:
        later, _ = fit(target, recipe, samples, before=before)
        assert later is not None
        assert same(whole, later)
    assert digest_of(whole.artefact) == digest_of(rounds[-1].artefact)
    moved = dataclasses.replace(samples[0], u=1 - samples[0].u, digest="another")
    changed, _ = fit(target, recipe, [moved, *samples[1:]])
    assert changed is not None
    assert digest_of(whole.artefact) != digest_of(changed.artefact)


@pytest.mark.parametrize("id", SMALL)
def test_it_ends_between_requests_and_within_training_where_it_is_told_to(id: str) -> None:
    target, recipe = network((1, 8, 8), 3), make_recipe(id, SMALL[id])
    samples = samples_for(target, recipe.fit_samples)
    for calls in (0, 3, 6):
        left = iter([False] * calls)
        found, _ = fit(target, recipe, samples, stop=lambda left=left: next(left, True))
        assert found is None


@pytest.mark.parametrize(
    ("id", "parameters", "least"),
    [
        ("distilled", {"queries": 1000, "samples": 300, "epochs": 20}, 0.95),
        ("substitute", {"queries": 3000, "seeds": 300, "rounds": 4, "epochs": 60}, 0.85),
    ],
)
def test_a_linear_model_is_learnt(id: str, parameters: dict[str, Any], least: float) -> None:
    target = linear((6,), 3)
    recipe = make_recipe(id, parameters)
    samples = samples_for(target, 400)
    found, _ = fit(target, recipe, samples[: recipe.fit_samples])
    assert found is not None
    agreed, held = int(found.artefact["agreed"]), int(found.artefact["held_out"])
    assert agreed >= least * held
    assert (held, int(found.artefact["trained_on"])) == (60, 240)
    model = recipe.model(found.artefact, 3, (6,))
    u = torch.rand(400, 6, dtype=torch.float64, generator=torch.Generator().manual_seed(5))
    assert (model.logits(u).argmax(1) == target.logits(u).argmax(1)).double().mean() > least


class Probabilities(nn.Module):
    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner

    def forward(self, u: torch.Tensor) -> torch.Tensor:
        return self.inner(u).softmax(1)


def test_scores_are_taken_for_what_they_are() -> None:
    """Probabilities and their logits say the same, so that the same comes of both."""
    logits = FakeFile(Linear(torch.randn(3, 6, generator=torch.Generator().manual_seed(1)), torch.zeros(3)), 3, (6,))
    chances = FakeFile(Probabilities(logits.module), 3, (6,), score_kind="probabilities")
    recipe = make_recipe("distilled", {"queries": 200, "samples": 100, "rounds": 1, "epochs": 5})
    one, other = (fit(target, recipe, samples_for(logits, 100))[0] for target in (logits, chances))
    assert one is not None
    assert other is not None
    for name, value in weights_of(one.artefact).items():
        torch.testing.assert_close(value, weights_of(other.artefact)[name], rtol=1e-2, atol=1e-4)


def test_recipes_are_named_and_their_parameters_checked() -> None:
    assert {"distilled", "substitute"} <= set(surrogate_classes())
    with pytest.raises(UsageError, match="did you mean 'distilled'"):
        make_recipe("distiled", {})
    with pytest.raises(UsageError, match="queries"):
        make_recipe("distilled", {"queries": 0})
    with pytest.raises(UsageError, match="querys"):
        make_recipe("distilled", {"querys": 5})
