"""Attacks by scores: what they propose, what they find where the best is known, and how much they ask at once."""

from __future__ import annotations

import dataclasses
import itertools
import math

import pytest
import torch
from attack_cases import BY_NORM, CASES
from models import attack_all, boundary_model, closed_form, network, samples_for
from problems import problem, problem_of
from score_walks import walked

import robaudit.engine.run as run_module
from robaudit.attacks.registry import attack_classes, make_attack
from robaudit.attacks.score.coarse import coarse_shape, enlarged
from robaudit.attacks.score.objective import Portions, chosen, differences
from robaudit.attacks.score.simba import SimBA
from robaudit.threat.model import Access, Goal, ThreatModel
from robaudit.threat.norms import Norm

SCORES = [(name, norm) for name, norm in BY_NORM if attack_classes()[name].access is Access.SCORES]
SEVERAL = [(n, norm) for n, norm in SCORES if attack_classes()[n].several and not attack_classes()[n].prior]
FAR = {Norm.LINF: 0.3, Norm.L2: 2.0, Norm.L1: 12.0, Norm.L0: 40.0}


@pytest.mark.parametrize(("name", "norm"), SCORES)
def test_a_targeted_audit_reaches_its_goal(name: str, norm: Norm) -> None:
    target = network((2, 5, 5), 4)
    samples = [dataclasses.replace(s, goal=(s.label + 1) % 4) for s in samples_for(target, 4)]
    attack = make_attack(name, CASES[name].parameters | {"queries": 3000})
    results = attack_all(
        target, attack, ThreatModel(norm, FAR[norm], Goal.TARGETED), samples, pool=False, surrogates=target
    )
    reached = {i: r.prediction for i, r in results.items() if r.success}
    assert len(reached) >= 3
    assert reached.items() <= {s.index: s.goal for s in samples}.items()


@pytest.mark.parametrize("most", [1, 5, 64])
@pytest.mark.parametrize(("name", "norm"), SEVERAL)
def test_no_request_holds_more_points_than_it_may(name: str, norm: Norm, most: int) -> None:
    target = network((2, 5, 6), 3)
    slots = problem_of(target, 4)
    eps = torch.full_like(slots.eps, {Norm.L0: 3.0}.get(norm, 0.1))
    slots = dataclasses.replace(slots, norm=norm, eps=eps, max_points=most, low=None, high=None)
    for request, _ in walked(make_attack(name, CASES[name].parameters), target, slots, 30):
        # two sides of a difference, and the point itself, are the least that some attacks can do with
        assert request.points.shape[1] <= max(most, 3)
        assert request.rows is None or bool(request.rows.any(1).all())
        assert bool(((request.points >= 0) & (request.points <= 1)).all())


@pytest.mark.parametrize(("name", "norm"), SEVERAL)
def test_fewer_points_at_once_make_more_requests_of_the_same_step(name: str, norm: Norm) -> None:
    """A step takes as many queries as it takes in one request."""
    if name in ("zoo", "autozoom"):
        return  # a step has as many coordinates or vectors as fit
    target, counts = network((2, 5, 6), 3), []
    for most in (5, 64):
        slots = dataclasses.replace(problem_of(target, 3), norm=norm, max_points=most, low=None, high=None)
        slots = dataclasses.replace(slots, eps=torch.full_like(slots.eps, 2.0 if norm is Norm.L0 else 0.1))
        parameters = CASES[name].parameters | ({"features": 4} if name == "fd-grouping" else {})
        asked = 0
        for request, state in walked(make_attack(name, parameters), target, slots, 60):
            asked += int(request.rows[0].sum()) if request.rows is not None else request.points.shape[1]
            if int(state.part[0]) == 0:
                break
        counts.append(asked)
    assert counts[0] == counts[1] > 5


def test_fewer_slots_are_worked_on_together_where_each_asks_about_many_points(monkeypatch) -> None:
    target = network((1, 6, 6), 3)
    samples = samples_for(target, 12)
    attack = make_attack("nes", {"queries": 60})
    widths = []
    plain = type(attack).query
    monkeypatch.setattr(type(attack), "query", lambda self, p, s: (widths.append(len(p)), plain(self, p, s))[1])
    monkeypatch.setattr(run_module, "MAX_REQUEST_BYTES", 3 * 64 * 36 * 8)
    attack_all(target, attack, ThreatModel(Norm.LINF, 0.001), samples, slots=12)
    assert max(widths) == 3


def test_portions_hold_every_draw_once() -> None:
    for total, most in ((50, 31), (47, 20), (1, 64), (300, 64), (7, 1)):
        portions = Portions(total, most)
        rows = portions.rows(torch.arange(portions.requests))
        assert rows.shape == (portions.requests, portions.size)
        assert portions.size <= most
        assert int(rows.sum()) == total
        assert bool(rows.any(1).all())
        assert torch.equal(portions.rows(torch.tensor([0]), 2), torch.cat([rows[:1], rows[:1]], 1))


def test_features_are_chosen_among_those_marked() -> None:
    slots = problem(Norm.L0, 3, count=300)
    among = torch.zeros(2, 3, 4, dtype=torch.bool)
    among[0, 1], among[1, 2, 3] = True, True
    found = chosen(slots, "purpose", 0, torch.arange(300) % 7, among.expand(300, -1, -1, -1))
    assert found.flatten(1).sum(1).tolist() == [min(i % 7, 5) for i in range(300)]
    assert not bool((found & ~among).any())
    assert torch.equal(found.any(0), among)


def test_the_slope_of_a_linear_function_is_found_from_differences() -> None:
    torch.manual_seed(0)
    slope, here = torch.randn(12, dtype=torch.float64), torch.rand(2, 1, 12, dtype=torch.float64)
    steps = torch.eye(12, dtype=torch.float64) * torch.tensor([0.01, 0.5] * 6, dtype=torch.float64)[:, None]
    points = torch.cat([here + steps, here - steps], 1)
    answers = torch.ones(2, 24, dtype=torch.bool)
    answers[1, 3] = False
    found = differences(points, points @ slope, answers)
    torch.testing.assert_close(found[0], slope)
    assert float(found[1, 3]) == 0


@pytest.mark.parametrize(("name", "parameters"), [("signhunter", {}), ("simba", {"basis": "pixel"})])
def test_every_sign_of_a_linear_model_is_found_in_a_round(name: str, parameters: dict) -> None:
    """Of 45 features each is tried: by signhunter twice at most, and after parts of 45, 23, 12, 6, 3 and 2."""
    target = boundary_model((1, 5, 9))
    samples = [s for s in samples_for(target, 40) if 0.005 < closed_form(target, s, Norm.LINF) < 0.04][:6]
    rounds = 1 + 1 + 2 + 4 + 8 + 15 + 23 + 45 if name == "signhunter" else 2 * 45
    for sample in samples:
        optimum = closed_form(target, sample, Norm.LINF)
        threat = ThreatModel(Norm.LINF, optimum * 1.001)
        attack = make_attack(name, parameters | {"queries": rounds})
        (result,) = attack_all(target, attack, threat, [sample]).values()
        assert result.success


def test_signhunter_asks_about_no_point_twice() -> None:
    """Where parts are halves of those before: both halves flipped are the part flipped, as long as all else stays."""
    target = network((1, 8, 8), 4)
    slots = dataclasses.replace(problem_of(target, 6), low=None, high=None)
    steps = walked(make_attack("signhunter", {}), target, slots, 60)
    points = torch.stack([request.points.flatten(1) for request, _ in steps], 1)
    assert [len(one.unique(dim=0)) for one in points] == [60] * 6


def test_directions_of_simba_are_a_basis_in_bands() -> None:
    slots = problem(Norm.L2, 0.5, count=1, shape=(2, 6, 5))
    attack = SimBA(band=0.4)  # 3 frequencies of 6, 2 of 5
    state, seen = attack.init(slots), []
    for place in range(60):
        state.place = torch.tensor([place])
        seen.append(attack._direction(slots, state).flatten())
    basis = torch.stack(seen)
    torch.testing.assert_close(basis @ basis.T, torch.eye(60, dtype=basis.dtype))
    low = basis[:12].reshape(12, 2, 6, 5)  # no more than two changes of sign down, and one across
    assert int((low.sign().diff(dim=2) != 0).sum(2).max()) <= 2
    assert int((low.sign().diff(dim=3) != 0).sum(3).max()) <= 1
    assert not torch.equal(attack._order(slots, torch.tensor([0])), attack._order(slots, torch.tensor([1])))


def test_single_features_of_simba_are_those_that_may_change() -> None:
    slots = problem(Norm.L2, 0.5, count=3, shape=(6,), fixed=(1, 4))
    attack = SimBA()
    state, seen = attack.init(slots), []
    for place in range(4):
        state.place = torch.full((3,), place)
        seen.append(attack._direction(slots, state))
    assert torch.stack(seen).sum(0).tolist() == [[1, 0, 1, 1, 0, 1]] * 3


def cosine(one: torch.Tensor, other: torch.Tensor) -> float:
    return float(torch.cosine_similarity(one.flatten(), other.flatten(), dim=0))


@pytest.mark.parametrize("norm", [Norm.LINF, Norm.L2])
def test_the_prior_of_bandits_comes_to_be_the_gradient(norm: Norm) -> None:
    target = boundary_model((1, 6, 6))
    slots = dataclasses.replace(problem_of(target, 5), norm=norm, low=None, high=None)
    slots = dataclasses.replace(slots, eps=slots.eps / 20)
    found = [state for _, state in walked(make_attack("bandits", {}), target, slots, 400)]
    for slot in range(5):
        slope = target.module.weight[1 - int(slots.label[slot])]
        start, end = (cosine(found[step].prior[slot], slope) for step in (0, -1))
        assert end > max(0.6, start)


def test_tiles_and_coarse_images_cover_the_image() -> None:
    assert coarse_shape((3, 70, 40), 50) == (3, 50, 40)
    assert coarse_shape((7,), 5) == (7,)
    coarse = torch.arange(6.0).reshape(1, 1, 2, 3)
    tiled = enlarged(coarse, (1, 4, 6), "nearest")[0, 0]
    assert tiled[:2, :2].unique().tolist() == [0]
    assert tiled[2:, 4:].unique().tolist() == [5]
    assert enlarged(coarse, (1, 5, 7), "bilinear").shape == (1, 1, 5, 7)


def test_nothing_to_learn_does_not_move_the_mean_of_nattack() -> None:
    target = network((1, 5, 5), 3)
    for parameter in target.module.parameters():
        parameter.zero_()
    slots = dataclasses.replace(problem_of(target, 3), norm=Norm.L2)
    attack = make_attack("nattack", {"population": 8})
    first = attack.init(slots).mean
    assert torch.equal(walked(attack, target, slots, 6)[-1][1].mean, first)


@pytest.mark.parametrize("eps", [1.0, 2.0, 5.0, 8.0])
def test_one_pixel_changes_few_pixels_in_the_place_that_may_change(eps: float) -> None:
    target = network((3, 6, 6), 3)
    fixed = torch.ones(3, 6, 6, dtype=torch.bool)
    fixed[:, 1:4, 2:5] = False
    slots = dataclasses.replace(problem_of(target, 5), norm=Norm.L0, fixed=fixed.expand(5, -1, -1, -1))
    slots = dataclasses.replace(slots, eps=torch.full_like(slots.eps, eps), max_points=16)
    seen = torch.zeros(3, 6, 6, dtype=torch.bool)
    for request, _ in walked(make_attack("one-pixel", {"pixels": 2, "population": 30}), target, slots, 20):
        moved = request.points != slots.x[:, None]
        assert int(moved.flatten(2).sum(2).max()) == min(eps, 6)
        assert int(moved.any(2).flatten(2).sum(2).max()) == min(math.ceil(eps / 3), 2)
        seen |= moved.flatten(0, 1).any(0)
    assert torch.equal(seen, ~fixed)


def test_a_generation_of_one_pixel_loses_no_fitness() -> None:
    target = network((2, 5, 5), 3)
    slots = dataclasses.replace(problem_of(target, 4), norm=Norm.L0, max_points=7)
    slots = dataclasses.replace(slots, eps=torch.full_like(slots.eps, 2.0))
    values = [state.value for _, state in walked(make_attack("one-pixel", {"population": 10}), target, slots, 30)]
    assert bool(values[1].isfinite().all())  # two requests a generation
    for before, after in itertools.pairwise(values):
        assert bool((after >= before).all())
    assert bool((values[-1].amax(1) > values[1].amax(1)).all())


@pytest.mark.parametrize(
    ("shape", "coarse", "rate"),
    [
        ((1, 28, 28), (1, 14, 14), 0.01),
        ((3, 32, 31), (3, 16, 16), 0.01 / 3),
        ((3, 224, 224), (3, 32, 32), 0.002 / 3),
        ((1, 64, 20), (1, 32, 20), 0.01),
        ((13,), (13,), 0.01),
    ],
)
def test_autozoom_searches_by_the_size_of_the_image(
    shape: tuple[int, ...], coarse: tuple[int, ...], rate: float
) -> None:
    """Adam's first step is as long as its rate in every number, whatever the slope."""
    target = network(shape, 3)
    [(_, after)] = walked(make_attack("autozoom", {}), target, problem_of(target, 1), 1)
    assert after.at.shape == (1, *coarse)
    assert float(after.at.abs().median()) == pytest.approx(rate, rel=1e-3)


@pytest.mark.parametrize(
    ("name", "parameters"),
    [
        ("zoo", {"searches": 8}),
        ("zoo", {"searches": 8, "solver": "newton"}),
        ("autozoom", {"switch": 400, "vectors": 3, "side": 4}),
    ],
)
def test_descents_without_gradients_approach_the_boundary(name: str, parameters: dict) -> None:
    target = boundary_model((1, 4, 4), seed=2)
    samples = samples_for(target, 6)
    attack = make_attack(name, parameters | {"queries": 12_000})
    results = attack_all(target, attack, ThreatModel(Norm.L2, 1.0, minimal=True), samples)
    ratios = [results[s.index].distance / closed_form(target, s, Norm.L2) for s in samples]
    assert min(ratios) >= 1 - 1e-9
    assert sorted(ratios)[3] < 1.2
