"""Checks on the file: on models where the right value is known."""

from __future__ import annotations

import dataclasses
import itertools
from typing import Any

import numpy as np
import pytest
import torch
from fake_bench import FakeBench, FakeTarget, find, verdict
from models import FakeFile, Linear, linear, samples_for
from torch import Tensor, nn

from robaudit.checks.base import Breach
from robaudit.checks.clever import end_of
from robaudit.checks.off_norm import comparable
from robaudit.checks.registry import all_checks, make_check, own_checks, usual_checks
from robaudit.engine.units import Sample
from robaudit.threat.model import Access, Goal, ThreatModel
from robaudit.threat.norms import Norm

SHAPE = (1, 4, 4)
DUAL = {"linf": 1, "l2": 2, "l1": np.inf}
ASKED = ["stateful", "off-norm", "cliff", "clever", "trojan", "survival", "corruptions"]


def bench_of(file: FakeFile, threat: ThreatModel | None = None, count: int = 12) -> FakeBench:
    bench = FakeBench(0)
    bench.file, bench.target, bench.classes = file, FakeTarget(file), file.num_classes
    bench.threat = threat or bench.threat
    bench.samples = samples_for(file, count)
    return bench


def weights_of(file: FakeFile) -> np.ndarray:
    return file.module.weight.detach().numpy()


# groups


def test_expensive_ones_are_asked_for() -> None:
    assert [id for id in own_checks() if id not in all_checks()] == ASKED
    assert {"sparsity", "relu-stability", "logit-scale", "transfer-gap"} <= set(all_checks()) - set(usual_checks())


# sparsity


def test_the_share_of_zeros_is_told_and_the_sparsest_layer_named() -> None:
    bench = FakeBench()
    bench.target.zeros = {"a": (0, 60), "b": (30, 40)}
    found = find("sparsity", bench)
    assert (found.status, found.value) == ("pass", 0.3)
    assert found.message.startswith("30.0% of 100 weights in 2 layers are zero; most in b 75.0%")
    assert find("sparsity", FakeBench()).status == "skipped"


# relu-stability


def test_unstable_units_are_told_over_all_layers() -> None:
    bench = FakeBench()
    bench.bounds = {"ReLU 1": (1, 10), "ReLU 2": (8, 10)}
    found = find("relu-stability", bench)
    assert (found.status, found.value) == ("pass", 0.45)
    assert "ReLU 1 10.0%, ReLU 2 80.0%" in found.message
    bench.bounds = "no interval bounds are known of softmax"
    assert find("relu-stability", bench).message.endswith(": no interval bounds are known of softmax")
    bench.bounds = {}
    assert find("relu-stability", bench).status == "skipped"
    assert find("relu-stability", FakeBench(0)).status == "skipped"


# logit-scale


def test_a_distilled_scale_warns_and_its_origin_does_not() -> None:
    file = linear(SHAPE, 5)
    bench = bench_of(file)
    expected = np.median([np.sort(s.clean)[-1] - np.sort(s.clean)[-2] for s in bench.samples])
    found = find("logit-scale", bench)
    assert found.status == "pass"
    assert found.value == pytest.approx(expected)
    hot = FakeFile(Linear(200 * file.module.weight, 200 * file.module.bias), 5, SHAPE)
    found = find("logit-scale", bench_of(hot))
    assert found.status == "warn"
    assert found.value == pytest.approx(200 * expected)
    assert "vanishes" in found.message


def test_leads_without_a_gradient_are_those_of_the_scores() -> None:
    bench = bench_of(linear(SHAPE, 5))
    bench.target.has_gradient = False
    assert find("logit-scale", bench).status == "pass"
    bench.target.head_kind = "probabilities"
    assert find("logit-scale", bench).status == "skipped"


def test_leads_that_are_not_finite_are_left_out() -> None:
    assert verdict("logit-scale", leads=[]).status == "skipped"
    found = verdict("logit-scale", leads=[1.0, 20.0, 3.0])
    assert "on 1 of them float32 rounds its probability to 1" in found.message


# clever


@pytest.mark.parametrize("norm", ["linf", "l2", "l1"])
@pytest.mark.parametrize("classes", [2, 5])
def test_the_score_of_a_linear_model_is_its_distance(norm: str, classes: int) -> None:
    file = linear(SHAPE, classes)
    bench = bench_of(file, ThreatModel(Norm(norm), 10.0 if norm != "linf" else 1.0), 4)
    check = make_check("clever", {"reach": 100, "rivals": 4, "batches": 3, "draws": 4})
    w = weights_of(file)
    expected = []
    for s in bench.samples:
        others = [j for j in range(classes) if j != s.label]
        each = [(s.clean[s.label] - s.clean[j]) / np.linalg.norm(w[s.label] - w[j], DUAL[norm]) for j in others]
        expected.append(min(each))
    measured = check.measure(bench)
    assert measured["scores"] == pytest.approx(expected)
    found = check.verdict(measured)
    assert (found.status, found.value) == ("pass", pytest.approx(np.median(expected)))
    assert found.message.endswith("an estimate, never a certificate")


def test_no_score_is_larger_than_its_points_reach() -> None:
    bench = bench_of(linear(SHAPE, 5), ThreatModel(Norm.L2, 1e-4), 4)
    found = find("clever", bench)
    assert found.value == pytest.approx(4e-4)
    assert "4 of them at its cap" in found.message


def test_an_attack_that_came_nearer_refutes_the_score() -> None:
    bench = bench_of(linear(SHAPE, 5), ThreatModel(Norm.L2, 10.0), 3)
    sample = bench.samples[1]
    bench.fallen = [Breach(sample.index, "pgd", Access.WHITE_BOX, 0, 1e-6, lambda: sample.u, bench.threat)]
    assert "attacks refute it on 1" in find("clever", bench).message
    bench.fallen[0] = dataclasses.replace(bench.fallen[0], distance=1e6)
    assert "refute" not in find("clever", bench).message


def test_there_is_no_score_without_a_dual_or_a_gradient() -> None:
    assert find("clever", bench_of(linear(SHAPE, 5), ThreatModel(Norm.L0, 3.0))).status == "skipped"
    bench = bench_of(linear(SHAPE, 5))
    bench.target.has_gradient = False
    assert find("clever", bench).status == "skipped"


@pytest.mark.parametrize("shape", [1.0, 2.0, 3.0])
@pytest.mark.parametrize("seed", range(3))
def test_the_end_of_a_known_distribution_is_found(shape: float, seed: int) -> None:
    maxima = 5 - 0.8 * np.random.default_rng(seed).weibull(shape, 200)
    assert end_of(maxima) == pytest.approx(5, rel=0.03)
    assert maxima.max() <= end_of(maxima) <= 2 * maxima.max()


def test_the_end_of_equal_maxima_is_themselves() -> None:
    assert end_of([3.0] * 20) == 3.0
    assert end_of([0.0, 0.0, 0.0]) == 0.0
    assert end_of([1.0, 2.0]) == 2.0


# stateful


class Counting(nn.Module):
    """A linear model whose logits change after so many rows; or drift with every call."""

    def __init__(self, after: int, change: float = 1.0) -> None:
        super().__init__()
        self.inner, self.after, self.change, self.rows = linear(SHAPE, 5).module, after, change, 0

    def forward(self, u: Tensor) -> Tensor:
        self.rows += len(u)
        found = self.inner(u)
        return found + self.change * torch.arange(5) if self.rows > self.after else found


@pytest.mark.parametrize(("after", "status"), [(100, "warn"), (900, "warn"), (5000, "pass")])
def test_a_change_after_many_queries_warns(after: int, status: str) -> None:
    bench = bench_of(FakeFile(Counting(after), 5, SHAPE))
    found = find("stateful", bench)
    assert found.status == status
    assert ("keeps a state" in found.message) == (status == "warn")


def test_a_change_before_the_check_began_is_seen_in_the_first_answers() -> None:
    file = FakeFile(Counting(20), 5, SHAPE)
    bench = bench_of(file)  # of 12 rows
    bench.scores(np.stack([s.u for s in bench.samples]))  # the audit's own queries
    check = make_check("stateful")
    measured = check.measure(bench)
    assert measured["change"] == 0.0
    assert measured["since"] > 0.01
    assert check.verdict(measured).status == "warn"


def test_what_is_random_at_once_is_left_to_determinism() -> None:
    assert "at once" in find("stateful", FakeBench(repeat=0.1)).message
    assert find("stateful", FakeBench(0)).status == "skipped"
    assert find("stateful", FakeBench(repeat=float("nan"))).status == "skipped"


def test_first_answers_of_labels_are_compared_as_labels() -> None:
    bench = bench_of(linear(SHAPE, 5))
    bench.target.head_kind = "labels"
    bench.samples = [dataclasses.replace(s, clean=s.clean * 7 + 3) for s in bench.samples]  # ranked by the twin
    assert find("stateful", bench).status == "pass"


def test_scores_that_become_nan_warn() -> None:
    found = find("stateful", bench_of(FakeFile(Counting(500, float("nan")), 5, SHAPE)))
    assert found.status == "warn"


# off-norm


def test_comparable_radii_keep_the_usual_proportions() -> None:
    assert comparable(8 / 255, "linf", "l2", 3072) == pytest.approx(0.5)
    assert comparable(0.5, "l2", "l1", 3072) == pytest.approx(12)
    assert comparable(0.25, "l2", "linf", 768) == pytest.approx(8 / 255)
    assert comparable(0.3, "linf", "l1", 784) == pytest.approx(0.3 * 12 * 255 / 8 * 784 / 3072)
    assert comparable(1000, "l1", "linf", 4) == 1.0


@pytest.mark.parametrize("norm", ["linf", "l2", "l1"])
def test_each_norm_breaks_what_its_distance_says(norm: str) -> None:
    file = linear(SHAPE, 2)
    bench = bench_of(file, ThreatModel(Norm(norm), {"linf": 0.06, "l2": 0.15, "l1": 0.4}[norm]), 24)
    check = make_check("off-norm", {"steps": 50})
    measured = check.measure(bench)
    w = weights_of(file)
    for other, (eps, broken) in measured["broken"].items():
        away = [abs(s.clean[0] - s.clean[1]) / np.linalg.norm(w[0] - w[1], DUAL[other]) for s in bench.samples]
        near = sum(one < eps * (1 - 1e-2) for one in away)  # no sample lies between, but for the box
        assert near - 1 <= broken <= sum(one < eps for one in away)
    found = check.verdict(measured)
    assert found.status == "pass"
    assert "for context" in found.message


def test_other_norms_are_not_searched_where_there_is_no_gradient_or_dual() -> None:
    assert find("off-norm", bench_of(linear(SHAPE, 5), ThreatModel(Norm.L0, 3.0))).status == "skipped"
    bench = bench_of(linear(SHAPE, 5))
    bench.target.has_gradient = False
    assert find("off-norm", bench).status == "skipped"
    assert find("cliff", bench).status == "skipped"


# cliff


def at_distance(distances: list[float]) -> FakeBench:
    """Two classes apart at 0.5 of the first feature, with samples at these distances."""
    weight = torch.zeros(2, 16, dtype=torch.float64)
    weight[1, 0] = 1.0
    file = FakeFile(Linear(weight, torch.tensor([0.5, 0.0], dtype=torch.float64)), 2, SHAPE)
    bench = bench_of(file, ThreatModel(Norm.LINF, 0.1), 1)
    u = np.full(SHAPE, 0.5)
    bench.samples = []
    for place, away in enumerate(distances):
        point = u.copy()
        point[0, 0, 0] += away
        clean = file.scores(torch.from_numpy(point[None]))[0].numpy()
        bench.samples.append(Sample(place, point, 1, clean, f"{place}"))
    return bench


def test_what_falls_just_beyond_the_radius_warns() -> None:
    found = find("cliff", at_distance([0.12] * 20))
    assert (found.status, found.value) == ("warn", 1.0)
    assert found.message.startswith("of 20 samples stand 20 at 0.1, 0 at 0.15, 0 at 0.2")


def test_a_steady_fall_or_none_is_no_cliff() -> None:
    steady = find("cliff", at_distance([0.01 * k for k in range(1, 25)]))
    assert (steady.status, steady.value) == ("pass", pytest.approx(5 / 24, abs=1 / 24))
    assert find("cliff", at_distance([0.3] * 20)).status == "pass"
    assert find("cliff", at_distance([0.12] * 2)).status == "pass"  # too few to be sure
    falling = find("cliff", at_distance([0.05] * 20 + [0.12] * 12))  # it had fallen before
    assert falling.status == "pass"


def test_no_radius_exceeds_the_box() -> None:
    bench = at_distance([0.3] * 4)
    bench.threat = ThreatModel(Norm.LINF, 0.8)
    measured = make_check("cliff").measure(bench)
    assert [eps for eps, _ in measured["standing"]] == [0.8, 1.0, 1.0]


# transfer-gap


def test_the_gap_is_told_where_both_saw_every_sample() -> None:
    bench = FakeBench()
    bench.transfers = {"matrix/mi@a": (3, 20), "matrix/di@a": (5, 20), "white-box": (18, 20)}
    found = find("transfer-gap", bench)
    assert (found.status, found.value) == ("pass", pytest.approx(0.65))
    assert found.message.startswith(
        "transfer fools 5 of 20 at most (matrix/di@a), the white box 18: a gap of 65.0 points"
    )
    for transfers in ({}, {"white-box": (1, 2)}, {"mi": (1, 2)}, {"mi": (0, 0), "white-box": (0, 0)}):
        bench.transfers = transfers
        assert find("transfer-gap", bench).status == "skipped"


# trojan


class Planted(nn.Module):
    """Six classes by the brightest of six blocks; with a target, a pattern in four pixels leads there."""

    def __init__(self, target: int | None) -> None:
        super().__init__()
        self.target = target

    def forward(self, u: Tensor) -> Tensor:
        blocks = u.unfold(2, 4, 4).unfold(3, 6, 6).mean((1, 4, 5)).flatten(1)
        corner = u[:, 0, 0, 0] + u[:, 0, 1, 1] - u[:, 0, 0, 1] - u[:, 0, 1, 0]  # about 0 in samples
        planted = torch.zeros(6, dtype=u.dtype)
        if self.target is not None:
            planted[self.target] = 6.0
        return 10 * blocks + planted * corner.clamp(min=0)[:, None]


def images(module: nn.Module) -> FakeBench:
    file = FakeFile(module, 6, (1, 12, 12))
    bench = bench_of(file, count=1)
    bench.target.eight_bit = True
    bench.samples = []
    for place in range(18):
        random = np.random.default_rng(place)
        u = 0.3 + 0.05 * random.normal(size=(1, 12, 12))
        row, column = divmod(place % 6, 2)
        u[:, 4 * row : 4 * row + 4, 6 * column : 6 * column + 6] += 0.5
        clean = file.scores(torch.from_numpy(u[None]))[0].numpy()
        assert clean.argmax() == place % 6
        bench.samples.append(Sample(place, u, place % 6, clean, f"{place}"))
    return bench


def test_a_planted_trigger_is_found_and_its_class_named() -> None:
    found = find("trojan", images(Planted(4)))
    assert found.status == "warn"
    assert "to class 4" in found.message
    assert found.value is not None
    assert found.value > 2


def test_a_clean_model_has_no_trojan() -> None:
    found = find("trojan", images(Planted(None)))
    assert found.status == "pass"
    assert "median class" in found.message


def test_a_trojan_is_looked_for_in_images_of_a_fit_number_of_classes() -> None:
    assert "no images" in find("trojan", bench_of(linear(SHAPE, 5))).message
    bench = bench_of(linear(SHAPE, 4))
    bench.target.eight_bit = True
    assert "4 classes are too few" in find("trojan", bench).message
    bench.classes = 21
    assert "21 classes are more than 20" in find("trojan", bench).message
    bench.target.has_gradient = False
    assert "no gradient" in find("trojan", bench).message


def test_an_outlier_must_be_far_and_small() -> None:
    few = [40.0, 44.0, 38.0, 42.0, 41.0, 39.0]
    assert verdict("trojan", masks=[2.0, *few], pixels=100, reached=[1.0] * 7, samples=9).status == "warn"
    assert verdict("trojan", masks=[30.0, *few], pixels=100, reached=[1.0] * 7, samples=9).status == "pass"
    found = verdict("trojan", masks=[100.0] * 7, pixels=100, reached=[0.2] * 7, samples=9)
    assert (found.status, found.message) == ("pass", "no patch sends 95% of the samples to one class")
    alone = verdict("trojan", masks=[3.0, *[100.0] * 6], pixels=100, reached=[1.0, *[0.2] * 6], samples=9)
    assert alone.status == "warn"  # no other class is reached at all


# survival


def broken(bench: FakeBench, points: list[np.ndarray]) -> None:
    bench.fallen = [
        Breach(s.index, "pgd", Access.WHITE_BOX, 0, 0.1, lambda point=point: point, bench.threat)
        for s, point in zip(bench.samples, points, strict=False)
    ]


def test_examples_far_over_the_boundary_survive_and_near_ones_do_not() -> None:
    file = linear((3, 8, 8), 2)
    bench = bench_of(file, count=6)
    bench.target.eight_bit = True
    way = (weights_of(file)[1] - weights_of(file)[0]).reshape(3, 8, 8)
    ways = [way if s.label == 0 else -way for s in bench.samples]
    broken(bench, [(0.5 + 0.49 * np.sign(w)) for w in ways])
    found = find("survival", bench)
    assert found.status == "pass"
    assert "6 after 8 bits" in found.message
    smooth = [s.u for s in bench.samples]  # they fool nobody
    broken(bench, smooth)
    assert find("survival", bench).value == 0.0


def test_at_most_so_many_examples_are_tried_spread_over_the_data() -> None:
    bench = bench_of(linear((3, 8, 8), 2), count=20)
    bench.target.eight_bit = True
    broken(bench, [s.u for s in bench.samples])
    before = bench.file.score_rows
    assert make_check("survival", {"samples": 8}).measure(bench)["examples"] == 8
    assert bench.file.score_rows - before == 8 * 8


def test_targeted_examples_must_reach_their_goal() -> None:
    bench = bench_of(linear((1, 8, 8), 3), count=4)
    bench.target.eight_bit = True
    bench.threat = dataclasses.replace(bench.threat, goal=Goal.TARGETED)
    bench.samples = [dataclasses.replace(s, goal=(s.label + 1) % 3) for s in bench.samples]
    broken(bench, [np.full((1, 8, 8), 0.0) for _ in bench.samples])
    answer = int(bench.scores(np.zeros((1, 1, 8, 8))).argmax())
    measured = make_check("survival").measure(bench)
    assert measured["fooled"]["8 bits"] == sum(s.goal == answer for s in bench.samples)


def test_nothing_survives_where_nothing_fell_or_there_are_no_images() -> None:
    bench = bench_of(linear(SHAPE, 5))
    assert "no images" in find("survival", bench).message
    bench.target.eight_bit = True
    assert "no adversarial example" in find("survival", bench).message


# corruptions


@pytest.mark.parametrize(("shape", "count"), [((3, 16, 16), 13), ((1, 16, 16), 12)])
def test_every_corruption_is_tried_at_every_severity(shape: tuple[int, ...], count: int) -> None:
    bench = bench_of(linear(shape, 5), count=5)
    bench.target.eight_bit = True
    before = bench.file.score_rows
    measured = make_check("corruptions").measure(bench)
    assert bench.file.score_rows - before == 5 * 5 * count
    assert len(measured["kept"]) == count
    assert {len(kept) for kept in measured["kept"].values()} == {5}
    assert measured == make_check("corruptions").measure(bench)  # draws are keyed
    found = find("corruptions", bench)
    assert found.status == "pass"
    assert 0 < found.value <= 1
    assert find("corruptions", bench_of(linear(SHAPE, 5))).status == "skipped"
    assert find("corruptions", FakeBench(0, eight_bit=True)).status == "skipped"


@pytest.mark.parametrize("id", [*ASKED, "sparsity", "relu-stability", "logit-scale", "transfer-gap"])
def test_none_fails(id: str) -> None:
    """Whatever the model says: here NaN, and a constant."""
    for value, image in itertools.product((float("nan"), 0.0), (False, True)):

        class Same(nn.Module):
            def forward(self, u: Tensor, value: Any = value) -> Tensor:
                return (u.flatten(1)[:, :5] * 0 + value).clone()

        bench = bench_of(linear(SHAPE, 5))
        bench.file = bench.target.file = FakeFile(Same(), 5, SHAPE)
        bench.target.eight_bit = image
        broken(bench, [s.u for s in bench.samples])
        assert find(id, bench).status in ("pass", "warn", "skipped")
