"""The end of TorchScript modules is left out of the gradient as that of ONNX graphs is."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from model_files import Net, script
from target_kit import complete
from torch import Tensor

from robaudit.errors import UsageError
from robaudit.target.load import open_target
from robaudit.target.reading.interface import Interface
from robaudit.target.target import Target


class End(Net):
    """The net with something at its end."""

    def __init__(self, end: Callable[[Tensor], object], scale: float = 1.0) -> None:
        super().__init__()
        self.end = end
        self.scale = scale

    def forward(self, x: Tensor):
        return self.end(super().forward(x) * self.scale)


X = torch.rand(2, 3, 8, 8, generator=torch.Generator().manual_seed(0))


def ready(
    path: Path, end: Callable[[Tensor], object], scale: float = 1.0, **interface: object
) -> tuple[Target, Tensor]:
    script(path, End(end, scale), X)
    target = open_target(path, device="cpu", sample_shape=(3, 8, 8), interface=Interface(**interface))
    target = complete(target, X)
    return target, Net().eval()(X).detach() * scale


ENDS: dict[str, tuple[Callable[[Tensor], object], str]] = {
    "softmax": (lambda z: z.softmax(1), "probabilities"),
    "softmax, last axis": (lambda z: torch.softmax(z, -1), "probabilities"),
    "log softmax": (lambda z: z.log_softmax(1), "log-probabilities"),
    "sigmoids": (torch.sigmoid, "sigmoids"),
    "softmax, half and back": (lambda z: z.softmax(1).to(torch.float64).to(torch.float32), "probabilities"),
}


@pytest.mark.parametrize("how", ENDS)
def test_scores(tmp_path, how):
    end, kind = ENDS[how]
    target, z = ready(tmp_path / "m.pt", end)
    assert (target.head.kind, target.head.peeled) == (kind, True)
    torch.testing.assert_close(target.logits(X), z)
    torch.testing.assert_close(target.scores(X), end(z).float())
    leaf = X.clone().requires_grad_()
    (found,) = torch.autograd.grad(target.logits(leaf)[:, 0].sum(), leaf)
    leaf = X.clone().requires_grad_()
    (expected,) = torch.autograd.grad(Net().eval()(leaf)[:, 0].sum(), leaf)
    torch.testing.assert_close(found, expected)


def test_a_large_margin_still_has_a_gradient(tmp_path):
    target, _ = ready(tmp_path / "m.pt", lambda z: z.softmax(1), 1e4)
    assert float(target.scores(X).amax()) == 1.0
    leaf = X.clone().requires_grad_()
    logits = target.logits(leaf)
    worst = logits.argmin(1)
    (gradient,) = torch.autograd.grad(torch.nn.functional.cross_entropy(logits, worst), leaf)
    assert float(gradient.abs().amax()) > 1


COLUMN: dict[str, Callable[[Tensor], Tensor]] = {
    "select": lambda p: p[:, 3],
    "from the end": lambda p: p[:, -1],
    "slice": lambda p: p[:, 3:4],
    "slice to the end": lambda p: p[:, -1:].squeeze(1),
}


@pytest.mark.parametrize("how", COLUMN)
@pytest.mark.parametrize("kind", ["softmax", "sigmoid"])
def test_one_probability_taken_out_of_several(tmp_path, kind, how):
    ends = {"softmax": lambda z: z.softmax(1), "sigmoid": torch.sigmoid}
    target, z = ready(tmp_path / "m.pt", lambda z: COLUMN[how](ends[kind](z)), 1e4)
    assert (target.num_classes, target.head.kind, target.head.peeled) == (2, "probabilities", True)
    rest = z[:, :3].logsumexp(1) if kind == "softmax" else 0
    found = target.logits(X)
    torch.testing.assert_close(found[:, 1] - found[:, 0], z[:, 3] - rest)
    assert target.labels(X).tolist() == (z[:, 3] > rest).long().tolist()
    leaf = X.clone().requires_grad_()
    (gradient,) = torch.autograd.grad((target.logits(leaf) @ torch.tensor([-1.0, 1.0])).sum(), leaf)
    assert float(gradient.abs().amax()) > 1


def test_a_label_taken_out_of_its_row(tmp_path):
    target, z = ready(tmp_path / "m.pt", lambda z: z.softmax(1).argmax(1, keepdim=True)[:, 0])
    assert (target.head.kind, target.num_classes) == ("labels", 4)
    torch.testing.assert_close(target.logits(X), z)


def test_a_softmax_over_something_else_stays(tmp_path):
    target, _ = ready(tmp_path / "m.pt", lambda z: z + torch.softmax(z[:, :, None], 2)[:, :, 0])
    assert not target.head.peeled
    target, _ = ready(tmp_path / "n.pt", lambda z: torch.softmax(z, 0))
    assert not target.head.peeled


@pytest.mark.parametrize(
    "end", [lambda z: z.argmax(1), lambda z: z.softmax(1).argmax(1, keepdim=True), lambda z: z.max(1)[1]]
)
def test_labels(tmp_path, end):
    target, z = ready(tmp_path / "m.pt", end)
    assert (target.head.kind, target.num_classes) == ("labels", 4)
    assert target.labels(X).tolist() == z.argmax(1).tolist()
    torch.testing.assert_close(target.logits(X), z)


def test_labels_without_a_known_decision(tmp_path):
    with pytest.raises(UsageError, match="how many classes"):
        ready(tmp_path / "m.pt", lambda z: z.argmax(1) + 0)
    target, z = ready(tmp_path / "m.pt", lambda z: z.argmax(1) + 0, classes=4)
    assert target.labels(X).tolist() == z.argmax(1).tolist()
    assert "labels only" in str(target.gradient.reason)


def test_of_several_outputs_one_is_taken(tmp_path):
    end = lambda z: (z.softmax(1), -z)  # noqa: E731
    target, z = ready(tmp_path / "m.pt", end)
    assert [o.name for o in target.file.outputs] == ["output0", "output1"]
    assert (target.choice.output.name, target.head.peeled) == ("output0", True)
    torch.testing.assert_close(target.logits(X), z)
    target, z = ready(tmp_path / "m.pt", end, output="output1")
    torch.testing.assert_close(target.scores(X), -z)
    torch.testing.assert_close(target.logits(X), -z)


def test_a_frozen_module_is_peeled_too(tmp_path):
    path = script(tmp_path / "m.pt", End(lambda z: z.softmax(1)), X, freeze=True)
    target = open_target(path, device="cpu", sample_shape=(3, 8, 8))
    target = complete(target, X)
    assert target.head.kind == "probabilities"
    torch.testing.assert_close(target.logits(X).softmax(1), target.scores(X))
