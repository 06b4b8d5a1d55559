"""Which outputs hold the class scores, which one says the class, and why these."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

import numpy as np
import onnx

from robaudit.errors import UsageError
from robaudit.suggest import did_you_mean
from robaudit.target.outputs.decisions import class_values, label_tail
from robaudit.target.outputs.declared import (
    NUMBERS,
    Answers,
    Choice,
    FileOutput,
    Role,
    Told,
    maker_of,
    names_a_class,
    role_of,
    spans,
)
from robaudit.target.outputs.rows import class_index, one_key, score_columns
from robaudit.target.outputs.wiring import Wiring, attribute

__all__ = ["choose_output"]

LIKELY = ("logit", "prob", "score", "output", "class")
LOCATES = re.compile(r"box|anchor|mask|segm|keypoint|landmark|heatmap|num_det|det_|detections", re.IGNORECASE)
"""Names of outputs that say where things are: the file is a detector or segmenter."""
AUXILIARY = re.compile(r"aux|deep_?sup|(^|[^a-z])side", re.IGNORECASE)
FEATURES = re.compile(r"embed|(^|[^a-z])feat(ure)?s?([^a-z]|$)|hidden_state|pooler|pooled|latent|representation", re.I)
"""Names of outputs that hold features, where ``NAMED_SCORES`` does not say otherwise."""
NAMED_SCORES = re.compile(r"logit|prob|score|class|softmax|sigmoid|pred", re.IGNORECASE)
INNER = re.compile(r"feat|embed|hidden|pool|repr|latent|state|attention", re.IGNORECASE)


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
    told = Told(wiring, answers, rows, decided)
    roles = {o.name: role for o in outputs if (role := role_of(o, told)) is not None}
    labels = [o for o in outputs if roles.get(o.name) == "labels" and names_a_class(o, told)]
    if wanted is not None:
        return _wanted(outputs, roles, wanted, labels, told)
    listing = ", ".join(map(str, outputs))
    if len(outputs) > 1 and any(LOCATES.search(o.name) for o in outputs):
        raise UsageError(
            f"this is no classifier that robaudit can audit: an output says where things are (outputs: {listing}); "
            "detectors and segmenters are not supported; if one output holds class scores, name it with --output-name"
        )
    fitting = [o for o in outputs if roles.get(o.name) in ("scores", "maps")]
    spanning = [o for o in fitting if all(spans(o, label, told) for label in labels[:1])]
    if (columns := _columns(spanning if len(spanning) > 1 else fitting, labels, told)) is not None:
        why = "each of these outputs holds one class's score"
        first = next(o for o in fitting if o.name == columns[0])
        return _with_label(Choice(first, "scores", why, columns), labels[0] if labels else None, aside=ruled)
    if spanning:
        output, why = _best(spanning, outputs, roles, told)
        if not labels and not ruled:
            _check_meaning(output, told)
        return _with_label(Choice(output, roles[output.name], why), _beside(output, labels, told), aside=ruled)
    lacking = "it holds labels, and no output holds " + ("scores" if not fitting else "one score a class")
    for role, words in (("labels", lacking), ("ranks", "it ranks the classes")):
        found = [o for o in outputs if roles.get(o.name) == role]
        if found:
            return Choice((labels or found)[0] if role == "labels" else found[0], role, words)  # type: ignore[arg-type]  # one of the two
    raise UsageError(_unfit(outputs, told, listing))


def _unfit(outputs: Sequence[FileOutput], told: Told, listing: str) -> str:
    """Why none of the outputs can be judged, in words."""
    several = [o.name for o in outputs if o.dtype.startswith("seq(tensor")]
    if several:
        return (
            f"this is no classifier that robaudit can audit: its output {several[0]} is a sequence of tensors, as of "
            f"several classifiers in one file (scikit-learn's MultiOutputClassifier; outputs: {listing}); export one "
            "of them by itself"
        )
    for output in outputs if told.answers else ():
        shape = np.shape(told.answers[0][output.name])
        if output.dtype.startswith(NUMBERS) and len(shape) == 2 and shape[0] != told.rows:
            words = "x".join(map(str, shape))
            return f"the output {output.name} of {told.rows} inputs has shape {words}, not one row an input"
    return (
        f"this is no classifier that robaudit can audit: no output holds one score a class, or a label (outputs: "
        f"{listing}); detectors and segmenters are not supported"
    )


def _check_meaning(output: FileOutput, told: Told) -> None:
    """Refuse numbers that are no class scores, though they have their shape.

    Raises:
        UsageError: they are features, by their name or their length 1, or a regression.
    """
    width = told.width(output) or 1
    how = f"if {output.name} holds class scores all the same, name it with --output-name"
    node = maker_of(told.wiring, output.name)
    if node is not None and node.op_type.endswith("Regressor") and width == 1 and _is_raw(node):
        raise UsageError(
            f"this is no classifier that robaudit can audit: a {node.op_type} makes its output {output.name}, an "
            f"amount and not a class; {how}, and say with --decision above:NUMBER where the second class begins"
        )
    named = FEATURES.search(output.name) is not None and not NAMED_SCORES.search(output.name)
    if width > 1 and (named or _has_length_one(output, told)):
        words = "features by its name" if named else "vectors of length 1, as of embeddings"
        raise UsageError(
            f"this is no classifier that robaudit can audit: its output {output.name} of {width} numbers holds "
            f"{words}, and no class scores; export the model with its classifier on top; {how}"
        )


def _is_raw(node: onnx.NodeProto) -> bool:
    return bool(attribute(node, "post_transform", "NONE") == "NONE")


def _has_length_one(output: FileOutput, told: Told) -> bool:
    """Whether answers are vectors of length 1 with entries of both signs; one of a zero input may be none."""
    width = told.width(output) or 1
    if not output.dtype.startswith(NUMBERS) or width < 4:
        return False
    rows = [np.asarray(answer[output.name], dtype=np.float64).reshape(-1, width)[0] for answer in told.answers]
    rows = [row for row in rows if np.isfinite(row).all() and row.any()]
    return len(rows) > 1 and all(abs(np.linalg.norm(row) - 1) < 1e-3 and row.min() < 0 < row.max() for row in rows)


def _with_label(choice: Choice, label: FileOutput | None, *, aside: bool) -> Choice:
    return replace(choice, aside=label) if aside else replace(choice, label=label)


def _wanted(
    outputs: Sequence[FileOutput],
    roles: Mapping[str, Role],
    wanted: str,
    labels: Sequence[FileOutput],
    told: Told,
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


def _columns(fitting: Sequence[FileOutput], labels: Sequence[FileOutput], told: Told) -> tuple[str, ...] | None:
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


def _beside(output: FileOutput, labels: Sequence[FileOutput], told: Told) -> FileOutput | None:
    """The label output that goes with scores: of several the one that they agree with most."""
    fitting = [label for label in labels if spans(output, label, told)]
    return max(fitting, key=lambda label: _agreement(output, label, told), default=None)


def _best(
    fitting: list[FileOutput],
    outputs: Sequence[FileOutput],
    roles: Mapping[str, Role],
    told: Told,
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


def _agreement(output: FileOutput, label: FileOutput | None, told: Told) -> float:
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
