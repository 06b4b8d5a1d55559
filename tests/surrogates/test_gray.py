"""The target's own network, made anew and trained on its answers."""

from __future__ import annotations

import hashlib
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from target_kit import load, ready
from torch import Tensor, nn

from robaudit.attacks.base import StartingPool
from robaudit.engine.engine import Engine
from robaudit.engine.fitting import FitJob, Fitted
from robaudit.engine.oracle import Oracle
from robaudit.engine.units import Sample
from robaudit.errors import AuditError, UsageError
from robaudit.surrogates.gray import Gray
from robaudit.surrogates.registry import make_recipe
from robaudit.target.target import Target
from robaudit.threat.model import Access, ThreatModel
from robaudit.threat.norms import Norm

SHAPE, CLASSES = (1, 8, 8), 3
THREAT = ThreatModel(Norm.LINF, 0.1)
SMALL: dict[str, Any] = {"queries": 400, "samples": 100, "rounds": 3, "epochs": 30}


def network(*, wide: int = 12) -> nn.Module:
    return nn.Sequential(nn.Conv2d(1, wide, 3, stride=2), nn.ReLU(), nn.Flatten(), nn.Linear(wide * 9, CLASSES))


@pytest.fixture(scope="module")
def target(tmp_path_factory: pytest.TempPathFactory) -> Target:
    """A network of random weights; its classes are about as frequent as one another."""
    torch.manual_seed(1)
    module = network().eval()
    with torch.no_grad():
        module[3].weight *= 6
        module[3].bias -= module(points(500, 9)).mean(0)
    path = tmp_path_factory.mktemp("gray") / "model.onnx"
    names = {"input_names": ["x"], "dynamic_axes": {"x": {0: "n"}}}
    torch.onnx.export(module, torch.rand(1, *SHAPE), path, dynamo=False, **names)
    return ready(path)[0]


def points(count: int, seed: int) -> Tensor:
    """Blurred noise, so that neighbours belong together as in an image."""
    generator = torch.Generator().manual_seed(seed)
    coarse = torch.rand(count, 1, 4, 4, generator=generator)
    return nn.functional.interpolate(coarse, size=SHAPE[1:], mode="bilinear")


def samples(target: Target, count: int = 100) -> list[Sample]:
    u = points(count, 2)
    scores = target.scores(u)
    return [
        Sample(i, u[i].numpy(), int(s.argmax()), s.numpy(), hashlib.sha256(u[i].numpy().tobytes()).hexdigest())
        for i, s in enumerate(scores)
    ]


def fitted(
    target: Target,
    recipe: Gray,
    found: list[Sample],
    *,
    micro_batch: int = 64,
    seed: int = 0,
    before: Fitted | None = None,
    sink: Callable[[Fitted], None] = lambda _: None,
) -> Fitted:
    ordered = sorted(found, key=lambda sample: sample.digest)
    empty = StartingPool(torch.zeros(0, *SHAPE), torch.zeros(0, dtype=torch.int64))
    engine = Engine(Oracle(target), 8, seed, empty, micro_batch=micro_batch)
    job = FitJob(recipe, THREAT, tuple(s.index for s in ordered), tuple(s.digest for s in ordered), "gray")
    done = engine.fit(job, {s.index: s for s in found}.__getitem__, before, sink)
    assert done is not None
    return done


def told(target: Target, **parameters: Any) -> Gray:
    recipe = make_recipe("gray", SMALL | parameters)
    assert isinstance(recipe, Gray)
    return recipe.with_graph(target.pupil())


def agreement(target: Target, recipe: Gray, done: Fitted) -> float:
    u = points(300, 3)
    model = recipe.model(done.artefact, CLASSES, SHAPE)
    return float((model.logits(u).argmax(1) == target.labels(u)).float().mean())


def same(one: Fitted, other: Fitted) -> bool:
    return all(
        np.allclose(value.numpy(), other.artefact[name].numpy(), atol=1e-6) for name, value in one.artefact.items()
    ) and set(one.artefact) == set(other.artefact)


@pytest.mark.parametrize(("answers", "least"), [("scores", 0.85), ("labels", 0.75)])
def test_it_comes_to_answer_as_the_target_with_so_many_queries(target: Target, answers: str, least: float) -> None:
    recipe = told(target, answers=answers)
    assert recipe.access is (Access.SCORES if answers == "scores" else Access.LABELS)
    done = fitted(target, recipe, samples(target))
    assert done.cost.queries == 400
    assert done.cost.forwards == done.cost.backwards == 0  # of the target
    assert agreement(target, recipe, done) > least
    assert int(done.artefact["agreed"]) >= (least - 0.1) * int(done.artefact["held_out"])
    assert (int(done.artefact["held_out"]), int(done.artefact["trained_on"])) == (20, 80)


def test_its_first_weights_are_none_of_the_file(target: Target) -> None:
    """A round whose training has no samples to speak of leaves it about as it began, and that is elsewhere."""
    recipe = told(target, epochs=1, rounds=1, queries=20, samples=8)
    assert agreement(target, recipe, fitted(target, recipe, samples(target, 4))) < 0.7


def test_attacks_on_it_fool_the_target(target: Target) -> None:
    """Of steps along its gradient's sign most reach another class, where random ones of the length reach few."""
    recipe = told(target)
    model = recipe.model(fitted(target, recipe, samples(target)).artefact, CLASSES, SHAPE)
    u = points(200, 4)
    labels = target.labels(u)
    at = u.clone().requires_grad_()
    (slope,) = torch.autograd.grad(nn.functional.cross_entropy(model.logits(at), labels, reduction="sum"), at)
    noise = torch.rand(u.shape, generator=torch.Generator().manual_seed(5)) - 0.5

    def fooled(direction: Tensor) -> float:
        return float((target.labels((u + 0.1 * direction.sign()).clamp(0, 1)) != labels).float().mean())

    assert fooled(slope) > 0.4
    assert fooled(slope) > 3 * fooled(noise)


def test_the_same_comes_of_any_batch_and_order_and_another_of_another_seed(target: Target) -> None:
    recipe = told(target, epochs=6)
    found = samples(target, 60)
    whole = fitted(target, recipe, found)
    assert same(whole, fitted(target, recipe, found[::-1], micro_batch=7))
    assert not same(whole, fitted(target, recipe, found, seed=1))


def test_a_killed_fit_goes_on_where_it_was(target: Target) -> None:
    recipe = told(target, epochs=6)
    rounds: list[Fitted] = []
    whole = fitted(target, recipe, samples(target, 60), sink=rounds.append)
    assert len(rounds) == recipe.fit_rounds == 3
    for before in rounds[:-1]:
        resumed = fitted(target, recipe, samples(target, 60), before=before)
        assert same(whole, resumed)
        assert resumed.cost == whole.cost


def test_its_answers_do_not_depend_on_the_batch(target: Target) -> None:
    recipe = told(target, epochs=2)
    model = recipe.model(fitted(target, recipe, samples(target, 40)).artefact, CLASSES, SHAPE)
    u = points(5, 6)
    assert model.logits(u) == pytest.approx(torch.cat([model.logits(x[None]) for x in u]), abs=1e-6)


def test_without_the_graph_there_is_none() -> None:
    with pytest.raises(AuditError, match="was not given the target's graph"):
        Gray().model({}, CLASSES, SHAPE)


def test_another_process_is_told_the_graph_again(target: Target) -> None:
    recipe = told(target, answers="labels")
    again = pickle.loads(pickle.dumps(recipe))
    assert again == recipe
    assert again.access is Access.LABELS
    with pytest.raises(AuditError, match="was not given"):
        again.pupil  # noqa: B018


def test_a_file_without_weights_is_refused_in_one_sentence(tmp_path: Path) -> None:
    path = tmp_path / "pooled.onnx"
    names = {"input_names": ["x"], "dynamic_axes": {"x": {0: "n"}}}
    module = nn.Sequential(nn.AvgPool2d(4), nn.Flatten()).eval()
    torch.onnx.export(module, torch.rand(1, *SHAPE), path, dynamo=False, **names)
    with pytest.raises(UsageError, match=r"^pooled\.onnx cannot be made anew and trained: it holds no weights"):
        load(path).pupil()
