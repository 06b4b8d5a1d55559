"""Surrogates of odd targets, and of few queries."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from models import FakeFile, linear, network, samples_for
from test_recipes import fit
from torch import Tensor, nn

from robaudit.attacks.fitted import Artefact
from robaudit.errors import AuditError
from robaudit.surrogates.registry import make_recipe


class Through(nn.Module):
    """A linear model whose scores go through a function of input and logits."""

    def __init__(self, inner: nn.Module, change: Callable[[Tensor, Tensor], Tensor]) -> None:
        super().__init__()
        self.inner, self.change = inner, change

    def forward(self, u: Tensor) -> Tensor:
        return self.change(u, self.inner(u))


def through(change: Callable[[Tensor, Tensor], Tensor], kind: str = "logits") -> FakeFile:
    return FakeFile(Through(linear((6,), 3).module, change), 3, (6,), score_kind=kind)


def made(target: FakeFile, id: str, parameters: dict[str, Any]) -> tuple[Artefact, int]:
    recipe = make_recipe(id, parameters)
    found, _ = fit(target, recipe, samples_for(target, recipe.fit_samples))
    assert found is not None
    return found.artefact, found.cost.queries


@pytest.mark.parametrize("queries", [20, 23, 60])
@pytest.mark.parametrize(
    ("id", "parameters"),
    [("distilled", {"rounds": 50, "epochs": 1}), ("substitute", {"rounds": 8, "epochs": 1})],
    ids=["distilled", "substitute"],
)
def test_queries_that_are_spent_before_the_last_round_end_nothing(
    id: str, parameters: dict[str, Any], queries: int
) -> None:
    artefact, asked = made(network((1, 8, 8), 3), id, parameters | {"queries": queries})
    assert asked == queries
    assert 5 <= int(artefact["held_out"]) <= queries // 2


@pytest.mark.parametrize("size", [1e-6, 1e-3, 1.0, 1e3])
def test_the_size_of_logits_hinders_nothing(size: float) -> None:
    artefact, _ = made(through(lambda _, z: z * size), "distilled", {"queries": 1000, "samples": 200, "epochs": 30})
    assert int(artefact["agreed"]) >= 36
    assert int(artefact["held_out"]) == 40


@pytest.mark.parametrize("id", ["distilled", "substitute"])
def test_points_without_a_class_are_neither_learnt_nor_compared(id: str) -> None:
    target = through(lambda u, z: torch.where(u[:, :1] > 0.5, torch.nan, z))
    parameters = {"distilled": {"samples": 200}, "substitute": {"seeds": 200, "rounds": 3}}[id]
    artefact, _ = made(target, id, parameters | {"queries": 1000, "epochs": 40})
    assert 10 <= int(artefact["held_out"]) <= 30  # about half of 40
    assert int(artefact["agreed"]) >= 0.6 * int(artefact["held_out"])
    assert all(bool(value.isfinite().all()) for value in artefact.values())


@pytest.mark.parametrize("id", ["distilled", "substitute"])
def test_a_model_that_names_no_class_at_all_is_refused_in_a_sentence(id: str) -> None:
    target = through(lambda _, z: z * torch.nan)
    with pytest.raises(AuditError, match="names no class"):
        made(target, id, {"queries": 100, "epochs": 1})
