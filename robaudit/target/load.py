"""Opens a model file: what it is, what its input means, which output holds the scores."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import torch

from robaudit.errors import RobauditError, UsageError
from robaudit.target.files.exported import open_exported
from robaudit.target.files.onnx.file import OnnxFile, open_onnx
from robaudit.target.files.remote.answers import Answers
from robaudit.target.files.remote.file import open_remote
from robaudit.target.files.sniff import model_format
from robaudit.target.files.torchscript.file import open_torchscript
from robaudit.target.files.torchscript.module import TorchScriptFile
from robaudit.target.inputs.discover import FileInput, FreeSizeError, find_spec
from robaudit.target.inputs.spec import InputSpec, SpecOverrides
from robaudit.target.reading.interface import Interface
from robaudit.target.reading.readout import settle
from robaudit.target.running.device import choose_device
from robaudit.target.running.watch import UNWATCHED, Watch
from robaudit.target.target import Target

__all__ = ["load_target"]

TOKENS = (
    "{path} takes tokens ({names}); perturbations within an eps-ball do not apply to them, and substitution attacks on "
    "tokens are not there yet; robaudit inspect shows the model"
)
SIZES = (
    *(224, 32, 28, 64, 96, 128, 160, 192, 256, 299, 384, 512),
    *(
        16,
        48,
        75,
        80,
        84,
        100,
        112,
        150,
        180,
        200,
        227,
        240,
        260,
        288,
        300,
        320,
        331,
        336,
        380,
        416,
        448,
        480,
    ),
    *(8, 10, 12, 14, 20, 24, 36, 40, 50, 56, 60, 72),
)
"""Heights and widths of square images in common use, the commonest first, so that a file of any size shows soon."""


def load_target(
    path: Path,
    *,
    overrides: SpecOverrides | None = None,
    interface: Interface | None = None,
    device: str = "auto",
    sample_shape: tuple[int, ...] | None = None,
    trust_model: bool = False,
    tokens: bool = False,
    custom_ops: tuple[Path, ...] = (),
    watch: Watch = UNWATCHED,
    confined: bool = True,
    answers: Answers | None = None,
) -> Target:
    """Load a classifier.

    Args:
        path: ONNX, TorchScript or torch.export file, or an ``endpoint.yaml``.
        overrides: what the user says of the input's meaning.
        interface: what the user says of inputs and outputs.
        device: auto, cpu, cuda or cuda:N.
        sample_shape: canonical shape of the data's arrays, for sizes that the file leaves free.
        trust_model: load TorchScript code that is not known to be harmless, and torch.export archives.
        tokens: load a model of tokens too, which can be inspected and not audited.
        custom_ops: libraries of custom operators for ONNX Runtime.
        watch: notified of each call of the file.
        confined: allow TorchScript of recurrent layers, of whose weights PyTorch does not check the sizes; False
            where no sandbox keeps the process in.
        answers: where all that an endpoint answers is kept; None: it may not be one.

    Raises:
        UsageError: the file cannot be audited, in one sentence.
    """
    overrides, interface = overrides or SpecOverrides(), interface or Interface()
    where = choose_device(device)
    kind = model_format(path)
    file: OnnxFile | TorchScriptFile
    if kind == "endpoint":
        remote = open_remote(path, where, answers)
        if interface.fresh_state:
            remote.start_afresh()
        spec = find_spec(
            path, remote.choose_input(interface.fixed, interface.input), remote.metadata, overrides, sample_shape
        )
        return Target(path, remote, spec, settle(remote, spec, interface, where), where)
    if kind == "exported":
        exported = open_exported(path, where, trust=trust_model)
        exported.watch = watch
        if interface.fresh_state:
            exported.start_afresh()
        spec = find_spec(
            path, exported.declared_input(interface.fixed, interface.input), exported.metadata, overrides, sample_shape
        )
        exported.probe(spec.to_file(torch.zeros(1, *spec.shape)))
        return Target(path, exported, spec, settle(exported, spec, interface, where), where)
    if kind == "torchscript":
        file = open_torchscript(path, where, trust=trust_model, confined=confined)
        file.watch = watch
        if interface.fresh_state:
            file.start_afresh()
        file.choose_input(interface.fixed, interface.input)
        spec = _torchscript_spec(path, file, overrides, sample_shape)
    else:
        file = open_onnx(path, where, custom_ops)
        file.watch = watch
        if interface.fresh_state:
            file.start_afresh()
        rank = 4 if "resize" in overrides.values else None
        rank = rank if sample_shape is None else 1 + len(sample_shape)
        if file.takes_tokens_alone and not tokens:
            raise UsageError(TOKENS.format(path=path, names=", ".join(f"{i.name} {i.dtype}" for i in file.inputs)))
        given = file.choose_input(interface.fixed, interface.input, rank)
        if file.takes_tokens and not tokens:
            raise UsageError(TOKENS.format(path=path, names=f"{given.name} {given.dtype}"))
        spec = _sized(
            lambda said: find_spec(path, given, file.metadata, said, sample_shape),
            lambda spec: file.answers(spec.to_file(torch.zeros(1, *spec.shape)), spec.batch or 1),
            overrides,
        )
        if file.vocabulary is not None:
            if spec.provenance.get("scale") == "integer type":
                spec = replace(spec, scale=float(max(1, file.vocabulary - 1)))
            file.no_gradient = f"the input {given.name} holds tokens, which are looked up in a table"
    return Target(path, file, spec, settle(file, spec, interface, where), where)


def _torchscript_spec(
    path: Path,
    file: TorchScriptFile,
    overrides: SpecOverrides,
    sample_shape: tuple[int, ...] | None,
) -> InputSpec:
    """The file does not say its input's shape: it comes from the data's arrays or ``--resize``, and is tried.

    Arrays of H x W are images without a channel first, then sequences or rows of numbers.
    """
    rank = 4 if sample_shape is None or len(sample_shape) == 3 else 1 + len(sample_shape)
    dtype = str(file.dtype).removeprefix("torch.")
    shape: tuple[int | None, ...] = (None,) * rank
    channels = file.first_channels
    if rank == 4 and channels in (1, 3, 4):
        shape = (None, channels, None, None) if overrides.values.get("layout") != "nhwc" else shape
    given = FileInput(file.input_name, shape, dtype)
    try:
        spec = _sized(
            lambda said: find_spec(path, given, file.metadata, said, sample_shape),
            lambda spec: _tried(file, spec),
            overrides,
        )
        return _tried(file, spec)
    except UsageError:
        if sample_shape is None or len(sample_shape) != 3 or sample_shape[0] != 1:
            raise
        rows = FileInput(file.input_name, (None, *sample_shape[1:]), dtype)
        with contextlib.suppress(UsageError):
            return _tried(file, find_spec(path, rows, file.metadata, overrides, sample_shape[1:]))
        raise


def _sized(
    find: Callable[[SpecOverrides], InputSpec], probe: Callable[[InputSpec], object], overrides: SpecOverrides
) -> InputSpec:
    """The spec; where nothing says the size of images, with the only size that the file takes.

    A matrix behind a flattened map takes one size alone, which trials find; a file that takes several says nothing.

    Raises:
        UsageError: see :func:`find_spec`.
    """
    try:
        return find(overrides)
    except FreeSizeError as error:
        taken: list[InputSpec] = []
        for size in SIZES:
            said = SpecOverrides(
                {**overrides.values, "resize": (size, size)}, {**overrides.sources, "resize": "the only size it takes"}
            )
            spec = find(said)
            with contextlib.suppress(RobauditError, RuntimeError, ValueError):
                probe(spec)
                taken.append(spec)
            if len(taken) > 1:
                raise FreeSizeError(f"{error} (it takes {_size(taken[0])} and {_size(taken[1])} alike)") from None
        if taken:
            return taken[0]
        raise


def _size(spec: InputSpec) -> str:
    return "x".join(map(str, spec.shape[1:]))


def _tried(file: TorchScriptFile, spec: InputSpec) -> InputSpec:
    """The same spec, if the file takes what it says.

    Raises:
        UsageError: it does not.
    """
    file.probe(spec.to_file(torch.zeros(1, *spec.shape)))
    return spec
