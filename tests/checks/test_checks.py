"""Verdicts as pure functions, and measures on fake benches."""

from __future__ import annotations

import dataclasses
import sys

import numpy as np
import pytest
import torch
from fake_bench import FakeBench, find, verdict
from models import FakeFile, samples_for

from robaudit.checks.base import Breach, fires
from robaudit.checks.evidence import eight_bit
from robaudit.checks.registry import check_classes
from robaudit.engine.units import case_of
from robaudit.threat.losses import cross_entropy, loss_named, margin
from robaudit.threat.model import Access

NEAR = ("convergence", "landscape", "random")
"""Those that warn on the bench as it is: nothing fell, although all samples lie near the boundary."""


@pytest.mark.parametrize("name", sorted(check_classes()))
def test_every_check_says_what_it_does_and_why(name: str) -> None:
    cls = check_classes()[name]
    assert cls.__doc__
    assert sys.modules[cls.__module__].__doc__
    finding = find(name, FakeBench())
    if name in NEAR:
        assert finding.status == "warn", finding
    else:
        assert finding.status in ("pass", "skipped"), finding
    assert finding.message
    empty = find(name, FakeBench(0))
    assert empty.status in ("skipped", "pass", "fail")


# clean


@pytest.mark.parametrize(
    ("correct", "drawn", "declared", "status"),
    [
        (90, 100, None, "pass"),
        (90, 100, 0.9, "pass"),
        (90, 100, 0.99, "fail"),
        (90, 100, 0.5, "fail"),
        (10, 100, None, "pass"),
        (2, 100, None, "fail"),
        (0, 100, None, "fail"),
        (0, 3, None, "fail"),
        (0, 0, None, "fail"),
    ],
)
def test_clean(correct: int, drawn: int, declared: float | None, status: str) -> None:
    found = verdict("clean", correct=correct, drawn=drawn, classes=10, declared=declared, stability=False)
    assert found.status == status


def test_clean_has_nothing_to_say_without_labels() -> None:
    assert verdict("clean", correct=5, drawn=5, classes=10, declared=None, stability=True).status == "skipped"


# determinism, batch state


@pytest.mark.parametrize(("deviation", "status"), [(0.0, "pass"), (1e-4, "pass"), (2e-4, "fail"), (np.nan, "fail")])
def test_determinism(deviation: float, status: str) -> None:
    assert find("determinism", FakeBench(repeat=deviation)).status == status


@pytest.mark.parametrize(
    ("deviation", "status"), [(0.0, "pass"), (2e-3, "warn"), (np.inf, "warn"), (np.nan, "warn"), (None, "skipped")]
)
def test_batch_state(deviation: float | None, status: str) -> None:
    assert find("batch-state", FakeBench(batch=deviation)).status == status


# output head


@pytest.mark.parametrize(("shift", "status"), [(0.0, "warn"), (-8.0, "pass")])
def test_output_head_tells_several_labels_a_sample(shift: float, status: str) -> None:
    bench = FakeBench(head_kind="sigmoids")
    rows = torch.tensor([[3.0, 1.0, -2.0], [-1.0, 2.0, -3.0]]).add(shift).sigmoid().numpy()
    bench.samples = [dataclasses.replace(s, clean=row) for s, row in zip(bench.samples, rows, strict=False)]
    finding = find("output-head", bench)
    assert finding.status == status
    assert ("1 of 2 samples more than one" in finding.message) == (status == "warn")


def test_output_head_warns_of_saturated_probabilities() -> None:
    bench = FakeBench(head_kind="probabilities")
    assert find("output-head", bench).status == "warn" or all(s.clean.max() < 1 for s in bench.samples)
    assert verdict("output-head", kind="probabilities", saturated=2, samples=100).status == "warn"
    assert verdict("output-head", kind="probabilities", saturated=1, samples=100).status == "pass"
    assert verdict("output-head", kind="logits", saturated=0, samples=100).status == "pass"


def test_one_number_taken_for_a_probability_that_is_none_fails() -> None:
    bench = FakeBench(head_kind="probabilities")
    told = zip(bench.samples, (0.2, 0.9, 3.1), strict=False)
    bench.samples = [dataclasses.replace(s, clean=np.array([1 - p, p])) for s, p in told]
    finding = find("output-head", bench)
    assert (finding.status, finding.value) == ("fail", pytest.approx(1 / 3))
    assert "1 of 3 answers lie outside of 0 to 1" in finding.message
    bench.samples = bench.samples[:2]
    assert find("output-head", bench).status == "pass"


def test_saturated_probabilities_do_not_blind_a_gradient_taken_before_them() -> None:
    told = {"kind": "probabilities", "saturated": 50, "samples": 100}
    assert verdict("output-head", **told, sees=False).status == "warn"
    seen = verdict("output-head", **told, sees=True)
    assert seen.status == "pass"
    assert "gradients are taken before" in seen.message
    assert verdict("output-head", **{**told, "kind": "sigmoids"}, sees=False).status == "warn"


# parity


@pytest.mark.parametrize(
    ("answers", "status"),
    [
        ([], "pass"),
        ([(1.0, 2e-3)], "fail"),
        ([(0.9, 0.0)], "fail"),
        ([(1.0, float("inf"))], "fail"),
        ([(1.0, float("nan"))], "fail"),
    ],
)
def test_parity(answers: list[tuple[float, float]], status: str) -> None:
    assert find("parity", FakeBench(parity_answers=answers)).status == status


def test_parity_looks_at_adversarial_points_in_small_parts() -> None:
    bench = FakeBench(100)
    bench.fallen = [breach(bench, i, "pgd", Access.WHITE_BOX) for i in range(5)]
    bench.target.parity_answers = [(1.0, 0.0), (1.0, 0.1)]
    assert find("parity", bench).status == "fail"
    assert bench.target.compared == [64, 41]


def test_parity_needs_a_twin() -> None:
    assert find("parity", FakeBench(is_its_own_twin=True)).status == "skipped"
    assert find("parity", FakeBench(has_gradient=False)).status == "skipped"


def test_parity_allows_for_the_noise_of_the_runtime() -> None:
    assert find("parity", FakeBench(parity_answers=[(1.0, 0.02)])).status == "fail"
    noisy = find("parity", FakeBench(parity_answers=[(1.0, 0.02)], noise=0.01))
    assert (noisy.status, noisy.threshold) == ("pass", 0.1)
    assert "noise: 1.0e-02" in noisy.message
    assert find("parity", FakeBench(parity_answers=[(0.9, 0.02)], noise=0.01)).status == "fail"


# zero gradient, unbounded


class Masked(torch.nn.Module):
    def __init__(self, inner: torch.nn.Module) -> None:
        super().__init__()
        self.inner = inner

    def forward(self, u: torch.Tensor) -> torch.Tensor:
        return self.inner(torch.round(u * 8) / 8)


class Steep(Masked):
    def forward(self, u: torch.Tensor) -> torch.Tensor:
        return self.inner(u) * 1e6


def deceptive(module: type[Masked]) -> FakeBench:
    bench = FakeBench()
    bench.file = FakeFile(module(bench.file.module), 5, (1, 4, 4))
    bench.samples = samples_for(bench.file, 12)
    return bench


class Standing:
    """What an attack leaves that sees nothing."""

    success = False


class Stubborn(Masked):
    def forward(self, u: torch.Tensor) -> torch.Tensor:
        return self.inner(u * 0 + 0.3)


class Undefined(Masked):
    """Finite answers whose gradient is NaN: the root's slope is infinite at 0."""

    def forward(self, u: torch.Tensor) -> torch.Tensor:
        return self.inner(u) + ((u - u.detach()) * 0).sqrt().flatten(1)[:, :1]


def test_a_gradient_that_is_not_finite_is_none() -> None:
    bench = deceptive(Undefined)
    assert np.isnan(bench.gradients(cross_entropy, bench.samples)).all()
    assert find("zero-gradient", bench).status == "fail"


def test_masked_gradients_fail() -> None:
    assert find("zero-gradient", deceptive(Masked)).status == "fail"


def test_what_white_box_broke_on_the_file_is_no_blind_spot() -> None:
    for access, status in ((Access.WHITE_BOX, "warn"), (Access.SCORES, "fail")):
        bench = deceptive(Masked)
        bench.fallen = [breach(bench, i, "pgd", access) for i in range(len(bench.samples))]
        assert find("zero-gradient", bench).status == status
        bench.fallen = bench.fallen[1:]  # one of twelve is more than 5 %
        assert find("zero-gradient", bench).status == "fail"


def test_a_detector_may_reject_what_lies_far_away() -> None:
    bench = FakeBench()
    bench.guarded = True
    assert find("unbounded", bench).status == "skipped"


def test_masked_gradients_leave_the_unbounded_attack_blind() -> None:
    assert verdict("unbounded", samples=9, broken=2, reached=1).status == "fail"
    bench = FakeBench()
    bench.run = lambda attack, threat, samples: {s.index: Standing() for s in samples}  # type: ignore[method-assign]
    blind = find("unbounded", bench)
    assert (blind.status, blind.value) == ("fail", 0.0)
    assert "random draws or Square break 12 of the others" in blind.message


def test_a_class_that_is_hardly_ever_answered_is_no_blind_gradient() -> None:
    stubborn = find("unbounded", deceptive(Stubborn))
    assert (stubborn.status, stubborn.value) == ("warn", 0.0)
    assert "64 random draws and Square leave the others as well" in stubborn.message


def test_an_attack_is_blind_where_every_loss_that_it_climbs_is_flat() -> None:
    bench = deceptive(Steep)
    saturated = {"cross-entropy": cross_entropy}  # its own slope, where an attack does not take the log-odds
    bench.used = {"mine": saturated}
    assert find("zero-gradient", bench).status == "fail"
    bench.used = {"mine": saturated | {"margin": margin}}
    assert find("zero-gradient", bench).status == "warn"
    bench.used = {"other": {"margin": margin}, "mine": saturated}  # that another one sees does not help it
    found = find("zero-gradient", bench)
    assert (found.status, found.value) == ("fail", 1.0)
    assert "mine 12" in found.message
    assert "other" not in found.message
    bench.used = {"pgd": {"ce": loss_named("ce")}}
    assert find("zero-gradient", bench).status == "pass"


def test_losses_of_one_name_are_told_apart() -> None:
    bench = deceptive(Steep)
    bench.used = {"mine": {"loss": cross_entropy}, "other": {"loss": margin}}
    found = find("zero-gradient", bench)
    assert "mine 12" in found.message
    assert "other" not in found.message


def test_without_an_attack_on_gradients_there_is_nothing_to_say() -> None:
    bench = deceptive(Masked)
    bench.used = {}
    assert find("zero-gradient", bench).status == "skipped"


def test_a_sound_model_passes_both() -> None:
    assert find("zero-gradient", FakeBench()).status == "pass"
    found = find("unbounded", FakeBench())
    assert (found.status, found.value) == ("pass", 1.0)


def test_a_model_without_gradient_skips_both() -> None:
    for name in ("zero-gradient", "unbounded"):
        assert find(name, FakeBench(has_gradient=False)).status == "skipped"


def test_zero_gradient_tolerates_five_percent() -> None:
    measured = {"samples": 100, "zero": {"ce": 5}}
    assert verdict("zero-gradient", blind={"pgd": 5, "fmn": 0}, **measured).status == "warn"
    assert verdict("zero-gradient", blind={"pgd": 0, "fmn": 6}, **measured).status == "fail"


# black over white


def breach(bench: FakeBench, index: int, attack: str, access: Access, shift: float = 0.0) -> Breach:
    point = bench.samples[index].u + shift
    prediction = int(bench.scores(point[None])[0].argmax())
    return Breach(index, attack, access, prediction, abs(shift), lambda: point)


def test_black_over_white_counts_what_every_white_attack_left() -> None:
    bench = FakeBench()
    bench.done = {"square": Access.SCORES, "pgd": Access.WHITE_BOX, "fgsm": Access.WHITE_BOX}
    bench.fallen = [breach(bench, 0, "square", Access.SCORES)]
    assert find("black-over-white", bench).status == "skipped"
    bench.done = {"pgd": Access.WHITE_BOX, "square": Access.SCORES, "square#2": Access.SCORES}
    assert find("black-over-white", bench).status == "warn"
    bench.fallen = [breach(bench, 0, "pgd", Access.WHITE_BOX)]
    assert find("black-over-white", bench).status == "pass"


def test_black_over_white_counts_a_sample_once_whatever_it_was_made_to_answer() -> None:
    bench = FakeBench()
    bench.done = {"pgd": Access.WHITE_BOX, "square": Access.SCORES}
    one = breach(bench, 0, "square", Access.SCORES)
    bench.fallen = [dataclasses.replace(one, sample=case_of(3, goal)) for goal in range(20)]
    found = find("black-over-white", bench)
    assert (found.status, found.value) == ("warn", 1 / 14)


def test_a_class_out_of_reach_is_no_blind_gradient() -> None:
    assert verdict("unbounded", samples=9, broken=9, blind=0).status == "pass"
    out = verdict("unbounded", samples=9, broken=2, blind=0)
    assert (out.status, out.value) == ("warn", 2 / 9)
    assert "out of the attacks' reach" in out.message
    assert verdict("unbounded", samples=9, broken=2, blind=1).status == "fail"


def test_black_over_white_says_when_it_is_beyond_chance() -> None:
    few = verdict("black-over-white", white=1, drawn=100, counts={"scores": 1, "labels": 0})
    many = verdict("black-over-white", white=1, drawn=100, counts={"scores": 9, "labels": 0})
    assert not few.sign  # one sample is chance, and no reason for the audit to react
    assert many.sign
    assert "beyond chance" not in few.message
    assert "beyond chance for scores" in many.message
    assert fires(3, 30, 0.2)
    assert not fires(2, 2, 0.2)
    assert not fires(0, 0, 0.2)


# evidence


def broken_bench() -> FakeBench:
    bench = FakeBench(eight_bit=True)
    from robaudit.attacks.registry import make_attack

    found = bench.run(make_attack("apgd-ce", {"steps": 20}), bench.threat, bench.samples)
    for index, result in found.items():
        if result.success:
            point = result.point
            bench.fallen.append(
                Breach(index, "apgd-ce", Access.WHITE_BOX, result.prediction, result.distance, lambda p=point: p)
            )
    assert len(bench.fallen) >= 3
    return bench


def test_evidence_holds() -> None:
    found = find("evidence", broken_bench())
    assert found.status == "pass"
    assert "8 bits" in found.message


@pytest.mark.parametrize("how", ["original", "outside the ball", "outside the box", "nan", "another class"])
def test_tampered_evidence_fails(how: str) -> None:
    bench = broken_bench()
    old = bench.fallen[0]
    origin = bench.samples[old.sample].u
    point = {
        "original": origin,
        "outside the ball": np.clip(origin + 3 * (old.point - origin), 0, 1),
        "outside the box": old.point + 2.0,
        "nan": np.full_like(origin, np.nan),
        "another class": old.point,
    }[how]
    prediction = (old.prediction + 1) % 5 if how == "another class" else old.prediction
    bench.fallen[0] = Breach(old.sample, old.attack, old.access, prediction, old.distance, lambda: point)
    found = find("evidence", bench)
    assert found.status == "fail"
    assert found.value == 1


def test_eight_bits_are_rounded_towards_the_original() -> None:
    origin = np.round(np.random.default_rng(0).uniform(size=500) * 255) / 255
    point = (origin + np.random.default_rng(1).uniform(-0.03, 0.03, size=500)).clip(0, 1)
    rounded = eight_bit(origin, point)
    np.testing.assert_allclose(rounded * 255, np.round(rounded * 255), atol=1e-9)
    assert (np.abs(rounded - origin) <= np.abs(point - origin) + 1e-6).all()
    assert np.array_equal(eight_bit(origin, origin), origin)
    on_grid = origin + 8 / 255
    np.testing.assert_allclose(eight_bit(origin, on_grid), on_grid)
