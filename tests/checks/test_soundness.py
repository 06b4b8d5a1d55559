"""Checks of whether the attacks can be trusted: on models where the right value is known."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from fake_bench import FakeBench, FakeTarget, find, standing_less, verdict
from hypothesis import given
from hypothesis import strategies as st
from models import FakeFile, linear, samples_for
from torch import Tensor, nn

from robaudit.checks.registry import make_check
from robaudit.target.running.smooth import Smooth
from robaudit.threat.model import ThreatModel
from robaudit.threat.noise import noise_within
from robaudit.threat.norms import Norm
from robaudit.threat.sets.features import FixedFeatures

SHAPE = (1, 4, 4)


class Behind(nn.Module):
    """A linear model whose logits are changed by a function of input and logits."""

    def __init__(self, change: Callable[[Tensor, Tensor], Tensor]) -> None:
        super().__init__()
        self.inner, self.change = linear(SHAPE, 5).module, change

    def forward(self, u: Tensor) -> Tensor:
        return self.change(u, self.inner(u))


def bench_of(file: FakeFile, count: int = 12, eps: float = 0.02) -> FakeBench:
    """With samples that lie well inside of their class."""
    bench = FakeBench(0)
    bench.file, bench.target = file, FakeTarget(file)
    bench.threat = dataclasses.replace(bench.threat, eps=eps)
    bench.samples = sorted(samples_for(file, 4 * count), key=lead, reverse=True)[:count]
    bench.samples = [dataclasses.replace(sample, index=place) for place, sample in enumerate(bench.samples)]
    return bench


def lead(sample: Any) -> float:
    first, second = np.sort(sample.clean)[:-3:-1]
    return float(first - second)


# graph-scan


def test_operators_that_cut_the_gradient_are_named() -> None:
    assert find("graph-scan", FakeBench(cuts=())).status == "pass"
    found = find("graph-scan", FakeBench(cuts=("Round (a)", "Sign (b)", "ArgMax (c)", "Floor (d)", "Ceil (e)")))
    assert found.status == "warn"
    assert found.message.endswith("Round (a), Sign (b), ArgMax (c) and 2 more")
    assert find("graph-scan", FakeBench(has_gradient=False)).status == "skipped"


# gradient-fidelity


def straight(change: Callable[[Tensor], Tensor]) -> Callable[[Tensor, Tensor], Tensor]:
    """The change of the logits, with the gradient of the logits as they were."""
    return lambda _, z: z + (change(z) - z).detach()


def test_the_gradient_of_a_linear_model_is_its_slope() -> None:
    found = find("gradient-fidelity", bench_of(linear(SHAPE, 5)))
    assert (found.status, found.value) == ("pass", 1.0)


def test_a_gradient_that_is_not_the_slope_warns() -> None:
    against = find("gradient-fidelity", bench_of(FakeFile(Behind(lambda _, z: 2 * z.detach() - z), 5, SHAPE)))
    assert (against.status, against.value) == ("warn", 0.0)
    other = find("gradient-fidelity", bench_of(FakeFile(Behind(straight(lambda z: z.flip(1))), 5, SHAPE)))
    assert other.status == "warn"


def test_a_staircase_is_flat() -> None:
    found = find("gradient-fidelity", bench_of(FakeFile(Behind(straight(lambda z: (z / 4).round() * 4)), 5, SHAPE)))
    assert found.status == "warn"
    assert "the model is flat there" in found.message


# landscape


def test_the_change_of_a_linear_margin_is_that_of_its_noise() -> None:
    bench = bench_of(linear(SHAPE, 5))
    check = make_check("landscape", {"draws": 4000})
    found = check.measure(bench)["change"]
    weight = bench.file.module.weight.detach().numpy()
    expected = []
    for sample in bench.correct(check.samples):
        rivals = np.delete(np.arange(5), sample.label)
        rival = rivals[np.argmax(sample.clean[rivals])]
        deviation = np.linalg.norm(weight[sample.label] - weight[rival]) * (8 / 255) / math.sqrt(12)
        expected.append(deviation * math.sqrt(2 / math.pi) / lead(sample))
    assert found == pytest.approx(np.mean(expected), rel=0.05)
    assert find("landscape", bench).status == "pass"


def test_a_rough_loss_warns() -> None:
    rough = FakeFile(Behind(lambda u, z: z * (1 + (3000 * u.flatten(1).sum(1, keepdim=True)).sin())), 5, SHAPE)
    assert find("landscape", bench_of(rough)).status == "warn"


# one-step


def test_one_step_of_a_linear_model_breaks_nothing_that_many_leave() -> None:
    found = find("one-step", bench_of(linear(SHAPE, 5), 30, eps=0.2))
    assert (found.status, found.value) == ("pass", 0.0)
    assert "one step breaks 0" not in found.message


def test_a_single_step_that_does_better_warns(monkeypatch) -> None:
    bench = bench_of(linear(SHAPE, 5), 20)
    asked = []

    def run(attack: Any, threat: Any, samples: Any) -> Any:
        asked.append((attack.id, len(samples)))
        return {s.index: SimpleNamespace(success=attack.id == "fgsm" and s.index < 6) for s in samples}

    monkeypatch.setattr(bench, "run", run)
    found = find("one-step", bench)
    assert asked == [("fgsm", 20), ("apgd-ce", 6)]
    assert (found.status, found.value) == ("warn", 0.3)
    assert verdict("one-step", samples=1000, one=50, missed=2).status == "pass"
    bench.threat = dataclasses.replace(bench.threat, norm=Norm.L0, eps=3.0)
    assert find("one-step", bench).status == "skipped"


# monotone


def test_more_room_breaks_more_of_a_linear_model() -> None:
    bench = bench_of(linear(SHAPE, 5), 20, eps=0.05)
    measured = make_check("monotone", {}).measure(bench)
    assert measured["radii"] == pytest.approx([0.025, 0.05, 0.1, 0.2])
    assert measured["lost"] == [0, 0, 0]
    assert measured["broken"][0] < measured["broken"][-1]
    bench.threat = dataclasses.replace(bench.threat, eps=0.5)
    assert make_check("monotone", {}).measure(bench)["radii"] == [0.25, 0.5, 1.0]


def test_a_drop_beyond_chance_warns() -> None:
    plain = {"samples": 32, "radii": [0.1, 0.2], "broken": [20, 12], "gained": [0], "lost": [8]}
    assert verdict("monotone", **plain).status == "warn"
    assert verdict("monotone", **plain).value == 0.25
    assert verdict("monotone", **plain | {"lost": [4], "gained": [3]}).status == "pass"
    assert verdict("monotone", **plain | {"lost": [2], "gained": [0]}).status == "pass"


# random, convergence


@pytest.mark.parametrize("name", ["random", "convergence"])
def test_what_stands_but_falls_to_little_warns(name: str) -> None:
    wide = bench_of(linear(SHAPE, 5), eps=0.6)
    found = find(name, wide)
    assert found.status == "warn"
    tried = min(12, make_check(name, {}).tried)
    assert f"break {tried} of {tried} standing samples, the nearest of 12" in found.message
    assert "of 2 standing samples" in find(name, standing_less(wide, *range(10))).message
    assert find(name, standing_less(wide, *range(12))).status == "skipped"
    assert find(name, bench_of(linear(SHAPE, 5), eps=1e-4)).status == "pass"


def test_of_what_stands_the_nearest_is_tried(monkeypatch) -> None:
    bench = standing_less(bench_of(linear(SHAPE, 5), 40), 0, 39)
    asked: list[int] = []

    def run(attack: Any, threat: Any, samples: Any, how: Any = None) -> Any:
        asked.extend(s.index for s in samples)
        return {s.index: SimpleNamespace(success=False) for s in samples}

    monkeypatch.setattr(bench, "run", run)
    check = make_check("convergence", {"samples": 40, "tried": 3})
    assert check.measure(bench) == {"samples": 40, "standing": 3, "broken": 0}
    assert asked == [38, 37, 36]  # the bench's samples lead less and less


@pytest.mark.parametrize("name", ["one-step", "monotone", "loss-spread"])
def test_where_nothing_stands_no_search_can_mislead(name: str, monkeypatch) -> None:
    bench = standing_less(bench_of(linear(SHAPE, 5)), *range(12))
    monkeypatch.setattr(bench, "run", lambda *_: pytest.fail("nothing is to be searched"))
    found = find(name, bench)
    assert (found.status, "nothing stands" in found.message) == ("skipped", True)


def test_a_search_that_finds_one_more_of_many_is_chance() -> None:
    assert verdict("convergence", samples=100, standing=50, broken=2).status == "pass"
    assert verdict("convergence", samples=100, standing=50, broken=5).status == "warn"


NORMS = st.sampled_from([(Norm.LINF, 0.3), (Norm.L2, 0.8), (Norm.L1, 1.5), (Norm.L0, 3.0), (Norm.L0, 90.0)])


@given(NORMS, st.integers(0, 5), st.booleans())
def test_noise_keeps_to_box_ball_and_fixed_features(of: tuple[Norm, float], seed: int, some: bool) -> None:
    norm, eps = of
    fixed = FixedFeatures(tuple(range(4))) if some else None
    threat = ThreatModel(norm, eps, sets=() if fixed is None else (fixed,))
    origin = np.random.default_rng(seed).random((2, 3, 3))
    points = noise_within(threat, origin, 9, np.random.default_rng(seed))
    assert points.shape == (18, 2, 3, 3)
    within, _ = threat.admissible(torch.from_numpy(origin).expand(18, -1, -1, -1), torch.from_numpy(points))
    assert bool(within.all())
    moved = np.abs(points - origin).reshape(18, -1)
    assert (moved[:, :4] == 0).all() == some or norm in (Norm.L1, Norm.L0)
    assert (moved.max(1) > 0).any()
    if norm is Norm.LINF and not some:
        inner = np.abs(moved[9:] - eps) < 1e-12
        clipped = (points[9:].reshape(9, -1) == 0) | (points[9:].reshape(9, -1) == 1)
        assert (inner | clipped).all()


# loss-spread


def test_losses_are_compared_on_every_sample(monkeypatch) -> None:
    bench = bench_of(linear(SHAPE, 5), 32)
    fallen = {"ce": {0, 1, 2}, "margin": {2, 3, 4, 5}, "dlr": {6, 7, 8, 9}}

    def run(attack: Any, threat: Any, samples: Any) -> Any:
        assert len(samples) == 16
        return {s.index: SimpleNamespace(success=s.index in fallen[attack.loss]) for s in samples}

    monkeypatch.setattr(bench, "run", run)
    found = find("loss-spread", bench)
    assert found.message.startswith("broken of 16: ce 3, margin 4, dlr 4, together 10")
    assert (found.status, found.value) == ("warn", 6 / 16)
    fallen |= {"ce": {2}, "dlr": {2, 3}}
    assert find("loss-spread", bench).status == "pass"
    bench.classes = 2
    del fallen["dlr"]
    assert "dlr" not in find("loss-spread", bench).message


# random targets, a smooth backward and the bracket


def test_a_smooth_backward_that_breaks_more_warns() -> None:
    """Where one exists: 3 of 16 samples are beyond chance, 2 are not."""
    counts = {"samples": 16, "standing": 12}
    assert verdict("bpda-gain", **counts, broken=3).status == "warn"
    assert verdict("bpda-gain", **counts, broken=2).status == "pass"
    assert verdict("bpda-gain", unsmooth="it is a module").status == "skipped"
    assert verdict("bpda-gain", samples=16, standing=0, broken=0).status == "skipped"
    bench = FakeBench(unsmooth=None)
    measured = make_check("bpda-gain", {}).measure(bench)
    assert (measured["samples"], measured["standing"]) == (12, 8)
    assert [how.smooth for how in bench.hows] == [Smooth(0.2, 0.2)]


def test_what_chance_protects_is_told() -> None:
    counts = {"random": True, "samples": 12}
    assert verdict("eot-gain", **counts, single=2, means=6, gained=4).status == "warn"
    assert verdict("eot-gain", **counts, single=6, means=7, gained=1).status == "pass"
    assert verdict("frozen-noise", **counts, still=9, drawn=3, gained=6).status == "warn"
    assert verdict("frozen-noise", **counts, still=5, drawn=3, gained=2).status == "pass"
    for name in ("eot-gain", "frozen-noise"):
        assert find(name, FakeBench()).status == "skipped"


def test_what_is_proved_and_broken_at_once_fails() -> None:
    bench = FakeBench()
    assert find("bracket", bench).status == "skipped"
    bench.proofs = {"linf": {1, 2}, "l2": {3}}
    standing_less(bench, 3, 4)  # broken in the bench's norm, L-infinity
    assert find("bracket", bench).status == "pass"
    standing_less(bench, 2, 3)
    finding = find("bracket", bench)
    assert (finding.status, finding.value) == ("fail", 1)
