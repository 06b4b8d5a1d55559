"""Attacks through defenses on models whose optimum is known."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch
from wrapper_kit import images

from robaudit.defenses.registry import fitted, parse_chain
from robaudit.target.inputs.spec import InputSpec

SHAPE, EPS = (1, 16, 16), 0.1


def linear(seed: int, *, rough: bool = False) -> torch.Tensor:
    """[D] weights of a linear score: smooth, of which blurs and codecs leave something, or of fine noise."""
    draw = np.random.default_rng(seed)
    if rough:
        return torch.from_numpy(draw.normal(size=256))
    rows, columns = np.mgrid[0:16, 0:16] / 16
    return torch.from_numpy(np.sin(draw.uniform(3, 9) * rows + draw.uniform(3, 9) * columns).reshape(-1))


def attacked(spec: InputSpec, weights: torch.Tensor, u: torch.Tensor, *, through: bool) -> torch.Tensor:
    """Points that ten sign steps towards a smaller score end at; ``through``: past the defenses, else as if without."""
    plain = dataclasses.replace(spec, defenses=())
    point = u.clone()
    for _ in range(10):
        point = point.detach().requires_grad_()
        score = ((spec if through else plain).to_file(point).flatten(1) @ weights).sum()
        (gradient,) = torch.autograd.grad(score, point)
        point = point.detach() - EPS / 4 * gradient.sign()
        point = torch.minimum(torch.maximum(point, u - EPS), u + EPS).clamp(0, 1)
    return point.detach()


@pytest.mark.parametrize("rough", [False, True])
@pytest.mark.parametrize(
    "chain", ["bits:3", "jpeg:30", "jpeg:75", "median:3", "gaussian:1.5", "median:3+bits:3", "bits:4+jpeg:40"]
)
def test_an_attack_through_the_defense_lowers_a_linear_score_as_far(chain: str, rough: bool) -> None:
    bare = InputSpec("x", SHAPE, SHAPE, "image", "nchw")
    spec = dataclasses.replace(bare, defenses=tuple(fitted(one, bare) for one in parse_chain(chain)))
    u = torch.from_numpy(images(6, SHAPE)).double()
    lowered = []
    for through in (False, True):
        scores = []
        for seed in range(3):
            weights = linear(seed, rough=rough)
            point = attacked(spec, weights, u, through=through)
            scores.append(spec.to_file(point).flatten(1) @ weights - spec.to_file(u).flatten(1) @ weights)
        lowered.append(torch.stack(scores).mean())
    best = -EPS * torch.stack([linear(seed, rough=rough).abs().sum() for seed in range(3)]).mean()
    assert lowered[1] <= lowered[0] - 0.03 * best, (chain, lowered, best)
    if rough and ("gaussian" in chain or "median" in chain):
        assert lowered[1] < lowered[0], "where a defense changes the direction, only an attack through it knows"
    elif not rough:
        assert lowered[1] < 0.7 * best, "most of what a linear model allows"


def test_a_gradient_of_steps_alone_would_be_zero(tmp_path: Path) -> None:
    """What the stand-ins are for: differences of the defended score itself say nothing."""
    bare = InputSpec("x", SHAPE, SHAPE, "image", "nchw")
    spec = dataclasses.replace(bare, defenses=parse_chain("bits:3"))
    u = torch.full((1, *SHAPE), 0.5, dtype=torch.float64)
    moved = u + 1e-4 * torch.ones_like(u)
    assert torch.equal(spec.to_file(u), spec.to_file(moved))
    leaf = u.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(spec.to_file(leaf).sum(), leaf)
    assert torch.equal(gradient, torch.ones_like(gradient))
