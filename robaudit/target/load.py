"""Opens a model file: what it is, what its input means, which output holds the scores."""

from __future__ import annotations

import hashlib
from pathlib import Path

import torch

from robaudit.errors import RobauditError, UsageError
from robaudit.target.device import choose_device
from robaudit.target.discover import FileInput, find_spec
from robaudit.target.head import FileOutput, Head, choose_output
from robaudit.target.onnx_file import OnnxFile, open_onnx
from robaudit.target.sidecar import class_names
from robaudit.target.sniff import model_format
from robaudit.target.spec import InputSpec, SpecOverrides
from robaudit.target.target import Target
from robaudit.target.torchscript_file import TorchScriptFile, open_torchscript

__all__ = ["load_target"]


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
    kind = model_format(path)
    with path.open("rb") as opened:
        digest = hashlib.file_digest(opened, "sha256").hexdigest()
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
    channels = file.first_channels
    if rank == 4 and channels in (1, 3, 4):
        shape = (None, channels, None, None) if overrides.values.get("layout") != "nhwc" else shape
    spec = find_spec(path, FileInput("input", shape, dtype), {}, overrides, sample_shape)
    return spec, file.probe(spec.to_file(torch.zeros(1, *spec.shape)))


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
    width = spec.batch or 1
    probe = torch.full((1, *spec.shape), 0.5, device=device)
    try:
        raw = file.run(spec.to_file(probe.to(torch.float64 if spec.dtype == "float64" else torch.float32)), width=width)
    except RobauditError as error:
        raise UsageError(f"{path} does not answer an input of {_words(spec.file_shape)}: {error}") from error
    if any(d != 1 for d in raw.shape[2:]):
        raise UsageError(
            f"{path} is no classifier that robaudit can audit: its output {output.name} has shape {_words(raw.shape)}"
        )
    count = int(raw.shape[1])
    classes = 2 if count == 1 else count
    names = class_names(path, file.metadata, classes)
    return Target(path, digest, file, spec, Head(output.name, single=count == 1), classes, names, device)


def _words(shape: tuple[int, ...]) -> str:
    return "x".join(map(str, shape))
