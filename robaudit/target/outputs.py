"""Which outputs hold the class scores, which one says the class, and why these."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np

from robaudit.errors import UsageError
from robaudit.suggest import did_you_mean
from robaudit.target.decisions import class_values, label_tail, label_values
from robaudit.target.rows import class_index, one_key, score_columns, width_of
from robaudit.target.wiring import Wiring

__all__ = ["Choice", "FileOutput", "Role", "choose_output"]

Role = Literal["scores", "maps", "labels", "ranks"]
"""Class scores; dictionaries from class to score; one label an input; the indices of the best classes, best first."""
Answers = Sequence[Mapping[str, Any]]
LIKELY = ("logit", "prob", "score", "output", "class")
LOCATES = re.compile(r"box|anchor|mask|segm|keypoint|landmark|heatmap|num_det|det_|detections", re.IGNORECASE)
"""Names of outputs that say where things are: the file is a detector or segmenter."""
AUXILIARY = re.compile(r"aux|deep_?sup|(^|[^a-z])side", re.IGNORECASE)
INNER = re.compile(r"feat|embed|hidden|pool|repr|latent|state|attention", re.IGNORECASE)
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


def choose_output(
    outputs: Sequence[FileOutput],
    *,
    wiring: Wiring | None = None,
    answers: Answers = (),
    wanted: str | None = None,
    ruled: bool = False,
    rows: int = 1,
    decided: Callable[[str], bool] = lambda _: False,
) -> Choice:
    """The output that holds class scores, with the label beside it, else labels.

    Args:
        outputs: as declared.
        wiring: the graph, where it can be read.
        answers: all outputs to some probes, each asked alone.
        wanted: the name that the user gives.
        ruled: the user says which of the scores decides, so that no label beside them does.
        rows: of each answer, all for the same input.
        decided: whether an output is the place of the largest score, or the like, of whatever type.

    Raises:
        UsageError: no output is fit, the wanted one is not, or one says where things are; the file is no classifier.
    """
    told = _Told(wiring, answers, rows, decided)
    roles = {o.name: role for o in outputs if (role := _role(o, told)) is not None}
    labels = [o for o in outputs if roles.get(o.name) == "labels" and _names_a_class(o, told)]
    if wanted is not None:
        return _wanted(outputs, roles, wanted, labels, told)
    listing = ", ".join(map(str, outputs))
    if len(outputs) > 1 and any(LOCATES.search(o.name) for o in outputs):
        raise UsageError(
            f"this is no classifier that robaudit can audit: an output says where things are (outputs: {listing}); "
            "detectors and segmenters are not supported; if one output holds class scores, name it with --output-name"
        )
    fitting = [o for o in outputs if roles.get(o.name) in ("scores", "maps")]
    spanning = [o for o in fitting if all(_spans(o, label, told) for label in labels[:1])]
    if (columns := _columns(spanning if len(spanning) > 1 else fitting, labels, told)) is not None:
        why = "each of these outputs holds one class's score"
        first = next(o for o in fitting if o.name == columns[0])
        return _with_label(Choice(first, "scores", why, columns), labels[0] if labels else None, aside=ruled)
    if spanning:
        output, why = _best(spanning, outputs, roles, told)
        return _with_label(Choice(output, roles[output.name], why), _beside(output, labels, told), aside=ruled)
    lacking = "it holds labels, and no output holds " + ("scores" if not fitting else "one score a class")
    for role, words in (("labels", lacking), ("ranks", "it ranks the classes")):
        found = [o for o in outputs if roles.get(o.name) == role]
        if found:
            return Choice((labels or found)[0] if role == "labels" else found[0], role, words)  # type: ignore[arg-type]  # one of the two
    several = [o.name for o in outputs if o.dtype.startswith("seq(tensor")]
    if several:
        raise UsageError(
            f"this is no classifier that robaudit can audit: its output {several[0]} is a sequence of tensors, as of "
            f"several classifiers in one file (scikit-learn's MultiOutputClassifier; outputs: {listing}); export one "
            "of them by itself"
        )
    for output in outputs if answers else ():
        shape = np.shape(answers[0][output.name])
        if output.dtype.startswith(NUMBERS) and len(shape) == 2 and shape[0] != rows:
            words = "x".join(map(str, shape))
            raise UsageError(f"the output {output.name} of {rows} inputs has shape {words}, not one row an input")
    raise UsageError(
        f"this is no classifier that robaudit can audit: no output holds one score a class, or a label (outputs: "
        f"{listing}); detectors and segmenters are not supported"
    )


@dataclass(frozen=True)
class _Told:
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


def _with_label(choice: Choice, label: FileOutput | None, *, aside: bool) -> Choice:
    return replace(choice, aside=label) if aside else replace(choice, label=label)


def _wanted(
    outputs: Sequence[FileOutput],
    roles: Mapping[str, Role],
    wanted: str,
    labels: Sequence[FileOutput],
    told: _Told,
) -> Choice:
    output = next((o for o in outputs if o.name == wanted), None)
    if output is None:
        known = [o.name for o in outputs]
        hint = did_you_mean(wanted, known)
        listing = "" if hint.startswith("; known") else f"; known are {', '.join(known)}"
        raise UsageError(f"the model has no output {wanted!r}{hint}{listing}")
    if wanted not in roles:
        raise UsageError(f"the output {output} cannot be class scores or labels: one row of numbers an input is needed")
    scores = roles[wanted] in ("scores", "maps")
    return Choice(output, roles[wanted], "named by the user", aside=_beside(output, labels, told) if scores else None)


def _role(output: FileOutput, told: _Told) -> Role | None:
    """What an output can be, by its type and its shape: that of an answer, else as declared."""
    if output.dtype.startswith("seq(map"):
        return "maps"
    if output.dtype.startswith(("seq(", "map(", "optional(", "sparse_tensor(")):
        return None
    first = told.answers[0].get(output.name) if told.answers else None
    answered = None if first is None else np.shape(first)
    shape = output.shape if answered is None else answered
    kind = _made_by(told.wiring, output.name)
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


def _names_a_class(output: FileOutput, told: _Told) -> bool:
    """Whether an output of one whole number, or text, is a class and not a count of something.

    Its name counts where the graph does not tell; but ``num_classes``, the same for every probe, is none.
    """
    if output.dtype in ("string", "str", "object") or told.decided(output.name) or told.values(output) is not None:
        return True
    said = {str(np.asarray(answer[output.name]).ravel()[0]) for answer in told.answers}
    count = COUNTS.search(output.name) is not None and len(said) == 1
    return bool(LABELS.search(output.name)) and not count


def _spans(output: FileOutput, label: FileOutput, told: _Told) -> bool:
    """Whether scores can be those of a label's classes: one each, one for two classes, or one for each pair."""
    values, width = told.values(label), told.width(output)
    count = None if values is None else len(values)
    return count is None or width is None or width in (count, count * (count - 1) // 2) or (width == 1 and count == 2)


def _columns(fitting: Sequence[FileOutput], labels: Sequence[FileOutput], told: _Told) -> tuple[str, ...] | None:
    """Outputs of one number that are the scores of a class each; None where there are other scores, or no proof.

    Raises:
        UsageError: there are several, and nothing says what they are together.
    """
    if len(fitting) < 2 or not told.answers or any(told.width(o) != 1 for o in fitting):
        return None
    names = [o.name for o in fitting]
    values = told.values(labels[0]) if labels else None
    if labels and (values is None or len(values) == len(names)):
        keys = [one_key(value) for value in values or ()]
        places = [next((n for n in names if n == key or n.endswith(("_" + key, "i" + key))), None) for key in keys]
        return tuple(n for n in places if n) if len(set(places) - {None}) == len(names) else tuple(names)
    totals = [sum(float(np.asarray(a[name]).ravel()[0]) for name in names) for a in told.answers]
    if all(abs(total - 1) < 5e-3 for total in totals):
        return tuple(names)
    if labels or len({(bool(AUXILIARY.search(n)), bool(INNER.search(n)), _rank(n)) for n in names}) > 1:
        return None
    raise UsageError(
        f"this is no classifier that robaudit can audit as it is: {len(names)} outputs hold one number each, which do "
        f"not sum to 1 ({', '.join(names)}): several questions are answered; name one with --output-name"
    )


def _beside(output: FileOutput, labels: Sequence[FileOutput], told: _Told) -> FileOutput | None:
    """The label output that goes with scores: of several the one that they agree with most."""
    fitting = [label for label in labels if _spans(output, label, told)]
    return max(fitting, key=lambda label: _agreement(output, label, told), default=None)


def _made_by(wiring: Wiring | None, name: str) -> str | None:
    node = wiring.maker(name) if wiring is not None else None
    while node is not None and wiring is not None and node.op_type in ("Identity", "Cast", "Squeeze"):
        node = wiring.maker(node.input[0])
    return None if node is None else str(node.op_type)


def _best(
    fitting: list[FileOutput],
    outputs: Sequence[FileOutput],
    roles: Mapping[str, Role],
    told: _Told,
) -> tuple[FileOutput, str]:
    """The likeliest by the first criterion that tells them apart, which is the reason."""
    if len(fitting) == 1:
        others = "the only output" if len(outputs) == 1 else "the only output with one score a class"
        return fitting[0], others
    wiring = told.wiring
    label = next((o for o in outputs if roles.get(o.name) == "labels"), None)
    makes = {o.name: wiring.ancestors(o.name) for o in fitting} if wiring is not None else {}

    def feeds(output: FileOutput) -> bool:
        """Other scores of another width are computed from it: it is inside."""
        return any(output.name in makes[o.name] and told.width(o) != told.width(output) for o in fitting if makes)

    def depth(output: FileOutput) -> int:
        return wiring.depth(output.name) if wiring is not None else 0

    criteria: list[tuple[Callable[[FileOutput], float], str]] = [
        (lambda o: _agreement(o, label, told), f"its largest score is the label in {label and label.name}"),
        (lambda o: -bool(AUXILIARY.search(o.name)), "the others are auxiliary by their names"),
        (lambda o: -bool(INNER.search(o.name)), "the others are features by their names"),
        (lambda o: -feeds(o), "others feed it"),
        (lambda o: -_rank(o.name), "by its name"),
        (lambda o: told.width(o) != 1, "it has one score a class"),
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


def _agreement(output: FileOutput, label: FileOutput | None, told: _Told) -> float:
    """Share of the probes on which the largest score is the label that another output gives."""
    wiring, answers = told.wiring, told.answers
    if label is None or not answers:
        return 0.0
    tail = label_tail(wiring, label.name) if wiring is not None else None
    values = (tail.values if tail else None) or (class_values(wiring, label.name) if wiring is not None else None)
    equal = 0
    for answer in answers:
        scores = score_columns(answer[output.name], values)[0]
        given = class_index(np.asarray(answer[label.name]), values).ravel()[0]
        predicted = [scores.argmax()] if scores.size > 1 else [scores[0] > 0, scores[0] > 0.5]
        equal += any(int(p) == int(given) for p in predicted)
    return equal / len(answers)
