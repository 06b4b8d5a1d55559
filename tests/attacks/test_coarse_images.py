"""Coarse images that grow during a search, and which of their coordinates are drawn."""

from __future__ import annotations

import math

import pytest
import torch
from models import FakeFile, Linear, attack_all, closed_form, samples_for
from problems import problem

from robaudit.attacks.registry import make_attack
from robaudit.attacks.score import zoo
from robaudit.attacks.score.hierarchy import Hierarchy
from robaudit.threat.model import ThreatModel
from robaudit.threat.norms import Norm


def test_coarse_images_grow_in_place_and_show_what_they_did() -> None:
    images = Hierarchy((2, 40, 30), 8)
    assert images.shapes == [(2, 8, 8), (2, 16, 16), (2, 32, 30)]
    assert images.canvas == (2, 32, 30)
    assert images.level(torch.tensor([0, 9, 10, 49, 50, 500]), 100).tolist() == [0, 0, 1, 1, 2, 2]
    level = torch.tensor([0, 1])
    canvas = torch.zeros(2, 2, 32, 30, dtype=torch.float64)
    canvas[0, :, :8, :8] = torch.rand(2, 8, 8, dtype=torch.float64)
    canvas[1, :, :16, :16] = 0.25
    valid = images.valid(level)
    assert valid is not None
    assert valid.flatten(1).sum(1).tolist() == [2 * 64, 2 * 256]
    grown = images.grown(canvas, level, level + 1)
    torch.testing.assert_close(grown[1], torch.full_like(grown[1], 0.25))
    whole = torch.nn.functional.interpolate(canvas[:1, :, :8, :8], size=(16, 16), mode="bilinear")
    assert torch.equal(grown[0, :, :16, :16], whole[0])
    assert not bool(grown[0, :, 16:].any())
    assert torch.equal(images.grown(canvas, level, level), canvas)
    shown = images.shown(canvas, level)
    assert shown.shape == (2, 2, 40, 30)
    torch.testing.assert_close(shown[1], torch.full_like(shown[1], 0.25))
    small = Hierarchy((1, 6, 6), 8)
    assert small.single
    assert small.valid(level) is None
    assert not Hierarchy((1, 12, 6), 8).single
    assert Hierarchy((70,), 8).canvas == (70,)


def test_blocks_that_are_perturbed_more_are_drawn_more_often() -> None:
    images = Hierarchy((1, 64, 64), 16)
    canvas = torch.zeros(400, 1, 64, 64, dtype=torch.float64)
    canvas[:, 0, 5, 9] = 1.0  # in the block of rows 4 to 7 and columns 8 to 11, of 32 x 32
    canvas[:, 0, 20, 20] = 0.5
    level = torch.ones(400, dtype=torch.int64)
    weights = images.weights(canvas, level)
    assert weights[0, 0, :32, :32].unique().tolist() == [0, 0.5, 1]
    assert int((weights[0, 0, :32, :32] == 1).sum()) == 16
    assert bool((weights[0, 0, 4:8, 8:12] == 1).all())
    slots = problem(Norm.L2, 0.5, count=400, shape=(1, 64, 64))
    valid = images.valid(level)
    place, marked = zoo._weighted(slots, torch.zeros(400).long(), 3, valid, weights)
    assert bool(marked.all())
    row, column = place // 64, place % 64
    high = (row >= 4) & (row < 8) & (column >= 8) & (column < 12)
    low = (row >= 20) & (row < 24) & (column >= 20) & (column < 24)
    assert float((high | low).double().mean()) > 0.99
    assert 1.7 < float(high.sum() / low.sum()) < 2.3
    assert bool((images.weights(torch.zeros_like(canvas), level) == 1).all())


@pytest.mark.parametrize("importance", [True, False])
def test_zoo_breaks_images_larger_than_its_first_side(importance: bool) -> None:
    """Whose class the sum of a corner decides, which a coarse image of two pixels a side can change."""
    weight = torch.zeros(2, 1, 12, 12, dtype=torch.float64)
    weight[1, 0, :6, :6] = 1.0
    target = FakeFile(Linear(weight.flatten(1), torch.tensor([24.0, 0.0], dtype=torch.float64)), 2, (1, 12, 12))
    samples = samples_for(target, 5)
    threat = ThreatModel(Norm.L2, 1.0, minimal=True)
    found = []
    for side in (3, 12):
        attack = make_attack("zoo", {"queries": 3000, "side": side, "coordinates": 9, "importance": importance})
        results = attack_all(target, attack, threat, samples)
        assert all(r.queries <= 3000 for r in results.values())
        found.append([(results[s.index].distance or math.inf) / closed_form(target, s, Norm.L2) for s in samples])
    assert min(found[0]) >= 1 - 1e-9
    assert sorted(found[0])[2] < 1.3
    assert sum(found[0]) < sum(found[1])
