"""Settles how a file is read: which output is judged, what it means, and where the twin's gradient starts."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import onnx
import torch
from torch import Tensor

from robaudit.errors import RobauditError, UsageError
from robaudit.target.files.model_file import ModelFile
from robaudit.target.head.answers import is_decided
from robaudit.target.head.scores import Head
from robaudit.target.inputs.spec import InputSpec
from robaudit.target.measures.parity import differences, size_of
from robaudit.target.outputs.choosing import choose_output
from robaudit.target.outputs.decisions import label_values
from robaudit.target.outputs.declared import Choice, FileOutput
from robaudit.target.outputs.peel import JOINED, Tail
from robaudit.target.outputs.wiring import Wiring
from robaudit.target.reading.agreement import agreeing
from robaudit.target.reading.class_names import ClassNames, declared_names
from robaudit.target.reading.interface import Interface
from robaudit.target.reading.ruling import reach, ruled

__all__ = ["OVERRULED", "Readout", "heeded", "probes", "settle"]

MOST_FEATURES = 2**28
PROOF = 0.02
"""Largest difference between the file and its peeled twin, over the largest score; half precision needs it."""
AGREEMENT = 0.75
"""Least share of probes on which they agree: one may lie where a last bit decides."""
NO_TWIN = "the file returns labels only, and what they are decided on was not found in it"
READINGS = ((False, True), (True, False), (True, True))
"""Of the numbers that a label is decided on: (one for each pair of classes, the smallest wins)."""
SHARES = ("softmax", "log-softmax", "sigmoid-share")
"""Endings that take several numbers to mean anything."""
OVERRULED = "its label output decides, and the scores beside it say otherwise"


@dataclass(frozen=True)
class Readout:
    """The chosen output, what it means, and its classes.

    ``overruled``: scores beside a label were set aside; ``declared``: the classes that user or data count.
    """

    choice: Choice
    head: Head
    classes: int
    names: ClassNames
    overruled: bool = False
    declared: int | None = None


def probes(shape: tuple[int, ...]) -> Tensor:
    """[4, *shape] in u-space: black, white, and uniform noise, always the same."""
    generator = torch.Generator().manual_seed(0)
    noise = torch.rand((2, *shape), generator=generator)
    return torch.cat([torch.zeros_like(noise[:1]), torch.ones_like(noise[:1]), noise])


def settle(
    file: ModelFile,
    spec: InputSpec,
    interface: Interface,
    device: torch.device,
    *,
    points: Tensor | None = None,
    judge: FileOutput | None = None,
) -> Readout:
    """Choose the output on some probes, peel its end off the twin, and prove the peeled twin on them.

    Args:
        file: loaded.
        spec: what its input means.
        interface: what the user says of outputs and classes.
        device: that the twin lives on.
        points: [N, *shape] to try it on in place of black, white and noise.
        judge: the label output that decides although there are scores.

    Raises:
        UsageError: the file does not answer, is no classifier, or does not tell its number of classes.
    """
    path = file.path
    if math.prod(spec.shape) * (spec.batch or 1) > MOST_FEATURES:
        size = "x".join(map(str, (spec.batch or 1, *spec.file_shape)))
        raise UsageError(f"{path} takes inputs of {size}, more numbers than any classifier has")
    u = (probes(spec.shape) if points is None else points).to(device)
    x = spec.to_file(u.to(torch.float64 if spec.dtype == "float64" else torch.float32))
    width = spec.batch or 1
    words = "x".join(map(str, spec.file_shape))
    try:
        if judge is not None:
            choice = Choice(judge, "labels", OVERRULED)
        else:
            choice = choose_output(
                file.outputs,
                wiring=file.wiring,
                answers=file.answers(x, width),
                wanted=interface.output,
                ruled=interface.rule is not None,
                rows=width,
                decided=file.decides,
            )
        tail, values = file.find_tail(choice)
        file.choose_output(choice, values)
        raw = file.run(x, width=width)
    except UsageError as error:
        raise UsageError(f"{path}: {error}") from error
    except RobauditError as error:
        raise UsageError(f"{path} does not answer an input of {words}: {error}") from error
    labelled, beside = choice.role in ("labels", "ranks"), choice.label is not None
    columns = int(raw.shape[1]) - beside
    head = Head(choice.output.name, single=not labelled and columns == 1, labelled=beside)
    if tail is None:
        file.no_gradient = NO_TWIN
        tail = Tail(choice.output.name)
    else:
        file.import_twin(tail)
    answer = _answer(file, x)
    classes = 2 if head.single else columns
    if head.single and tail.column is None and tail.ending in SHARES:
        raise UsageError(
            f"{path}: its output {choice.output.name} is the share of one number in itself ({tail.through[0]}), the "
            "same for every input; export the model with a sigmoid in its place, or without it"
        )
    if labelled:
        own = label_values(file.wiring, choice.output.name) if file.wiring is not None else None
        classes = _label_classes(file, tail, answer, own or values, own is not None, interface)
        if own is None and values is not None and len(values) != classes:
            values = None  # they are those of a part of the file
            file.choose_output(choice, None)
            raw = file.run(x, width=width)
        head = Head(choice.output.name, kind="labels", classes=classes)
    elif beside and values is not None and 1 < columns == len(values) * (len(values) - 1) // 2 != len(values):
        classes = len(values)
        head = replace(head, pairs=True, single=False, classes=classes)
    if interface.rule is not None:
        choice, head = ruled(path, choice, head, interface.rule, reach(tail, file.bounds))
    head = replace(head, tail=tail)
    if tail.peeled and answer is not None and (head := _best(head, answer, raw)).tail is None:
        if labelled:
            file.no_gradient = NO_TWIN if judge is None else OVERRULED
        else:
            file.import_twin(Tail(JOINED if choice.columns else choice.output.name))
    if beside:
        _check_label(path, choice, head, raw, classes)
    return Readout(choice, head, classes, _names(file, values, classes), judge is not None, interface.classes)


def heeded(
    readout: Readout,
    file: ModelFile,
    spec: InputSpec,
    ask: Callable[[Tensor], Tensor],
    points: Tensor,
    raw: Tensor,
) -> Readout:
    """Read scores as the label output beside them says; judge by the label alone where no reading does.

    Args:
        readout: with a label beside its scores.
        file: that it is of.
        spec: what its input means.
        ask: [N, *shape] in u-space to raw outputs, each input alone.
        points: [N, *shape] samples.
        raw: answers to them.

    Raises:
        UsageError: they tell different numbers of classes.
    """
    label = readout.choice.label
    assert label is not None
    head, words, tried = agreeing(readout.head, ask, points, raw)
    if head is not None:
        why = f"{readout.choice.why}; {words}, as {label.name} says" if words else readout.choice.why
        return replace(readout, head=head, choice=replace(readout.choice, why=why))
    # One number that contradicts a label may be anything, such as the confidence in it, and tells no number of classes.
    single = readout.head.single
    classes = readout.declared if single and readout.declared is not None else readout.classes
    found = settle(file, spec, Interface(classes=classes), points.device, points=tried, judge=label)
    if found.classes != readout.classes and not single:
        raise UsageError(
            f"{file.path} has scores for {readout.classes} classes, a label output {label.name} for {found.classes}, "
            "and they do not agree; name the output to judge with --output-name"
        )
    return found if readout.names.names is None else replace(found, names=readout.names)


def _check_label(path: Path, choice: Choice, head: Head, raw: Tensor, classes: int) -> None:
    label = head.label(raw)
    if choice.label is not None and bool(((label < 0) | (label >= classes)).any()):
        raise UsageError(
            f"{path} has scores for {classes} classes in {choice.output.name}, and its output {choice.label.name} says "
            "one that is none of them; name the output to judge with --output-name"
        )


def _answer(file: ModelFile, x: Tensor) -> Tensor | None:
    """The twin's answers; None where it has none, which is told when it is made ready for use."""
    if file.no_gradient is not None:
        return None
    try:
        with torch.no_grad():
            return file.differentiable(x)
    except Exception:  # torch raises many types for a graph that does not run
        return None


def _best(head: Head, answer: Tensor, raw: Tensor) -> Head:
    """The head whose peeled twin, with the end put back on it, gives the file's own answers; unpeeled where none does.

    Of a decision it is tried whether the smallest number wins, and whether there is one for each pair of classes.
    """
    tried = [head]
    if head.kind == "labels" and head.tail is not None and head.tail.decision == "argmax":
        tried += [replace(head, pairs=pairs, turned=turned) for pairs, turned in READINGS]
    shares = [_share(each, answer, raw) for each in tried]
    best = max(shares)
    return tried[shares.index(best)] if best >= AGREEMENT else replace(head, tail=None)


def _share(head: Head, answer: Tensor, raw: Tensor) -> float:
    """Share of the rows on which they do."""
    wanted = head.classes * (head.classes - 1) // 2 if head.pairs else head.classes
    if head.kind == "labels" and answer.flatten(1).shape[1] not in (1, wanted):
        return 0.0
    found = head.replayed(answer).double()
    expected = (head.scores(raw) if head.kind == "labels" else head.own_scores(raw)).double()
    if found.shape != expected.shape:
        return 0.0
    rows = is_decided(found) & is_decided(expected)
    if not bool(rows.any()):
        return 1.0
    found, expected = found[rows], expected[rows]
    if head.kind == "labels":
        equal = found.argmax(1) == expected.argmax(1)
    else:
        away = differences(found, expected, logarithms=head.logarithms).amax(1)
        equal = away <= PROOF * max(size_of(expected), 1e-12)
    return float(equal.double().mean())


def _label_classes(
    file: ModelFile,
    tail: Tail,
    answer: Tensor | None,
    values: tuple[Any, ...] | None,
    sure: bool,
    interface: Interface,
) -> int:
    """K of a file that returns labels: of what they are decided on, of their names, else as the user says.

    ``sure``: the names are those of the label output itself.

    Raises:
        UsageError: none of them tells.
    """
    if tail.decision in ("above", "below"):
        return 2
    width = int(answer.flatten(1).shape[1]) if answer is not None and tail.decision in ("argmax", "argmin") else 1
    if width > 1 and not sure:
        return width
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


def _names(file: ModelFile, values: tuple[Any, ...] | None, count: int) -> ClassNames:
    """Names that are declared in the file's metadata or beside it, else what the graph itself calls its classes."""
    found = declared_names(file.path, file.metadata, count)
    if found.names is not None or values is None or len(values) != count or list(values) == list(range(count)):
        return found
    return ClassNames([str(value) for value in values], "the file's graph", found.note)
