"""Opens a model file: what it is, what its input means, which output holds the scores."""

from __future__ import annotations

import dataclasses
import hashlib
import zipfile
from pathlib import Path

import torch

from robaudit.errors import UsageError
from robaudit.target.discover import FileInput, class_names, find_spec
from robaudit.target.head import FileOutput, Head, choose_output
from robaudit.target.onnx_file import OnnxFile, open_onnx
from robaudit.target.spec import InputSpec, SpecOverrides
from robaudit.target.target import Target
from robaudit.target.torchscript_file import TorchScriptFile, open_torchscript

__all__ = ["choose_device", "load_target"]

PICKLES = (b"\x80\x02", b"\x80\x03", b"\x80\x04", b"\x80\x05")


def load_target(
    path: Path,
    *,
    overrides: SpecOverrides | None = None,
    device: str = "auto",
    sample_shape: tuple[int, ...] | None = None,
    trust_model: bool = False,
) -> Target:
    """Load a classifier.

    Args:
        path: ONNX or TorchScript file.
        overrides: what the user says of the input.
        device: auto, cpu, cuda or cuda:N.
        sample_shape: canonical shape of the data's arrays, for sizes that the file leaves free.
        trust_model: load TorchScript code that is not known to be harmless.

    Raises:
        UsageError: the file cannot be audited, in one sentence.
    """
    overrides = overrides or SpecOverrides()
    where = choose_device(device)
    kind = _sniff(path)
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    if kind == "torchscript":
        script = open_torchscript(path, where, trust=trust_model)
        spec, output = _torchscript_spec(path, script, overrides, sample_shape)
        return _target(path, digest, script, spec, output, where)
    file = open_onnx(path, where)
    given = file.input
    if given.dtype in ("int32", "int64") and len(given.shape) == 2:
        raise UsageError(
            f"{path} takes {given.dtype} tokens; perturbations within an eps-ball do not apply to it, and substitution "
            "attacks on tokens are not there yet"
        )
    spec = find_spec(path, given, file.metadata, overrides, sample_shape)
    output = choose_output(file.outputs)
    file.import_twin(output.name)
    return _target(path, digest, file, spec, output, where)


def choose_device(device: str) -> torch.device:
    """The device that a name means here.

    Raises:
        UsageError: a GPU that is not there.
    """
    if device == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    wanted = torch.device(device)
    if wanted.type == "cuda" and (wanted.index or 0) >= torch.cuda.device_count():
        count = torch.cuda.device_count()
        found = "no CUDA GPU" if count == 0 else f"{count} CUDA GPU(s), numbered from 0"
        raise UsageError(f"--device {device} was asked for, and this machine has {found}; use --device cpu")
    return wanted


def _sniff(path: Path) -> str:
    if path.is_dir():
        raise UsageError(f"{path} is a folder; give an ONNX or TorchScript file")
    try:
        with path.open("rb") as file:
            head = file.read(2)
    except FileNotFoundError as error:
        raise UsageError(f"there is no file {path}") from error
    except OSError as error:
        raise UsageError(f"{path} cannot be read: {error.strerror or error}") from error
    if not head:
        raise UsageError(f"{path} is empty; export the model again")
    if zipfile.is_zipfile(path):
        return "torchscript"
    if head in PICKLES:
        raise UsageError(
            f"{path} is a Python pickle, which can run any code and is never loaded; export the model to ONNX or "
            "TorchScript"
        )
    if head == b"PK":
        raise UsageError(f"{path} is a truncated zip archive; export the model again")
    return "onnx"


def _torchscript_spec(
    path: Path,
    file: TorchScriptFile,
    overrides: SpecOverrides,
    sample_shape: tuple[int, ...] | None,
) -> tuple[InputSpec, FileOutput]:
    """The file does not say its input's shape: it comes from the data's arrays or ``--resize``, and is tried."""
    rank = 4 if sample_shape is None or len(sample_shape) == 3 else 1 + len(sample_shape)
    dtype = str(file.dtype).removeprefix("torch.")
    shape: tuple[int | None, ...] = (None,) * rank
    channels = _first_channels(file)
    if rank == 4 and channels in (1, 3, 4):
        shape = (None, channels, None, None) if overrides.values.get("layout") != "nhwc" else shape
    spec = find_spec(path, FileInput("input", shape, dtype), {}, overrides, sample_shape)
    return spec, file.probe(spec.to_file(torch.zeros(1, *spec.shape)))


def _first_channels(file: TorchScriptFile) -> int | None:
    """Input channels of the first convolution."""
    for parameter in file.module.parameters():
        if parameter.dim() == 4:
            return int(parameter.shape[1])
    return None


def _target(
    path: Path,
    digest: str,
    file: OnnxFile | TorchScriptFile,
    spec: InputSpec,
    output: FileOutput,
    device: torch.device,
) -> Target:
    if isinstance(file, TorchScriptFile):
        output = choose_output([output])
    head = Head(output.name)
    probe = torch.full((spec.batch or 1, *spec.shape), 0.5, device=device)
    raw = file.run(spec.to_file(probe.to(torch.float64 if spec.dtype == "float64" else torch.float32)))
    if raw.dim() < 2 or any(d != 1 for d in raw.shape[2:]):
        shape = "x".join(str(d) for d in raw.shape)
        raise UsageError(f"{path} is no classifier that robaudit can audit: its output {output.name} has shape {shape}")
    count = int(raw.shape[1])
    head = dataclasses.replace(head, single=count == 1)
    classes = 2 if count == 1 else count
    names = class_names(path, file.metadata, classes)
    return Target(path, digest, file, spec, head, classes, names, device)
