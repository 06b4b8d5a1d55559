"""Settles how a file is read: which output is judged, what it means, and where the twin's gradient starts."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol

import onnx
import torch
from torch import Tensor

from robaudit.errors import RobauditError, UsageError
from robaudit.target.answers import is_decided
from robaudit.target.head import Head
from robaudit.target.interface import Interface
from robaudit.target.outputs import Choice, FileOutput, choose_output
from robaudit.target.parity import differences, size_of
from robaudit.target.peel import Tail
from robaudit.target.sidecar import class_names
from robaudit.target.spec import InputSpec
from robaudit.target.wiring import Wiring

__all__ = ["Readout", "probes", "settle"]

MOST_FEATURES = 2**28
PROOF = 0.02
"""Largest difference between the file and its peeled twin, over the largest score; half precision needs it."""
AGREEMENT = 0.75
"""Least share of probes on which they agree: one may lie where a last bit decides."""
NO_TWIN = "unavailable: the file returns labels only, and what they are decided on was not found in it"


@dataclass(frozen=True)
class Readout:
    """The chosen output, what it means, and what its classes are."""

    choice: Choice
    head: Head
    classes: int
    names: list[str] | None


class ReadableFile(Protocol):
    """A loaded file of either kind."""

    path: Path
    metadata: dict[str, str]
    outputs: list[FileOutput]
    no_gradient: str | None

    @property
    def wiring(self) -> Wiring | None:
        """The ONNX graph; None where there is none."""
        ...

    def answers(self, x: Tensor, width: int) -> list[dict[str, Any]]:
        """Every output to each input, asked alone."""
        ...

    def choose_output(self, choice: Choice, values: tuple[Any, ...] | None) -> None:
        """Settle what ``run`` reads."""
        ...

    def find_tail(self, choice: Choice) -> tuple[Tail | None, tuple[Any, ...] | None]:
        """(where the twin ends, what the file calls its classes); None for a label whose decision is not found."""
        ...

    def import_twin(self, tail: Tail) -> None:
        """Build what is differentiated."""
        ...

    def run(self, x: Tensor, *, width: int | None = None) -> Tensor:
        """The chosen output."""
        ...

    def differentiable(self, x: Tensor) -> Tensor:
        """The twin's tensor."""
        ...


def probes(shape: tuple[int, ...]) -> Tensor:
    """[4, *shape] in u-space: black, white, and uniform noise, always the same."""
    generator = torch.Generator().manual_seed(0)
    noise = torch.rand((2, *shape), generator=generator)
    return torch.cat([torch.zeros_like(noise[:1]), torch.ones_like(noise[:1]), noise])


def settle(file: ReadableFile, spec: InputSpec, interface: Interface, device: torch.device) -> Readout:
    """Choose the output on some probes, peel its end off the twin, and prove the peeled twin on them.

    Raises:
        UsageError: the file does not answer, is no classifier, or does not tell its number of classes.
    """
    path = file.path
    if math.prod(spec.shape) * (spec.batch or 1) > MOST_FEATURES:
        size = "x".join(map(str, (spec.batch or 1, *spec.file_shape)))
        raise UsageError(f"{path} takes inputs of {size}, more numbers than any classifier has")
    u = probes(spec.shape).to(device, torch.float64 if spec.dtype == "float64" else torch.float32)
    x = spec.to_file(u)
    width = spec.batch or 1
    words = "x".join(map(str, spec.file_shape))
    try:
        answers = file.answers(x, width)
        choice = choose_output(file.outputs, wiring=file.wiring, answers=answers, wanted=interface.output)
        tail, values = file.find_tail(choice)
        file.choose_output(choice, values)
        raw = file.run(x, width=width)
    except UsageError as error:
        raise UsageError(f"{path}: {error}") from error
    except RobauditError as error:
        raise UsageError(f"{path} does not answer an input of {words}: {error}") from error
    if any(d != 1 for d in raw.shape[2:]):
        shape = "x".join(map(str, raw.shape))
        raise UsageError(
            f"{path} is no classifier that robaudit can audit: its output {choice.output.name} has shape {shape}"
        )
    labelled = choice.role in ("labels", "ranks")
    columns = int(raw.shape[1])
    head = Head(choice.output.name, single=not labelled and columns == 1)
    if tail is None:
        file.no_gradient = NO_TWIN
        tail = Tail(choice.output.name)
    else:
        file.import_twin(tail)
    answer = _answer(file, x)
    classes = 2 if head.single else columns
    if labelled:
        classes = _label_classes(file, tail, answer, values, interface)
        head = Head(choice.output.name, kind="labels", classes=classes)
    head = replace(head, tail=tail)
    if tail.peeled and answer is not None and not _proved(head, answer, raw):
        head = replace(head, tail=None)
        if labelled:
            file.no_gradient = NO_TWIN
        else:
            file.import_twin(Tail(choice.output.name))
    return Readout(choice, head, classes, _names(file, values, classes))


def _answer(file: ReadableFile, x: Tensor) -> Tensor | None:
    """The twin's answers; None where it has none, which is told when it is made ready for use."""
    if file.no_gradient is not None:
        return None
    try:
        with torch.no_grad():
            return file.differentiable(x)
    except Exception:  # torch raises many types for a graph that does not run
        return None


def _proved(head: Head, answer: Tensor, raw: Tensor) -> bool:
    """Whether the peeled twin and the end put back on it give the file's own answers."""
    found, expected = head.replayed(answer).double(), head.scores(raw).double()
    if found.shape != expected.shape:
        return False
    rows = is_decided(found) & is_decided(expected)
    if not bool(rows.any()):
        return True
    found, expected = found[rows], expected[rows]
    if head.kind == "labels":
        equal = found.argmax(1) == expected.argmax(1)
    else:
        away = differences(found, expected, logarithms=head.logarithms).amax(1)
        equal = away <= PROOF * max(size_of(expected), 1e-12)
    return float(equal.double().mean()) >= AGREEMENT


def _label_classes(
    file: ReadableFile, tail: Tail, answer: Tensor | None, values: tuple[Any, ...] | None, interface: Interface
) -> int:
    """K of a file that returns labels: of what they are decided on, of their names, else as the user says.

    Raises:
        UsageError: none of them tells.
    """
    if tail.decision in ("above", "below"):
        return 2
    if answer is not None and tail.decision in ("argmax", "argmin") and answer.flatten(1).shape[1] > 1:
        return int(answer.flatten(1).shape[1])
    if values:
        return len(values)
    count = _inferred(file.wiring, tail) or interface.classes
    if count is None:
        raise UsageError(
            f"{file.path} returns labels only, and nothing in it tells how many classes there are; name them with "
            "--classes"
        )
    return count


def _inferred(wiring: Wiring | None, tail: Tail) -> int | None:
    """Columns of the tensor that a label is decided on, by ONNX shape inference."""
    if wiring is None or tail.decision not in ("argmax", "argmin"):
        return None
    try:
        model = onnx.shape_inference.infer_shapes(wiring.model)
    except Exception:  # a file may be too large for it, or odd
        return None
    for entry in (*model.graph.value_info, *model.graph.output):
        dims = entry.type.tensor_type.shape.dim
        if entry.name == tail.tensor and len(dims) > 1 and dims[1].dim_value > 1:
            return int(dims[1].dim_value)
    return None


def _names(file: ReadableFile, values: tuple[Any, ...] | None, count: int) -> list[str] | None:
    """Names that are declared beside the file or in its metadata, else what the graph itself calls its classes."""
    names = class_names(file.path, file.metadata, count)
    if names is not None or values is None or len(values) != count or list(values) == list(range(count)):
        return names
    return [str(value) for value in values]
