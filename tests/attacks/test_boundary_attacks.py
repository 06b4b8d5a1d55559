"""DeepFool, SuperDeepFool and FAB: steps to linearised boundaries."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch
from models import FakeFile, Linear, attack_all, linear, network, samples_for

from robaudit.attacks.registry import make_attack
from robaudit.engine.units import Sample
from robaudit.threat.hyperplanes import dual_size
from robaudit.threat.model import Goal, ThreatModel
from robaudit.threat.norms import Norm

LINF, L2, L1 = Norm.LINF, Norm.L2, Norm.L1
KINDS = [
    ("deepfool", LINF, {}),
    ("deepfool", L2, {}),
    ("superdeepfool", L2, {}),
    ("superdeepfool", L2, {"walk": 1, "turns": 2}),
    *(("fab", norm, {"steps": 5}) for norm in (LINF, L2, L1)),
    *(("fab-t", norm, {"steps": 5}) for norm in (LINF, L2, L1)),
]
"""(id, norm, parameters)."""


def closest(target: FakeFile, sample, norm: Norm, rivals: list[int] | None = None) -> float:
    """Distance to the nearest boundary of a linear model, the box left aside."""
    weight, z = target.module.weight, torch.from_numpy(sample.clean)
    others = rivals or [j for j in range(len(z)) if j != sample.label]
    return min(float((z[sample.label] - z[j]) / dual_size(norm, weight[j] - weight[sample.label])) for j in others)


def away_from_the_box(target: FakeFile, norm: Norm, count: int) -> list:
    """Samples whose nearest boundary point lies in the box (L1 moves one feature)."""
    room = {LINF: 0.04, L2: 0.1, L1: 0.04}[norm]
    return [s for s in samples_for(target, 200) if closest(target, s, norm) < room][:count]


@pytest.mark.parametrize(("name", "norm", "parameters"), KINDS)
def test_linear_models_of_many_classes_at_every_batch_size(name: str, norm: Norm, parameters: dict) -> None:
    target = linear((50,), 6)
    samples = away_from_the_box(target, norm, 9)
    assert len(samples) >= 6
    attack, threat = make_attack(name, parameters), ThreatModel(norm, 1e-9, minimal=True)
    for slots in (1, 3, 8, 64):
        some = samples[: slots + 1]
        results = attack_all(target, attack, threat, some, slots=slots)
        for sample in some:
            ratio = results[sample.index].distance / closest(target, sample, norm)
            assert 1 - 1e-9 <= ratio <= 1.05


@pytest.mark.parametrize("norm", [LINF, L2, L1])
def test_fab_reaches_a_given_class(norm: Norm) -> None:
    target = linear((40,), 5)
    samples = []
    for sample in samples_for(target, 300):
        goal = (sample.label + 2) % 5
        # The straight way to the goal must not be barred by a third class, nor by the box
        weight, z = target.module.weight, torch.from_numpy(sample.clean)
        slope = weight[goal] - weight[sample.label]
        gap = float(z[sample.label] - z[goal])
        size = gap / float(dual_size(norm, slope))
        way = {LINF: slope.sign() * size, L2: slope * gap / float((slope * slope).sum())}.get(norm)
        if way is None:
            way = torch.zeros_like(slope)
            way[slope.abs().argmax()] = size * float(slope[slope.abs().argmax()].sign())
        there = torch.from_numpy(sample.u) + way * 1.001
        inside = float(there.min()) >= 0 and float(there.max()) <= 1
        if inside and int(target.scores(there[None])[0].argmax()) == goal:
            samples.append((dataclasses.replace(sample, goal=goal), size))
    samples = samples[:6]
    assert len(samples) >= 3
    attack = make_attack("fab-t", {"steps": 20})
    results = attack_all(target, attack, ThreatModel(norm, 1e-9, minimal=True), [s for s, _ in samples])
    for sample, size in samples:
        result = results[sample.index]
        assert result.prediction == sample.goal
        assert 1 - 1e-9 <= result.distance / size <= 1.05


@pytest.mark.parametrize(("name", "norm", "parameters"), KINDS)
def test_a_flat_model_ends_without_a_point(name: str, norm: Norm, parameters: dict) -> None:
    flat = FakeFile(Linear(torch.zeros(3, 4), torch.tensor([1.0, 0.0, 0.0])), 3, (4,))
    results = attack_all(flat, make_attack(name, parameters), ThreatModel(norm, 1.0), samples_for(flat, 3))
    assert all(not r.success and r.distance is None and r.error is None for r in results.values())


@pytest.mark.parametrize(("name", "norm", "parameters"), KINDS)
def test_a_sample_on_the_boundary_is_moved_across(name: str, norm: Norm, parameters: dict) -> None:
    """In single precision, where the least step must not be rounded away; also where the twin says otherwise."""
    weight = torch.tensor([[1.0, 2.0, -1.0], [-1.0, 0.5, 1.0]])
    for gap in (0.0, 1e-7, -1e-7):
        u = torch.tensor([0.5, 0.25, 0.5])
        bias = torch.tensor([0.0, float((weight[0] - weight[1]) @ u) - gap])
        target = FakeFile(Linear(weight, bias), 2, (3,), torch.float32)
        (sample,) = samples_for(target, 1)
        clean = np.array([1e-7, 0.0], dtype=np.float32)  # the file's own answer
        sample = dataclasses.replace(sample, u=u.numpy(), label=0, clean=clean)
        result = attack_all(target, make_attack(name, parameters), ThreatModel(norm, 0.01), [sample])[0]
        assert result.success
        assert result.distance < 1e-4


@pytest.mark.parametrize(("name", "norm", "parameters"), KINDS)
def test_where_the_box_bars_the_straight_way(name: str, norm: Norm, parameters: dict) -> None:
    """Most features are at a side of the box; the boundary is reached by the others."""
    generator = torch.Generator().manual_seed(0)
    w = torch.rand(60, generator=generator, dtype=torch.float64) + 0.5
    weight = torch.stack([w, -w])
    u = torch.ones(60, dtype=torch.float64)
    u[:40] = 0.0
    target = FakeFile(Linear(weight, torch.tensor([-2 * float(w[40:].sum()) + 3, 0.0])), 2, (60,))
    (sample,) = samples_for(target, 1)
    sample = dataclasses.replace(sample, u=u.numpy(), clean=target.scores(u[None])[0].numpy(), label=0)
    result = attack_all(target, make_attack(name, parameters), ThreatModel(norm, 60.0, minimal=True), [sample])[0]
    assert result.success
    assert (result.point[:40] == 0).all()


def test_turning_and_searching_shorten_what_deepfool_finds() -> None:
    target = network((1, 8, 8), 6, seed=2)
    samples = samples_for(target, 8)
    threat = ThreatModel(L2, 1e-9, minimal=True)

    def distances(name: str, **parameters) -> np.ndarray:
        found = attack_all(target, make_attack(name, parameters), threat, samples)
        return np.array([found[s.index].distance for s in samples])

    walked, turned = distances("deepfool"), distances("superdeepfool")
    assert np.median(turned / walked) < 1
    assert (turned <= walked * 1.001).mean() > 0.9
    fab = distances("fab-t", steps=12)
    assert np.median(fab / turned) < 1.02
    assert (distances("fab-t", steps=12, search=0) >= fab - 1e-12).all()


def test_restarts_of_fab_start_elsewhere() -> None:
    target = network((1, 6, 6), 5)
    samples = samples_for(target, 6)
    attack = make_attack("fab-t", {"steps": 5, "targets": 1, "restarts": 3})
    results = attack_all(target, attack, ThreatModel(LINF, 1e-3, minimal=True), samples)
    once = attack_all(
        target, make_attack("fab-t", {"steps": 5, "targets": 1}), ThreatModel(LINF, 1e-3, minimal=True), samples
    )
    assert all(results[i].distance <= once[i].distance + 1e-9 for i in results)
    assert all(results[i].forwards > 2.5 * once[i].forwards for i in results)


def test_many_classes_cost_ten_backwards_a_step() -> None:
    target = linear((30,), 40)
    samples = samples_for(target, 5)
    results = attack_all(target, make_attack("deepfool", {}), ThreatModel(L2, 5.0), samples)
    assert all(r.success and r.backwards == 10 * r.forwards for r in results.values())


class Coarse(FakeFile):
    """A file whose features hold sixteenths: what lies between is rounded towards the sample."""

    def snap(self, u: torch.Tensor, origin: torch.Tensor) -> torch.Tensor:
        return origin + ((u - origin) * 16).trunc() / 16


@pytest.mark.parametrize(("name", "parameters"), [("deepfool", {}), ("fab", {"steps": 5}), ("fmn", {"steps": 30})])
def test_whole_numbers_are_reached_from_the_boundary(name: str, parameters: dict) -> None:
    fine = linear((30,), 4)
    target = Coarse(fine.module, 4, (30,))
    samples = samples_for(target, 12)
    threat = ThreatModel(LINF, 0.25)
    possible = attack_all(target, make_attack("pgd", {"steps": 10}), threat, samples)
    found = attack_all(target, make_attack(name, parameters), threat, samples)
    assert sum(r.success for r in possible.values()) >= 8
    assert all(found[i].success for i, result in possible.items() if result.success)


class Rounding(torch.nn.Module):
    """Logits in steps of a sixty-fourth, the gradient passed straight through, as of a file that rounds inside."""

    def __init__(self, inner: torch.nn.Module) -> None:
        super().__init__()
        self.inner = inner

    def forward(self, u: torch.Tensor) -> torch.Tensor:
        z = self.inner(u)
        return z + ((z * 64).round() / 64 - z).detach()


@pytest.mark.parametrize(("name", "norm"), [("deepfool", LINF), ("deepfool", L2), ("superdeepfool", L2)])
def test_a_model_that_rounds_is_left_behind_the_boundary(name: str, norm: Norm) -> None:
    target = FakeFile(Rounding(linear((40,), 5).module), 5, (40,), torch.float32)
    samples = samples_for(target, 24)
    found = attack_all(target, make_attack(name, {}), ThreatModel(norm, 3.0), samples)
    assert all(result.success for result in found.values())


@pytest.mark.parametrize("norm", [LINF, L2])
def test_fab_reaches_a_class_behind_a_third_one(norm: Norm) -> None:
    """On a line the classes come in order: from the first, the second lies before the last."""
    weight = torch.tensor([[-1.0], [0.0], [1.0]], dtype=torch.float64).repeat(1, 4)
    target = FakeFile(Linear(weight, torch.tensor([0.8, 0.4, -0.8], dtype=torch.float64)), 3, (4,))
    u = np.full(4, 0.02)
    scores = target.scores(torch.from_numpy(u)[None])[0]
    assert int(scores.argmax()) == 0
    sample = Sample(0, u, 0, scores.numpy(), "s", goal=2)
    attack = make_attack("fab-t", {"steps": 20})
    found = attack_all(target, attack, ThreatModel(norm, 1.0, Goal.TARGETED), [sample], pool=False)
    assert found[0].success
    assert found[0].prediction == 2
