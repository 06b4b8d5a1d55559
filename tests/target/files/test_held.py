"""What is loaded is what was checked, whatever lies at the path a moment later."""

import hashlib
import os
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from model_files import Net, linear_onnx, script

from robaudit.errors import ChangedFileError
from robaudit.target import load
from robaudit.target.files import held
from robaudit.target.files.torchscript import file as torchscript_file
from robaudit.target.load import open_target
from robaudit.target.reading.interface import Interface

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")
SHAPE = (3, 8, 8)


def replaced(path: Path, content: bytes) -> None:
    """Another file under the same name."""
    other = path.with_name("other")
    other.write_bytes(content)
    os.replace(other, path)


def rewritten(path: Path, content: bytes) -> None:
    """Another content in the same file, with the time of the first."""
    about = path.stat()
    path.write_bytes(content)
    os.utime(path, ns=(about.st_atime_ns, about.st_mtime_ns))


SWAPS = pytest.mark.parametrize("swap", [replaced, rewritten])


def twice(tmp_path: Path, classes: int = 4) -> tuple[Path, bytes, bytes]:
    """A TorchScript file, its content, and that of another with the same classes and other weights."""
    path = script(tmp_path / "m.pt", Net(classes))
    content = path.read_bytes()
    torch.manual_seed(7)
    other = Net(classes)
    torch.nn.init.normal_(other.last.weight)
    script(path, other)
    second = path.read_bytes()
    path.write_bytes(content)
    return path, content, second


def sha(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


@SWAPS
def test_torchscript_that_is_swapped_between_its_checks_and_its_load(tmp_path, monkeypatch, swap):
    path, content, second = twice(tmp_path)
    expected = torch.jit.load(str(path))(torch.full((1, *SHAPE), 0.3))
    check = torchscript_file._check_records

    def checked(*arguments):
        check(*arguments)
        swap(path, second)

    monkeypatch.setattr(torchscript_file, "_check_records", checked)
    target = open_target(path, device="cpu", sample_shape=SHAPE)
    assert target.sha256 == sha(content) != sha(path.read_bytes())
    x = torch.full((1, *SHAPE), 0.3)
    assert torch.allclose(target.file.run(x), expected)
    assert torch.allclose(target.file.fresh().run(x), expected)  # loaded again, likewise


@SWAPS
def test_a_large_torchscript_file_is_not_copied_and_a_change_is_an_error(tmp_path, monkeypatch, swap):
    monkeypatch.setattr(held, "SMALL", 0)
    path, content, second = twice(tmp_path)
    target = open_target(path, device="cpu", sample_shape=SHAPE)
    assert target.sha256 == sha(content)
    check = torchscript_file._check_records

    def checked(*arguments):
        check(*arguments)
        swap(path, second)

    monkeypatch.setattr(torchscript_file, "_check_records", checked)
    with pytest.raises(ChangedFileError, match=r"m\.pt was changed while it was in use"):
        open_target(path, device="cpu", sample_shape=SHAPE)
    with pytest.raises(ChangedFileError, match=r"m\.pt was changed"):
        target.file.fresh()


@SWAPS
def test_without_paths_of_descriptors_a_swap_is_an_error(tmp_path, monkeypatch, swap):
    """As on macOS and Windows: PyTorch opens the file by its path."""
    monkeypatch.setattr(held, "SMALL", 0)
    monkeypatch.setattr(held, "DESCRIPTORS", "/nowhere/{}")
    path, content, second = twice(tmp_path)
    assert open_target(path, device="cpu", sample_shape=SHAPE).sha256 == sha(content)
    loaded = torchscript_file._loaded

    def late(*arguments, **options):
        swap(path, second)
        return loaded(*arguments, **options)

    monkeypatch.setattr(torchscript_file, "_loaded", late)
    with pytest.raises(ChangedFileError):
        open_target(path, device="cpu", sample_shape=SHAPE)


def test_an_error_of_pytorch_names_the_file_and_no_descriptor(tmp_path, monkeypatch):
    path = script(tmp_path / "m.pt", Net())
    with held.HeldFile(path).unchanged():
        opened = held.HeldFile(path)
        assert opened.words(f"[enforce] {opened.loadable}: no") == f"[enforce] {path}: no"
        assert opened.loadable != str(path)


def write_linear(path: Path, seed: int, *, external: bool = False) -> bytes:
    linear_onnx(path, ("N", *SHAPE), 4)
    model = onnx.load(path)
    values = np.random.default_rng(seed).normal(size=(192, 4)).astype(np.float32)
    model.graph.initializer[0].CopyFrom(onnx.numpy_helper.from_array(values, "w"))
    if external:
        (path.parent / "w.bin").unlink(missing_ok=True)
        onnx.save(model, path, save_as_external_data=True, location="w.bin", size_threshold=0)
        return (path.parent / "w.bin").read_bytes()
    onnx.save(model, path)
    return path.read_bytes()


def linear_answer(path: Path) -> np.ndarray:
    return onnx.numpy_helper.to_array(onnx.load(path).graph.initializer[0]).sum(axis=0) * np.float32(0.3)


@SWAPS
def test_an_onnx_file_has_the_digest_of_what_answers(tmp_path, monkeypatch, swap):
    """Swapped after its kind was looked at, and after its digest was taken where that comes first."""
    path = tmp_path / "m.onnx"
    second = write_linear(path, 2)
    write_linear(path, 1)
    open_onnx = load.open_onnx

    def late(*arguments):
        swap(path, second)
        return open_onnx(*arguments)

    monkeypatch.setattr(load, "open_onnx", late)
    target = open_target(path, device="cpu")
    assert target.sha256 == sha(second)
    answers = target.file.run(torch.full((1, *SHAPE), 0.3)).numpy()[0]
    np.testing.assert_allclose(answers, linear_answer(path), rtol=1e-4)


@SWAPS
@pytest.mark.parametrize("external", [False, True])
def test_an_onnx_session_is_not_made_again_of_another_file(tmp_path, swap, external):
    path = tmp_path / "m.onnx"
    second = write_linear(path, 2, external=external)
    write_linear(path, 1, external=external)
    fresh = open_target(path, device="cpu", interface=Interface(fresh_state=True))
    target = open_target(path, device="cpu")
    target.file.fresh()
    swap(tmp_path / "w.bin" if external else path, second)
    x = torch.full((1, *SHAPE), 0.3)
    for again in (target.file.fresh, lambda: target.file.plain(x), lambda: fresh.file.run(x)):
        with pytest.raises(ChangedFileError, match="was changed since it was loaded"):
            again()


def test_external_data_that_change_while_they_are_read(tmp_path, monkeypatch):
    from robaudit.target.files import confined

    path = tmp_path / "m.onnx"
    second = write_linear(path, 2, external=True)
    write_linear(path, 1, external=True)
    sha256_of = confined.sha256_of

    def late(file):
        rewritten(tmp_path / "w.bin", second)
        return sha256_of(file)

    monkeypatch.setattr(confined, "sha256_of", late)
    with pytest.raises(ChangedFileError, match=r"w\.bin was changed while it was read"):
        open_target(path, device="cpu")
