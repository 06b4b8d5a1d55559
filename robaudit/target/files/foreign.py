"""Files that are no model that robaudit reads: what they are, by their content first, and what to do."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

__all__ = ["HEAD", "of_content", "of_folder", "of_name", "of_zip"]

HEAD = 4096
"""First bytes of a file that are looked at."""
EXPORT = "export the model to ONNX"
SOURCE = "audit the model that it was made from, exported to ONNX"
KERAS = "export the model to ONNX (Keras 3: model.export(FILE, format='onnx'); else tf2onnx)"
PICKLE = (
    "a Python pickle, which can run any code and is never loaded; export the model to ONNX or TorchScript "
    "(scikit-learn: skl2onnx)"
)
CHECKPOINT = (
    "a pickled state_dict or module, not TorchScript; export the model with torch.jit.script or torch.jit.trace and "
    "save it with torch.jit.save, or export it to ONNX"
)
MOBILE = (
    "a module for PyTorch's lite interpreter, which no longer holds what it was made from; give the TorchScript file, "
    "saved with torch.jit.save, or export the model to ONNX"
)
DATA = "data and not a model; give it with --data"

MAGIC: tuple[tuple[bytes, int, str], ...] = (
    (b"\x89HDF\r\n\x1a\n", 0, f"an HDF5 file, as Keras writes it (.h5); {KERAS}"),
    (b"TFL3", 4, f"a TensorFlow Lite file; {EXPORT} (python -m tf2onnx.convert --tflite FILE --output m.onnx)"),
    (b"ORTM", 4, "in ONNX Runtime's own format (.ort); give the .onnx file that it was made from"),
    (b"GGUF", 0, "GGUF, weights of a language model; robaudit audits classifiers of images and tables"),
    (b"ftrt", 0, f"a TensorRT engine, which runs on one kind of GPU alone; {SOURCE}"),
    (b"ptrt", 0, f"a TensorRT engine, which runs on one kind of GPU alone; {SOURCE}"),
    (b"PTMF", 4, MOBILE),
    (b"\x8a\x0al\xfc\x9c", 2, CHECKPOINT),  # the number that torch.save begins with, in pickles of any version
    (b"\x8a\x0al\xfc\x9c", 11, CHECKPOINT),
    *((name + b"\0", 0, CHECKPOINT) for name in (b"sys_info", b"pickle", b"tensors", b"storages")),  # in a tar archive
    *((bytes([0x80, version]), 0, PICKLE) for version in (2, 3, 4, 5)),
    (b"ZF", 0, PICKLE),
    (b"\x93NUMPY", 0, f"a NumPy array: {DATA} as .npz"),
    (b"PAR1", 0, f"a Parquet table: {DATA} as .csv"),
    (b"\x89PNG", 0, f"a PNG image: {DATA}"),
    (b"\xff\xd8\xff", 0, f"a JPEG image: {DATA}"),
    (b"%PDF", 0, "a PDF document"),
    *(
        (magic, place, f"compressed ({name}); unpack it and give the model inside")
        for magic, place, name in (
            (b"\x1f\x8b", 0, "gzip"), (b"\xfd7zXZ", 0, "xz"), (b"BZh", 0, "bzip2"), (b"(\xb5/\xfd", 0, "zstd"),
            (b"7z\xbc\xaf", 0, "7z"), (b"Rar!", 0, "rar"), (b"ustar", 257, "tar"),
        )
    ),
)  # fmt: skip
TEXTS: tuple[tuple[str, str], ...] = (
    (
        r"version https://git-lfs\.github\.com/spec",
        "a Git LFS pointer of a few lines: the model itself is not here; fetch it with git lfs pull",
    ),
    (r"(\.\./|/)*\.?git/?annex/objects|/annex/objects/", "a git-annex pointer; fetch the model with git annex get"),
    (r"(<\?xml[^>]*>\s*)?(<!--.*?-->\s*)*<net\b", f"an OpenVINO model (.xml, beside its .bin); {SOURCE}"),
    (r"(<\?xml[^>]*>\s*)?(<!--.*?-->\s*)*<PMML\b", f"a PMML model; {SOURCE}"),
    (
        r"(<!--.*?-->\s*)*(<!doctype\s+html|<html|<head|<body)",
        "an HTML page, such as a sign-in or download page saved in the model's place; download the file again",
    ),
    (r"<", "an XML text, such as the error message of a storage service; download the file again"),
    (r"tree\s+version=v", f"a LightGBM model in text; {EXPORT} (onnxmltools)"),
    (r"\s*\{.*\"(modelTopology|weightsManifest)\"", f"a TensorFlow.js model; {SOURCE}"),
    (r"\s*\{.*\"learner\"", f"an XGBoost model in JSON; {EXPORT} (onnxmltools)"),
    (r"\s*outs:\s*-\s*(md5|hash|path)", "a DVC pointer; fetch the model with dvc pull"),
)
NAMES: tuple[tuple[tuple[str, ...], str], ...] = (
    ((".h5", ".hdf5", ".keras"), f"a Keras model; {KERAS}"),
    ((".tflite",), f"a TensorFlow Lite model; {EXPORT} with tf2onnx"),
    ((".pb",), f"a TensorFlow graph; {EXPORT} (python -m tf2onnx.convert --saved-model FOLDER --output m.onnx)"),
    ((".mlmodel",), f"a Core ML model; {SOURCE}"),
    ((".engine", ".plan", ".trt"), f"a TensorRT engine; {SOURCE}"),
    ((".bin",), "weights alone, as of OpenVINO or transformers; give the model exported to ONNX"),
    ((".pkl", ".pickle", ".joblib"), PICKLE),
    ((".pth", ".ckpt"), f"a checkpoint of PyTorch or TensorFlow; {EXPORT} or TorchScript"),
    ((".caffemodel", ".prototxt"), f"a Caffe model; {EXPORT}"),
    ((".pdmodel", ".pdiparams"), f"a PaddlePaddle model; {EXPORT} with paddle2onnx"),
    ((".params", ".mxnet"), f"an MXNet model; {EXPORT}"),
    ((".weights", ".cfg"), f"a Darknet model; {EXPORT}"),
    ((".mnn", ".param", ".rknn", ".hef", ".blob"), f"a model for one runtime alone; {SOURCE}"),
    ((".ubj", ".bst"), f"an XGBoost model; {EXPORT} with onnxmltools"),
    ((".safetensors",), f"weights alone (safetensors); {EXPORT}"),
    ((".ort",), "in ONNX Runtime's own format; give the .onnx file that it was made from"),
)
MOST_NAMES = 3


def of_content(head: bytes) -> str | None:
    """What a file is that begins so, after "it is"; None where that does not tell."""
    for magic, place, words in MAGIC:
        if head[place:].startswith(magic):
            return words
    if head[8:9] == b"{" and head[5:8] == b"\0\0\0":
        return f"a safetensors file, which holds weights alone; {EXPORT} (transformers: optimum-cli export onnx)"
    text = head.removeprefix(b"\xef\xbb\xbf").decode("utf-8", "replace").lstrip()
    if b"\0" in head:
        return None
    return next((words for how, words in TEXTS if re.match(how, text, re.IGNORECASE | re.DOTALL)), None)


def of_name(path: Path) -> str | None:
    """What a file that could not be read as a model is by its name, after "it is"; None where that does not tell."""
    suffix = path.suffix.lower()
    return next((words for suffixes, words in NAMES if suffix in suffixes), None)


def of_zip(names: Sequence[str]) -> str:
    """What a zip archive is that holds no TorchScript, by the names of its entries."""
    last = [name.rpartition("/")[2] for name in names]
    if "bytecode.pkl" in last:
        return MOBILE
    if any(name == "data.pkl" for name in last):
        return CHECKPOINT
    if "model.weights.h5" in last or {"config.json", "metadata.json"} <= set(names):
        return f"a Keras model (.keras); {KERAS}"
    if names and all(name.endswith(".npy") for name in names):
        return f"a zip archive but no TorchScript: NumPy arrays (.npz), {DATA}"
    if models := [name for name in names if name.lower().endswith((".onnx", ".pt", ".pth", ".tflite", ".pb"))]:
        inside = ", ".join(models[:MOST_NAMES])
        return f"a zip archive but no TorchScript; unpack it and give the model inside ({inside})"
    held = f" (it holds {', '.join(names[:MOST_NAMES])})" if names else ""
    return f"a zip archive but no TorchScript{held}; export the model with torch.jit.save, or to ONNX"


def of_folder(path: Path) -> str:
    """What a folder is, and which file in it to give."""
    if (path / "saved_model.pb").is_file():
        return f"a TensorFlow SavedModel; {EXPORT} (python -m tf2onnx.convert --saved-model {path} --output m.onnx)"
    if (path / "Manifest.json").is_file() or path.suffix.lower() == ".mlpackage":
        return f"a Core ML package; {SOURCE}"
    found = sorted(p for p in (*path.glob("*.onnx"), *path.glob("*/*.onnx"), *path.glob("*.pt")) if p.is_file())
    if found:
        return f"a folder; give the model in it, such as {found[0]}"
    if any(path.glob("*.safetensors")) or any(path.glob("pytorch_model*.bin")):
        return f"a folder of weights; {EXPORT} (transformers: optimum-cli export onnx)"
    return "a folder; give an ONNX or TorchScript file"
