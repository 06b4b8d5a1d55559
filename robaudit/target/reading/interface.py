"""What the user says of a file's inputs and outputs; imports nothing heavy."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from robaudit.target.head.rule import Rule

__all__ = ["Interface"]


@dataclass(frozen=True)
class Interface:
    """What the user says of a file's inputs and outputs.

    Args:
        output: name of the output with the class scores.
        input: name of the attacked input.
        fixed: values of the other inputs by name, as text.
        classes: number of classes, for files that return labels and do not tell.
        rule: which of the scores decides.
        fresh_state: what calls leave behind in the file is undone before each.
    """

    output: str | None = None
    input: str | None = None
    fixed: Mapping[str, str] = field(default_factory=dict)
    classes: int | None = None
    rule: Rule | None = None
    fresh_state: bool = False
