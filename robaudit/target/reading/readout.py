"""Settles how a file is read: which output is judged, what it means, and where the twin's gradient starts."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from robaudit.errors import RobauditError, UsageError
from robaudit.target.files.model_file import ModelFile
from robaudit.target.head.scores import Head
from robaudit.target.inputs.spec import InputSpec
from robaudit.target.outputs.choosing import choose_output
from robaudit.target.outputs.decisions import label_values
from robaudit.target.outputs.declared import Choice, FileOutput
from robaudit.target.outputs.peel import JOINED, Tail
from robaudit.target.reading.agreement import agreeing
from robaudit.target.reading.class_names import ClassNames
from robaudit.target.reading.classes import class_names_of, label_classes
from robaudit.target.reading.interface import Interface
from robaudit.target.reading.proof import best_head, twin_answer
from robaudit.target.reading.ruling import reach, ruled

__all__ = ["OVERRULED", "Readout", "heeded", "probes", "settle"]

MOST_FEATURES = 2**28
NO_TWIN = "the file returns labels only, and what they are decided on was not found in it"
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
    choice, tail, values, raw = _chosen(file, spec, interface, x, judge)
    labelled, beside = choice.role in ("labels", "ranks"), choice.label is not None
    columns = int(raw.shape[1]) - beside
    head = Head(choice.output.name, single=not labelled and columns == 1, labelled=beside)
    tail = _with_twin(file, tail or Tail(choice.output.name), known=tail is not None)
    answer = twin_answer(file, x)
    classes = 2 if head.single else columns
    if head.single:
        _check_share(path, choice, tail)
    if labelled:
        own = label_values(file.wiring, choice.output.name) if file.wiring is not None else None
        classes = label_classes(file, tail, answer, own or values, interface, sure=own is not None)
        if own is None and values is not None and len(values) != classes:
            values = None  # they are those of a part of the file
            file.choose_output(choice, None)
            raw = file.run(x, width=spec.batch or 1)
        head = Head(choice.output.name, kind="labels", classes=classes)
    elif beside and values is not None and 1 < columns == len(values) * (len(values) - 1) // 2 != len(values):
        classes = len(values)
        head = replace(head, pairs=True, single=False, classes=classes)
    if interface.rule is not None:
        choice, head = ruled(path, choice, head, interface.rule, reach(tail, file.bounds))
    head = replace(head, tail=tail)
    if tail.peeled and answer is not None and (head := best_head(head, answer, raw)).tail is None:
        if labelled:
            file.no_gradient = NO_TWIN if judge is None else OVERRULED
        else:
            file.import_twin(Tail(JOINED if choice.columns else choice.output.name))
    if beside:
        _check_label(path, choice, head, raw, classes)
    return Readout(choice, head, classes, class_names_of(file, values, classes), judge is not None, interface.classes)


def _chosen(
    file: ModelFile, spec: InputSpec, interface: Interface, x: Tensor, judge: FileOutput | None
) -> tuple[Choice, Tail | None, tuple[Any, ...] | None, Tensor]:
    """(the output that is read, where the twin can end, what the file calls its classes, answers to x [N, ...])."""
    path, width = file.path, spec.batch or 1
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
        return choice, tail, values, file.run(x, width=width)
    except UsageError as error:
        raise UsageError(f"{path}: {error}") from error
    except RobauditError as error:
        words = "x".join(map(str, spec.file_shape))
        raise UsageError(f"{path} does not answer an input of {words}: {error}") from error


def _with_twin(file: ModelFile, tail: Tail, *, known: bool) -> Tail:
    """The tail, and the twin up to it; none where it is not ``known`` what a label is decided on."""
    if known:
        file.import_twin(tail)
    else:
        file.no_gradient = NO_TWIN
    return tail


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


def _check_share(path: Path, choice: Choice, tail: Tail) -> None:
    if tail.column is None and tail.ending in SHARES:
        raise UsageError(
            f"{path}: its output {choice.output.name} is the share of one number in itself ({tail.through[0]}), the "
            "same for every input; export the model with a sigmoid in its place, or without it"
        )


def _check_label(path: Path, choice: Choice, head: Head, raw: Tensor, classes: int) -> None:
    label = head.label(raw)
    if choice.label is not None and bool(((label < 0) | (label >= classes)).any()):
        raise UsageError(
            f"{path} has scores for {classes} classes in {choice.output.name}, and its output {choice.label.name} says "
            "one that is none of them; name the output to judge with --output-name"
        )
