from __future__ import annotations

import struct
import zipfile
from pathlib import Path

import pytest
import torch
from model_files import Net, script
from target_kit import complete
from torch import Tensor, nn

from robaudit.errors import UsageError
from robaudit.target.files.torchscript import file as torchscript_file
from robaudit.target.inputs.spec import SpecOverrides
from robaudit.target.load import Allowed, open_target
from robaudit.target.reading.opened import OpenedTarget
from robaudit.target.target import Target

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")
SHAPE = (3, 8, 8)


def load(path: Path, shape: tuple[int, ...] | None = SHAPE, trust: bool = False, **values: object) -> OpenedTarget:
    overrides = SpecOverrides(values)
    return open_target(path, overrides=overrides, device="cpu", sample_shape=shape, allowed=Allowed(trust_model=trust))


def ready(path: Path, shape: tuple[int, ...] | None = SHAPE) -> tuple[Target, Tensor]:
    target = load(path, shape)
    u = torch.rand(5, *target.spec.shape, generator=torch.Generator().manual_seed(0)).to(target.dtype)
    target = complete(target, u)
    return target, u


@pytest.mark.parametrize("how", ["scripted", "traced", "frozen", "traced and frozen"])
def test_however_it_was_made(tmp_path, how):
    net = Net()
    example = torch.rand(2, *SHAPE) if "traced" in how else None
    target, u = ready(script(tmp_path / "m.pt", net, example, freeze="frozen" in how))
    torch.testing.assert_close(target.scores(u), net.eval()(u), rtol=1e-5, atol=1e-6)
    assert target.gradient.available
    assert target.batch_invariant
    assert target.repeat_deviation == 0.0  # dropout is off
    leaf = u.clone().requires_grad_()
    (found,) = torch.autograd.grad(target.logits(leaf)[:, 1].sum(), leaf)
    again = u.clone().requires_grad_()
    (expected,) = torch.autograd.grad(net(again)[:, 1].sum(), again)
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-6)
    assert target.file.first_channels == 3
    assert target.facts["judge"].startswith("torch")


@pytest.mark.parametrize(("dtype", "freeze"), [(torch.half, False), (torch.half, True), (torch.double, True)])
def test_other_precisions(tmp_path, dtype, freeze):
    net = Net().to(dtype)
    target, u = ready(script(tmp_path / "m.pt", net, freeze=freeze))
    assert target.spec.dtype == str(dtype).removeprefix("torch.")
    scores = target.scores(u)
    assert scores.dtype == (torch.float32 if dtype == torch.half else torch.float64)
    torch.testing.assert_close(scores, net(u.to(dtype)).to(scores.dtype), rtol=1e-2, atol=1e-3)
    leaf = u.clone().requires_grad_()
    (found,) = torch.autograd.grad(target.logits(leaf).square().sum(), leaf)
    assert found.dtype == u.dtype
    assert found.abs().sum() > 0


def test_size_from_resize_where_there_are_no_arrays(tmp_path):
    path = script(tmp_path / "m.pt", Net())
    assert load(path, None, resize="8").spec.shape == SHAPE
    assert load(script(tmp_path / "f.pt", Net(), freeze=True), None, resize="8").spec.shape == SHAPE
    assert load(path, None).spec.shape == SHAPE, "the only size in common use that its matrix takes"
    with pytest.raises(UsageError, match="does not take an input of 3x9x40"):
        load(path, None, resize="9x40")


@pytest.mark.parametrize("rows", [1, 3])
def test_sequences_are_told_from_images_without_a_channel(tmp_path, rows):
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv1d(rows, 4, 5), nn.Tanh(), nn.Flatten(), nn.Linear(4 * 8, 3))
    target = load(script(tmp_path / "m.pt", net, torch.rand(2, rows, 12)), (1, rows, 12), mean=(0.5,) * rows)
    assert (target.spec.kind, target.spec.shape) == ("vector", (rows, 12))
    u = torch.rand(2, rows, 12)
    torch.testing.assert_close(target.scores(u), net(u - 0.5))
    with pytest.raises(UsageError, match="does not take an input of 1x5x12"):
        load(tmp_path / "m.pt", (1, 5, 12))


def test_a_trace_that_takes_one_input_at_a_time(tmp_path):
    class One(Net):
        def forward(self, x: Tensor) -> Tensor:
            return self.last(torch.tanh(self.conv(x)).reshape(1, 54))

    target, u = ready(script(tmp_path / "m.pt", One()))
    assert target.batch_invariant is False
    assert target.gradient.available
    assert target.scores(u).shape == (5, 4)
    leaf = u.clone().requires_grad_()
    (found,) = torch.autograd.grad(target.logits(leaf)[:, 0].sum(), leaf)
    assert (found.flatten(1).abs().sum(1) > 0).all()


def test_batch_statistics_are_found_and_kept_out_of_the_gradient(tmp_path):
    class Normal(Net):
        def forward(self, x: Tensor) -> Tensor:
            h = torch.tanh(self.conv(x)).flatten(1)
            return self.last(h / (h.std() + 0.1))

    target, u = ready(script(tmp_path / "m.pt", Normal()))
    assert target.batch_invariant is False
    leaf = u.clone().requires_grad_()
    (found,) = torch.autograd.grad(target.logits(leaf)[0, 0], leaf)
    assert found[1:].abs().max() == 0


def test_dropout_that_stays_on_is_random(tmp_path):
    class Noisy(Net):
        def forward(self, x: Tensor) -> Tensor:
            return self.last(nn.functional.dropout(torch.tanh(self.conv(x)), 0.5, True).flatten(1))

    target, _ = ready(script(tmp_path / "m.pt", Noisy()))
    assert target.repeat_deviation > 1e-3


def test_a_module_without_gradient_still_answers(tmp_path):
    class Hard(Net):
        def forward(self, x: Tensor) -> Tensor:
            return self.last(torch.tanh(self.conv(x.detach())).flatten(1))

    target, u = ready(script(tmp_path / "m.pt", Hard()))
    assert not target.gradient.available
    assert target.scores(u).shape == (5, 4)


@pytest.mark.parametrize("kind", ["map", "pair"])
def test_outputs_that_are_no_scores(tmp_path, kind):
    class Map(Net):
        def forward(self, x: Tensor) -> Tensor:
            return self.conv(x)

    class Pair(Net):
        def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
            return self.conv(x), x

    module = {"map": Map, "pair": Pair}[kind]()
    with pytest.raises(UsageError, match=r"no classifier|not one row an input"):
        load(script(tmp_path / "m.pt", module))


def edited(source: Path, path: Path, change: dict[str, bytes] | None = None, **edits: str) -> Path:
    """A copy of an archive with a line put before every return of its forward functions."""
    with zipfile.ZipFile(source) as old, zipfile.ZipFile(path, "w") as new:
        for info in old.infolist():
            content = old.read(info)
            if info.filename.endswith("model_files.py") and "default" in edits:
                content = content.replace(b"x: Tensor)", f"x: Tensor,\n    y: NoneType={edits['default']})".encode())
            if "/code/" in info.filename and info.filename.endswith(".py") and "line" in edits:
                content = content.replace(b"    return ", f"    {edits['line']}\n    return ".encode())
            new.writestr(info.filename, content)
        for name, content in (change or {}).items():
            new.writestr(name, content)
    return path


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ('_9 = torch.from_file("/etc/passwd", False, 8)', "calls aten::from_file"),
        ('_9 = torch.save(x, "out")', "calls aten::save"),
        ('_9 = ops.aten.save([1, 2], "out")', "calls aten::save"),
        ('_9 = torch . save([1, 2], "out")', "calls aten::save"),
        ('_9 = torch.autograd.save([1, 2], "out")', "calls aten::save"),
        ('_9 = ops.aten.autograd.save([1, 2], "out")', r"uses ops\.aten\.autograd\.save"),
        ('_9 = (x).save("out")', "calls aten::save, or a method of that name"),
        ('_9 = getattr(x, "save")("out")', "calls aten::save, or a method of that name"),
        ('_9 = getattr(torch, "fr" "om_fi" "le")', "calls aten::from_file"),
        ('_9 = getattr(torch, "save")([1], "out")', "calls aten::save"),
        ('_9 = getattr(torch, "relu")(x)', "hides what it calls"),
        ("_9 = getattr(x, str(1))", "hides what it calls"),
        ('t = torch; _9 = t.save([1, 2], "out")', "calls aten::save"),
        ("t = torch", "hides what it calls"),
        ("t = ops.aten", r"uses ops\.aten"),
        ("t = torch.autograd", r"uses torch\.autograd"),
        ("t = ops", "hides what it calls"),
        ("torch = x", "another meaning to the name 'torch'"),
        ("_9 = ops.mylib.run(x)", "calls mylib::run"),
        ("_9 = ops . mylib . run(x)", "calls mylib::run"),
        ("_9 = ops.image.write_file(x, x)", "calls image::write_file"),
        ("_9 = torch.as_strided(x, [9], [9], 9)", "calls aten::as_strided"),
        ("_9 = (x).as_strided_([9], [9], 9)", "calls aten::as_strided_"),
        ("_9 = (x).set_(x, 9, [9], [9])", "calls aten::set_"),
        ("_9 = torch.resize_(x, [9])", "calls aten::resize_"),
        ("_9 = torch.set_grad_enabled(False)", "calls aten::set_grad_enabled"),
        ("_9 = torch.manual_seed(3)", "calls aten::manual_seed"),
        ("_9 = ops.quantized.embedding_bag_byte_rowwise_offsets(x, x)", "calls quantized::embedding_bag"),
        ("_9 = ops.prim.id(x)", "calls prim::id"),
        ('_9 = open("out")', "uses the unknown name 'open'"),
        ("_9 = __torch__.gone(x)", r"uses __torch__\.gone"),
        ("_9 = uninitialized(__torch__.torch.classes.dist_rpc.WorkerInfo)", r"torch\.classes\.dist_rpc"),
        ("_9 = unchecked_cast(Tuple[Tensor, Tensor], x)", r"casts a value to Tuple\[Tensor, Tensor\]"),
        ("_9 = unchecked_cast(__torch__.model_files.Net, x)", r"casts a value to __torch__\.model_files\.Net"),
        (
            "y : Optional[Tuple[Tensor, Tensor]] = None; y = x; _9 = unchecked_cast(Tuple[Tensor, Tensor], y)",
            r"casts a value to Tuple\[Tensor, Tensor\]",
        ),
        ("_9 = ops.prim.unchecked_cast(x)", "calls prim::unchecked_cast"),
        ("_9 = torch.linalg_lu_solve(x, x, x)", "calls aten::linalg_lu_solve"),
        ("_9 = torch.max_pool2d_with_indices_backward(x, x, [1], [1], [0], [1], False, x)", "calls aten::max_pool2d"),
        ("_9 = [y for y in [x]]", "ListComp"),
        ("_9 = x  # a comment", "not as PyTorch writes it"),
        ('_9 = r"raw"', "not as PyTorch writes it"),
        ("_9 = \\\n x", "not as PyTorch writes it"),
        ("_9 = 1if True else 2", "not as PyTorch writes it"),
    ],
)
def test_code_that_is_not_known_to_be_harmless_needs_trust(tmp_path, monkeypatch, line, words):
    path = edited(script(tmp_path / "m.pt", Net()), tmp_path / "bad.pt", line=line)
    monkeypatch.setattr(torch._C, "import_ir_module", lambda *_: pytest.fail("loaded"))
    with pytest.raises(UsageError, match=words) as caught:
        load(path)
    assert "--trust-model" in str(caught.value)


def test_defaults_of_arguments_are_looked_at(tmp_path):
    """PyTorch runs them when it compiles the code, before anything is called."""
    path = edited(script(tmp_path / "m.pt", Net()), tmp_path / "bad.pt", default=f'torch.save([1], "{tmp_path}/out")')
    with pytest.raises(UsageError, match="calls aten::save"):
        load(path)
    assert not (tmp_path / "out").exists()


def test_arguments_that_may_be_none_are_cast(tmp_path):
    class Recurrent(Net):
        def __init__(self) -> None:
            super().__init__()
            self.cell, self.step = nn.LSTM(54, 54, batch_first=True), nn.LSTMCell(54, 54)

        def forward(self, x: Tensor) -> Tensor:
            h = torch.tanh(self.conv(x)).flatten(1)
            return self.last(self.step(self.cell(h[:, None])[0][:, 0])[0])

    path = script(tmp_path / "m.pt", Recurrent())
    with zipfile.ZipFile(path) as archive:
        assert any(b"unchecked_cast(Tuple[Tensor, Tensor], hx)" in archive.read(name) for name in archive.namelist())
    target, u = ready(path)
    torch.testing.assert_close(target.scores(u), Recurrent().eval()(u), rtol=1e-5, atol=1e-6)


def test_fields_may_have_the_names_of_operators(tmp_path):
    class Named(Net):
        def __init__(self) -> None:
            super().__init__()
            self.resize, self.save, self.seed = nn.Identity(), nn.ReLU(), 3

        def forward(self, x: Tensor) -> Tensor:
            x = self.save(self.resize(x))
            return self.last(self.drop(torch.tanh(self.conv(x))).flatten(1)) * self.seed

    target, u = ready(script(tmp_path / "m.pt", Named()))
    torch.testing.assert_close(target.scores(u), Named().eval()(u), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("trust", [False, True])
def test_what_compiling_shows_and_the_text_does_not(tmp_path, monkeypatch, trust):
    """The second look, at the compiled code, holds by itself."""
    path = edited(script(tmp_path / "m.pt", Net()), tmp_path / "bad.pt", line='_9 = torch.save([1], "{out}")')
    monkeypatch.setattr(torchscript_file, "_check_records", lambda _: None)
    monkeypatch.chdir(tmp_path)
    if trust:
        assert load(path, trust=True).num_classes == 4
        return
    with pytest.raises(UsageError, match="calls aten::save"):
        load(path)
    assert not (tmp_path / "{out}").exists()


def test_classes_of_a_package_named_ops_are_no_operators(tmp_path, monkeypatch):
    class ConvNormActivation(Net):
        pass

    monkeypatch.setattr(ConvNormActivation, "__module__", "torchvision.ops.misc")
    path = script(tmp_path / "m.pt", ConvNormActivation(), torch.rand(2, *SHAPE))
    with zipfile.ZipFile(path) as archive:
        assert any("torchvision/ops/misc" in name for name in archive.namelist())
    assert load(path).num_classes == 4


def quantised(dynamic: bool) -> nn.Module:
    class Quantised(Net):
        def __init__(self) -> None:
            super().__init__()
            self.enter, self.leave = torch.ao.quantization.QuantStub(), torch.ao.quantization.DeQuantStub()

        def forward(self, x: Tensor) -> Tensor:
            return self.leave(self.last(torch.relu(self.conv(self.enter(x))).flatten(1)))

    net = Quantised().eval()
    if dynamic:
        return torch.ao.quantization.quantize_dynamic(net, {nn.Linear})
    net.qconfig = torch.ao.quantization.get_default_qconfig(torch.backends.quantized.engine)
    prepared = torch.ao.quantization.prepare(net)
    prepared(torch.rand(8, *SHAPE))
    return torch.ao.quantization.convert(prepared)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("dynamic", [False, True])
def test_quantised_modules_need_no_trust_and_have_no_gradient(tmp_path, dynamic):
    path = script(tmp_path / "m.pt", quantised(dynamic))
    with zipfile.ZipFile(path) as archive:
        assert dynamic or any(b"__setstate__" in archive.read(name) for name in archive.namelist())
    target, u = ready(path)
    assert target.scores(u).shape == (5, 4)
    assert not target.gradient.available
    assert "no gradient path" in target.gradient.reason
    assert "quantized::linear" in target.gradient.reason


def test_what_loading_runs_must_name_its_operators(tmp_path):
    """``__setstate__`` runs while the archive is loaded, before compiled operators can be looked at."""
    out = tmp_path / "out"
    source = script(tmp_path / "m.pt", quantised(dynamic=False))
    for body in (
        't = torch\n    _9 = t.save([1], "{}")',
        '_9 = ops.aten.save([1], "{}")',
        'getattr(torch, "sa" "ve")([1], "{}")',
    ):
        path = tmp_path / "bad.pt"
        with zipfile.ZipFile(source) as old, zipfile.ZipFile(path, "w") as new:
            for info in old.infolist():
                content = old.read(info)
                if b"__setstate__" in content and info.filename.endswith(".py"):
                    place = content.index(b"NoneType:\n", content.index(b"__setstate__")) + len(b"NoneType:\n")
                    content = content[:place] + b"    " + body.format(out).encode() + b"\n" + content[place:]
                new.writestr(info.filename, content)
        with pytest.raises(UsageError, match="--trust-model"):
            load(path)
        assert not out.exists()


def test_a_device_that_is_not_here(tmp_path):
    class Placed(Net):
        def forward(self, x: Tensor) -> Tensor:
            return super().forward(x) + torch.ones(4, device=torch.device("cpu"))

    path = script(tmp_path / "m.pt", Placed(), torch.rand(2, *SHAPE))
    with zipfile.ZipFile(path) as old, zipfile.ZipFile(tmp_path / "cuda.pt", "w") as new:
        for info in old.infolist():
            new.writestr(info.filename, old.read(info).replace(b'torch.device("cpu")', b'torch.device("cuda:0")'))
    with zipfile.ZipFile(tmp_path / "cuda.pt") as archive:
        assert any(b"cuda:0" in archive.read(name) for name in archive.namelist())
    target, u = ready(tmp_path / "cuda.pt")
    torch.testing.assert_close(target.scores(u), Placed().eval()(u), rtol=1e-5, atol=1e-6)
    assert target.gradient.available


class Vanishing(Net):
    """Its gradient is below the smallest number of half precision."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x) * 1e-4


@pytest.mark.parametrize("dtype", [torch.half, torch.bfloat16])
def test_half_precision_is_searched_in_float32(tmp_path, dtype):
    net = Vanishing().to(dtype)
    target, u = ready(script(tmp_path / "m.pt", net, torch.rand(2, *SHAPE).to(dtype)))
    leaf = u.clone().requires_grad_()
    (found,) = torch.autograd.grad(target.logits(leaf)[:, 1].sum(), leaf)
    again = u.clone().requires_grad_()
    (expected,) = torch.autograd.grad(Vanishing().to(dtype).float().eval()(again)[:, 1].sum(), again)
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-9)
    torch.testing.assert_close(target.scores(u), net.eval()(u.to(dtype)).float(), rtol=1e-6, atol=0)


def test_a_part_without_gradient_is_named(tmp_path):
    class Frozen(Net):
        def forward(self, x: Tensor) -> Tensor:
            with torch.no_grad():
                h = torch.tanh(self.conv(x))
            return self.last(h.flatten(1))

    target, _ = ready(script(tmp_path / "m.pt", Frozen()))
    assert "no gradient path leads from the input to the output (no_grad)" in target.gradient.reason


def test_an_unknown_namespace_is_refused_before_anything_is_loaded(tmp_path, monkeypatch):
    path = edited(script(tmp_path / "m.pt", Net()), tmp_path / "bad.pt", line="_9 = ops.evil.run(x)")
    monkeypatch.setattr(torch._C, "import_ir_module", lambda *_: pytest.fail("loaded"))
    with pytest.raises(UsageError):
        load(path)


@pytest.mark.parametrize(
    ("name", "words"), [("bad/code/__torch__.py", "do not lie in one folder"), ("m/CODE/other.PY", "from_file")]
)
def test_an_entry_that_the_scan_could_miss(tmp_path, name, words):
    evil = b'op_version_set = 1\n_9 = torch.from_file("/etc/passwd")\n'
    path = edited(script(tmp_path / "m.pt", Net()), tmp_path / "bad.pt", {name: evil})
    with pytest.raises(UsageError, match=words):
        load(path)


def test_two_entries_of_one_name(tmp_path):
    source = script(tmp_path / "m.pt", Net())
    with zipfile.ZipFile(source) as old:
        name = next(n for n in old.namelist() if "/code/" in n and n.endswith(".py"))
    path = edited(source, tmp_path / "bad.pt", {name[:2] + name[2:].upper(): b"harmless = 1\n"})
    with pytest.raises(UsageError, match="two entries of the same name"):
        load(path)


def test_what_is_not_torchscript(tmp_path):
    torch.save(Net().state_dict(), tmp_path / "state.pt")
    with pytest.raises(UsageError, match="pickled state_dict"):
        load(tmp_path / "state.pt")
    torch.save(Net().state_dict(), tmp_path / "old.pt", _use_new_zipfile_serialization=False)
    with pytest.raises(UsageError, match="pickled state_dict"):
        load(tmp_path / "old.pt")
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr("readme.txt", "no model")
    with pytest.raises(UsageError, match="zip archive but no TorchScript"):
        load(tmp_path / "a.zip")
    with zipfile.ZipFile(tmp_path / "a.pt2", "w") as archive:
        archive.writestr("a/archive_format", "pt2")
    with pytest.raises(UsageError, match=r"torch.export"):
        load(tmp_path / "a.pt2")


def test_a_damaged_archive(tmp_path):
    path = script(tmp_path / "m.pt", Net())
    content = path.read_bytes()
    (tmp_path / "short.pt").write_bytes(content[: len(content) // 2])
    with pytest.raises(UsageError, match="truncated"):
        load(tmp_path / "short.pt")
    with zipfile.ZipFile(path) as archive:
        info = next(i for i in archive.infolist() if i.filename.endswith(".py"))
    name, extra = struct.unpack_from("<HH", content, info.header_offset + 26)
    start = info.header_offset + 30 + name + extra  # of the code, after padding whose length hangs on the names
    (tmp_path / "wrong.pt").write_bytes(content[:start] + b"\xff" * 40 + content[start + 40 :])
    with pytest.raises(UsageError):
        load(tmp_path / "wrong.pt")


def test_a_module_that_leaves_gradients_switched_off(tmp_path):
    """``__enter__`` of ``torch.no_grad`` may switch; what it leaves behind ends with the call."""

    class Leaving(Net):
        def forward(self, x: Tensor) -> Tensor:
            with torch.no_grad():
                h = torch.tanh(self.conv(x))
            return self.last(h.flatten(1)) + self.last(torch.tanh(self.conv(x)).flatten(1))

    source = script(tmp_path / "m.pt", Leaving())
    with zipfile.ZipFile(source) as old, zipfile.ZipFile(tmp_path / "bad.pt", "w") as new:
        for info in old.infolist():
            content = old.read(info)
            if info.filename.endswith("grad_mode.py"):
                assert b"torch.set_grad_enabled(prev)" in content
                content = content.replace(b"torch.set_grad_enabled(prev)", b"torch.set_grad_enabled(False)")
            new.writestr(info.filename, content)
    target, u = ready(tmp_path / "bad.pt")
    target.file.differentiable(u)
    assert torch.is_grad_enabled()
    torch.testing.assert_close(target.scores(u), Leaving().eval()(u), rtol=1e-5, atol=1e-6)
