"""Square's windows and schedule, in L2 and L1 as well, and its targeted form."""

from __future__ import annotations

import dataclasses

import pytest
import torch
from models import attack_all, network, samples_for
from problems import problem

from robaudit.attacks.registry import make_attack
from robaudit.attacks.requests import Answer
from robaudit.attacks.score.square import Square
from robaudit.attacks.score.square_bumps import Room, Windows, bumps
from robaudit.threat.model import Goal, ThreatModel
from robaudit.threat.norms import Norm


def window(rows: int, columns: int, top: int = 0, left: int = 0, height: int = 9, width: int = 9) -> Windows:
    i, j = torch.arange(height)[None, :, None] - top, torch.arange(width)[None, None, :] - left
    return Windows(i, j, torch.tensor([rows]), torch.tensor([columns]))


@pytest.mark.parametrize(("norm", "order", "decay"), [(Norm.L2, 2, 2), (Norm.L1, 1, 4)])
def test_a_window_holds_two_equal_bumps_of_opposite_sign(norm: Norm, order: int, decay: int) -> None:
    for turned in (False, True):
        whole = bumps(window(5, 5, 2, 3), torch.tensor([turned]), norm)[0, 0]
        held = whole[2:7, 3:8].T if turned else whole[2:7, 3:8]
        assert float(whole.abs().sum()) == pytest.approx(float(held.abs().sum()))
        assert bool((held[:2] > 0).all())
        assert bool((held[2:] < 0).all())
        for half in (held[:2], held[2:]):
            assert float(torch.linalg.vector_norm(half, ord=order)) == pytest.approx(0.5 ** (1 / order))
        # the lower half: 3 x 5 around (1, 2), where d = 0 adds 1 to what d = 1 has, 1 / 2^decay to what d = 2 has
        edge, ring, centre = (float(-held[row, column]) for row, column in ((3, 0), (3, 1), (3, 2)))
        assert (centre - ring) / (ring - edge) == pytest.approx(2**decay)


def test_a_row_is_split_along_its_length() -> None:
    row = bumps(window(1, 6, height=1), torch.tensor([False]), Norm.L2)[0, 0, 0]
    assert row.sign().tolist() == [1, 1, 1, -1, -1, -1, 0, 0, 0]


def test_the_schedule_may_be_longer_than_the_budget() -> None:
    step = torch.tensor([1, 11, 12, 2501, 5000])
    stretched = Square(queries=5000)._area(0.8, step, 1024)
    assert (stretched / 1024).tolist() == pytest.approx([0.8, 0.4, 0.4, 0.8 / 128, 0.8 / 512])
    plain = Square(queries=5000, schedule=10_000)._area(0.8, step, 1024)
    assert (plain / 1024).tolist() == pytest.approx([0.8, 0.8, 0.4, 0.8 / 64, 0.8 / 128])


class Watched:
    """Keeps every point that an attack asks about."""

    def __init__(self, attack: Square) -> None:
        self.attack, self.points = attack, []

    def __getattr__(self, name: str):
        return getattr(self.attack, name)

    def query(self, problem, state):
        self.points.append((problem.x.clone(), state.proposal.clone()))
        return self.attack.query(problem, state)


@pytest.mark.parametrize(("norm", "eps"), [(Norm.LINF, 0.02), (Norm.L2, 0.1), (Norm.L1, 0.3)])
@pytest.mark.parametrize("shape", [(3, 8, 8), (1, 5, 9), (2, 30, 4), (40,), (1,)])
def test_every_proposal_lies_in_the_ball_and_spends_it(norm: Norm, eps: float, shape: tuple[int, ...]) -> None:
    target = network(shape, 4)
    samples = samples_for(target, 3)
    watched = Watched(make_attack("square", {"queries": 30}))
    threat = ThreatModel(norm, eps)
    attack_all(target, watched, threat, samples, slots=1)
    sizes = []
    for origin, point in watched.points:
        inside, size = threat.admissible(origin, point)
        assert bool(inside.all())
        sizes.append(float(size.min()))
    assert torch.tensor(sizes).median() > 0.9 * eps


@pytest.mark.parametrize(("norm", "eps"), [(Norm.LINF, 0.3), (Norm.L2, 2.0), (Norm.L1, 12.0)])
def test_a_targeted_audit_reaches_its_goal(norm: Norm, eps: float) -> None:
    target = network((2, 5, 5), 4)
    samples = [dataclasses.replace(s, goal=(s.label + 1) % 4) for s in samples_for(target, 4)]
    attack = make_attack("square", {"queries": 400})
    results = attack_all(target, attack, ThreatModel(norm, eps, Goal.TARGETED), samples, pool=False)
    assert {i: r.prediction for i, r in results.items()} == {s.index: s.goal for s in samples}


def test_windows_lie_around_the_pixels_that_may_change() -> None:
    fixed = torch.ones(3, 9, 8, dtype=torch.bool)
    fixed[1, 2:6, 3] = fixed[2, 3, 5:7] = False  # rows 2 to 5 and columns 3 to 6
    slots = problem(Norm.LINF, 0.1, count=200, shape=(3, 9, 8))
    masked = dataclasses.replace(slots, fixed=fixed.expand(200, -1, -1, -1))
    room = Room.of(masked)
    assert {tuple(row) for row in torch.stack([room.top, room.left, room.height, room.width], 1).tolist()} == {
        (2, 3, 4, 4)
    }
    side = torch.arange(200) % 9 + 1
    place = torch.rand(200, 2, generator=torch.Generator().manual_seed(0))
    windows = Windows.of(masked, side, place).mask[:, 0]
    assert not windows[:, [0, 1, 6, 7, 8]].any()
    assert not windows[:, :, [0, 1, 2, 7]].any()
    assert windows.any((1, 2)).all()
    assert windows[:, 2:6, 3:7].any(0).all()
    assert Windows.of(slots, side, place).mask.any(0).all()


@pytest.mark.parametrize("norm", [Norm.LINF, Norm.L2, Norm.L1])
def test_no_query_is_spent_on_windows_beside_a_mask(norm: Norm) -> None:
    fixed = torch.ones(3, 16, 16, dtype=torch.bool)
    fixed[:, 10:14, 1:5] = False
    slots = problem(norm, 0.2, count=50, shape=(3, 16, 16), middle=True)
    masked = dataclasses.replace(slots, fixed=fixed.expand(50, -1, -1, -1), low=None, high=None)
    masked = dataclasses.replace(masked, clean=torch.tensor([[1.0, 0.0, 0.0]]).expand(50, 3))
    attack = Square(queries=100)
    state, no = attack.init(masked), torch.zeros(50, dtype=torch.bool)
    answer = Answer(points=masked.x, answered=~no, fooled=no, refused=no, logits=masked.clean, labels=None)
    for _ in range(5):
        state = attack.update(masked, state, answer)
        changed = (state.proposal != state.best).flatten(1).any(1)
        assert changed.float().mean() > 0.6  # in L2 and L1 bumps may be what they are already
        assert not (state.proposal != masked.x)[:, :, :10].any()


@pytest.mark.parametrize("shape", [(1, 12, 12), (3, 12, 12), (40,)])
def test_no_query_asks_again_about_the_best_point(shape: tuple[int, ...]) -> None:
    slots = problem(Norm.LINF, 0.2, count=50, shape=shape)
    slots = dataclasses.replace(slots, x=torch.zeros_like(slots.x), low=None, high=None)  # -eps changes nothing at 0
    slots = dataclasses.replace(slots, clean=torch.tensor([[1.0, 0.0, 0.0]]).expand(50, 3))
    attack = Square(queries=100)
    state, no = attack.init(slots), torch.zeros(50, dtype=torch.bool)
    answer = Answer(points=slots.x, answered=~no, fooled=no, refused=no, logits=slots.clean, labels=None)
    for _ in range(40):
        state = attack.update(slots, state, answer)
        assert (state.proposal != state.best).flatten(1).any(1).all()


@pytest.mark.parametrize(
    ("shape", "norm", "share"),
    [
        ((3, 224, 224), Norm.LINF, 0.05),
        ((3, 32, 32), Norm.LINF, 0.3),
        ((20,), Norm.LINF, 0.3),
        ((3, 224, 224), Norm.L2, 0.1),
    ],
)
def test_the_first_window_may_suit_the_image(shape: tuple[int, ...], norm: Norm, share: float) -> None:
    one = problem(norm, 0.1, count=1, shape=shape)
    assert Square(p_init=None)._first(one) == share
    assert Square(p_init=0.7)._first(one) == 0.7


@pytest.mark.parametrize("shape", [(3, 9, 8), (1, 5, 5), (20,)])
def test_a_window_is_set_alike_by_its_slices_and_by_its_mask(shape: tuple[int, ...], monkeypatch) -> None:
    slots = problem(Norm.LINF, 0.1, count=60, shape=shape)
    attack = Square(queries=200)
    state = attack.init(slots)
    state.value, state.step = state.value + 1, torch.arange(60)
    by_slices = attack._corner(slots, state.best, state.step)
    by_mask = attack._corner(dataclasses.replace(slots, joint=(Everything(),)), state.best, state.step)
    assert torch.equal(by_slices, by_mask)


class Everything:
    """A perturbation set that allows all."""

    def project(self, points, origin):
        return points
