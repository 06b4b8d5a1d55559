"""A twin that is compiled, and one that torch cannot compile here."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from model_files import linear_onnx

from robaudit.target.load import open_target
from robaudit.target.reading.measured import Measured, unmeasured
from robaudit.target.target import ready


def _measured(tmp_path: Path) -> tuple[Measured, torch.Tensor]:
    path = tmp_path / "m.onnx"
    linear_onnx(path, ("N", 1, 4, 4), 3)
    return unmeasured(open_target(path, device="cpu")), torch.rand(3, 1, 4, 4)


def test_compiled_twin_gives_the_same_logits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    original, compiled = torch.compile, []

    def capture(program: torch.nn.Module, *, dynamic: bool) -> object:
        compiled.append(program)
        return original(program, backend="aot_eager", dynamic=dynamic)

    monkeypatch.setattr(torch, "compile", capture)
    measured, u = _measured(tmp_path)
    plain = measured.opened.logits(u)
    target = ready(measured, compiles=True)
    assert compiled
    torch.testing.assert_close(target.logits(u), plain)


def test_a_compiler_that_fails_leaves_the_twin_as_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(program: torch.nn.Module, *, dynamic: bool) -> object:
        raise RuntimeError("no C++ compiler")

    monkeypatch.setattr(torch, "compile", fail)
    measured, u = _measured(tmp_path)
    target = ready(measured, compiles=True)
    assert target.gradient.available
    assert target.logits(u).shape == (3, 3)
    assert any("no C++ compiler" in note for note in target.notes)
