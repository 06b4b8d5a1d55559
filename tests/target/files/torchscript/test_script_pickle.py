"""Structure of an archive that PyTorch would trust: storages, sizes and strides, types of values."""

from __future__ import annotations

import re
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from model_files import Net, script
from torch import Tensor, nn

from robaudit.errors import UsageError
from robaudit.target.files.torchscript.file import open_torchscript
from robaudit.target.load import open_target

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")
CPU = torch.device("cpu")


class Rich(Net):
    """Holds a value of every kind that exporters write."""

    def __init__(self) -> None:
        super().__init__()
        self.names, self.table, self.pairs = ["a", "b"], {"x": [1, 2], "y": [3]}, [(1, 0.5)]
        self.switches, self.factors, self.place = [True, False], [0.5, 1.5], torch.device("cpu")
        self.number, self.wide = 2**40, self.conv.weight.detach()[:, ::2].transpose(0, 1)
        self.twin = self.conv  # the same object in two places

    def forward(self, x: Tensor) -> Tensor:
        y = self.last(self.drop(torch.tanh(self.conv(x))).flatten(1)).to(self.place)
        if self.switches[0]:
            y = y * self.factors[0] + float(len(self.names) + self.table["x"][1] + self.pairs[0][0])
        return y + self.wide.sum() + self.twin(x).sum() * 0.0 + float(self.number) * 1e-12


def rebuilt(path: Path, change: Callable[[str, bytes], bytes]) -> Path:
    bad = path.with_name("bad.pt")
    with zipfile.ZipFile(path) as old, zipfile.ZipFile(bad, "w") as new:
        for info in old.infolist():
            new.writestr(info.filename, change(info.filename, old.read(info)))
    return bad


def replaced(name: str, old: bytes, new: bytes) -> Callable[[str, bytes], bytes]:
    def change(found: str, content: bytes) -> bytes:
        if not found.endswith(name):
            return content
        assert old in content
        return content.replace(old, new, 1)

    return change


def test_values_of_every_kind_are_loaded(tmp_path):
    target = open_target(script(tmp_path / "m.pt", Rich()), device="cpu", sample_shape=(3, 8, 8))
    u = torch.rand(3, 3, 8, 8)
    expected = Rich().eval()(u)
    torch.testing.assert_close(target.scores(u), expected)


class Packed(Net):
    def __init__(self) -> None:
        super().__init__()
        self.enter, self.leave = torch.ao.quantization.QuantStub(), torch.ao.quantization.DeQuantStub()

    def forward(self, x: Tensor) -> Tensor:
        return self.leave(self.last(torch.relu(self.conv(self.enter(x))).flatten(1)))


WEIGHT = b"(K\x06K\x03K\x03K\x03t"
"""Sizes of the convolution's weight in the structure: 6 x 3 x 3 x 3."""
LINEAR = re.compile(rb"c__torch__\.torch\.nn\.modules\.linear(\.___torch_mangle_\d+)?\nLinear\n")
"""PyTorch gives a class another name where the process has scripted one of its name before."""
CHANGES = {
    "a larger size": (replaced("/data.pkl", WEIGHT, b"(K\x06K\x03K\x04K\x03t"), "reaches out of its storage"),
    "a huge size": (
        replaced("/data.pkl", WEIGHT, b"(\x8a\x08" + struct.pack("<q", 2**62) + b"K\x03K\x03K\x03t"),
        "reaches out of its storage",
    ),
    "a negative size": (replaced("/data.pkl", WEIGHT, b"(J\xff\xff\xff\xffK\x03K\x03K\x03t"), "odd sizes"),
    "fewer strides": (replaced("/data.pkl", WEIGHT, b"(K\x06K\x03K\x03t"), "odd sizes"),
    "another type": (replaced("/data.pkl", b"FloatStorage", b"DoubleStorage"), "storage that has fewer"),
    "a shorter record": (lambda name, c: c[:-4] if name.endswith("/data/0") else c, "storage that has fewer"),
    "a missing record": (replaced("/data.pkl", b"\x01\0\0\x000", b"\x01\0\0\x00z"), "storage that has fewer"),
    "another device": (replaced("/data.pkl", b"\x03\0\0\0cpu", b"\x03\0\0\0hpu"), "which is not known"),
    "another function": (replaced("/data.pkl", b"_rebuild_tensor_v2", b"_rebuild_sparse_tensor"), "_rebuild_sparse"),
    "any class": (replaced("/data.pkl", b"ctorch._utils\n", b"cposix\n"), "names posix"),
    "a compiled class": (replaced("/data.pkl", b"c__torch__.model_files\n", b"c__torch__.torch.classes.x\n"), "names"),
    "an instruction": (replaced("/data.pkl", b"\x89", b"\x94"), "uses the instruction MEMOIZE"),
    "a number as a function": (replaced("/data.pkl", b"ccollections\nOrderedDict\n", b"K\x00"), "calls what is no"),
    "an object of another class": (
        lambda name, c: LINEAR.sub(b"c__torch__.model_files\nNet\n", c) if name.endswith("/data.pkl") else c,
        "attribute|names",
    ),
    "a number for a tensor": (
        lambda name, c: c.replace(b"bias : Tensor", b"bias : int") if b"class Linear" in c else c,
        "attribute bias is no int",
    ),
    "a missing attribute": (
        lambda name, c: (
            c.replace(b"  training : bool", b"  training : bool\n  more : int", 1) if b"class Linear" in c else c
        ),
        "attribute more is no int",
    ),
    "cut off": (lambda name, c: c[:-9] if name.endswith("/data.pkl") else c, "damaged record data.pkl"),
    "the old format": (lambda name, c: c, "before 1.4"),
}


@pytest.mark.parametrize("name", CHANGES)
def test_structure_that_does_not_fit_is_refused_before_it_is_loaded(tmp_path, monkeypatch, name):
    change, words = CHANGES[name]
    path = rebuilt(script(tmp_path / "m.pt", Net()), change)
    if name == "the old format":
        with zipfile.ZipFile(path, "a") as archive:
            archive.writestr("m/model.json", "{}")
    monkeypatch.setattr(torch._C, "import_ir_module", lambda *_: pytest.fail("loaded"))
    with pytest.raises(UsageError, match=words) as caught:
        open_torchscript(path, CPU, trust=False)
    assert "--trust-model" in str(caught.value)


def test_lists_of_other_values_than_they_say(tmp_path):
    path = script(tmp_path / "m.pt", Rich())
    for old, new in ((b"List[str]", b"List[int]"), (b"Dict[str, List[int]]", b"Dict[str, List[str]]")):
        with pytest.raises(UsageError, match="that is no"):
            open_torchscript(rebuilt(path, replaced("/data.pkl", old, new)), CPU, trust=False)


def test_a_list_that_holds_itself_many_times_over(tmp_path):
    """Thirty lists, each of which holds the one before twice: looked at once each."""
    keep, get = b"q\xf0", b"h\xf0"
    nested = b"]" + keep + (b"](" + get + get + b"e" + keep) * 30

    class Nested(Net):
        def __init__(self) -> None:
            super().__init__()
            self.names = ["a"]

        def forward(self, x: Tensor) -> Tensor:
            return self.last(torch.tanh(self.conv(x)).flatten(1)) * float(len(self.names))

    path = rebuilt(script(tmp_path / "m.pt", Nested()), replaced("/data.pkl", b"]", nested))
    with pytest.raises(UsageError, match="--trust-model"):
        open_torchscript(path, CPU, trust=False)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    ("old", "new"),
    [(b"ShortStorage", b"HalfStorage"), (b"ShortStorage", b"CharStorage"), (b"LinearPacked", b"Conv2dPacked")],
)
def test_packed_weights_have_all_their_parts(tmp_path, old, new):
    net = Packed().eval()
    net.qconfig = torch.ao.quantization.get_default_qconfig(torch.backends.quantized.engine)
    prepared = torch.ao.quantization.prepare(net)
    prepared(torch.rand(8, 3, 8, 8))
    path = script(tmp_path / "m.pt", torch.ao.quantization.convert(prepared), freeze=True)
    open_torchscript(path, CPU, trust=False)
    with pytest.raises(UsageError, match="whose state is not as PyTorch writes it"):
        open_torchscript(rebuilt(path, replaced("/constants.pkl", old, new)), CPU, trust=False)


@pytest.mark.filterwarnings("ignore")
def test_quantised_weights_have_scales_that_fit(tmp_path):
    class Quantised(Net):
        def __init__(self) -> None:
            super().__init__()
            self.register_buffer(
                "w", torch.quantize_per_channel(torch.rand(4, 54), torch.ones(4), torch.zeros(4), 0, torch.qint8)
            )

        def forward(self, x: Tensor) -> Tensor:
            return nn.functional.linear(torch.tanh(self.conv(x)).flatten(1), self.w.dequantize())

    path = script(tmp_path / "m.pt", Quantised())
    open_torchscript(path, CPU, trust=False)
    with zipfile.ZipFile(path) as archive:
        content = archive.read("m/data.pkl")
    place = content.index(b"per_channel_affine")
    sizes = content.index(b"(K\x04t", place)  # of the scales
    bad = content[:sizes] + b"(K\x03t" + content[sizes + 4 :]
    changed = rebuilt(path, lambda name, c: bad if name.endswith("/data.pkl") else c)
    with pytest.raises(UsageError, match="scales do not fit"):
        open_torchscript(changed, CPU, trust=False)
