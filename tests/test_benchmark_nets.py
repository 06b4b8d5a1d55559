"""The nets that ladders of attacks are chosen and reported on: alike in both halves, and made as files that open."""

from __future__ import annotations

import importlib
import json
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from robaudit.audit.config.profile import ThreatSpec
from robaudit.target.load import open_target
from robaudit.target.reading.measured import measure
from robaudit.target.target import ready

ROOT = Path(__file__).parents[1]


@pytest.fixture
def module(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Imports a module of benchmarks/nets."""
    monkeypatch.syspath_prepend(str(ROOT))
    return lambda name: importlib.import_module(f"benchmarks.nets.{name}")


def test_each_kind_of_net_is_in_both_halves(module: Any) -> None:
    nets = [*module("registry").CHOOSE, *module("registry").REPORT]
    assert len(module("registry").NETS) == len(nets)  # no name twice
    assert len(nets) >= 24
    choose, report = ([net for net in nets if net.half == half] for half in module("entry").HALVES)
    for kind in ("family", "training", "masked"):
        assert Counter(getattr(net, kind) for net in choose) == Counter(getattr(net, kind) for net in report), kind
    for kind in ("data", "classes"):
        assert {getattr(net, kind) for net in choose} == {getattr(net, kind) for net in report}, kind
    halves = {net.name: net.half for net in nets}
    for net in nets:
        assert not net.base or halves[net.base] == net.half, net.name  # else the report would be on what was chosen on


def test_every_net_is_audited_in_two_norms_and_eight_in_four(module: Any) -> None:
    nets = module("registry").NETS
    for net in nets.values():
        norms = [threat.norm for threat in net.threats]
        assert norms == ["linf", "l2", "l1", "l0"][: 4 if net.name in module("threats").SPARSE else 2], net.name
        for threat in net.threats:
            assert ThreatSpec.model_validate({"norm": threat.norm, "eps": threat.eps}).radius > 0
    assert Counter(nets[name].half for name in module("threats").SPARSE) == {"choose": 4, "report": 4}


@pytest.fixture
def as_before() -> Iterator[None]:
    """The command flushes subnormal numbers, which the process is not to go on with."""
    yield
    torch.set_flush_denormal(False)


@pytest.mark.usefixtures("as_before")
def test_nets_are_made_once_and_open(module: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    y = np.arange(8_130) % 10
    x = np.zeros((len(y), 28, 28), np.uint8)
    x[np.arange(len(y)), 2 * y + 4, 5:20] = 200
    np.savez(tmp_path / "mnist.npz", x=x, y=y)
    words = [str(tmp_path), "--cache", str(tmp_path), "--mnist", str(tmp_path / "mnist.npz"), "--images", "256"]
    words += ["--effort", "0.05", "--only", "dense-wine-plain", "int8-conv-mnist-linf"]
    module("__main__").main(words)
    capsys.readouterr()
    module("__main__").main(words)
    made = ["dense-wine-plain", "conv-mnist-linf", "int8-conv-mnist-linf"]
    assert capsys.readouterr().out == "".join(f"{name}-0: there already\n" for name in made)
    assert "own" in json.loads((tmp_path / "conv-mnist-linf-0.json").read_text())
    found = {net.name: (path, rows, labels) for net, path, rows, labels, _ in module("cases").cases(tmp_path)}
    assert set(found) == set(made)
    for path, rows, labels in found.values():
        target = ready(measure(open_target(path, device="cpu"), rows[:8]))
        assert target.scores(rows).shape == (len(labels), target.num_classes)
        point = rows[:4].clone().requires_grad_()
        (slope,) = torch.autograd.grad(target.logits(point).square().sum(), point)
        assert slope.abs().max() > 0, path.name
