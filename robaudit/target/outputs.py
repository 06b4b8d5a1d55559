"""Which output holds the class scores, and why that one."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from robaudit.errors import UsageError
from robaudit.suggest import did_you_mean
from robaudit.target.peel import class_values, label_tail
from robaudit.target.wiring import Wiring

__all__ = ["Choice", "FileOutput", "Role", "choose_output", "class_index", "score_columns"]

Role = Literal["scores", "maps", "labels", "ranks"]
"""Class scores; dictionaries from class to score; one label an input; the indices of the best classes, best first."""
Answers = Sequence[Mapping[str, Any]]
LIKELY = ("logit", "prob", "score", "output", "class")
LOCATES = re.compile(r"box|anchor|mask|segm|keypoint|landmark|heatmap|num_det|det_|detections", re.IGNORECASE)
"""Names of outputs that say where things are: the file is a detector or segmenter."""
AUXILIARY = re.compile(r"aux|deep_?sup|(^|[^a-z])side", re.IGNORECASE)
INNER = re.compile(r"feat|embed|hidden|pool|repr|latent|state|attention", re.IGNORECASE)
NUMBERS = ("float", "bfloat", "double")
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
    """The output that is judged, what it is, and why it was taken."""

    output: FileOutput
    role: Role
    why: str


def choose_output(
    outputs: Sequence[FileOutput],
    *,
    wiring: Wiring | None = None,
    answers: Answers = (),
    wanted: str | None = None,
) -> Choice:
    """The output that holds class scores, else labels.

    Args:
        outputs: as declared.
        wiring: the graph, where it can be read.
        answers: all outputs to some probes, each asked alone.
        wanted: the name that the user gives.

    Raises:
        UsageError: no output is fit, the wanted one is not, or one says where things are; the file is no classifier.
    """
    roles = {o.name: role for o in outputs if (role := _role(o, wiring, answers)) is not None}
    if wanted is not None:
        return _wanted(outputs, roles, wanted)
    listing = ", ".join(map(str, outputs))
    if len(outputs) > 1 and any(LOCATES.search(o.name) for o in outputs):
        raise UsageError(
            f"this is no classifier that robaudit can audit: an output says where things are (outputs: {listing}); "
            "detectors and segmenters are not supported; if one output holds class scores, name it with --output-name"
        )
    fitting = [o for o in outputs if roles.get(o.name) in ("scores", "maps")]
    if fitting:
        output, why = _best(fitting, outputs, roles, wiring, answers)
        return Choice(output, roles[output.name], why)
    for role, words in (("labels", "it holds labels, and no output holds scores"), ("ranks", "it ranks the classes")):
        found = [o for o in outputs if roles.get(o.name) == role]
        if found:
            return Choice(found[0], role, words)  # type: ignore[arg-type]  # one of the two above
    raise UsageError(
        f"this is no classifier that robaudit can audit: no output holds one score a class, or a label (outputs: "
        f"{listing}); detectors and segmenters are not supported"
    )


def _wanted(outputs: Sequence[FileOutput], roles: Mapping[str, Role], wanted: str) -> Choice:
    output = next((o for o in outputs if o.name == wanted), None)
    if output is None:
        known = [o.name for o in outputs]
        hint = did_you_mean(wanted, known)
        listing = "" if hint.startswith("; known") else f"; known are {', '.join(known)}"
        raise UsageError(f"the model has no output {wanted!r}{hint}{listing}")
    if wanted not in roles:
        raise UsageError(f"the output {output} cannot be class scores or labels: one row of numbers an input is needed")
    return Choice(output, roles[wanted], "named by the user")


def _role(output: FileOutput, wiring: Wiring | None, answers: Answers) -> Role | None:
    """What an output can be, by its type and its shape: that of an answer, else as declared."""
    if output.dtype.startswith("seq(map"):
        return "maps"
    shape = output.shape
    if answers and (first := answers[0].get(output.name)) is not None:
        shape = np.shape(first)
    kind = _made_by(wiring, output.name)
    if output.dtype.startswith(NUMBERS) and kind != "TopK":
        return "scores" if shape is None or _is_row(shape) else None
    if output.dtype.startswith(WHOLE) and shape is not None:
        if len(shape) == 1 or (len(shape) > 1 and all(d == 1 for d in shape[1:])):
            return "labels"
        if len(shape) == 2 and kind == "TopK":
            return "ranks"
    return None


def _is_row(shape: Sequence[int | None]) -> bool:
    if 0 in shape[1:]:
        return False
    return len(shape) in (1, 2) or (len(shape) > 2 and all(d == 1 for d in shape[2:]))


def _made_by(wiring: Wiring | None, name: str) -> str | None:
    node = wiring.maker(name) if wiring is not None else None
    while node is not None and wiring is not None and node.op_type in ("Identity", "Cast", "Squeeze"):
        node = wiring.maker(node.input[0])
    return None if node is None else str(node.op_type)


def _best(
    fitting: list[FileOutput],
    outputs: Sequence[FileOutput],
    roles: Mapping[str, Role],
    wiring: Wiring | None,
    answers: Answers,
) -> tuple[FileOutput, str]:
    """The likeliest by the first criterion that tells them apart, which is the reason."""
    if len(fitting) == 1:
        others = "the only output" if len(outputs) == 1 else "the only output with one score a class"
        return fitting[0], others
    label = next((o for o in outputs if roles.get(o.name) == "labels"), None)
    makes = {o.name: wiring.ancestors(o.name) for o in fitting} if wiring is not None else {}

    def feeds(output: FileOutput) -> bool:
        """Other scores of another width are computed from it: it is inside."""
        return any(
            output.name in makes[o.name] and _width(o, answers) != _width(output, answers) for o in fitting if makes
        )

    def depth(output: FileOutput) -> int:
        return wiring.depth(output.name) if wiring is not None else 0

    criteria: list[tuple[Callable[[FileOutput], float], str]] = [
        (lambda o: _agreement(o, label, wiring, answers), f"its largest score is the label in {label and label.name}"),
        (lambda o: -bool(AUXILIARY.search(o.name)), "the others are auxiliary by their names"),
        (lambda o: -bool(INNER.search(o.name)), "the others are features by their names"),
        (lambda o: -feeds(o), "others feed it"),
        (lambda o: -_rank(o.name), "by its name"),
        (lambda o: _width(o, answers) != 1, "it has one score a class"),
        (depth, "it is made last"),
    ]
    left, why = list(fitting), ""
    for score, words in criteria:
        values = [score(o) for o in left]
        kept = [o for o, value in zip(left, values, strict=True) if value == max(values)]
        if len(kept) < len(left):
            why = why or words
            left = kept
        if len(left) == 1:
            return left[0], words if why == "" else why if why == words else f"{why}; {words}"
    return left[0], f"{why}; the first" if why else "the first of equals"


def _rank(name: str) -> int:
    return next((i for i, word in enumerate(LIKELY) if word in name.lower()), len(LIKELY))


def _width(output: FileOutput, answers: Answers) -> int | None:
    shape: Sequence[int | None] | None = output.shape
    if answers and (first := answers[0].get(output.name)) is not None:
        if isinstance(first, list):
            return len(first[0]) if first else None
        shape = np.shape(first)
    return None if shape is None else 1 if len(shape) < 2 else shape[1]


def _agreement(output: FileOutput, label: FileOutput | None, wiring: Wiring | None, answers: Answers) -> float:
    """Share of the probes on which the largest score is the label that another output gives."""
    if label is None or not answers:
        return 0.0
    tail = label_tail(wiring, label.name) if wiring is not None else None
    values = (tail.values if tail else None) or (class_values(wiring, label.name) if wiring is not None else None)
    equal = 0
    for answer in answers:
        scores = score_columns(answer[output.name], values)[0]
        told = class_index(np.asarray(answer[label.name]), values).ravel()[0]
        predicted = [scores.argmax()] if scores.size > 1 else [scores[0] > 0, scores[0] > 0.5]
        equal += any(int(p) == int(told) for p in predicted)
    return equal / len(answers)


def score_columns(answer: Any, values: Sequence[Any] | None) -> np.ndarray[Any, Any]:
    """[N, K] scores; dictionaries in the order of the declared classes, else of their sorted keys."""
    if isinstance(answer, list):
        keys = list(values) if values and all(v in answer[0] for v in values) else sorted(answer[0])
        return np.asarray([[row[key] for key in keys] for row in answer])
    array = np.asarray(answer)
    return array.reshape(len(array), -1) if array.ndim else array.reshape(1, 1)


def class_index(labels: np.ndarray[Any, Any], values: Sequence[Any] | None) -> np.ndarray[Any, Any]:
    """Labels as class indices; -1 for one that is not among the declared classes."""
    if values is None or list(values) == list(range(len(values))):
        return labels.astype(np.int64) if labels.dtype.kind in "iub" else np.full(labels.shape, -1, dtype=np.int64)
    table = {_key(value): i for i, value in enumerate(values)}
    found = [table.get(_key(value), -1) for value in labels.ravel().tolist()]
    return np.asarray(found, dtype=np.int64).reshape(labels.shape)


def _key(value: Any) -> Any:
    """The same for 2, "2" and b"2": converters write the numbers of classes as text here and there."""
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)
