"""Binarisation: planted examples are found in sound models, and missed behind gradients that are hidden."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from fake_bench import FakeBench, FakeTarget, find, standing_less, verdict
from models import FakeFile, samples_for
from onnx import helper, numpy_helper
from run_kit import make_data, make_onnx, make_profile, make_request, make_script, records, run_here
from torch import Tensor, nn

from robaudit.attacks.registry import make_attack
from robaudit.audit.plan.attacks import Planned
from robaudit.audit.session.planting import planted_file
from robaudit.checks.base import Planted, fires
from robaudit.checks.planting import separated
from robaudit.threat.norms import Norm

SHAPE = (1, 6, 6)
WIDTH = 64


class Apply(nn.Module):
    def __init__(self, function: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.function = function

    def forward(self, u: Tensor) -> Tensor:
        return self.function(u)


def net(classes: int = 5, front: nn.Module | None = None, shape: tuple[int, ...] = SHAPE, width: int = WIDTH) -> Any:
    """Two layers, with something in front of them."""
    torch.manual_seed(0)
    size = int(np.prod(shape))
    first, last = nn.Linear(size, width), nn.Linear(width, classes)
    module = nn.Sequential(front or nn.Identity(), nn.Flatten(), first, nn.Tanh(), last).double()
    with torch.no_grad():
        last.bias.sub_(module(torch.full((1, *shape), 0.5, dtype=torch.float64))[0])
    return FakeFile(module, classes, shape)


def stairs(u: Tensor) -> Tensor:
    """Eight levels, by steps so steep that their slope underflows nearly everywhere."""
    return sum(torch.sigmoid(1e6 * (u - (level + 0.5) / 8)) for level in range(8)) / 8


class PlantBench(FakeBench):
    """A bench over a model, with attacks; what stands in front of the last linear layer are the features, if one is."""

    def __init__(self, file: FakeFile, eps: float = 0.1, count: int = 14, **attacks: Any) -> None:
        super().__init__(0)
        self.file, self.target = file, FakeTarget(file)
        self.threat = dataclasses.replace(self.threat, eps=eps)
        self.samples = samples_for(file, count)
        self.classes = file.num_classes
        if attacks:
            self.planned = {key: Planned(key, make_attack(key, settings)) for key, settings in attacks.items()}


# The check


@pytest.mark.parametrize(("norm", "eps"), [(Norm.LINF, 0.01), (Norm.LINF, 0.1), (Norm.L2, 0.3)])
@pytest.mark.parametrize("classes", [2, 5])
def test_what_is_planted_in_a_sound_model_is_found(norm: Norm, eps: float, classes: int) -> None:
    bench = PlantBench(net(classes), eps)
    bench.threat = dataclasses.replace(bench.threat, norm=norm)
    found = find("binarisation", bench)
    assert (found.status, found.value) == ("pass", 1.0), found
    assert len(bench.plants) >= 9
    assert "behind the last linear layer" in found.message


def test_what_hides_behind_stairs_is_missed() -> None:
    """The values of the staircase change at every step, so that there is something to plant; its slope is 0."""
    bench = PlantBench(net(front=Apply(stairs)), 0.1, pgd={"steps": 20}, **{"apgd-ce": {"steps": 20}})
    found = find("binarisation", bench)
    assert found.status == "fail"
    assert found.value is not None
    assert found.value < 0.5
    assert found.threshold == 0.95
    assert bench.asked[0] == ("pgd", len(bench.plants))  # the second attack tries what the first has left
    assert bench.asked[1][1] < bench.asked[0][1] or found.value == 0


def test_what_saturates_is_missed() -> None:
    """Units that are 1 or -1 but for a sliver have no slope, and other values at other points of the ball."""
    module = net(width=400).module
    with torch.no_grad():
        module[2].weight.mul_(1e3)
        module[2].bias.mul_(1e3)
    found = find("binarisation", PlantBench(FakeFile(module, 5, SHAPE), 0.1))
    assert found.status == "fail"


def test_another_attack_makes_up_for_a_blind_one() -> None:
    """Of a plan one attack is enough."""
    blind = {"steps": 1, "step_length": 1e-9, "random_start": False}
    bench = PlantBench(net(), 0.1, pgd=blind, **{"apgd-ce": {"steps": 20}})
    assert find("binarisation", bench).status == "pass"
    alone = PlantBench(net(), 0.1, pgd=blind)
    assert find("binarisation", alone).status == "fail"


def test_without_a_last_layer_the_logits_are_the_features() -> None:
    bench = PlantBench(FakeFile(nn.Sequential(net(40).module, Apply(lambda z: z)), 40, SHAPE), 0.05)
    found = find("binarisation", bench)
    assert found.status == "pass"
    assert "the logits, as no linear layer ends the graph" in found.message


def test_samples_that_fell_are_not_tried() -> None:
    bench = PlantBench(net(), count=5)
    standing_less(bench, 0, 3)
    find("binarisation", bench)
    assert {head.sample.index for head in bench.plants} <= {1, 2, 4}
    standing_less(bench, *range(5))
    found = find("binarisation", bench)
    assert (found.status, found.message) == ("skipped", "of 5 samples that were looked at none stands")


def test_a_radius_that_moves_no_feature_is_told() -> None:
    found = find("binarisation", PlantBench(net(), 1e-9))
    assert found.status == "skipped"
    assert "hardly change" in found.message


def test_where_random_draws_find_it_nothing_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    bench = PlantBench(net())
    features = bench.features

    def lucky(points: Any) -> tuple[Any, bool]:
        """As if the fresh draws, the last 24, were the points of the surface that one is planted of."""
        found, cut = features(points)
        if len(found) > 2:
            found[-24:] = found[25:49]
        return found, cut

    monkeypatch.setattr(bench, "features", lucky)
    found = find("binarisation", bench)
    assert (found.status, bench.asked) == ("skipped", [])
    assert "random draws find every example" in found.message


def test_a_corner_that_is_drawn_again_is_not_planted() -> None:
    """Of two features there are four corners alone."""
    found = find("binarisation", PlantBench(net(2, shape=(1, 1, 2), width=8), 0.2))
    assert found.status == "skipped"
    assert "no linear classifier tells its points apart" in found.message


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda bench: setattr(bench.target, "has_gradient", False), "has no gradient"),
        (lambda bench: setattr(bench.target, "repeat", 0.1), "change by chance"),
        (lambda bench: bench.planned.clear(), "runs no white-box attack"),
        (lambda bench: setattr(bench, "threat", dataclasses.replace(bench.threat, norm=Norm.L1)), "in L1 and L0"),
        (lambda bench: setattr(bench, "threat", dataclasses.replace(bench.threat, norm=Norm.L0, eps=3.0)), "L0"),
        (lambda bench: bench.samples.clear(), "of 0 samples"),
        (lambda bench: setattr(bench, "map", lambda u: u * np.nan), "nothing can be planted"),
    ],
)
def test_where_it_does_not_apply_it_says_why(change: Callable[[PlantBench], None], reason: str) -> None:
    bench = PlantBench(net())
    change(bench)
    found = find("binarisation", bench)
    assert found.status == "skipped"
    assert reason in found.message
    assert bench.asked == []


@pytest.mark.parametrize(
    ("n", "missed", "status"), [(12, 0, "pass"), (12, 2, "pass"), (12, 3, "fail"), (3, 3, "fail"), (2, 2, "pass")]
)
def test_a_fail_is_for_sure(n: int, missed: int, status: str) -> None:
    measured = {"samples": n, "planted": n, "random": 0, "found": {"a": 1, "b": n - missed - 1}, "cut": True}
    if n == missed:
        measured["found"] = {"a": 0}
    assert verdict("binarisation", **measured).status == status
    assert (status == "fail") == fires(missed, n, 5)


def test_a_targeted_audit_asks_for_any_planted_example() -> None:
    from robaudit.threat.model import Goal

    bench = PlantBench(net())
    bench.threat = dataclasses.replace(bench.threat, goal=Goal.TARGETED)
    bench.samples = [dataclasses.replace(s, goal=(s.label + 1) % 5) for s in bench.samples]
    assert find("binarisation", bench).status == "pass"


# What it is made of


def test_a_separator_is_right_on_every_point() -> None:
    random = np.random.default_rng(0)
    points = random.normal(size=(60, 100)) * random.random(100)
    points[:, 7] = 3.0  # never varies
    points[41:, 8], points[:41, 8] = 0.0, 0.0
    points[30, 8] = 5.0  # awake at one point alone
    found = separated(points, range(20, 40), 20)
    assert found is not None
    assert 20 <= found.place < 40
    values = points @ found.weights + found.bias
    assert values[found.place] > 0
    assert (np.delete(values, found.place) < 0).all()
    assert values[0] == pytest.approx(-1)
    assert found.weights[7] == found.weights[8] == 0


def test_points_that_are_one_cannot_be_told_apart() -> None:
    assert separated(np.ones((30, 4)), range(10, 20), 10) is None
    assert separated(np.full((30, 4), np.inf), range(10, 20), 10) is None
    line = np.linspace(0, 1, 30)[:, None]
    assert separated(line, range(10, 15), 10) is None  # others lie beyond


def test_the_nearest_sample_s_head_answers() -> None:
    file = net()
    samples = samples_for(file, 2)
    plants = [Planted(samples[0], np.full(36, 1.0), 0.5), Planted(samples[1], np.full(36, -1.0), 0.0)]
    model = planted_file(file, lambda u: u.flatten(1), plants)
    u = torch.stack([torch.from_numpy(s.u) for s in samples])
    expected = torch.stack([u[0].sum() + 0.5, -u[1].sum()])
    scores = model.scores(torch.cat([u + 1e-3, u]), alone=True)[2:]
    torch.testing.assert_close(scores, torch.stack([-expected / 2, expected / 2], 1))
    torch.testing.assert_close(scores, model.logits(u))
    u.requires_grad_()
    (slope,) = torch.autograd.grad(model.logits(u)[:, 1].sum(), u)
    torch.testing.assert_close(slope.flatten(1), torch.tensor([[0.5], [-0.5]], dtype=torch.float64).expand(2, 36))


# Whole audits

ATTACKS = "\n  - {id: apgd-ce, steps: 10}\n  - {id: square, queries: 50}\n"


def audit(folder: Path, model: Path, *, eps: float = 0.02, attacks: str = ATTACKS, count: int = 24, **more: Any) -> Any:
    """Its finding, the whole result, and the folder of the run."""
    data, profile = make_data(folder / "d.npz", count), folder / "p.yaml"
    make_profile(profile, attacks, eps=eps, checks="[binarisation]", **more)
    result = run_here(make_request(model, data, profile), folder / "run")
    return result.checks[0], result


@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_an_audit_of_a_sound_file(tmp_path: Path, norm: str) -> None:
    check, result = audit(tmp_path, make_onnx(tmp_path / "m.onnx"), norm=norm)
    assert check.status == "pass", check
    assert "behind the last linear layer" in check.message
    assert result.worst_case.robust_accuracy is not None
    assert check.forwards >= 8 * 99
    assert check.queries == 0
    (ended,) = records(tmp_path / "run", "check")
    assert ended["measured"]["found"].keys() == {"apgd-ce"}
    assert records(tmp_path / "run", "check unit") == []


def test_an_audit_of_torchscript(tmp_path: Path) -> None:
    check, _ = audit(tmp_path, make_script(tmp_path / "m.pt"))
    assert check.status == "pass", check
    assert "behind the last linear layer" in check.message


def stepped(path: Path) -> Path:
    """The kit's network behind a staircase of sigmoids."""
    model = onnx.load(make_onnx(path))
    steps = [numpy_helper.from_array(np.array((i + 0.5) / 8, np.float32), f"at{i}") for i in range(8)]
    nodes = []
    for i in range(8):
        nodes.append(helper.make_node("Sub", ["x", f"at{i}"], [f"off{i}"]))
        nodes.append(helper.make_node("Mul", [f"off{i}", "steep"], [f"far{i}"]))
        nodes.append(helper.make_node("Sigmoid", [f"far{i}"], [f"step{i}"]))
    nodes.append(helper.make_node("Mean", [f"step{i}" for i in range(8)], ["stairs"]))
    model.graph.initializer.extend([*steps, numpy_helper.from_array(np.array(1e5, np.float32), "steep")])
    old = list(model.graph.node)
    old[0].input[0] = "stairs"
    del model.graph.node[:]
    model.graph.node.extend([*nodes, *old])
    onnx.save(model, path)
    return path


def test_the_headline_is_withheld_where_gradients_hide(tmp_path: Path) -> None:
    check, result = audit(tmp_path, stepped(tmp_path / "m.onnx"), eps=0.07, attacks="\n  - {id: apgd-ce, steps: 10}\n")
    assert check.status == "fail", check
    assert "they miss what is there" in check.message
    assert result.worst_case.robust_accuracy is None
    assert result.verdict.status == "withheld"


def test_attacks_for_more_classes_are_left_out(tmp_path: Path) -> None:
    check, _ = audit(tmp_path, make_onnx(tmp_path / "m.onnx"), attacks="\n  - {id: apgd-t, steps: 5, targets: 2}\n")
    assert (check.status, check.message) == ("skipped", "the profile runs no white-box attack that serves two classes")
