"""What the outputs of a file are: what each declares, and what it can be by its type, shape, graph and answers."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import onnx

from robaudit.target.outputs.decisions import label_values
from robaudit.target.outputs.rows import width_of
from robaudit.target.outputs.wiring import Wiring

__all__ = [
    "Answers",
    "Choice",
    "FileOutput",
    "Role",
    "Told",
    "made_by",
    "maker_of",
    "names_a_class",
    "role_of",
    "spans",
]

Role = Literal["scores", "maps", "labels", "ranks"]
"""Class scores; dictionaries from class to score; one label an input; the indices of the best classes, best first."""
Answers = Sequence[Mapping[str, Any]]
LABELS = re.compile(r"label|class|categ|pred|target|arg_?max|decision|y_hat", re.IGNORECASE)
"""Names of outputs that say a class, where the graph does not tell."""
COUNTS = re.compile(r"num|count|len|size|total", re.IGNORECASE)
NUMBERS = ("float", "bfloat", "double")
QUANTISED = ("uint8", "int8", "uint16", "int16")
"""Types of scores that were rounded to whole numbers."""
WHOLE = ("int", "uint", "string", "str", "object", "bool")


@dataclass(frozen=True)
class FileOutput:
    """An output as the file declares it, the batch first; None where a dimension is free."""

    name: str
    shape: tuple[int | None, ...] | None
    dtype: str

    def __str__(self) -> str:
        return f"{self.name} {self.size} {self.dtype}"

    @property
    def size(self) -> str:
        """The shape in words: ``Nx1000``, ``?`` where the file does not say."""
        if self.shape is None:
            return "?"
        return "x".join("N" if d is None else str(d) for d in self.shape) or "scalar"


@dataclass(frozen=True)
class Choice:
    """The output that is judged, what it is, and why it was taken.

    ``columns``: the outputs, ``output`` among them, that hold one score each, in the order of the classes; ``label``:
    the output that says the class beside scores, which is what ``predict`` answers and so decides; ``aside``: that
    output where the user's word on the scores comes before it.
    """

    output: FileOutput
    role: Role
    why: str
    columns: tuple[str, ...] = ()
    label: FileOutput | None = None
    aside: FileOutput | None = None

    @property
    def names(self) -> list[str]:
        """Every output that is asked for."""
        return [*(self.columns or (self.output.name,)), *([] if self.label is None else [self.label.name])]


@dataclass(frozen=True)
class Told:
    """What is known besides the declarations; see :func:`choose_output`."""

    wiring: Wiring | None
    answers: Answers
    rows: int
    decided: Callable[[str], bool]

    def values(self, label: FileOutput) -> tuple[Any, ...] | None:
        """What a label output calls the classes."""
        return None if self.wiring is None else label_values(self.wiring, label.name)

    def width(self, output: FileOutput) -> int | None:
        """Numbers that an output gives an input; None where that is not known."""
        if self.answers and (first := self.answers[0].get(output.name)) is not None:
            if isinstance(first, list):
                return len(first[0]) if first and isinstance(first[0], Mapping) else None
            return width_of(np.shape(first), self.rows)
        shape = output.shape
        if shape is None:
            return None
        return 1 if len(shape) < 2 else next((d for d in shape[1:] if d != 1), 1)


def role_of(output: FileOutput, told: Told) -> Role | None:
    """What an output can be, by its type and its shape: that of an answer, else as declared."""
    if output.dtype.startswith("seq(map"):
        return "maps"
    if output.dtype.startswith(("seq(", "map(", "optional(", "sparse_tensor(")):
        return None
    first = told.answers[0].get(output.name) if told.answers else None
    answered = None if first is None else np.shape(first)
    shape = output.shape if answered is None else answered
    kind = made_by(told.wiring, output.name)
    if output.dtype.startswith(NUMBERS) and kind != "TopK":
        row = (shape is None or _is_row(shape)) if answered is None else width_of(answered, told.rows) is not None
        if row and told.width(output) == 1 and (told.decided(output.name) or _counts(output.name, told.answers)):
            return "labels"
        return "scores" if row else None
    if output.dtype.startswith(WHOLE) and shape is not None:
        if len(shape) < 2 or all(d == 1 for d in shape[1:]):
            return "labels" if answered is None or width_of(answered, told.rows) == 1 else None
        if len(shape) == 2 and kind == "TopK":
            return "ranks"
        if told.width(output) is not None and (output.dtype in QUANTISED or _one_hot(output.name, told.answers)):
            return "scores"
    return None


def _counts(name: str, answers: Answers) -> bool:
    """Whether one number an input is whole each time, and more than 0 and 1 occur: indices of classes as floats."""
    values = np.asarray([np.asarray(answer[name], dtype=np.float64).ravel()[0] for answer in answers])
    whole = np.isfinite(values).all() and np.array_equal(values, np.rint(values)) and values.min(initial=0) >= 0
    return bool(whole) and len(set(values.tolist())) > 1 and values.max(initial=0) > 1


def _one_hot(name: str, answers: Answers) -> bool:
    """Whether each answer is a row of zeros with a single one; with several where scores tie, as they may here."""
    rows = [np.asarray(answer[name]).ravel() for answer in answers]
    if not all(set(row.tolist()) == {0, 1} or set(row.tolist()) == {1} for row in rows):
        return False
    return 2 * sum(int(row.sum()) == 1 for row in rows) >= max(1, len(rows))


def _is_row(shape: Sequence[int | None]) -> bool:
    """Whether a declared shape can be one row an input."""
    return 0 not in shape[1:] and sum(d != 1 for d in shape[1:]) <= 1


def names_a_class(output: FileOutput, told: Told) -> bool:
    """Whether an output of one whole number, or text, is a class and not a count of something.

    Its name counts where the graph does not tell; but ``num_classes``, the same for every probe, is none.
    """
    if output.dtype in ("string", "str", "object") or told.decided(output.name) or told.values(output) is not None:
        return True
    said = {str(np.asarray(answer[output.name]).ravel()[0]) for answer in told.answers}
    count = COUNTS.search(output.name) is not None and len(said) == 1
    return bool(LABELS.search(output.name)) and not count


def spans(output: FileOutput, label: FileOutput, told: Told) -> bool:
    """Whether scores can be those of a label's classes: one each, one for two classes, or one for each pair."""
    values, width = told.values(label), told.width(output)
    count = None if values is None else len(values)
    if count is None and width == 1 and _says_more_than_two(label, told):
        return False  # such as the confidence in the class that is answered
    return count is None or width is None or width in (count, count * (count - 1) // 2) or (width == 1 and count == 2)


def made_by(wiring: Wiring | None, name: str) -> str | None:
    """The operator that makes an output, behind those that change its type or shape alone."""
    found = maker_of(wiring, name)
    return None if found is None else str(found.op_type)


def _says_more_than_two(label: FileOutput, told: Told) -> bool:
    """Whether a label says another class than the first two of some, or than two, on the probes."""
    said = {value for answer in told.answers for value in np.asarray(answer[label.name]).ravel().tolist()[:1]}
    return len(said) > 2 or any(isinstance(value, int | float) and value > 1 for value in said)


def maker_of(wiring: Wiring | None, name: str) -> onnx.NodeProto | None:
    """Its node."""
    node = wiring.maker(name) if wiring is not None else None
    while node is not None and wiring is not None and node.op_type in ("Identity", "Cast", "Squeeze"):
        node = wiring.maker(node.input[0])
    return node
