"""Files that keep a state between their calls: what calls leave behind is undone before each."""

import numpy as np
import pytest
import torch
from model_files import FLOAT, script, write_onnx
from onnx import helper
from target_kit import complete
from torch import Tensor, nn

from robaudit.target.files.torchscript.state import ModuleState
from robaudit.target.load import Allowed, open_target
from robaudit.target.reading.interface import Interface

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")

U = torch.rand(12, 8, generator=torch.Generator().manual_seed(0))


class Keeping(nn.Module):
    """Scores of three classes that move on with every call, by all the ways in which a module can keep something."""

    calls: int
    seen: list[int]
    last: Tensor | None

    def __init__(self, hidden: bool = False) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.layer = nn.Linear(8, 3)
        self.register_buffer("counter", torch.zeros(1))
        self.calls, self.seen, self.last, self.hidden = 0, [], None, hidden

    def forward(self, x: Tensor) -> Tensor:
        self.calls += 1
        self.seen.append(self.calls)
        if self.hidden:
            self.counter.data.add_(1)
        else:
            self.counter += 1
        last = self.last
        drift = self.counter + float(len(self.seen)) + (0.0 if last is None else float(last.sum()))
        self.last = torch.ones(1)
        return self.layer(x) * (1 + drift)


class Wearing(nn.Module):
    """Weights that are written to."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.layer = nn.Linear(8, 3)

    def forward(self, x: Tensor) -> Tensor:
        self.layer.weight.mul_(1.5)
        return self.layer(x)


@pytest.mark.parametrize("module", [Keeping(), Keeping(hidden=True), Wearing()])
def test_every_answer_is_the_first_after_loading(tmp_path, module):
    path = script(tmp_path / "m.pt", module)
    with torch.no_grad():
        first = torch.stack([torch.jit.load(str(path))(u[None])[0] for u in U])
    plain = open_target(path, device="cpu", sample_shape=(8,))
    plain = complete(plain, U)
    assert plain.repeat_deviation > 0.1
    assert plain.keeps_state
    target = open_target(path, device="cpu", sample_shape=(8,), interface=Interface(fresh_state=True))
    target = complete(target, U)
    assert target.repeat_deviation == 0
    torch.testing.assert_close(target.scores(U, alone=True), first)
    torch.testing.assert_close(target.scores(U), first)
    torch.testing.assert_close(target.logits(U), first)
    again = target.logits(U.requires_grad_())
    (gradient,) = torch.autograd.grad(again[:, 0].sum(), U)
    assert bool(gradient.any())


def test_weights_that_nothing_writes_to_are_not_copied_again(tmp_path):
    module = torch.jit.load(str(script(tmp_path / "m.pt", Keeping())))
    state = ModuleState(module)
    before = module.layer.weight.data_ptr(), module.counter.data_ptr()
    module(U)
    state.restore()
    assert module.layer.weight.data_ptr() == before[0]
    assert module.counter.data_ptr() != before[1]
    assert (float(module.counter), module.calls, list(module.seen), module.last) == (0, 0, [], None)


def test_an_exported_program_begins_afresh(tmp_path):
    class Counting(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            torch.manual_seed(0)
            self.layer = nn.Linear(8, 3)
            self.register_buffer("counter", torch.zeros(1))

        def forward(self, x: Tensor) -> Tensor:
            self.counter.add_(1)
            return self.layer(x) * self.counter

    batch = torch.export.Dim("batch")
    program = torch.export.export(Counting().eval(), (torch.zeros(2, 8),), dynamic_shapes=({0: batch},))
    torch.export.save(program, tmp_path / "m.pt2")
    found = []
    for fresh in (False, True):
        interface = Interface(fresh_state=fresh)
        target = open_target(tmp_path / "m.pt2", device="cpu", allowed=Allowed(trust_model=True), interface=interface)
        target = complete(target, U)
        found.append(target.repeat_deviation)
    assert found[0] > 0.1
    assert found[1] == 0
    with torch.no_grad():
        torch.testing.assert_close(target.scores(U), Counting().layer(U))


def test_random_operators_of_an_onnx_file_begin_again(tmp_path):
    nodes = [
        helper.make_node("RandomNormalLike", ["x"], ["noise"], seed=3.0),
        helper.make_node("Add", ["x", "noise"], ["a"]),
        helper.make_node("MatMul", ["a", "w"], ["y"]),
    ]
    w = np.random.default_rng(0).normal(size=(8, 3)).astype(np.float32)
    path = write_onnx(tmp_path / "m.onnx", nodes, ("N", 8), {"w": w}, outputs={"y": (("N", 3), FLOAT)})
    plain = open_target(path, device="cpu")
    plain = complete(plain, U)
    assert plain.repeat_deviation > 0.1
    target = open_target(path, device="cpu", interface=Interface(fresh_state=True))
    target = complete(target, U)
    assert target.repeat_deviation == 0
