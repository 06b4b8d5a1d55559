"""Defenses that draw anew each time, and those behind which many answers vote."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from wrapper_kit import SHAPE, images, meaning

from robaudit.defenses.base import Defense, RandomDefense, VotingDefense
from robaudit.defenses.registry import fitted, parse_defense
from robaudit.defenses.resizing import _placing
from robaudit.errors import UsageError

RANDOM = ("noise", "noise:0.3", "resize-pad", "resize-pad:0.4", "barrage", "barrage:6", "barrage:count=1")
VOTING = ("smoothing:votes=7", "region-vote:votes=5")
KEYS = np.array([3, 4, 2**64 - 1], dtype=np.uint64)


def ready(text: str, shape: tuple[int, ...] = SHAPE, **changes: object) -> Defense:
    return fitted(parse_defense(text), meaning(shape, **changes))


@pytest.fixture(params=[*RANDOM, "quilting"])
def drawing(request: pytest.FixtureRequest, tmp_path: Path) -> RandomDefense:
    text = request.param
    if text == "quilting":
        patches = np.random.default_rng(0).random((40, 3, 4, 4)).astype(np.float32)
        np.savez(tmp_path / "p.npz", patches=patches)
        text = f"quilting:{tmp_path / 'p.npz'},nearest=5"
    found = ready(text)
    assert isinstance(found, RandomDefense)
    return found


def test_a_row_follows_from_its_key_alone(drawing: RandomDefense) -> None:
    u = images(3)
    found = drawing.drawn(u, KEYS)
    assert (found.shape, found.dtype) == (u.shape, u.dtype)
    assert found.min() >= 0
    assert found.max() <= 1
    assert drawing.drawn(u, KEYS).tobytes() == found.tobytes()
    for place in range(3):
        alone = drawing.drawn(u[place : place + 1], KEYS[place : place + 1])
        assert alone[0].tobytes() == found[place].tobytes()
    assert drawing.drawn_forward(torch.from_numpy(u), KEYS).numpy().tobytes() == found.tobytes()
    others = [drawing.drawn(u[:1], np.array([key], dtype=np.uint64)).tobytes() for key in range(8)]
    assert len(set(others)) > 2
    assert drawing.shown(u).tobytes() == drawing.shown(u).tobytes()


def test_double_precision_gives_the_same(drawing: RandomDefense) -> None:
    u = images(3)
    np.testing.assert_allclose(drawing.drawn(u.astype(np.float64), KEYS), drawing.drawn(u, KEYS), atol=0.15)


@pytest.mark.parametrize("text", ["noise", "resize-pad:0.5"])
def test_the_gradient_is_exact_at_the_draw(text: str) -> None:
    drawing = ready(text)
    assert isinstance(drawing, RandomDefense)
    u = (images(3) * 0.5 + 0.25).astype(np.float64)
    leaf = torch.from_numpy(u).requires_grad_()
    path = drawing.drawn_path(leaf, KEYS)
    np.testing.assert_allclose(path.detach().numpy(), drawing.drawn(u, KEYS), atol=1e-12)
    direction = np.random.default_rng(1).standard_normal(u.shape)
    (gradient,) = torch.autograd.grad((path * torch.from_numpy(direction)).sum(), leaf)
    change = 1e-6 * np.random.default_rng(2).standard_normal(u.shape)
    moved = ((drawing.drawn(u + change, KEYS) - drawing.drawn(u - change, KEYS)) * direction).sum() / 2
    assert float((gradient.numpy() * change).sum()) == pytest.approx(moved, rel=1e-4)


def test_a_barrage_goes_back_through_the_stand_ins_at_its_own_values() -> None:
    drawing = ready("barrage:count=3")
    assert isinstance(drawing, RandomDefense)
    u = torch.from_numpy(images(3)).requires_grad_()
    path = drawing.drawn_path(u, KEYS)
    np.testing.assert_allclose(path.detach().numpy(), drawing.drawn(u.detach().numpy(), KEYS), atol=1e-6)
    (gradient,) = torch.autograd.grad(path.sum(), u)
    assert bool(torch.isfinite(gradient).all())
    assert bool((gradient != 0).any())


def test_noise_has_the_spread_that_is_asked_for() -> None:
    drawing = ready("noise:0.05", (1, 60, 60))
    assert isinstance(drawing, RandomDefense)
    u = np.full((2, 1, 60, 60), 0.5)
    noise = drawing.drawn(u, KEYS[:2]) - u
    assert noise.std() == pytest.approx(0.05, rel=0.05)
    assert abs(noise.mean()) < 0.003
    assert abs(np.corrcoef(noise[0].ravel(), noise[1].ravel())[0, 1]) < 0.1


@pytest.mark.parametrize(
    ("factor", "place", "begin", "short"), [(1.0, 0.5, 0, 8), (0.5, 0.0, 0, 4), (0.5, 0.999, 4, 4)]
)
def test_a_line_is_made_shorter_and_placed(factor: float, place: float, begin: int, short: int) -> None:
    found = _placing(8, factor, place)
    rows = found.sum(1)
    np.testing.assert_allclose(rows[begin : begin + short], 1)
    assert rows.sum() == pytest.approx(short)
    ramp = found @ np.linspace(0, 1, 8)
    assert (np.diff(ramp[begin : begin + short]) > 0).all()
    if factor == 1.0:
        np.testing.assert_array_equal(found, np.eye(8))


def test_a_tiny_factor_leaves_a_pixel() -> None:
    assert _placing(3, 0.01, 0.5).sum() == pytest.approx(1)


@pytest.mark.parametrize("text", VOTING)
def test_copies_of_an_input_are_shown_one_after_the_other(text: str) -> None:
    voting = ready(text)
    assert isinstance(voting, VotingDefense)
    assert not voting.random
    u = images(3)
    found = voting.shown(u)
    count = voting.copies
    assert found.shape == (3 * count, *SHAPE)
    assert voting.shown(u).tobytes() == found.tobytes()
    assert voting.shown(u[1:2]).tobytes() == found[count : 2 * count].tobytes()
    assert len({row.tobytes() for row in found}) == len(found)
    assert voting.forward(torch.from_numpy(u)).numpy().tobytes() == found.tobytes()
    leaf = torch.from_numpy(u).requires_grad_()
    path = voting.backward_path(leaf)
    np.testing.assert_allclose(path.detach().numpy(), found, atol=1e-6)
    (gradient,) = torch.autograd.grad(path.sum(), leaf)
    inside = torch.from_numpy(((found > 0) & (found < 1)).reshape(3, count, *SHAPE).sum(1))
    torch.testing.assert_close(gradient, inside.to(gradient))


def test_a_region_is_a_box() -> None:
    u = np.full((2, *SHAPE), 0.5)
    far = np.abs(ready("region-vote:radius=0.2,votes=20").shown(u) - 0.5)
    assert far.max() <= 0.2
    assert far.max() > 0.199
    assert far.mean() == pytest.approx(0.1, rel=0.05)


def test_smoothing_names_a_class_that_a_binomial_test_is_sure_of() -> None:
    votes = np.array([[0, 50, 0], [30, 20, 0], [40, 10, 0], [0, 0, 0], [25, 25, 0], [0, 9, 1]])
    # two-sided tests: 2 ** -49, 0.203, 2.4e-5, none, 1, 0.0215
    assert ready("smoothing:alpha=0.001").names(votes).tolist() == [True, False, True, False, False, False]
    assert ready("smoothing:alpha=0.05").names(votes).tolist() == [True, False, True, False, False, True]
    assert ready("smoothing").names(votes).tolist() == [True, True, True, False, True, True]
    assert ready("region-vote").names(votes).tolist() == [True, True, True, False, True, True]


@pytest.mark.parametrize("text", [*RANDOM, *VOTING])
def test_tables_are_refused(text: str) -> None:
    with pytest.raises(UsageError, match="it needs images, and the model takes 5 features"):
        ready(text, (5,))


def test_a_barrage_takes_what_applies() -> None:
    five = ready("barrage:5", (2, 6, 6))  # jpeg does not take two channels
    assert isinstance(five, RandomDefense)
    assert five.drawn(images(2, (2, 6, 6)), KEYS[:2]).shape == (2, 2, 6, 6)
    with pytest.raises(UsageError, match="5 of its transforms apply to these images, and its count is 6"):
        ready("barrage:6", (2, 6, 6))


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("noise:0", "sigma"),
        ("resize-pad:1", "least"),
        ("barrage:7", "count"),
        ("smoothing:votes=1", "votes"),
        ("smoothing:alpha=0", "alpha"),
        ("region-vote:radius=-1", "radius"),
    ],
)
def test_parameters_out_of_range_are_refused(text: str, words: str) -> None:
    with pytest.raises(UsageError) as refusal:
        parse_defense(text)
    assert words in str(refusal.value)
    assert "\n" not in str(refusal.value)
