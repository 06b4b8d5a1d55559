"""Files that are no model that robaudit reads: each is named for what it is, with what to do."""

from __future__ import annotations

import io
import pickle
import zipfile
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from model_files import linear_onnx

from robaudit.errors import UsageError, reason
from robaudit.target.load import open_target

HTML = "<!DOCTYPE html>\n<html><head><title>Sign in</title></head></html>"
LFS = "version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 12345\n"


def archive(**entries: bytes) -> bytes:
    held = io.BytesIO()
    with zipfile.ZipFile(held, "w") as made:
        for name, content in entries.items():
            made.writestr(name.replace("__", "."), content)
    return held.getvalue()


def array() -> bytes:
    held = io.BytesIO()
    np.savez(held, x=np.zeros(2))
    return held.getvalue()


def old_checkpoint() -> bytes:
    held = io.BytesIO()
    torch.save({"w": torch.zeros(2)}, held, _use_new_zipfile_serialization=False)
    return held.getvalue()


CONTENT: list[tuple[str, bytes | str, tuple[str, ...]]] = [
    # by content, whatever the name says
    ("m.onnx", HTML, ("an HTML page", "download the file again")),
    ("m.onnx", "\n\n  <html>\n", ("an HTML page",)),
    ("m.onnx", LFS, ("a Git LFS pointer", "git lfs pull")),
    ("m.pt", LFS, ("a Git LFS pointer",)),
    ("m.onnx", "/annex/objects/SHA256E-s123--abc.onnx\n", ("git annex get",)),
    ("m.xml", '<?xml version="1.0"?>\n<net name="m" version="11">', ("an OpenVINO model", "exported to ONNX")),
    ("m.onnx", '<?xml version="1.0" ?><!-- made --><net name="m">', ("an OpenVINO model",)),
    ("m.onnx", '<?xml version="1.0"?><Error><Code>NoSuchKey</Code></Error>', ("an XML text", "download")),
    ("m.onnx", b"\x89HDF\r\n\x1a\n" + bytes(50), ("an HDF5 file", "Keras")),
    ("m.onnx", b"\x1c\0\0\0TFL3" + bytes(50), ("TensorFlow Lite", "tf2onnx")),
    ("m.onnx", b"\x18\0\0\0ORTM" + bytes(50), ("ONNX Runtime's own format", ".onnx")),
    ("m.onnx", b"ftrt" + bytes(50), ("a TensorRT engine",)),
    ("m.onnx", b"GGUF" + bytes(50), ("GGUF",)),
    ("m.onnx", b"\x40" + bytes(7) + b'{"a":{}}', ("safetensors", "weights alone")),
    ("m.onnx", b"\x1f\x8b\x08" + bytes(50), ("compressed (gzip)", "unpack")),
    ("m.onnx", b"\x89PNG\r\n" + bytes(50), ("a PNG image", "--data")),
    ("m.onnx", pickle.dumps({"a": 1}), ("a Python pickle", "never loaded")),
    ("m.joblib", pickle.dumps({"a": 1}), ("a Python pickle", "skl2onnx")),
    ("m.pth", old_checkpoint(), ("a pickled state_dict", "torch.jit")),
    ("m.keras", archive(metadata__json=b"{}", config__json=b"{}", model__weights__h5=b""), ("a Keras model",)),
    ("m.onnx", archive(best__onnx=b"x"), ("unpack it", "best.onnx")),
    ("m.zip", archive(readme__txt=b"x"), ("zip archive but no TorchScript", "readme.txt")),
    ("d.npz", array(), ("NumPy arrays", "--data")),
    ("m.onnx", b"tree\nversion=v4\n", ("LightGBM", "onnxmltools")),
    # by name, where the content tells nothing
    ("m.pb", b"\x0a\x05hello" + bytes(30), ("a TensorFlow graph", "tf2onnx")),
    ("m.mlmodel", b"\x08\x05\x12\x7f" + bytes(30), ("a Core ML model",)),
    ("m.engine", bytes(40), ("a TensorRT engine",)),
    ("m.bin", np.random.default_rng(0).bytes(300), ("weights alone",)),
    ("m.pkl", b"(dp0\nVa\np1\nI1\ns.", ("a Python pickle",)),
    ("m.keras", np.random.default_rng(0).bytes(300), ("a Keras model",)),
    ("m.onnx", np.random.default_rng(0).bytes(300), ("neither an ONNX model nor a TorchScript archive",)),
    ("m.onnx", b"", ("is empty",)),
    ("m.onnx", b"PK\x03\x04" + bytes(9), ("truncated zip archive",)),
]


@pytest.mark.parametrize(("name", "content", "words"), CONTENT)
def test_what_a_file_is(tmp_path, name, content, words):
    path = tmp_path / name
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    with pytest.raises(UsageError) as caught:
        open_target(path, device="cpu")
    assert str(caught.value).startswith(str(path))
    for word in words:
        assert word in str(caught.value)


def folder(path: Path, *names: str) -> Path:
    for name in names:
        (path / name).parent.mkdir(parents=True, exist_ok=True)
        (path / name).write_bytes(b"x")
    return path


@pytest.mark.parametrize(
    ("names", "words"),
    [
        (("saved_model.pb", "variables/a"), ("a TensorFlow SavedModel", "tf2onnx")),
        (("Manifest.json", "Data/a"), ("a Core ML package",)),
        (("config.json", "onnx/model.onnx"), ("a folder", "such as", "model.onnx")),
        (("config.json", "model.safetensors"), ("a folder of weights", "optimum")),
        (("a.txt",), ("a folder; give an ONNX or TorchScript file",)),
    ],
)
def test_what_a_folder_is(tmp_path, names, words):
    with pytest.raises(UsageError) as caught:
        open_target(folder(tmp_path / "m", *names), device="cpu")
    for word in words:
        assert word in str(caught.value)


@pytest.mark.parametrize("name", ["m.h5", "m.pb", "m.bin", "m.engine", "m"])
def test_a_model_by_another_name_is_read(tmp_path, name):
    assert open_target(linear_onnx(tmp_path / name), device="cpu").num_classes == 5


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda m: setattr(m, "ir_version", 99), ("version 99 of the ONNX format (IR)", "knows versions up to 1")),
        (lambda m: setattr(m.opset_import[0], "version", 99), ("uses opset 99 of ai.onnx", "knows opsets up to 2")),
    ],
)
def test_a_file_of_a_newer_version(tmp_path, change, words):
    model = onnx.load(linear_onnx(tmp_path / "m.onnx"))
    change(model)
    onnx.save(model, tmp_path / "m.onnx")
    with pytest.raises(UsageError) as caught:
        open_target(tmp_path / "m.onnx", device="cpu")
    for word in (*words, "onnxruntime"):
        assert word in str(caught.value)


LONG = "a" * 500


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (
            "[ONNXRuntimeError] : 1 : FAIL : /src/onnxruntime/core/graph/model.cc:181 onnxruntime::Model::Model("
            "onnx::ModelProto&&, const std::function<void(int)>*, const onnxruntime::logging::Logger&) bad thing",
            "bad thing",
        ),
        (
            "[ONNXRuntimeError] : 2 : INVALID : Status. /x/y.h:12 auto a::b::Run(int) const [with T = int] why",
            "Status. [with T = int] why",
        ),
        ("Load model from m.onnx failed:No Op (x) registered", "Load model from m.onnx failed:No Op (x) registered"),
        ("", "ValueError"),
    ],
)
def test_the_reason_in_a_runtimes_message(text, words):
    assert reason(ValueError(text)) == words


def test_a_long_message_keeps_both_ends():
    found = reason(ValueError(f"first {LONG} last"))
    assert len(found) <= 400
    assert found.startswith("first")
    assert found.endswith("last")
