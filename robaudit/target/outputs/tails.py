"""Where the twin of an ONNX file can end, by what its chosen output is."""

from __future__ import annotations

from typing import Any

from robaudit.target.outputs.decisions import class_values, label_tail, label_values
from robaudit.target.outputs.declared import Choice
from robaudit.target.outputs.peel import Tail, column_tail, score_tail
from robaudit.target.outputs.wiring import Wiring

__all__ = ["tail_of"]


def tail_of(wiring: Wiring, choice: Choice) -> tuple[Tail | None, tuple[Any, ...] | None]:
    """(where the twin ends, what the file calls its classes); None for a label whose decision is not found."""
    name = choice.output.name
    if choice.role in ("labels", "ranks"):
        tail = label_tail(wiring, name)
        own = label_values(wiring, name)
        return tail, own or (tail.values if tail is not None else class_values(wiring, name))
    values = class_values(wiring, name)
    if choice.label is not None:
        said = label_values(wiring, choice.label.name)
        values = values if said is None or set(values or ()) == set(said) else said
    return column_tail(wiring, choice.columns) if choice.columns else score_tail(wiring, name), values
