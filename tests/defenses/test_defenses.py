"""Defenses in front of a model: one definition for the judge, the search and the replay."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from robaudit.defenses.base import Defense
from robaudit.defenses.bits import BitDepth
from robaudit.defenses.registry import defense_classes, make_defense, parse_defense, words_of
from robaudit.errors import UsageError
from robaudit.extensions import parameters_of
from robaudit.target.inputs.spec import InputSpec

EDGES = st.lists(st.floats(0, 1, width=32), min_size=1, max_size=30)


@given(EDGES, st.integers(1, 16), st.sampled_from(["float32", "float64"]))
def test_bits_in_torch_and_in_numpy_are_the_same_to_the_bit(values: list[float], depth: int, dtype: str) -> None:
    u = np.array(values, dtype=dtype)[None]
    defense = BitDepth(depth=depth)
    shown = defense.shown(u)
    assert shown.dtype == u.dtype
    assert defense.forward(torch.from_numpy(u)).numpy().tobytes() == shown.tobytes()
    assert Defense.forward(defense, torch.from_numpy(u)).numpy().tobytes() == shown.tobytes()
    assert len(np.unique(shown)) <= 2**depth
    assert np.abs(shown - u).max() <= 0.5 / (2**depth - 1) + 1e-7
    assert defense.shown(shown).tobytes() == shown.tobytes(), "a level stays what it is"


def test_what_one_bit_makes_of_a_feature() -> None:
    u = np.array([[0.0, 0.49999, 0.5, 0.75, 1.0]])
    assert BitDepth(depth=1).shown(u).tolist() == [[0, 0, 1, 1, 1]]
    np.testing.assert_allclose(BitDepth(depth=2).shown(u), [[0, 1 / 3, 2 / 3, 2 / 3, 1]])


def spec(**changes: object) -> InputSpec:
    base = InputSpec("x", (2, 3, 3), (3, 2, 3), "image", "nhwc", mean=(0.4, 0.5, 0.6), std=(0.2,), channels="bgr")
    return dataclasses.replace(base, **changes)  # type: ignore[arg-type]


def test_the_file_is_shown_what_the_defense_makes_of_a_point() -> None:
    u = torch.rand(4, 3, 2, 3, generator=torch.Generator().manual_seed(0))
    defense = BitDepth(depth=2)
    defended = spec(defenses=(defense,))
    assert torch.equal(defended.to_file(u), spec().to_file(defense.forward(u)))
    assert defended.file_array(u.numpy()).tobytes() == defended.to_file(u).numpy().tobytes()
    assert not torch.equal(defended.to_file(u), spec().to_file(u))


def test_the_gradient_goes_past_the_defense_at_the_values_behind_it() -> None:
    u = torch.rand(2, 3, 2, 3, dtype=torch.float64).requires_grad_()
    defense = BitDepth(depth=1)
    x = spec(defenses=(defense,)).to_file(u)
    assert torch.equal(x.detach(), spec().to_file(defense.forward(u.detach())))
    (gradient,) = torch.autograd.grad(x.pow(2).sum(), u)
    behind = defense.forward(u.detach()).requires_grad_()
    (expected,) = torch.autograd.grad(spec().to_file(behind).pow(2).sum(), behind)
    torch.testing.assert_close(gradient, expected)


class Halving(Defense):
    """Halves, and says how to differentiate it."""

    id = "halving"

    def shown(self, u):
        return u / 2

    def backward_path(self, u):
        return u / 4


def test_a_defense_may_give_its_own_way_back() -> None:
    plain = dataclasses.replace(spec(), mean=(), std=())
    u = torch.rand(1, 3, 2, 3, dtype=torch.float64).requires_grad_()
    x = dataclasses.replace(plain, defenses=(Halving(),)).to_file(u)
    torch.testing.assert_close(x.detach(), plain.to_file(u.detach() / 2))
    (gradient,) = torch.autograd.grad(x.sum(), u)
    torch.testing.assert_close(gradient, torch.full_like(u, 0.25))


def test_how_settings_name_a_defense() -> None:
    assert "bits" in defense_classes()
    assert parse_defense("bits") == BitDepth(depth=3)
    assert parse_defense(" bits : depth = 5 ".replace(" ", "")) == BitDepth(depth=5)
    assert parameters_of(parse_defense("bits")) == {"depth": 3}
    assert words_of("bits", {"depth": 3}) == "bits:depth=3"
    assert parse_defense(words_of("bits", {"depth": 7})) == BitDepth(depth=7)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("bitz", "unknown defense 'bitz'; did you mean 'bits'?"),
        ("bits:dept=3", "no parameter 'dept'"),
        ("bits:depth=0", "parameter 'depth'"),
        ("bits:depth=x", "parameter 'depth'"),
        ("bits:depth=2.5", "parameter 'depth'"),
        ("bits:depth", "parameter 'depth'"),
        ("bits:depth=1,depth=2", "written as bits, bits:4 or bits:depth=4"),
        ("bits:4,5", "written as bits, bits:4 or bits:depth=4"),
        ("bits:=4", "written as bits, bits:4 or bits:depth=4"),
        ("bits:4,depth=5", "the defense 'bits' is given its depth twice"),
        ("jpeg:900", "parameter 'quality'"),
        ("jpeg:0", "parameter 'quality'"),
        ("jpeg:75,subsampling=4:1:1", "parameter 'subsampling'"),
        ("median:1", "parameter 'size'"),
        ("purifier", "the defense 'purifier' needs its file: purifier:FILE"),
        ("", "unknown defense ''"),
    ],
)
def test_what_is_no_defense_is_refused_in_a_sentence(text: str, words: str) -> None:
    with pytest.raises(UsageError) as refusal:
        parse_defense(text)
    assert words in str(refusal.value)
    assert "\n" not in str(refusal.value)


def test_parameters_out_of_range_are_refused() -> None:
    with pytest.raises(UsageError, match="depth"):
        make_defense("bits", {"depth": 17})
