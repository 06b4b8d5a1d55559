"""A point at which a model raises, ahead or on the way back, costs that point alone, and the search goes on."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from run_kit import make_data, make_profile, make_request, run_here

from robaudit.audit.result.document import Result

ATTACKS = "\n  - {id: fgsm}\n  - {id: apgd-ce, steps: 8}\n  - {id: deepfool, steps: 8}\n  - {id: square, queries: 40}\n"


class Refusing(torch.nn.Module):
    """A linear model that raises where the first feature is within ``width`` of ``value``."""

    def __init__(self, value: float, width: float, way: str) -> None:
        super().__init__()
        self.value, self.width, self.way = value, width, way
        self.weight = torch.nn.Parameter(torch.randn(4, 36, generator=torch.Generator().manual_seed(0)))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        f = x.flatten(1)
        nothing = torch.zeros(1)
        away = (f[:, 0] - self.value).abs()
        if self.way == "around" and bool(((away > 1e-6) & (away < self.width)).any()):
            raise RuntimeError("not this one")
        if bool(away.min() < self.width):
            if self.way == "ahead":
                raise RuntimeError("not this one")
            if self.way == "back":  # a value that the way back needs is overwritten
                grown = f.exp()
                nothing = grown.sum() * 0
                grown.add_(1.0)
                nothing = nothing + grown.sum() * 0
            if self.way == "back without memory":
                nothing = f[0, :1].expand(1000000000000000)[0]
        return (f - 0.5) @ self.weight.t() + 0 * nothing


def audited(folder: Path, way: str, offset: float, width: float) -> Result:
    folder.mkdir()
    data = make_data(folder / "d.npz", 8, wrong=0)
    with np.load(data) as arrays:
        x = arrays["x"]
    module = Refusing(float(x.reshape(8, -1)[2, 0]) + offset, width, way).eval()
    torch.jit.script(module).save(str(folder / "m.pt"))
    np.savez(data, x=x, y=((x.reshape(8, -1) - 0.5) @ module.weight.detach().numpy().T).argmax(1))
    profile = make_profile(folder / "p.yaml", ATTACKS, eps=0.01)
    return run_here(make_request(folder / "m.pt", data, profile, trust_model=True), folder / "run")


def broken(result: Result) -> dict[int, str | None]:
    return {sample.index: sample.broken_by for sample in result.samples}


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Result:
    result = audited(tmp_path_factory.mktemp("plain") / "run", "never", 0.0, 1.0)
    assert not [note for note in result.run.notes if "failed on" in note]
    return result


@pytest.mark.parametrize(
    ("way", "offset", "why"),
    [
        ("ahead", 0.01, "not this one"),
        ("ahead", -0.01, "not this one"),
        ("back", 0.0, "modified by an inplace operation"),
        ("back", -0.01, "modified by an inplace operation"),
        ("back without memory", 0.0, "allocate"),
    ],
)
def test_a_point_that_is_refused_costs_itself(tmp_path: Path, plain: Result, way: str, offset: float, why: str) -> None:
    result = audited(tmp_path / "odd", way, offset, 1e-4)
    assert [attack.status for attack in result.attacks] == ["done"] * 4
    assert not [sample.error for sample in result.samples if sample.error]
    ours, theirs = broken(result), broken(plain)
    del ours[2], theirs[2]
    assert ours == theirs
    notes = [note for note in result.run.notes if "the model failed on" in note]
    assert len(notes) <= 1
    if way != "ahead" and offset == 0.0:  # each attack begins there
        assert why in notes[0]


def test_a_sample_all_around_which_the_model_refuses_is_not_robust(tmp_path: Path) -> None:
    """What no attack could try is an error of the sample, which names the reason."""
    result = audited(tmp_path / "odd", "around", 0.0, 0.02)
    errors = {sample.index: str(sample.error) for sample in result.samples if sample.error}
    assert 2 in errors  # and others that come near its first feature
    assert "at most of the points tried, or refused: " in errors[2]
    assert "not this one" in errors[2]
    told = {error.attack for error in result.errors if error.message == errors[2]}
    assert told >= {"apgd-ce"}
    assert "fgsm" not in told  # it asked for the sample too, which is half of what it asked
