"""Attacks that see labels alone: on linear models of known optimum, in targeted audits, within their budgets."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch
from models import FakeFile, Linear, attack_all, boundary_model, closed_form, linear, network, samples_for
from problems import problem as random_problem

from robaudit.attacks.base import StartingPool
from robaudit.attacks.decision.points import NOISE_STARTS, start_point, start_tries
from robaudit.attacks.decision.walk import BISECT
from robaudit.attacks.registry import attack_classes, make_attack
from robaudit.attacks.requests import Answer
from robaudit.engine.oracle import Oracle
from robaudit.engine.problems import problem_of
from robaudit.engine.units import Unit
from robaudit.threat.model import Access, Goal, ThreatModel
from robaudit.threat.norms import Norm

LABELS = sorted(n for n, c in attack_classes().items() if c.access is Access.LABELS and not n.startswith("test-"))
BY_NORM = [(name, norm) for name in LABELS for norm in sorted(attack_classes()[name].norms)]
WALKS = [name for name in LABELS if name not in ("rays", "prior-rays", "curls-whey")]
NOWHERE = {Norm.LINF: 1e-6, Norm.L2: 1e-6, Norm.L0: 0.5}
"""Radii that no search reaches, so that it spends its budget."""


@pytest.mark.parametrize(
    ("name", "norm", "parameters", "ratio"),
    [
        ("boundary", Norm.L2, {"queries": 800}, 1.25),
        ("cgba", Norm.L2, {"queries": 800, "frequencies": 1.0}, 1.06),
        ("geoda", Norm.L2, {"queries": 800, "frequencies": 1.0}, 1.1),
        ("geoda", Norm.LINF, {"queries": 800, "frequencies": 1.0}, 1.1),
        ("pointwise", Norm.L0, {"queries": 300}, 1.01),
        ("rays", Norm.LINF, {"queries": 800, "early": 0}, 1.7),
        ("rays", Norm.LINF, {"queries": 800}, 1.7),
        ("sign-opt", Norm.L2, {"queries": 800}, 1.1),
        ("sign-opt", Norm.LINF, {"queries": 1500}, 1.3),
        ("surfree", Norm.L2, {"queries": 800, "frequencies": 1.0}, 1.1),
    ],
)
def test_they_approach_the_boundary(name: str, norm: Norm, parameters: dict, ratio: float) -> None:
    """The boundary of two classes is a plane: nothing fools before it, and the median is not far beyond."""
    target = boundary_model((1, 5, 9), seed=2)
    samples = samples_for(target, 8)
    results = attack_all(target, make_attack(name, parameters), ThreatModel(norm, NOWHERE[norm]), samples)
    ratios = [results[s.index].distance / closed_form(target, s, norm) for s in samples]
    assert min(ratios) >= 1 - 1e-9
    assert np.median(ratios) < ratio


@pytest.mark.parametrize(("name", "norm"), BY_NORM)
def test_every_query_is_spent_and_none_beyond_the_budget(name: str, norm: Norm) -> None:
    target = network((1, 6, 6), 5)
    samples = samples_for(target, 4)
    for queries in (1, 2, 37, 90):
        before = target.score_rows
        threat = ThreatModel(norm, NOWHERE[norm])
        results = attack_all(target, make_attack(name, {"queries": queries}), threat, samples, surrogates=target)
        assert all(r.queries <= queries for r in results.values())
        if name != "pointwise":  # which may find that nothing more can be taken back
            assert all(r.queries == queries for r in results.values())
        judged = sum(r.judged for r in results.values())
        new = sum(r.queries - r.seen.repeated for r in results.values())
        assert target.score_rows - before == new + judged


@pytest.mark.parametrize(("name", "norm"), BY_NORM)
def test_a_targeted_search_ends_in_its_goal(name: str, norm: Norm) -> None:
    if Goal.TARGETED not in attack_classes()[name].goals:
        pytest.skip(f"{name} is untargeted")
    target = linear((3, 6, 6), 4, seed=3)
    samples = samples_for(target, 24)
    aimed = [dataclasses.replace(s, goal=(s.label + 1) % 4) for s in samples]
    threat = ThreatModel(norm, {Norm.LINF: 0.4, Norm.L2: 3.0, Norm.L0: 80.0}[norm], goal=Goal.TARGETED)
    results = attack_all(target, make_attack(name, {"queries": 300}), threat, aimed, surrogates=target)
    found = [results[s.index] for s in aimed]
    assert sum(r.success for r in found) >= 20
    assert all(r.prediction == s.goal for r, s in zip(found, aimed, strict=True) if r.success)


@pytest.mark.parametrize("name", WALKS)
def test_without_a_start_they_end(name: str) -> None:
    constant = FakeFile(Linear(torch.zeros(3, 4), torch.tensor([1.0, 0.0, 0.0])), 3, (4,))
    samples = samples_for(constant, 3)
    norm = min(attack_classes()[name].norms)
    results = attack_all(constant, make_attack(name, {}), ThreatModel(norm, 1.0), samples)
    assert all(not r.success and r.distance is None for r in results.values())
    assert all(r.queries == NOISE_STARTS + len(samples) for r in results.values())


def problem(goals: list[int], pool: StartingPool):
    target = network((1, 4, 4), 5)
    samples = [
        dataclasses.replace(s, goal=goal) for s, goal in zip(samples_for(target, len(goals)), goals, strict=True)
    ]
    units = [(Unit(0, 0, s.index), s) for s in samples]
    threat = ThreatModel(Norm.L2, 1.0, goal=Goal.TARGETED if max(goals) >= 0 else Goal.UNTARGETED)
    keys = list(range(7, 7 + len(goals)))
    return problem_of(units, keys, make_attack("cgba", {}), threat, Oracle(target), 8, pool)


def test_starts_are_noise_and_then_the_pool_and_targeted_ones_samples_of_the_goal() -> None:
    points = torch.linspace(0, 1, 6, dtype=torch.float64)[:, None, None, None].expand(-1, 1, 4, 4)
    pool = StartingPool(points, torch.tensor([0, 1, 2, 2, 1, 0]))
    plain, aimed = problem([-1, -1], pool), problem([2, 1], pool)
    number = plain.full(0).long()
    tries = start_tries(plain)
    assert tries == NOISE_STARTS + 6
    free = torch.stack([start_point(plain, number + n) for n in range(tries)], 1)
    flat = free.flatten(2)
    constant = flat.amax(2) == flat.amin(2)
    assert constant.tolist() == [[False] * NOISE_STARTS + [True] * 6] * 2
    assert torch.equal(flat[:, NOISE_STARTS:, 0].sort(1).values, points[:, 0, 0, 0].expand(2, -1))
    first = torch.stack([start_point(aimed, number + n) for n in range(tries)], 1).flatten(2)
    assert sorted(first[0, :2, 0].tolist()) == pytest.approx([0.4, 0.6])
    assert sorted(first[1, :2, 0].tolist()) == pytest.approx([0.2, 0.8])
    assert ((first.amax(2) == first.amin(2)).tolist()) == [[True] * 6 + [False] * NOISE_STARTS] * 2


def test_hopskipjump_bisects_to_a_share_of_the_distance_that_is_left() -> None:
    """Until less than 0.01 / sqrt(16) of the distance is between the bracket's ends, however near the boundary is."""
    attack = make_attack("hopskipjump", {})
    one = problem([-1], StartingPool(torch.zeros(0, 1, 4, 4), torch.zeros(0, dtype=torch.int64)))
    yes = torch.ones(1, dtype=torch.bool)
    for edge in (0.9, 1e-4):
        state = attack.init(one)
        state = attack.bisect(state, yes, 1 - one.x.round())
        while int(state.phase[0]) == BISECT:
            request = attack.query(one, state)
            fooled = (state.low + state.high) / 2 > edge
            answer = Answer(request.points, yes, fooled, ~yes, torch.zeros_like(fooled).long())
            state = attack.update(one, state, answer)
        assert state.low[0] <= edge < state.high[0]
        assert 0.00125 * edge < float(state.high - state.low) <= 0.0025 * edge * 1.01


def test_surfree_draws_orthogonal_directions_of_low_frequency() -> None:
    attack = make_attack("surfree", {"frequencies": 0.5})
    one = problem([-1, -1], StartingPool(torch.zeros(0, 1, 4, 4), torch.zeros(0, dtype=torch.int64)))
    state = attack.init(one)
    state.edge = torch.rand(one.x.shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    every = torch.ones(2, dtype=torch.bool)
    found = []
    for _ in range(2):
        state = attack._redirected(one, state, every)
        found.append(state.direction.flatten(1))
    way = (state.edge - one.x).flatten(1)
    for direction in found:
        assert torch.allclose(direction.norm(dim=1), torch.ones(2, dtype=torch.float64))
        assert torch.allclose((direction * way).sum(1), torch.zeros(2, dtype=torch.float64), atol=1e-12)
    assert state.past.shape == (2, 2, 4)
    assert torch.allclose(state.past @ state.past.mT, torch.eye(2, dtype=torch.float64).expand(2, 2, 2), atol=1e-12)


def test_the_early_phase_of_rays_takes_the_block_that_fools_and_leaves_the_radius() -> None:
    attack = make_attack("rays", {"early": 100, "stripes": False})
    one = problem([-1, -1, -1], StartingPool(torch.zeros(0, 1, 4, 4), torch.zeros(0, dtype=torch.int64)))
    state = attack.init(one)

    def told(*fooled: list[bool]) -> None:
        nonlocal state
        request = attack.query(one, state)
        flags = torch.tensor(fooled) if request.points.dim() == 5 else torch.tensor(fooled)[:, 0]
        asked = torch.ones_like(flags) if request.rows is None else request.rows
        answer = Answer(request.points, asked, flags & asked, torch.zeros_like(flags), torch.zeros_like(flags).long())
        state = attack.update(one, state, answer)

    told([False, False], [False, False], [False, False])  # the whole direction flipped
    request = attack.query(one, state)
    assert request.rows.tolist() == [[True, True]] * 3
    halves = (request.points == 1.0).flatten(2)  # at radius 1 a positive sign leads to the corner
    assert halves[0].tolist() == [[False] * 8 + [True] * 8, [True] * 8 + [False] * 8]
    told([False, False], [False, True], [True, True])
    assert state.sign.flatten(1)[:, [0, 8]].tolist() == [[1, 1], [1, -1], [1, 1]]
    assert state.radius.tolist() == [1, 1, 1]
    assert state.block.tolist() == [0, 0, 0]
    assert state.level.tolist() == [2, 2, 1]
    told([False, False], [False, False], [True, True])
    told([False, False], [False, False], [True, False])
    assert state.radius.tolist() == [
        1,
        1,
        pytest.approx(0.5, rel=1e-5),
    ]  # halved where both fool, to one that tells them apart
    assert state.sign.flatten(1)[2, [0, 8]].tolist() == [-1, 1]
    assert state.level.tolist() == [3, 3, 2]


def test_without_the_early_phase_rays_asks_about_one_direction_at_a_time() -> None:
    attack = make_attack("rays", {"early": 0})
    one = problem([-1], StartingPool(torch.zeros(0, 1, 4, 4), torch.zeros(0, dtype=torch.int64)))
    state = attack.init(one)
    for _ in range(12):
        request = attack.query(one, state)
        assert request.points.shape == one.x.shape
        no = torch.zeros(1, dtype=torch.bool)
        state = attack.update(one, state, Answer(request.points, ~no, no, no, no.long()))
    assert state.level.tolist() == [3]  # the stripes, then 1 + 2 + 4 blocks, and 4 of 8
    assert state.block.tolist() == [4]


def test_rays_asks_about_stripes_once_and_at_the_radius() -> None:
    attack = make_attack("rays", {})
    one = problem([-1], StartingPool(torch.zeros(0, 1, 4, 4), torch.zeros(0, dtype=torch.int64)))
    near = dataclasses.replace(one, eps=one.full(0.01))
    state = attack.init(near)
    first = attack.query(near, state).points
    signs = (first - near.x).sign()
    assert (signs == signs[:, :, :1]).all()
    assert (first - near.x).abs().amax().item() == pytest.approx(0.01, rel=1e-5)
    no = torch.zeros(1, dtype=torch.bool)
    state = attack.update(near, state, Answer(first, ~no, no, no, no.long()))
    assert (attack.query(near, state).points == 0.0).all()  # the direction of equal signs, at the corner of the box
    whole = dataclasses.replace(near, minimal=True)
    assert (attack.query(whole, attack.init(whole)).points == 0.0).all()


@pytest.mark.parametrize(
    ("shape", "norm", "striped"),
    [((1, 64, 64), Norm.LINF, True), ((1, 8, 8), Norm.LINF, False), ((1, 64, 64), Norm.L2, False)],
)
def test_walks_over_large_images_start_from_stripes_in_the_largest_norm(
    shape: tuple[int, ...], norm: Norm, striped: bool
) -> None:
    one = random_problem(norm, 0.1, count=2, shape=shape)
    first, second = (start_point(one, torch.full((2,), number)) for number in (0, 1))
    assert bool(((first == 0) | (first == 1)).all()) == striped
    assert bool((first == first[:, :, :1]).all()) == striped
    assert ((second > 0) & (second < 1)).all()
