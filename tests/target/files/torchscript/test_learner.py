"""A TorchScript module as a function of its weights, and a file of either format made anew in u-space."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from target_kit import load
from torch import Tensor, nn

from robaudit.errors import UsageError
from robaudit.target.load import open_target
from robaudit.target.reading.opened import OpenedTarget

SHAPE = (1, 8, 8)


class Normed(nn.Module):
    """Two convolutions with batch norms, the second without a bias."""

    def __init__(self, *, softmax: bool = False) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv2d(1, 4, 3),
            nn.BatchNorm2d(4),
            nn.ReLU(),
            nn.Conv2d(4, 8, 3, groups=4, bias=False),
            nn.BatchNorm2d(8),
        )
        self.last = nn.Linear(8, 3)
        self.softmax = softmax

    def forward(self, x: Tensor) -> Tensor:
        z = self.last(self.layers(x).mean((2, 3)))
        return torch.softmax(z, 1) if self.softmax else z


class Recurrent(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layer, self.last = nn.LSTM(8, 4, batch_first=True), nn.Linear(4, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.last(self.layer(x[:, 0])[0][:, -1])


def scripted(module: nn.Module) -> torch.jit.ScriptModule:
    return torch.jit.script(module)


def traced(module: nn.Module) -> torch.jit.ScriptModule:
    return torch.jit.trace(module, torch.rand(2, *SHAPE))


def frozen(module: nn.Module) -> torch.jit.ScriptModule:
    return torch.jit.freeze(torch.jit.script(module))


def saved(folder: Path, module: nn.Module, form: Callable[[nn.Module], torch.jit.ScriptModule]) -> OpenedTarget:
    torch.manual_seed(5)
    for part in module.modules():
        if isinstance(part, nn.BatchNorm2d):
            part.running_mean.normal_()
            part.running_var.uniform_(0.5, 2.0)
    form(module.eval()).save(str(folder / "model.pt"))
    return open_target(folder / "model.pt", device="cpu", sample_shape=SHAPE)


def seeded(seed: int = 0) -> Callable[[str, tuple[int, ...]], Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return lambda _, shape: torch.randn(shape, generator=generator)


def points(count: int = 6) -> Tensor:
    return torch.rand(count, *SHAPE, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("form", [scripted, traced])
@pytest.mark.parametrize("softmax", [False, True])
def test_weights_are_found_and_statistics_are_those_of_the_batch(
    tmp_path: Path, form: Callable[[nn.Module], torch.jit.ScriptModule], softmax: bool
) -> None:
    opened = saved(tmp_path, Normed(softmax=softmax), form)
    pupil = opened.pupil()
    shapes = sorted(w.shape for w in pupil.weights)
    assert shapes == sorted([(4, 1, 3, 3), (4,), (4,), (4,), (8, 1, 3, 3), (8,), (8,), (3, 8), (3,)])
    assert sorted(tuple(v.shape) for v in pupil.statistics.values()) == [(4,), (4,), (8,), (8,)]
    u = points(16)
    state = pupil.first(seeded(), u)
    logits, seen = pupil.lesson(state, u)
    assert set(seen) == set(pupil.statistics)
    # the operator's own variance is that of a sample, and what it divides by the population's
    assert pupil.logits({**state, **seen}, u) == pytest.approx(logits.detach(), abs=1e-2)
    assert not torch.allclose(pupil.lesson(state, u[:8])[0], logits[:8], atol=1e-4)


@pytest.mark.parametrize("form", [scripted, traced, frozen])
@pytest.mark.parametrize("softmax", [False, True])
def test_made_anew_it_has_the_form_of_the_file_and_not_its_answers(
    tmp_path: Path, form: Callable[[nn.Module], torch.jit.ScriptModule], softmax: bool
) -> None:
    opened = saved(tmp_path, Normed(softmax=softmax), form)
    pupil, u = opened.pupil(), points()
    state = pupil.first(seeded(), u)
    logits = pupil.logits(state, u)
    assert logits.shape == (6, 3)
    assert not torch.allclose(logits, opened.logits(u), atol=1e-3)
    alone = torch.cat([pupil.logits(state, u[i : i + 1]) for i in range(6)])
    assert logits == pytest.approx(alone, abs=1e-6)
    leaves = {w.name: (state[w.name] + 0.01).requires_grad_() for w in pupil.weights}
    weighing = torch.randn(6, 3, generator=torch.Generator().manual_seed(3))
    found = torch.autograd.grad((pupil.logits({**state, **leaves}, u) * weighing).sum(), list(leaves.values()))
    assert all(bool(g.any()) for g in found)


@pytest.mark.parametrize("form", [scripted, frozen])
def test_with_the_weights_of_the_file_it_is_the_file(
    tmp_path: Path, form: Callable[[nn.Module], torch.jit.ScriptModule]
) -> None:
    opened = saved(tmp_path, Normed(softmax=True), form)
    pupil, u = opened.pupil(), points()
    assert pupil.logits({}, u) == pytest.approx(opened.logits(u).detach(), abs=1e-5)  # what is not given is the file's


def test_a_lesson_leaves_the_state_and_the_file_alone(tmp_path: Path) -> None:
    opened = saved(tmp_path, Normed(), scripted)
    pupil, u = opened.pupil(), points()
    before, state = opened.scores(u), pupil.first(seeded(), u)
    copies = {name: value.clone() for name, value in state.items()}
    pupil.lesson(state, u)
    assert torch.equal(opened.scores(u), before)
    assert all(torch.equal(state[name], copies[name]) for name in state)


def test_recurrent_layers_are_refused_in_one_sentence(tmp_path: Path) -> None:
    opened = saved(tmp_path, Recurrent(), scripted)
    with pytest.raises(UsageError, match=r"^model\.pt cannot be made anew and trained: a recurrent layer keeps"):
        opened.pupil()


def test_of_an_onnx_file_the_end_is_left_out_and_the_input_is_read_as_the_file_says(tmp_path: Path) -> None:
    module = nn.Sequential(nn.Flatten(), nn.Linear(64, 3), nn.Softmax(1)).eval()
    path = tmp_path / "model.onnx"
    torch.onnx.export(
        module, torch.rand(1, *SHAPE), path, dynamo=False, dynamic_axes={"x": {0: "n"}}, input_names=["x"]
    )
    opened = load(path, mean=(0.5,), std=(0.25,))
    pupil = opened.pupil()
    weight, bias = (w.name for w in pupil.weights)
    torch.manual_seed(2)
    state = {weight: torch.randn(3, 64), bias: torch.randn(3)}
    u = points().float()
    expected = ((u - 0.5) / 0.25).flatten(1) @ state[weight].T + state[bias]
    assert pupil.logits(state, u) == pytest.approx(expected, abs=1e-4)
