"""Measures a file on real samples: what its output is, whether it repeats itself, and whether the batch matters."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from robaudit.errors import FinalError
from robaudit.target.measures.parity import size_of
from robaudit.target.measures.steadiness import (
    COMPARED,
    UNKNOWN,
    Steadiness,
    batch_effect,
    is_repeatable,
    keeps_state,
    repeat_deviation,
)
from robaudit.target.reading.opened import OpenedTarget
from robaudit.target.reading.readout import heeded, probes
from robaudit.target.reading.ruling import disputed

__all__ = ["Measured", "measure", "unmeasured"]

OPEN = (
    "{path}: its output {name} is one number an input that is always above 0, and nothing tells from where on it "
    "means the second of two classes; give --decision above:NUMBER (or below:NUMBER)"
)


@dataclass(frozen=True)
class Measured:
    """What was found out about a file.

    Args:
        opened: the file, read as its answers tell.
        steadiness: whether the same input has the same answer.
        undecided: why it cannot be known what the output means, or None.
        disputed: that a label output says otherwise than the scores, or None.
        notes: for people.
    """

    opened: OpenedTarget
    steadiness: Steadiness
    undecided: str | None = None
    disputed: str | None = None
    notes: tuple[str, ...] = ()


def unmeasured(opened: OpenedTarget) -> Measured:
    """What is known of a file of which no sample can be asked, or need be."""
    return Measured(opened, UNKNOWN, notes=_noted(opened))


def measure(opened: OpenedTarget, u: Tensor) -> Measured:
    """Find out on real samples what the output is, whether it repeats, and whether the batch matters.

    Black, white and noise join the samples: they widen the range of outputs, and a batch with them shows whether
    the answer to one input depends on the others.

    Args:
        opened: the file.
        u: [N, *shape], samples: all of them tell what one number is, the first few the rest.
    """
    if opened.spec.voting is not None:  # each of the answers that vote is one of the file's
        measured = measure(opened.reread(spec=opened.spec.without_votes()), u)
        return replace(measured, opened=measured.opened.reread(spec=opened.spec))
    few, file, said = u[:COMPARED], opened.file, None
    points = torch.cat([few, probes(tuple(u.shape[1:])).to(u)])
    raw = opened.alone(points)
    head = opened.found_head(u) if opened.head.single else opened.head.measured(raw, file.bounds)
    opened = opened.reread(head=head)
    if head.labelled:
        readout = heeded(opened.readout, file, opened.spec, opened.alone, points, raw)
        opened = replace(opened, readout=readout)
        raw = opened.alone(points)
    elif opened.choice.aside is not None:
        said = disputed(opened.choice, head, file, opened.alone, points)
    undecided = None
    if opened.head.is_open(raw, file.bounds):
        undecided = OPEN.format(path=opened.path, name=opened.choice.output.name)
    steadiness, notes = _steadiness(opened, points, raw, len(few))
    return Measured(opened, steadiness, undecided, said, (*_noted(opened), *notes))


def _noted(opened: OpenedTarget) -> tuple[str, ...]:
    note = opened.names.note
    return () if note is None else (note,)


def _steadiness(opened: OpenedTarget, points: Tensor, raw: Tensor, real: int) -> tuple[Steadiness, list[str]]:
    """Of answers ``raw`` to points [N, *shape] asked alone, the first ``real`` of them samples; and what to note."""
    if opened.spec.draws:  # what stands before the file draws anew; here the file itself is asked
        opened = opened.reread(spec=opened.spec.without_draws())
        raw = opened.alone(points)
    u, file, head = points[:real], opened.file, opened.head
    alone = head.scores(raw).double()
    size = size_of(alone) or 1.0
    deviation = repeat_deviation(alone[:real], lambda: opened.scores(u, alone=True), size)
    state, notes = (None, []) if is_repeatable(deviation) else _state(opened, u[:1], size)
    # of answers by chance a batch tells nothing
    if opened.spec.batch is not None or (state is False and not is_repeatable(deviation)):
        return Steadiness(deviation, state, True if opened.spec.batch in (1, None) else None, None), notes
    found = batch_effect(
        alone,
        lambda: head.scores(file.run(opened.spec.to_file(points.flip(0)))),
        real=real,
        size=size,
        half=opened.spec.dtype in ("float16", "bfloat16"),
    )
    notes += [] if found.note is None else [found.note]
    return Steadiness(deviation, state, found.invariant, found.deviation), notes


def _state(opened: OpenedTarget, u: Tensor, size: float) -> tuple[bool | None, list[str]]:
    """Whether the file keeps a state between calls; None where that was not found out, with a note why.

    A runtime may begin the same random numbers anew at each load, so that fresh loads of a random file are alike.
    """
    if opened.file.drawing:
        return False, []
    try:
        x = opened.spec.to_file(u)
        return keeps_state(opened.file, x, opened.spec.batch or 1, opened.head.scores, size), []
    except FinalError:
        raise
    except Exception as error:  # loading again may fail in many ways, and costs the reason alone
        return None, [f"the file could not be loaded again ({' '.join(str(error).split())[:120]})"]
