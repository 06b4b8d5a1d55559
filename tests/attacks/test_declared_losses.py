"""What attacks say of the losses that they climb, and what they ask for."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from attack_cases import BY_NORM, CASES, EPS
from models import attack_all, network, samples_for

from robaudit.attacks.registry import attack_classes, make_attack
from robaudit.attacks.requests import Gradient, Jacobian, Request
from robaudit.engine.evaluator import Evaluator
from robaudit.threat.losses import log_odds, loss_named, margin
from robaudit.threat.model import Access, ThreatModel
from robaudit.threat.norms import Norm

ASKED = {"polish": ("ddn",)}
"""Losses asked for only from a point that fools already."""


@pytest.mark.parametrize(("name", "norm"), BY_NORM)
def test_every_loss_that_is_asked_for_is_declared(name: str, norm: Norm, monkeypatch: pytest.MonkeyPatch) -> None:
    attack = make_attack(name, CASES[name].parameters)
    declared = attack.climbs(5)
    if attack.access not in (Access.WHITE_BOX, Access.TRANSFER):
        assert declared == {}
        return
    asked: set[Any] = set()
    answer = Evaluator.answer

    def heard(self: Evaluator, request: Request, *rest: Any, **more: Any) -> Any:
        if isinstance(request, Jacobian):
            asked.add(margin)
        elif isinstance(request, Gradient):
            losses = request.loss if isinstance(request.loss, tuple) else (request.loss,)
            used = range(len(losses)) if request.choice is None else set(request.choice.tolist())
            asked.update(losses[i] for i in used)
        return answer(self, request, *rest, **more)

    monkeypatch.setattr(Evaluator, "answer", heard)
    target = network((1, 6, 6), 5)
    attack_all(target, attack, ThreatModel(norm, EPS[norm]), samples_for(target, 6), surrogates=target)
    if name in ASKED["polish"]:
        asked.discard(margin)
    if name == "lbfgs":  # declared for the target that it is given
        assert set(declared) == {"ce-targeted"}
        return
    assert asked
    assert asked <= set(declared.values())


@pytest.mark.parametrize("loss", ["ce", "margin", "dlr", "houdini", "logit"])
@pytest.mark.parametrize(
    "name", ["fgsm", "fgsm-ll", "r-fgsm", "bim", "ilcm", "pgd", "mi-fgsm", "apgd-ce", "transfer-mi-fgsm"]
)
def test_the_chosen_loss_is_declared(name: str, loss: str) -> None:
    assert make_attack(name, {"loss": loss}).climbs(5) == {loss: loss_named(loss)}


def test_a_ladder_declares_the_losses_of_its_rungs() -> None:
    rungs = [{"loss": "ce", "steps": 2}, {"loss": "targeted", "steps": 2}, {"loss": "ce", "steps": 4}]
    for classes in (3, 4):
        found = make_attack("ensemble", {"ladder": rungs}).climbs(classes)
        assert set(found) == {"ce", "targeted"}
        logits = torch.randn(6, classes, requires_grad=True)
        label = torch.zeros(6, dtype=torch.int64)
        for function in found.values():  # without a target they aim at the likeliest other class
            (slope,) = torch.autograd.grad(function(logits, label, label - 1).sum(), logits)
            assert bool((slope[:, 0] < 0).all())


def test_an_attack_from_elsewhere_declares_the_margin_if_it_has_gradients() -> None:
    class Other(attack_classes()["fmn"]):  # type: ignore[misc]
        id = "other"

    assert Other().climbs(5) == {"margin": margin}


def test_a_step_of_its_own_length_climbs_the_cross_entropy_as_log_odds() -> None:
    assert loss_named("ce") is log_odds
