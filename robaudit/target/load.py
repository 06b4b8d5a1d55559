"""Opens a model file: what it is, what its input means, which output holds the scores."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeVar

import torch

from robaudit.errors import RobauditError, UsageError
from robaudit.target.files.exported import open_exported
from robaudit.target.files.model_file import ModelFile
from robaudit.target.files.onnx.opening import open_onnx
from robaudit.target.files.remote.answers import Answers
from robaudit.target.files.remote.file import open_remote
from robaudit.target.files.sniff import model_format
from robaudit.target.files.torchscript.file import open_torchscript
from robaudit.target.files.torchscript.module import TorchScriptFile
from robaudit.target.inputs.discover import FileInput, FreeSizeError, find_spec
from robaudit.target.inputs.spec import InputSpec, SpecOverrides
from robaudit.target.reading.interface import Interface
from robaudit.target.reading.opened import OpenedTarget
from robaudit.target.reading.readout import settle
from robaudit.target.running.device import choose_device
from robaudit.target.running.watch import UNWATCHED, Watch

__all__ = ["Allowed", "open_target"]

FileT = TypeVar("FileT", bound=ModelFile)

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


@dataclass(frozen=True)
class Allowed:
    """What may be loaded.

    Args:
        trust_model: TorchScript code that is not known to be harmless, and torch.export archives.
        tokens: a model of tokens too, which can be inspected and not audited.
        custom_ops: libraries of custom operators for ONNX Runtime.
        confined: TorchScript of recurrent layers, of whose weights PyTorch does not check the sizes; False where no
            sandbox keeps the process in.
        answers: an endpoint, whose answers are kept there; None: it may not be one.
    """

    trust_model: bool = False
    tokens: bool = False
    custom_ops: tuple[Path, ...] = ()
    confined: bool = True
    answers: Answers | None = None


@dataclass(frozen=True)
class _Opening:
    """What is said of a file that is being opened; see :func:`open_target`."""

    path: Path
    overrides: SpecOverrides
    interface: Interface
    device: torch.device
    sample_shape: tuple[int, ...] | None
    allowed: Allowed
    watch: Watch

    def ready(self, file: FileT) -> FileT:
        """The file as it is called from now on."""
        file.watch = self.watch
        if self.interface.fresh_state:
            file.start_afresh()
        return file

    def spec(self, given: FileInput, file: ModelFile, said: SpecOverrides | None = None) -> InputSpec:
        """What an input means; ``said``: in place of what the user says."""
        return find_spec(self.path, given, file.metadata, said or self.overrides, self.sample_shape)


def open_target(
    path: Path,
    *,
    overrides: SpecOverrides | None = None,
    interface: Interface | None = None,
    device: str = "auto",
    sample_shape: tuple[int, ...] | None = None,
    allowed: Allowed | None = None,
    watch: Watch = UNWATCHED,
) -> OpenedTarget:
    """Open a classifier.

    Args:
        path: ONNX, TorchScript or torch.export file, or an ``endpoint.yaml``.
        overrides: what the user says of the input's meaning.
        interface: what the user says of inputs and outputs.
        device: auto, cpu, cuda or cuda:N.
        sample_shape: canonical shape of the data's arrays, for sizes that the file leaves free.
        allowed: what may be loaded.
        watch: notified of each call of the file.

    Raises:
        UsageError: the file cannot be audited, in one sentence.
    """
    interface, where = interface or Interface(), choose_device(device)
    asked = _Opening(path, overrides or SpecOverrides(), interface, where, sample_shape, allowed or Allowed(), watch)
    others = {"exported": _exported, "torchscript": _torchscript, "endpoint": _remote}
    open_one = others.get(model_format(path), _onnx)
    file, spec = open_one(asked)
    return OpenedTarget.of(path, file, spec, settle(file, spec, interface, where), where)


def _remote(asked: _Opening) -> tuple[ModelFile, InputSpec]:
    file = asked.ready(open_remote(asked.path, asked.device, asked.allowed.answers))
    return file, asked.spec(file.choose_input(asked.interface.fixed, asked.interface.input), file)


def _exported(asked: _Opening) -> tuple[ModelFile, InputSpec]:
    file = asked.ready(open_exported(asked.path, asked.device, trust=asked.allowed.trust_model))
    spec = asked.spec(file.declared_input(asked.interface.fixed, asked.interface.input), file)
    return file, _tried(file, spec)


def _torchscript(asked: _Opening) -> tuple[ModelFile, InputSpec]:
    allowed = asked.allowed
    file = open_torchscript(asked.path, asked.device, trust=allowed.trust_model, confined=allowed.confined)
    asked.ready(file).choose_input(asked.interface.fixed, asked.interface.input)
    return file, _torchscript_spec(asked, file)


def _onnx(asked: _Opening) -> tuple[ModelFile, InputSpec]:
    path, tokens = asked.path, asked.allowed.tokens
    file = asked.ready(open_onnx(path, asked.device, asked.allowed.custom_ops))
    rank = 4 if "resize" in asked.overrides.values else None
    rank = rank if asked.sample_shape is None else 1 + len(asked.sample_shape)
    if file.takes_tokens_alone and not tokens:
        raise UsageError(TOKENS.format(path=path, names=", ".join(f"{i.name} {i.dtype}" for i in file.inputs)))
    given = file.choose_input(asked.interface.fixed, asked.interface.input, rank)
    if file.takes_tokens and not tokens:
        raise UsageError(TOKENS.format(path=path, names=f"{given.name} {given.dtype}"))
    spec = _sized(
        lambda said: asked.spec(given, file, said),
        lambda spec: file.answers(spec.to_file(torch.zeros(1, *spec.shape)), spec.batch or 1),
        asked.overrides,
    )
    if file.vocabulary is not None:
        if spec.provenance.get("scale") == "integer type":
            spec = replace(spec, scale=float(max(1, file.vocabulary - 1)))
        file.no_gradient = f"the input {given.name} holds tokens, which are looked up in a table"
    return file, spec


def _torchscript_spec(asked: _Opening, file: TorchScriptFile) -> InputSpec:
    """The file does not say its input's shape: it comes from the data's arrays or ``--resize``, and is tried.

    Arrays of H x W are images without a channel first, then sequences or rows of numbers.
    """
    sample_shape, overrides = asked.sample_shape, asked.overrides
    rank = 4 if sample_shape is None or len(sample_shape) == 3 else 1 + len(sample_shape)
    dtype = str(file.dtype).removeprefix("torch.")
    shape: tuple[int | None, ...] = (None,) * rank
    channels = file.first_channels
    if rank == 4 and channels in (1, 3, 4):
        shape = (None, channels, None, None) if overrides.values.get("layout") != "nhwc" else shape
    given = FileInput(file.input_name, shape, dtype)
    try:
        spec = _sized(
            lambda said: asked.spec(given, file, said),
            lambda spec: _tried(file, spec),
            overrides,
        )
        return _tried(file, spec)
    except UsageError:
        if sample_shape is None or len(sample_shape) != 3 or sample_shape[0] != 1:
            raise
        rows = FileInput(file.input_name, (None, *sample_shape[1:]), dtype)
        with contextlib.suppress(UsageError):
            return _tried(file, find_spec(asked.path, rows, file.metadata, overrides, sample_shape[1:]))
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
