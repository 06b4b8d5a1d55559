from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from command_line import refused
from model_files import write_onnx
from onnx import helper
from target_kit import complete
from torch import nn

from robaudit.target.load import Allowed, open_target
from robaudit.target.reading.opened import OpenedTarget

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")
NODE = helper.make_node
X = torch.rand(6, 1, 4, 4, generator=torch.Generator().manual_seed(0))


class Net(nn.Module):
    """A matrix behind what depends on the mode."""

    def __init__(self, *parts: str) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.bn = nn.BatchNorm2d(1) if "bn" in parts else nn.Identity()
        self.rows = nn.BatchNorm1d(16) if "rows" in parts else nn.Identity()
        self.drop = nn.Dropout(0.3) if "drop" in parts else nn.Identity()
        self.matrix = nn.Linear(16, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.matrix(self.drop(self.rows(self.bn(x).flatten(1)))).softmax(1)


def saved(path: Path, module: nn.Module, how: str = "script") -> Path:
    if how == "exported":
        path = path.with_suffix(".pt2")
        shapes = ({0: torch.export.Dim("n")},)
        torch.export.save(torch.export.export(module, (X[:2],), dynamic_shapes=shapes), path)
        return path
    script = torch.jit.script(module) if how == "script" else torch.jit.trace(module, X[:2], check_trace=False)
    torch.jit.save(torch.jit.freeze(script) if how == "frozen" else script, str(path))
    return path


def opened(path: Path) -> OpenedTarget:
    return open_target(path, device="cpu", sample_shape=(1, 4, 4), allowed=Allowed(trust_model=True))


@pytest.mark.parametrize("how", ["script", "trace"])
def test_a_file_is_judged_in_the_mode_in_which_it_loads(tmp_path, how):
    path = saved(tmp_path / "m.pt", Net("bn").train(), how)
    target = opened(path)
    alone = torch.cat([torch.jit.load(path)(row[None]) for row in X])
    torch.testing.assert_close(target.scores(X, alone=True), alone)
    assert target.file.training == (("bn",) if how == "script" else ("batch_norm",))
    target = complete(target, X)
    assert target.batch_invariant is False
    torch.testing.assert_close(target.logits(X).softmax(1), alone)


@pytest.mark.parametrize(
    ("parts", "how", "found"),
    [
        (("drop",), "script", ("drop",)),
        (("drop",), "trace", ("dropout",)),
        (("drop",), "exported", ("dropout",)),
        (("bn",), "exported", ("batch_norm",)),
        ((), "script", ()),
    ],
)
def test_what_is_in_training_mode_is_named(tmp_path, parts, how, found):
    target = opened(saved(tmp_path / "m.pt", Net(*parts).train(), how))
    assert target.file.training == found
    target = complete(target, X)
    assert (target.repeat_deviation > 1e-4) == ("drop" in parts)
    assert target.keeps_state is (False if "drop" in parts else None)


@pytest.mark.parametrize("how", ["script", "trace", "frozen", "exported"])
def test_a_file_in_evaluation_mode_is_not_blamed(tmp_path, how):
    module = Net("bn", "drop").eval()
    path = saved(
        tmp_path / "m.pt", module if how != "frozen" else torch.jit.script(module), "trace" if how == "frozen" else how
    )
    assert opened(path).file.training == ()


def test_modes_may_be_mixed(tmp_path):
    module = Net("bn", "drop").train()
    module.drop.eval()
    target = opened(saved(tmp_path / "m.pt", module))
    assert target.file.training == ("bn",)
    target = complete(target, X)
    assert target.repeat_deviation == 0
    module = Net("bn", "drop").eval()
    module.drop.train()
    assert opened(saved(tmp_path / "n.pt", module)).file.training == ("drop",)


def test_a_flag_that_nothing_reads_leaves_the_end_to_be_peeled(tmp_path):
    target = opened(saved(tmp_path / "m.pt", Net().train()))
    assert target.head.peeled


class Counter(nn.Module):
    """Another answer each time."""

    def __init__(self) -> None:
        super().__init__()
        self.matrix = nn.Linear(16, 3)
        self.register_buffer("calls", torch.zeros(1))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.calls += 1
        return self.matrix(x.flatten(1)) + self.calls * torch.arange(3)


def test_a_state_that_calls_leave_is_told_from_chance(tmp_path):
    target = opened(saved(tmp_path / "m.pt", Counter().eval()))
    target = complete(target, X)
    assert target.repeat_deviation > 1e-4
    assert target.keeps_state is True


@pytest.mark.parametrize(
    ("op", "extra", "found"),
    [
        ("Dropout", {"ratio": np.float32(0.5), "mode": np.array(True)}, ("Dropout (h)",)),
        ("Dropout", {"ratio": np.float32(0.5), "mode": np.array(False)}, ()),
        ("Dropout", {"ratio": np.float32(0), "mode": np.array(True)}, ()),
        ("BatchNormalization", {}, ("BatchNormalization (h)",)),
    ],
)
def test_onnx_nodes_in_training_mode_are_named(tmp_path, op, extra, found):
    constants: dict[str, Any] = {name: np.asarray(value) for name, value in extra.items()}
    node = NODE("Dropout", ["x", *constants], ["h"])
    if op == "BatchNormalization":
        constants = {name: np.ones(1, np.float32) for name in ("scale", "bias", "mean", "var")}
        node = NODE(op, ["x", *constants], ["h", "m", "v"], training_mode=1)
    constants["w"] = np.random.default_rng(0).normal(size=(16, 3)).astype(np.float32)
    nodes = [node, NODE("Flatten", ["h"], ["f"]), NODE("MatMul", ["f", "w"], ["y"])]
    target = open_target(write_onnx(tmp_path / "m.onnx", nodes, ["N", 1, 4, 4], constants), device="cpu")
    assert target.file.training == found


def test_a_batch_norm_that_cannot_answer_one_input_is_refused_for_that(tmp_path, robaudit):
    path = saved(tmp_path / "m.pt", Net("rows").train())
    np.savez(tmp_path / "d.npz", x=X.numpy(), y=np.arange(6) % 3)
    refused(
        robaudit("scan", path, "--data", tmp_path / "d.npz", "--run-dir", tmp_path / "run", "--no-progress"),
        "rows runs in training mode",
        "call eval()",
    )


def test_every_report_says_that_the_file_is_in_training_mode(tmp_path, robaudit):
    path = saved(tmp_path / "m.pt", Net("bn").train())
    y = torch.cat([torch.jit.load(path)(row[None]) for row in X]).argmax(1).numpy()
    np.savez(tmp_path / "d.npz", x=X.numpy(), y=y)
    names = ["r.json", "r.md", "r.html", "r.sarif", "r.xml", "r.cdx.json"]
    profile = tmp_path / "p.yaml"
    profile.write_text(
        "name: tiny\nthreat: {norm: linf, eps: 0.01}\nattacks:\n  - {id: fgsm}\nchecks: [clean, evidence]\n"
    )
    told = "the file is in training mode (bn)"
    outcome = robaudit(
        *("scan", path, "--data", tmp_path / "d.npz", "--profile", profile, "--mean", "0", "--std", "1"),
        *("--layout", "nchw", "--run-dir", tmp_path / "run", "--no-progress"),
        *(part for name in names for part in ("-o", tmp_path / name)),
    )
    assert outcome.code == 0, outcome.err
    assert told in " ".join(outcome.out.split())
    for name in names:
        assert told in " ".join((tmp_path / name).read_text().split()), name
    inspected = robaudit("inspect", path, "--data", tmp_path / "d.npz")
    assert told in " ".join(inspected.out.split())
