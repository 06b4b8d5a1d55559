"""A twin that is compiled, and one that torch cannot compile here."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from model_files import linear_onnx

from robaudit.target.load import load_target
from robaudit.target.target import Target


def _ready(tmp_path: Path) -> tuple[Target, torch.Tensor]:
    path = tmp_path / "m.onnx"
    linear_onnx(path, ("N", 1, 4, 4), 3)
    target = load_target(path, device="cpu")
    target.compiles = True
    return target, torch.rand(3, 1, 4, 4)


def test_compiled_twin_gives_the_same_logits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    original, compiled = torch.compile, []

    def capture(program: torch.nn.Module, *, dynamic: bool) -> object:
        compiled.append(program)
        return original(program, backend="aot_eager", dynamic=dynamic)

    monkeypatch.setattr(torch, "compile", capture)
    target, u = _ready(tmp_path)
    plain = target.logits(u)
    target.calibrate()
    assert compiled
    torch.testing.assert_close(target.logits(u), plain)


def test_a_compiler_that_fails_leaves_the_twin_as_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(program: torch.nn.Module, *, dynamic: bool) -> object:
        raise RuntimeError("no C++ compiler")

    monkeypatch.setattr(torch, "compile", fail)
    target, u = _ready(tmp_path)
    target.calibrate()
    assert target.gradient.available
    assert target.logits(u).shape == (3, 3)
    assert any("no C++ compiler" in note for note in target.notes)
