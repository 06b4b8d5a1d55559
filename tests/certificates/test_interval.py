"""Interval bounds: exact on linear files, never contradicted, and silent where an operator is not known."""

from __future__ import annotations

import dataclasses
import itertools
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from certificate_kit import inside, prove, subject, target_of
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from model_files import linear_onnx, script, weight, write_onnx
from onnx import helper
from run_kit import labels_only
from torch import nn

from robaudit.certificates.base import Ball
from robaudit.certificates.interval import Interval
from robaudit.certificates.intervals.propagate import propagate
from robaudit.certificates.intervals.unstable import unstable_units
from robaudit.certificates.subject import Unreadable, subject_of
from robaudit.defenses.bits import BitDepth
from robaudit.threat.norms import Norm

DUAL = {"linf": 1, "l2": 2, "l1": np.inf}
PLAIN = {"mean": (0.0,), "std": (1.0,), "domain": (0.0, 1.0), "layout": "nchw"}


def radius(w: np.ndarray, z: np.ndarray, label: int, norm: str, scale: np.ndarray | float = 1.0) -> float:
    """Exact distance of a point to the nearest decision boundary of a linear file, the box left aside."""
    others = [j for j in range(w.shape[1]) if j != label]
    return min((z[label] - z[j]) / np.linalg.norm((w[:, label] - w[:, j]) * scale, DUAL[norm]) for j in others)


@pytest.mark.parametrize("norm", ["linf", "l2", "l1"])
def test_a_linear_file_is_proved_up_to_its_exact_radius(norm: str, tmp_path: Path) -> None:
    path = linear_onnx(tmp_path / "m.onnx", ("N", 3, 4, 4), 5)
    it, target, u = subject(path, **PLAIN)
    w = weight(5, 48).astype(np.float64)
    u = 0.4 + 0.2 * u  # the ball stays within the box
    for point, label in zip(u, target.labels(u).tolist(), strict=True):
        exact = radius(w, point.double().flatten().numpy() @ w, label, norm)
        assert prove(it, point, label, norm, 0.98 * exact).proved
        assert not prove(it, point, label, norm, 1.0001 * exact).proved


def test_the_box_ends_the_ball(tmp_path: Path) -> None:
    """At a corner of the box half of the ball lies outside: each feature moves one way alone."""
    it, target, _ = subject(linear_onnx(tmp_path / "m.onnx", ("N", 3, 4, 4), 3), **PLAIN)
    w = weight(3, 48).astype(np.float64)
    corner = torch.from_numpy((w[:, 0] > w[:, 1:].max(1)).astype(np.float32)).reshape(3, 4, 4)
    assert target.labels(corner[None]).tolist() == [0]
    z, eps = corner.double().flatten().numpy(), 0.3
    differences = [w[:, 0] - w[:, j] for j in (1, 2)]
    clipped = [np.minimum(d * np.where(z > 0, -1, 1), 0).sum() * eps + z @ d for d in differences]
    free = [z @ d - eps * np.abs(d).sum() for d in differences]
    margin = prove(it, corner, 0, "linf", eps).margin
    assert margin == pytest.approx(min(clipped), abs=5e-3)
    assert margin > min(free) + 0.1


def test_preprocessing_and_the_domain_scale_the_ball(tmp_path: Path) -> None:
    values = {"mean": (0.2, 0.3, 0.4), "std": (0.5, 0.25, 2.0), "domain": (-1.0, 3.0), "layout": "nchw"}
    it, target, u = subject(linear_onnx(tmp_path / "m.onnx", ("N", 3, 4, 4), 4), **values)
    w = weight(4, 48).astype(np.float64)
    scale = np.repeat(4 / np.array([0.5, 0.25, 2.0]), 16)
    u = 0.4 + 0.2 * u
    for point, label in zip(u, target.labels(u).tolist(), strict=True):
        z = target.spec.to_file(point[None].double()).flatten().numpy() @ w
        for norm in DUAL:
            exact = radius(w, z, label, norm, scale)
            assert prove(it, point, label, norm, 0.99 * exact).proved
            assert not prove(it, point, label, norm, 1.0001 * exact).proved


def test_layout_and_order_of_channels(tmp_path: Path) -> None:
    """Channels last, blue first: the place of each feature follows the file."""
    nodes = [helper.make_node("Flatten", ["x"], ["f"]), helper.make_node("MatMul", ["f", "w"], ["y"])]
    w = weight(3, 48)
    path = write_onnx(tmp_path / "m.onnx", nodes, ("N", 4, 4, 3), {"w": w})
    values = {**PLAIN, "layout": "nhwc", "channels": "bgr", "mean": (0.1, 0.2, 0.3), "std": (0.5, 1.0, 2.0)}
    it, target, u = subject(path, **values)
    u = 0.4 + 0.2 * u
    # of each file place the feature it comes from
    probe = torch.eye(48, dtype=torch.float64).reshape(48, 3, 4, 4)
    jacobian = (target.spec.to_file(probe) - target.spec.to_file(torch.zeros_like(probe))).flatten(1).numpy()
    seen = jacobian @ w.astype(np.float64)
    fixed = tuple(range(16))  # red
    for point, label in zip(u, target.labels(u).tolist(), strict=True):
        z = target.spec.to_file(point[None].double()).flatten().numpy() @ w.astype(np.float64)
        for norm in DUAL:
            exact = radius(seen, z, label, norm)
            assert prove(it, point, label, norm, 0.99 * exact).proved
            assert not prove(it, point, label, norm, 1.0001 * exact).proved
            free = radius(seen[16:], z, label, norm)
            assert free >= exact
            assert prove(it, point, label, norm, 0.99 * free, fixed).proved
            assert not prove(it, point, label, norm, 1.0001 * free, fixed).proved


@pytest.mark.parametrize("end", [("Softmax",), ("LogSoftmax",), ("Softmax", "Identity")])
def test_a_softmax_at_the_end_changes_no_radius(end: tuple[str, ...], tmp_path: Path) -> None:
    it, target, u = subject(linear_onnx(tmp_path / "m.onnx", ("N", 1, 4, 4), 3, end=end), **PLAIN)
    w = weight(3, 16).astype(np.float64)
    u = 0.4 + 0.2 * u
    for point, label in zip(u, target.labels(u).tolist(), strict=True):
        exact = radius(w, point.double().flatten().numpy() @ w, label, "linf")
        assert prove(it, point, label, "linf", 0.99 * exact).proved
        assert not prove(it, point, label, "linf", 1.0001 * exact).proved


@pytest.mark.parametrize("end", [[], ["Sigmoid"]])
def test_one_number_for_two_classes(end: list[str], tmp_path: Path) -> None:
    w = np.random.default_rng(2).normal(size=(16, 1)).astype(np.float32)
    nodes = [
        helper.make_node("Flatten", ["x"], ["f"]),
        helper.make_node("Gemm", ["f", "w", "b"], ["z" if end else "y"]),
        *(helper.make_node(op, ["z"], ["y"]) for op in end),
    ]
    path = write_onnx(tmp_path / "m.onnx", nodes, ("N", 1, 4, 4), {"w": w, "b": -w.sum(0) / 2})
    it, target, u = subject(path, **PLAIN)
    assert (it.classes, target.head.single) == (2, True)
    u = 0.4 + 0.2 * u
    labels = target.labels(u).tolist()
    assert set(labels) == {0, 1}
    for point, label in zip(u, labels, strict=True):
        z = abs(((point.double().flatten().numpy() - 0.5) @ w.astype(np.float64)).item())
        exact = z / np.abs(w.astype(np.float64)).sum()
        assert prove(it, point, label, "linf", 0.98 * exact).proved
        assert not prove(it, point, label, "linf", 1.0001 * exact).proved
        assert not prove(it, point, 1 - label, "linf", 0.0).proved


def test_sigmoids_that_saturate_prove_nothing(tmp_path: Path) -> None:
    """Two logits of 40 and 30 are both 1.0 after a sigmoid in float32, and the first class wins."""
    nodes = [
        helper.make_node("Flatten", ["x"], ["f"]),
        helper.make_node("Gemm", ["f", "w", "b"], ["z"]),
        helper.make_node("Sigmoid", ["z"], ["y"]),
    ]
    constants = {"w": np.zeros((4, 3), np.float32), "b": np.array([30, 40, -5], np.float32)}
    constants["w"][0] = 0.01
    path = write_onnx(tmp_path / "m.onnx", nodes, ("N", 1, 2, 2), constants)
    it, target, u = subject(path, **PLAIN)
    assert target.labels(u).unique().tolist() == [0]
    assert not prove(it, u[0], 1, "linf", 0.01).proved


def relu_net(path: Path, seed: int, shape: tuple[int, ...], classes: int, hidden: int, depth: int) -> Path:
    rng = np.random.default_rng(seed)
    sizes = [math.prod(shape), *[hidden] * depth, classes]
    nodes, constants, at = [helper.make_node("Flatten", ["x"], ["a0"])], {}, "a0"
    for i, (a, b) in enumerate(itertools.pairwise(sizes)):
        w = rng.normal(size=(a, b)).astype(np.float32) * (1.5 / math.sqrt(a))
        constants |= {f"w{i}": w, f"b{i}": (-w.sum(0) / 2 if i == 0 else rng.normal(size=b) * 0.1).astype(np.float32)}
        last = i == len(sizes) - 2
        nodes.append(helper.make_node("Gemm", [at, f"w{i}", f"b{i}"], ["y" if last else f"h{i}"]))
        if not last:
            nodes.append(helper.make_node("Relu", [f"h{i}"], [at := f"a{i + 1}"]))
    return write_onnx(path, nodes, ("N", *shape), constants)


@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    seed=st.integers(0, 1000),
    shape=st.sampled_from([(1, 3, 5), (3, 1, 7), (1, 9, 2)]),
    classes=st.integers(2, 5),
    depth=st.integers(1, 3),
    norm=st.sampled_from(["linf", "l2", "l1"]),
)
def test_no_point_of_a_proved_ball_is_answered_otherwise(tmp_path: Path, seed, shape, classes, depth, norm) -> None:
    path = relu_net(tmp_path / f"{seed}-{classes}-{depth}.onnx", seed, shape, classes, 6, depth)
    it, target, u = subject(path, **PLAIN)
    rng = np.random.default_rng(seed)
    for point, label in zip(u[:4], target.labels(u[:4]).tolist(), strict=True):
        proved = 0.0
        for eps in 1e-3 * 2.0 ** np.arange(10):
            if prove(it, point, label, norm, eps).proved:
                proved = eps
        if proved:
            near = inside(point, norm, proved, 400, rng)
            assert set(target.labels(near).tolist()) == {label}


def conv_net() -> nn.Module:
    torch.manual_seed(0)
    module = nn.Sequential(
        nn.Conv2d(2, 6, 3, padding=1), nn.BatchNorm2d(6), nn.ReLU(), nn.MaxPool2d(2, ceil_mode=True),
        nn.Conv2d(6, 4, 3, stride=2, groups=2), nn.LeakyReLU(0.1), nn.AvgPool2d(2), nn.Flatten(),
        nn.Linear(4 * 2 * 1, 8), nn.Hardtanh(-0.7, 0.9), nn.Linear(8, 8), nn.Tanh(), nn.Linear(8, 3),
    )  # fmt: skip
    with torch.no_grad():
        for part in module:
            if isinstance(part, nn.BatchNorm2d):
                part.running_mean.normal_()
                part.running_var.uniform_(0.5, 2)
                part.weight.normal_()
                part.bias.normal_()
    return module.eval()


@pytest.fixture(scope="module")
def conv(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("conv") / "m.onnx"
    torch.onnx.export(conv_net(), (torch.zeros(1, 2, 17, 9),), str(path), dynamo=False, input_names=["x"])
    return path


@pytest.mark.parametrize("norm", ["linf", "l2", "l1"])
def test_bounds_of_a_convolutional_net_hold_what_the_file_answers(conv: Path, norm: str) -> None:
    it, target, u = subject(conv, **PLAIN)
    rng = np.random.default_rng(1)
    for point in u[:3]:
        label = int(target.labels(point[None]))
        for eps in (0.002, 0.02, 0.2):
            found = propagate(it, it.region(point.double(), Ball(Norm(norm), eps)))
            end = found.bounds[found.output]
            raw = target.scores(inside(point, norm, eps, 200, rng)).double()
            assert bool((raw >= end.low).all())
            assert bool((raw <= end.high).all())
            weights, offsets = it.comparison(label, [j for j in range(3) if j != label])
            least = (raw @ weights.T + offsets).amin(0)
            lead = found.lead(weights, offsets)
            assert bool((lead <= least).all())
            # merging the last layer is never worse than its own bounds
            alone = weights.clamp_min(0) @ end.low[0] + weights.clamp_max(0) @ end.high[0]
            assert bool((lead >= alone - 1e-6).all())
        tight = propagate(it, it.region(point.double(), Ball(Norm(norm), 1e-7)))
        width = (tight.bounds[tight.output].high - tight.bounds[tight.output].low).max()
        assert float(width) < 0.01  # rounding and the judge's tolerance alone


def test_a_proof_is_the_same_whatever_was_asked_before(conv: Path) -> None:
    it, target, u = subject(conv, **PLAIN)
    labels = target.labels(u).tolist()
    forward = [prove(it, p, y, "linf", 0.001).margin for p, y in zip(u, labels, strict=True)]
    backward = [prove(it, p, y, "linf", 0.001).margin for p, y in zip(u.flip(0), labels[::-1], strict=True)]
    assert forward == backward[::-1]


def test_residual_sums_are_followed(tmp_path: Path) -> None:
    """x + a - a is x to the linear end; a net with a sum of two ways is bounded on both."""
    w = weight(3, 16)
    nodes = [
        helper.make_node("Flatten", ["x"], ["f"]),
        helper.make_node("MatMul", ["f", "v"], ["h"]),
        helper.make_node("Sub", ["f", "h"], ["d"]),
        helper.make_node("Add", ["d", "h"], ["s"]),
        helper.make_node("MatMul", ["s", "w"], ["y"]),
    ]
    v = np.random.default_rng(0).normal(size=(16, 16)).astype(np.float32)
    it, target, u = subject(write_onnx(tmp_path / "m.onnx", nodes, ("N", 1, 4, 4), {"w": w, "v": v}), **PLAIN)
    u = 0.4 + 0.2 * u
    for point, label in zip(u, target.labels(u).tolist(), strict=True):
        exact = radius(w.astype(np.float64), point.double().flatten().numpy() @ w.astype(np.float64), label, "linf")
        assert prove(it, point, label, "linf", 0.98 * exact).proved


@pytest.mark.parametrize("op", ["Softmax", "Gelu", "Sin", "Round"])
def test_an_unknown_operator_is_not_passed(op: str, tmp_path: Path) -> None:
    nodes = [
        helper.make_node("Flatten", ["x"], ["f"]),
        helper.make_node("MatMul", ["f", "w"], ["h"]),
        helper.make_node("Softmax" if op == "Gelu" else op, ["h"], ["m"]),
        helper.make_node("MatMul", ["m", "v"], ["y"]),
    ]
    constants = {"w": weight(4, 16), "v": weight(3, 4)}
    target, _ = target_of(write_onnx(tmp_path / "m.onnx", nodes, ("N", 1, 4, 4), constants), **PLAIN)
    why = Interval().unsuited(subject_of(target), Ball(Norm.LINF, 0.1))
    assert why is not None
    assert why.startswith("it knows no bounds of ")


def test_l0_is_not_bounded(tmp_path: Path) -> None:
    target, _ = target_of(linear_onnx(tmp_path / "m.onnx", ("N", 1, 4, 4), 3), **PLAIN)
    assert (
        Interval().unsuited(subject_of(target), Ball(Norm.L0, 3))
        == "it bounds l1, l2, linf, and the threat model is l0"
    )


def test_what_is_no_float32_graph_is_refused(tmp_path: Path) -> None:
    module = nn.Sequential(nn.Flatten(), nn.Linear(48, 3)).eval()
    target, _ = target_of(script(tmp_path / "m.pt", module, torch.zeros(1, 3, 4, 4)), **PLAIN, resize=(4, 4))
    with pytest.raises(Unreadable, match="torchscript file is no ONNX graph"):
        subject_of(target)
    half = linear_onnx(tmp_path / "half.onnx", ("N", 1, 4, 4), 3, dtype=10)
    target, _ = target_of(half, **PLAIN)
    with pytest.raises(Unreadable, match="float16"):
        subject_of(target)
    nodes = [
        helper.make_node("RandomNormalLike", ["x"], ["n"], scale=1e-9),
        helper.make_node("Add", ["x", "n"], ["s"]),
        helper.make_node("Flatten", ["s"], ["f"]),
        helper.make_node("MatMul", ["f", "w"], ["y"]),
    ]
    target, _ = target_of(write_onnx(tmp_path / "r.onnx", nodes, ("N", 1, 4, 4), {"w": weight(3, 16)}), **PLAIN)
    with pytest.raises(Unreadable, match=r"random numbers \(RandomNormalLike\)"):
        subject_of(target)


def test_operators_of_a_runtime_alone_are_not_trusted(tmp_path: Path) -> None:
    nodes = [
        helper.make_node("Flatten", ["x"], ["f"]),
        helper.make_node("MatMul", ["f", "w"], ["h"]),
        helper.make_node("QuickGelu", ["h"], ["y"], domain="com.microsoft"),
    ]
    path = write_onnx(tmp_path / "m.onnx", nodes, ("N", 1, 4, 4), {"w": weight(3, 16)}, domains={"com.microsoft": 1})
    target, _ = target_of(path, **PLAIN)
    with pytest.raises(Unreadable, match=r"com\.microsoft::QuickGelu is not known"):
        subject_of(target)


def test_labels_are_proved_by_the_scores_that_decide_them(tmp_path: Path) -> None:
    target, u = target_of(labels_only(tmp_path / "m.onnx"), **PLAIN)
    it, labels = subject_of(target), target.labels(u).tolist()
    assert all(prove(it, point, label, "linf", 0.0).proved for point, label in zip(u, labels, strict=True))
    wrong = [(label + 1) % 4 for label in labels]
    assert not any(prove(it, point, label, "linf", 0.0).proved for point, label in zip(u, wrong, strict=True))


def test_a_defense_is_no_part_of_the_graph(tmp_path: Path) -> None:
    target, _ = target_of(linear_onnx(tmp_path / "m.onnx", ("N", 1, 4, 4), 3), **PLAIN)
    spec = dataclasses.replace(target.spec, defenses=(BitDepth(depth=4),))
    target = target.reread(target.opened.reread(spec=spec))
    with pytest.raises(Unreadable, match="a defense stands in front of the file"):
        subject_of(target)


def test_whole_numbers_are_rounded_as_the_file_is_fed(tmp_path: Path) -> None:
    """A uint8 input takes no step within half a grid step of its numbers: nothing changes there, and it is proved."""
    nodes = [
        helper.make_node("Cast", ["x"], ["c"], to=1),
        helper.make_node("Flatten", ["c"], ["f"]),
        helper.make_node("MatMul", ["f", "w"], ["y"]),
    ]
    path = write_onnx(tmp_path / "m.onnx", nodes, ("N", 1, 4, 4), {"w": weight(3, 16)}, dtype=2)
    it, target, u = subject(path, layout="nchw")
    u = (u * 255).round() / 255
    label = int(target.labels(u[:1]))
    zero, less, more = (prove(it, u[0], label, "linf", eps).margin for eps in (0.0, 0.4 / 255, 0.6 / 255))
    assert zero == less
    assert more < less


@pytest.mark.parametrize(("norm", "eps"), [("linf", 0.1), ("l2", 0.1), ("l1", 0.1)])
def test_units_near_their_kink_are_unstable(norm: str, eps: float, tmp_path: Path) -> None:
    """Units that are features less a number: those within the radius of it may switch, whatever the norm."""
    kinks = np.array([0.0, 0.35, 0.45, 0.5, 0.59, 0.65, 0.9], np.float32)
    arrays = {"w": np.eye(7, dtype=np.float32), "b": -kinks, "v": weight(3, 7)}
    nodes = [
        helper.make_node("Gemm", ["x", "w", "b"], ["a"]),
        helper.make_node("Relu", ["a"], ["h"]),
        helper.make_node("MatMul", ["h", "v"], ["y"]),
    ]
    path = write_onnx(tmp_path / "m.onnx", nodes, ("N", 7), arrays)
    it, _, _ = subject(path, mean=(0.0,), std=(1.0,), domain=(0.0, 1.0))
    middle = torch.full((7,), 0.5, dtype=torch.float64)
    assert unstable_units(it, Ball(Norm(norm), eps), [middle]) == {"ReLU 1": (3, 7)}
    assert unstable_units(it, Ball(Norm(norm), eps), [middle, middle + 0.35]) == {"ReLU 1": (4, 14)}
    assert unstable_units(it, Ball(Norm(norm), eps, (2,)), [middle]) == {"ReLU 1": (2, 7)}
    assert "the threat model is l0" in unstable_units(it, Ball(Norm.L0, 2), [middle])


def test_a_cap_is_a_kink_too(tmp_path: Path) -> None:
    kinks = np.array([0.0, 0.35, 0.45, 0.5, 0.59, 0.65, 0.9], np.float32)
    arrays = {"w": np.eye(7, dtype=np.float32), "b": -kinks, "v": weight(3, 7)}
    arrays |= {"zero": np.array(0, np.float32), "cap": np.array(0.2, np.float32), "low": np.array(-1, np.float32)}
    it = {}
    for low in ("zero", "low"):
        nodes = [
            helper.make_node("Gemm", ["x", "w", "b"], ["a"]),
            helper.make_node("Clip", ["a", low, "cap"], ["h"]),
            helper.make_node("MatMul", ["h", "v"], ["y"]),
        ]
        path = write_onnx(tmp_path / f"{low}.onnx", nodes, ("N", 7), arrays)
        it[low], _, _ = subject(path, mean=(0.0,), std=(1.0,), domain=(0.0, 1.0))
    middle, ball = torch.full((7,), 0.5, dtype=torch.float64), Ball(Norm.LINF, 0.08)
    assert unstable_units(it["zero"], ball, [middle]) == {"ReLU 1": (3, 7)}  # 0.35 at the cap; 0.45, 0.5 at 0
    assert unstable_units(it["low"], ball, [middle]) == {}
