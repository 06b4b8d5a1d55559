"""Audits of files that give some class a score of -inf: figures are those of the same file without it."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper
from run_kit import CLASSES, make_data, make_onnx, make_profile, make_request, make_script, run_here

from robaudit.audit.replay.replaying import replay
from robaudit.audit.replay.request import ReplayRequest
from robaudit.audit.result.document import Result
from robaudit.audit.stored.file import save_result

ATTACKS = "\n  - {id: pgd, steps: 10}\n  - {id: apgd-t, steps: 8, targets: 3}\n  - {id: square, queries: 60}"
CHECKS = "[clean, evidence, parity, determinism, batch-state, output-head, zero-gradient, unbounded]"


def extended(path: Path, nodes: list[onnx.NodeProto], columns: int = CLASSES + 1, **constants: np.ndarray) -> Path:
    """The kit's network with more behind its ``logits``; the new output is ``out``."""
    model = onnx.load(make_onnx(path))
    graph = model.graph
    graph.node.extend(nodes)
    graph.initializer.extend(numpy_helper.from_array(value, name) for name, value in constants.items())
    del graph.output[:]
    graph.output.append(helper.make_tensor_value_info("out", TensorProto.FLOAT, ["N", columns]))
    onnx.checker.check_model(model)
    onnx.save(model, path)
    return path


def wider(name: str = "z") -> list[onnx.NodeProto]:
    """One more class, a copy of the first."""
    return [helper.make_node("Gather", ["logits", "which"], [name], axis=1)]


WHICH = np.array([*range(CLASSES), 0])
LAST = np.arange(CLASSES + 1) == CLASSES


def added(path: Path) -> Path:
    mask = np.where(LAST, -np.inf, 0).astype(np.float32)
    return extended(path, [*wider(), helper.make_node("Add", ["z", "mask"], ["out"])], which=WHICH, mask=mask)


def chosen(path: Path) -> Path:
    nodes = [*wider(), helper.make_node("Where", ["last", "never", "z"], ["out"])]
    return extended(path, nodes, which=WHICH, last=LAST, never=np.array(-np.inf, np.float32))


def masked_before_softmax(path: Path) -> Path:
    mask = np.where(LAST, -np.inf, 0).astype(np.float32)
    nodes = [*wider(), helper.make_node("Add", ["z", "mask"], ["m"]), helper.make_node("LogSoftmax", ["m"], ["out"])]
    return extended(path, nodes, which=WHICH, mask=mask)


def underflowing(path: Path, *, hidden: bool = False) -> Path:
    """Log(Softmax) of large logits; ``hidden``: behind an operator, so that the twin must take it as it is."""
    nodes = [
        helper.make_node("Mul", ["logits", "scale"], ["z"]),
        helper.make_node("Softmax", ["z"], ["p"], axis=1),
        helper.make_node("Log", ["p"], ["l"]),
        helper.make_node("Mul" if hidden else "Identity", ["l", "two"] if hidden else ["l"], ["out"]),
    ]
    return extended(path, nodes, CLASSES, scale=np.array(30, np.float32), two=np.array(2, np.float32))


def scripted(path: Path) -> Path:
    class Masked(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = torch.jit.load(str(make_script(path.with_name("inner.pt"))))

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            z = self.inner(x)
            return torch.cat([z, torch.full_like(z[:, :1], -math.inf)], 1)

    torch.jit.script(Masked()).save(str(path))
    return path


def audit(place: Path, model: Path) -> Result:
    profile = make_profile(place / "p.yaml", ATTACKS, checks=CHECKS, eps=0.05)
    return run_here(make_request(model, place / "d.npz", profile), place / f"run-{model.stem}")


MODELS = {"add.onnx": added, "where.onnx": chosen, "log-softmax.onnx": masked_before_softmax, "script.pt": scripted}


@pytest.mark.parametrize("name", MODELS)
def test_a_masked_class_changes_no_figure(tmp_path: Path, name: str) -> None:
    make_data(tmp_path / "d.npz")
    plain = make_script(tmp_path / "plain.pt") if name.endswith(".pt") else make_onnx(tmp_path / "plain.onnx")
    expected, found = audit(tmp_path, plain), audit(tmp_path, MODELS[name](tmp_path / name))
    assert found.clean.accuracy == expected.clean.accuracy
    assert found.clean.accuracy.k == 14
    assert [s.clean_prediction for s in found.samples] == [s.clean_prediction for s in expected.samples]
    assert [s.broken_by is None for s in found.samples] == [s.broken_by is None for s in expected.samples]
    assert any(s.broken_by for s in found.samples)
    assert found.errors == ()
    assert {c.id: c.status for c in found.checks} == {c.id: c.status for c in expected.checks}
    if name == "add.onnx":
        save_result(found, tmp_path / "run-add" / "result.json")
        again = replay(ReplayRequest(tmp_path / "run-add", model=tmp_path / name))
        assert again.holds
        assert again.count > 0


@pytest.mark.parametrize("hidden", [False, True])
def test_a_logarithm_that_underflows_is_audited(tmp_path: Path, hidden: bool) -> None:
    make_data(tmp_path / "d.npz")
    expected = audit(tmp_path, make_onnx(tmp_path / "plain.onnx"))
    found = audit(tmp_path, underflowing(tmp_path / "under.onnx", hidden=hidden))
    assert found.clean.accuracy == expected.clean.accuracy
    assert found.errors == ()
    broken = [s.broken_by is not None for s in found.samples]
    assert sum(broken) >= sum(s.broken_by is not None for s in expected.samples) - 1
    assert found.worst_case.robust_accuracy is not None
    assert {c.id for c in found.checks if c.status == "fail"} == set()
