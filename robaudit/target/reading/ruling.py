"""What the user says of the scores: done, and compared with the label output beside them."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from torch import Tensor

from robaudit.errors import UsageError
from robaudit.target.files.model_file import ModelFile
from robaudit.target.head.rule import Rule, shortest
from robaudit.target.head.scores import Head
from robaudit.target.outputs.bounds import Interval
from robaudit.target.outputs.declared import Choice
from robaudit.target.outputs.peel import Tail
from robaudit.target.reading.agreement import MOST, disagreement

__all__ = ["disputed", "reach", "ruled"]


def reach(tail: Tail, bounds: Interval | None) -> Interval | None:
    """The thresholds that divide an output of one number: from the first on, below the second."""
    if not tail.peeled:
        return bounds
    return math.nextafter(0.0, 1.0), (math.inf if tail.ending == "exp" else 1.0)


def ruled(path: Path, choice: Choice, head: Head, rule: Rule, bounds: Interval | None) -> tuple[Choice, Head]:
    """The head that decides as the user says.

    Raises:
        UsageError: the output cannot be decided on so.
    """
    name = choice.output.name
    if choice.role in ("labels", "ranks"):
        raise UsageError(f"--decision {rule}: the output {name} of {path} holds labels, which are decided already")
    if head.single == (rule.threshold is None):
        words = "one number an input: give above:NUMBER or below:NUMBER, where the second class begins"
        words = words if head.single else "one score a class: give largest or smallest"
        raise UsageError(f"--decision {rule}: the output {name} of {path} has {words}")
    if rule.threshold is not None and bounds is not None and not bounds[0] <= rule.threshold < bounds[1]:
        words = f"lies between {bounds[0]:.3g} and {bounds[1]:.3g}, all of it on one side"
        raise UsageError(f"--decision {rule}: the output {name} of {path} {words}")
    how = "largest score wins" if rule.kind == "largest" else "smallest score wins"
    if rule.threshold is not None:
        how = f"second class is {rule.kind} {shortest(rule.threshold)}"
    choice = replace(choice, why=f"{choice.why}; the {how}, as declared")
    return choice, replace(head, turned=rule.kind in ("smallest", "below"), threshold=rule.threshold)


def disputed(
    choice: Choice, head: Head, file: ModelFile, ask: Callable[[Tensor], Tensor], points: Tensor
) -> str | None:
    """Where a label output was set aside for the user's word and says otherwise: a sentence; None where it agrees.

    Args:
        choice: with a label output aside.
        head: of its scores.
        file: that they are of; it is left as it was.
        ask: [N, *shape] in u-space to raw outputs, each input alone.
        points: [N, *shape] samples.
    """
    label = choice.aside
    assert label is not None
    both = replace(choice, label=label, aside=None)
    file.choose_output(both, file.find_tail(both)[1])
    try:
        away, tried = disagreement(replace(head, labelled=True), ask, points)
    finally:
        file.choose_output(choice, file.find_tail(choice)[1])
    if away <= MOST * tried:
        return None
    return (
        f"the label output {label.name} of the file says another class than its scores in {choice.output.name}, read "
        f"as asked, on {away} of {tried} inputs that were tried; a deployment that answers with {label.name} is "
        "another model than the one that was judged"
    )
