"""torch.export archives: refused without trust; with it judged and differentiated by themselves."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import torch
from model_files import Net
from target_kit import complete
from torch import Tensor, nn
from torch.export import Dim

from robaudit.errors import UsageError
from robaudit.target.load import Allowed, open_target
from robaudit.target.reading.interface import Interface
from robaudit.target.target import Target

SHAPE = (3, 8, 8)
ANY = {"x": {0: Dim("batch")}}


class Scaled(Net):
    def forward(self, x: Tensor, factor: Tensor) -> dict[str, Tensor]:
        return {"hidden": x, "scores": super().forward(x) * factor}


class Pixels(Net):
    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x.float() / 255)


class Bare(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return torch.tanh(x).flatten(1)[:, :4]


@pytest.fixture(scope="module")
def archives(tmp_path_factory) -> Path:
    """Each takes seconds to export."""
    folder = tmp_path_factory.mktemp("exported")
    x = torch.rand(2, *SHAPE)
    pixels = torch.zeros(2, *SHAPE, dtype=torch.uint8)
    for name, module, arguments, shapes in (
        ("any", Net(), (x,), ANY),
        ("one", Net(), (x[:1],), None),
        ("half", Net().half(), (x.half(),), ANY),
        ("two", Scaled(), (x, torch.ones(1, 1)), {"x": {0: Dim("batch")}, "factor": None}),
        ("pixels", Pixels(), (pixels,), ANY),
        ("bare", Bare(), (x,), ANY),
    ):
        torch.export.save(torch.export.export(module.eval(), arguments, dynamic_shapes=shapes), folder / f"{name}.pt2")
    return folder


def ready(path: Path, **interface: object) -> tuple[Target, Tensor]:
    target = open_target(
        path, device="cpu", sample_shape=SHAPE, allowed=Allowed(trust_model=True), interface=Interface(**interface)
    )
    u = torch.rand(5, *SHAPE, generator=torch.Generator().manual_seed(0))
    target = complete(target, u)
    return target, u


def gradient(target: Target, u: Tensor) -> Tensor:
    leaf = u.clone().requires_grad_()
    return torch.autograd.grad(target.logits(leaf)[:, 1].sum(), leaf)[0]


def test_refused_without_trust(archives, monkeypatch):
    monkeypatch.setattr(torch.export, "load", lambda *_, **__: pytest.fail("loaded"))
    with pytest.raises(UsageError, match=r"can run any command when it is loaded; give --trust-model"):
        open_target(archives / "any.pt2", device="cpu", sample_shape=SHAPE)


@pytest.mark.parametrize(("name", "batch"), [("any", None), ("one", 1)])
def test_answers_and_gradient(archives, name, batch):
    target, u = ready(archives / f"{name}.pt2")
    net = Net().eval()
    assert target.format == "exported"
    assert target.spec.shape == SHAPE
    assert target.spec.batch == batch
    assert target.spec.provenance["layout"] == "shape"
    assert "torch.export" in target.facts["judge"]
    assert target.facts["operators"]["aten.conv2d.default"] == 1
    torch.testing.assert_close(target.scores(u), net(u), rtol=1e-5, atol=1e-6)
    leaf = u.clone().requires_grad_()
    (expected,) = torch.autograd.grad(net(leaf)[:, 1].sum(), leaf)
    torch.testing.assert_close(gradient(target, u), expected, rtol=1e-4, atol=1e-6)
    assert all(not parameter.requires_grad for parameter in target.file.module.parameters())


def test_half_precision(archives):
    target, u = ready(archives / "half.pt2")
    assert target.spec.dtype == "float16"
    assert target.scores(u).dtype == torch.float32
    torch.testing.assert_close(target.scores(u), Net().eval()(u), rtol=2e-2, atol=2e-3)
    assert gradient(target, u).dtype == torch.float32


def test_several_inputs_and_outputs(archives):
    with pytest.raises(UsageError, match="factor"):
        ready(archives / "two.pt2")
    target, u = ready(archives / "two.pt2", fixed={"factor": "2"}, output="scores")
    torch.testing.assert_close(target.scores(u), 2 * Net().eval()(u), rtol=1e-5, atol=1e-6)
    assert gradient(target, u).abs().sum() > 0


def test_whole_numbers_leave_black_box(archives):
    target, u = ready(archives / "pixels.pt2")
    assert target.spec.integer
    assert "whole numbers" in str(target.gradient.reason)
    pixels = (u * 255).round()
    torch.testing.assert_close(target.scores(u), Net().eval()(pixels / 255), rtol=1e-4, atol=1e-5)


def test_a_program_without_weights(archives):
    target, u = ready(archives / "bare.pt2")
    torch.testing.assert_close(target.scores(u), torch.tanh(u).flatten(1)[:, :4])


def test_damaged_archives(archives, tmp_path):
    content = (archives / "any.pt2").read_bytes()
    (tmp_path / "short.pt2").write_bytes(content[: len(content) // 2])
    with pytest.raises(UsageError, match="truncated"):
        ready(tmp_path / "short.pt2")
    place = content.index(b"graph_module")
    (tmp_path / "wrong.pt2").write_bytes(content[:place] + b"\xff" * 12 + content[place + 12 :])
    with pytest.raises(UsageError, match=r"cannot be loaded as a torch\.export archive"):
        ready(tmp_path / "wrong.pt2")
    shutil.copy(archives / "any.pt2", tmp_path / "renamed.pt")
    assert ready(tmp_path / "renamed.pt")[0].format == "exported"
