"""Operators whose arguments decide whether they are harmless: refused before they are run."""

from __future__ import annotations

import pytest
import torch
from model_files import Net, script
from test_torchscript import SHAPE, edited, load
from torch import Tensor, nn

from robaudit.errors import UsageError
from robaudit.target.files.torchscript.file import open_torchscript
from robaudit.target.load import Allowed, open_target

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")


class Flat(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x.flatten(1)


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ('l = annotate(List[float], [float("nan"), 1.]); torch.sort(l, True); print(l)', "calls aten::sort of a list"),
        ("l = [x, x]; (l).sort(True); print(len(l), l[0])", "calls aten::sort of a list"),
        ("l = torch.sorted([2, 1]); print(l)", "calls aten::sorted"),
        ("l = sorted([2, 1]); print(l)", "uses the unknown name 'sorted'"),
        ("y = torch._pad_packed_sequence(x, torch.tensor([1, -9]), True, 0., 2)", "calls aten::_pad_packed_sequence"),
        ("y = torch._weight_norm(x, x, 0)", "calls aten::_weight_norm"),
        ("y = torch.slow_conv3d(x, x, [9, 9, 9])", "calls aten::slow_conv3d"),
        ("y = torch.thnn_conv2d(x, x, [9, 9])", "calls aten::thnn_conv2d"),
        ("y = torch.empty_quantized([9], x)", "calls aten::empty_quantized"),
        ("y = torch.quantize_per_tensor(x, 0.1, 0, 16); print(y)", "quantize_per_tensor with a type"),
        ("n = torch.dim(x); y = torch.quantize_per_tensor(x, 0.1, 0, n + 12); print(y)", "quantize_per_tensor with a"),
        ("y = torch.quantize_per_tensor_dynamic(x, 17, False); print(y)", "quantize_per_tensor_dynamic with a type"),
        (
            "w = torch.rand([4, 4]); y, z = torch.rnn_tanh(torch.rand([3, 4]), torch.empty([0], dtype=4), "
            "torch.rand([1, 5, 4]), [w, w], False, 1, 0., False, False); print(y, z)",
            "calls aten::rnn_tanh of a packed sequence",
        ),
    ],
)
def test_uses_that_reach_out_of_memory_need_trust(tmp_path, line, words):
    source = script(tmp_path / "m.pt", Flat())
    path = edited(source, tmp_path / "bad.pt", line=line.replace("; ", "\n    "))
    with pytest.raises(UsageError, match=words) as caught:
        load(path)
    assert "--trust-model" in str(caught.value)


@pytest.mark.parametrize("default", ["torch.sort([2, 1])", 'getattr([2, 1], "sort")()', "torch.lstm(1)"])
def test_what_loading_may_run_has_no_operator_that_depends_on_its_use(tmp_path, monkeypatch, default):
    path = edited(script(tmp_path / "m.pt", Net()), tmp_path / "bad.pt", default=default)
    monkeypatch.setattr(torch._C, "import_ir_module", lambda *_: pytest.fail("loaded"))
    with pytest.raises(UsageError, match=r"may call (sort|lstm) while it is loaded"):
        load(path)


class Sequences(nn.Module):
    """Sorts a tensor, quantises one, and holds a layer with a method for packed sequences that nothing calls."""

    def __init__(self) -> None:
        super().__init__()
        self.layer, self.last = nn.LSTM(8, 4), nn.Linear(4, 3)
        self.enter = torch.ao.nn.quantized.Quantize(torch.tensor([0.1]), torch.tensor([0]), torch.quint8)

    def forward(self, x: Tensor) -> Tensor:
        y = torch.sort(x.flatten(1, 2), -1)[0].transpose(0, 1)
        return self.last(self.layer(self.enter(y).dequantize())[0][-1])


@pytest.mark.filterwarnings("ignore")
def test_ordinary_uses_of_the_same_operators_are_loaded(tmp_path):
    net = Sequences().eval()
    target = load(script(tmp_path / "m.pt", net))
    x = torch.rand(2, 3, 8, 8)
    torch.testing.assert_close(target.scores(x), net(x), rtol=1e-5, atol=1e-6)


@pytest.mark.filterwarnings("ignore")
def test_recurrent_layers_are_allowed_in_the_sandbox_alone(tmp_path):
    """PyTorch does not check the sizes of their weights."""
    path = script(tmp_path / "m.pt", Sequences())
    asked = {"device": "cpu", "sample_shape": SHAPE}
    with pytest.raises(UsageError, match=r"calls aten::lstm, which believes the sizes .* outside of the sandbox"):
        open_target(path, **asked, allowed=Allowed(confined=False))
    assert open_target(path, **asked, allowed=Allowed(confined=True)).num_classes == 3
    assert open_target(path, **asked, allowed=Allowed(confined=False, trust_model=True)).num_classes == 3


def test_of_a_file_that_was_exchanged_what_was_checked_is_loaded_again(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    path = script(tmp_path / "m.pt", Flat())
    file = open_torchscript(path, torch.device("cpu"), trust=False)
    edited(path, tmp_path / "bad.pt", line='torch.save([1], "out")').replace(path)
    again = file.fresh()
    x = torch.rand(2, *SHAPE)
    assert torch.equal(again.module(x), x.flatten(1))
    assert not (tmp_path / "out").exists()
    with pytest.raises(UsageError, match="calls aten::save"):
        open_torchscript(path, torch.device("cpu"), trust=False)
