"""Sparse-RS: how many features change and where, as scattered features, whole pixels, a patch or a frame."""

from __future__ import annotations

import dataclasses

import pytest
import torch
from models import FakeFile, Linear, attack_all, boundary_model, closed_form, network, samples_for
from problems import problem_of
from score_walks import walked
from torch import Tensor

from robaudit.attacks.base import Problem
from robaudit.attacks.registry import make_attack
from robaudit.attacks.score.sparse_places import Patch
from robaudit.audit.config.profile import AttackSpec
from robaudit.audit.config.profile_files import load_profile
from robaudit.audit.plan.attacks import TargetTraits, plan_attacks
from robaudit.threat.model import Goal, ThreatModel
from robaudit.threat.norms import Norm


def slots_of(target: FakeFile, radii: list[float], fixed: Tensor | None = None) -> Problem:
    found = problem_of(target, len(radii))
    fixed = None if fixed is None else fixed.expand(len(radii), *target.shape)
    return dataclasses.replace(found, norm=Norm.L0, eps=torch.tensor(radii, dtype=torch.float64), fixed=fixed)


def changes(shape: str, target: FakeFile, slots: Problem, steps: int = 60) -> list[Tensor]:
    """[S, *shape] bool of each request: what differs from the samples; every change leads to an end."""
    found = []
    for request, _ in walked(make_attack("sparse-rs", {"shape": shape, "queries": steps}), target, slots, steps):
        moved = request.points != slots.x
        assert bool(((request.points == 0) | (request.points == 1))[moved].all())
        found.append(moved)
    return found


def test_sparse_rs_changes_as_many_features_as_it_may_each_to_an_end() -> None:
    target = network((2, 4, 4), 3)
    fixed = torch.zeros(2, 4, 4, dtype=torch.bool)
    fixed[0] = True
    slots = dataclasses.replace(
        problem_of(target, 6), norm=Norm.L0, eps=torch.tensor([1.0, 3.0, 4.7, 15.0, 16.0, 30.0])
    )
    slots = dataclasses.replace(slots, eps=slots.eps.double(), fixed=fixed.expand(6, -1, -1, -1))
    slots.x[1, 1, 0] = 1.0
    for request, _ in walked(make_attack("sparse-rs", {"queries": 60}), target, slots, 60):
        moved = request.points != slots.x
        assert moved.flatten(1).sum(1).tolist() == [1, 3, 4, 15, 16, 16]
        assert bool(((request.points == 0) | (request.points == 1))[moved].all())
        assert not bool((moved & fixed).any())


def test_sparse_rs_finds_the_features_that_matter() -> None:
    target = boundary_model((1, 4, 4))
    samples = [s for s in samples_for(target, 60) if 2 <= closed_form(target, s, Norm.L0) <= 3][:8]
    assert len(samples) >= 4
    for sample in samples:
        threat = ThreatModel(Norm.L0, closed_form(target, sample, Norm.L0))
        (result,) = attack_all(target, make_attack("sparse-rs", {"queries": 4000}), threat, [sample]).values()
        assert result.success


def test_whole_pixels_are_as_many_as_their_channels_allow() -> None:
    target = network((3, 5, 4), 3)
    slots = slots_of(target, [3.0, 8.0, 9.0, 59.0, 60.0])
    for moved in changes("pixels", target, slots):
        pixels = moved.any(1).flatten(1).sum(1)
        assert pixels.tolist() == [1, 2, 3, 19, 20]
    slots.x[:] = slots.x.round()  # a pixel at the ends of its range still changes, in one channel at least
    for moved in changes("pixels", target, slots, 20):
        assert moved.any(1).flatten(1).sum(1).tolist() == [1, 2, 3, 19, 20]


def test_a_patch_is_the_largest_square_within_the_radius_and_moves() -> None:
    target = network((3, 9, 8), 3)
    slots = slots_of(target, [3.0, 11.0, 12.0, 26.9, 30.0, 500.0])
    boxes = []
    for moved in changes("patch", target, slots, 80):
        pixels = moved.any(1)
        down, across = pixels.any(2), pixels.any(1)
        # an original value of 0 or 1 is no random one, so that every pixel of the patch differs
        size = torch.stack([down.sum(1), across.sum(1)], 1).tolist()
        assert size == [[1, 1], [1, 1], [2, 2], [2, 2], [3, 3], [9, 8]]
        assert bool((pixels.flatten(1).sum(1) == down.sum(1) * across.sum(1)).all())
        boxes.append((down.long().argmax(1), across.long().argmax(1)))
    places = [{(int(top[slot]), int(left[slot])) for top, left in boxes} for slot in range(6)]
    assert all(len(seen) > 3 for seen in places[:5])


def test_what_a_patch_shows_moves_with_it() -> None:
    slots = slots_of(network((2, 8, 8), 3), [18.0] * 40)
    moves = Patch(0.4)
    point, region = moves.first(slots)
    step, progress = torch.full((40,), 8), torch.zeros(40, dtype=torch.int64)
    there, place = moves.after(slots, point, region, step, progress)
    inside = [image[mask].reshape(2, 3, 3) for image, mask in zip(point, region, strict=True)]
    shown = [image[mask].reshape(2, 3, 3) for image, mask in zip(there, place, strict=True)]
    assert all(torch.equal(a, b) for a, b in zip(inside, shown, strict=True))
    assert torch.equal(there[~place], slots.x[~place])
    assert sum(not torch.equal(a, b) for a, b in zip(region, place, strict=True)) > 30


def test_a_step_paints_a_square_of_the_patch_then_a_pixel_then_one_channel() -> None:
    slots = slots_of(network((3, 12, 12), 3), [300.0] * 50)
    moves = Patch(0.8)
    point, region = moves.first(slots)
    step = torch.full((50,), 7)
    for progress, side, channels in ((0, 8, 3), (11, 6, 3), (3000, 1, 3), (9000, 1, 1)):
        painted, same = moves.after(slots, point, region, step, torch.full((50,), progress))
        assert torch.equal(same, region)
        moved = painted != point
        assert not bool((moved & ~region).any())
        assert int(moved.any(1).flatten(1).sum(1).max()) <= side**2
        assert int(moved.any(1).any(1).sum(1).max()) == side
        assert int(moved.flatten(2).any(2).sum(1).max()) == channels
        if side == 1:
            assert bool(moved.flatten(1).any(1).all()), "a pixel gets another colour than it has"


@pytest.mark.parametrize(
    ("size", "radii"), [((7, 9), [27.0, 28.0, 55.0, 56.0, 63.0]), ((6, 6), [20.0, 31.9, 32.0, 35.0, 36.0])]
)
def test_a_frame_is_the_widest_within_the_radius(size: tuple[int, int], radii: list[float]) -> None:
    target = network((1, *size), 3)
    slots = slots_of(target, radii)
    height, width = size
    expected = []
    for radius in radii:
        depths = [d for d in range(6) if height * width - max(height - 2 * d, 0) * max(width - 2 * d, 0) <= radius]
        frame = torch.ones(height, width, dtype=torch.bool)
        frame[max(depths) : height - max(depths), max(depths) : width - max(depths)] = False
        expected.append(frame if max(depths) else torch.zeros_like(frame))
    want = torch.stack(expected)[:, None]
    assert want[0].any() or radii[0] < 28
    moved = torch.stack(changes("frame", target, slots, 40))
    assert not bool((moved & ~want).any())
    assert torch.equal(moved.any(0), want)


def test_squares_of_a_frame_begin_at_it_and_shrink_to_a_pixel() -> None:
    attack = make_attack("sparse-rs", {"shape": "frame"})
    slots = slots_of(network((3, 16, 16), 3), [3.0 * (256 - 100)] * 40)
    point, region = attack._moves.first(slots)
    step = torch.full((40,), 3)
    for progress, most in ((0, 9), (4999, 3), (5000, 1)):
        painted, same = attack._moves.after(slots, point, region, step, torch.full((40,), progress))
        moved = (painted != point).any(1)
        assert torch.equal(same, region)
        assert int(moved.any(1).sum(1).max()) == most
        assert int(moved.any(2).sum(1).max()) == most


@pytest.mark.parametrize("shape", ["pixels", "patch", "frame"])
def test_nothing_changes_outside_of_a_mask(shape: str) -> None:
    target = network((2, 9, 9), 3)
    fixed = torch.ones(2, 9, 9, dtype=torch.bool)
    fixed[:, 2:8, 1:6] = False
    slots = slots_of(target, [40.0] * 5, fixed)
    moved = torch.stack(changes(shape, target, slots, 60))
    assert not bool((moved & fixed).any())
    assert bool(moved.flatten(2).any(2).all())
    assert int(moved.flatten(2).sum(2).max()) <= 40


@pytest.mark.parametrize("goal", [Goal.UNTARGETED, Goal.TARGETED])
@pytest.mark.parametrize(("shape", "eps"), [("pixels", 16.0), ("patch", 18.0), ("frame", 40.0)])
def test_each_shape_breaks_within_the_radius(shape: str, eps: float, goal: Goal) -> None:
    target = network((2, 6, 6), 4)
    samples = [
        dataclasses.replace(s, goal=(s.label + 1) % 4 if goal is Goal.TARGETED else -1) for s in samples_for(target, 6)
    ]
    attack = make_attack("sparse-rs", {"shape": shape, "queries": 600})
    results = attack_all(target, attack, ThreatModel(Norm.L0, eps, goal), samples)
    assert sum(r.success for r in results.values()) >= 5
    assert all(r.distance <= eps for r in results.values() if r.success)


def test_a_patch_finds_the_place_that_matters() -> None:
    """Only a brighter corner changes the class."""
    weight = torch.zeros(2, 1, 10, 10, dtype=torch.float64)
    weight[1, 0, 7:10, 7:10] = 1.0
    target = FakeFile(Linear(weight.flatten(1), torch.tensor([6.5, 0.0], dtype=torch.float64)), 2, (1, 10, 10))
    samples = samples_for(target, 4)
    attack = make_attack("sparse-rs", {"shape": "patch", "queries": 3000})
    results = attack_all(target, attack, ThreatModel(Norm.L0, 9.0), samples)
    assert all(r.success for r in results.values())


def test_shapes_that_do_not_fit_are_skipped_with_the_reason() -> None:
    profile = load_profile("quick")
    threat = profile.threat.model_copy(update={"norm": "l0", "eps": "5"})

    def reason(shape: str, sample: tuple[int, ...]) -> str | None:
        spec = AttackSpec.model_validate({"id": "sparse-rs", "shape": shape})
        plan = profile.model_copy(update={"threat": threat, "attacks": (spec,)})
        [found] = plan_attacks(plan, TargetTraits(10, sample))
        assert (found.status == "skipped") is (found.reason is not None)
        return found.reason

    assert reason("patch", (40,)) == "a patch is a part of an image of C x H x W"
    assert reason("frame", (3, 8, 8)) == "a frame of one pixel is 84 features, and the radius is 5"
    assert reason("patch", (6, 8, 8)) == "a pixel is 6 features, and the radius is 5"
    assert reason("pixels", (6, 8, 8)) == "a pixel is 6 features, and the radius is 5"
    assert [reason(shape, (3, 8, 8)) for shape in ("features", "pixels", "patch")] == [None] * 3
    assert [reason(shape, (40,)) for shape in ("features", "pixels")] == [None] * 2
