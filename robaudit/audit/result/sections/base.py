"""What all sections of a result share: the record, its plain values, and the words it uses."""

from __future__ import annotations

import math
import os
from typing import Any, Literal, TypeAlias, get_args

from pydantic import BaseModel, ConfigDict, FiniteFloat, JsonValue, model_validator

__all__ = [
    "ACCESSES",
    "INCOMPLETE_STATUSES",
    "NORMS",
    "Access",
    "AttackStatus",
    "Attacker",
    "CheckStatus",
    "Free",
    "GateStatus",
    "Goal",
    "Norm",
    "Number",
    "Section",
]

Norm: TypeAlias = Literal["linf", "l2", "l1", "l0"]
Goal: TypeAlias = Literal["untargeted", "targeted"]
NORMS: tuple[Norm, ...] = get_args(Norm)
"""In the order in which reports list them."""
Access: TypeAlias = Literal["white-box", "transfer", "scores", "labels"]
ACCESSES: tuple[Access, ...] = get_args(Access)
"""From the strongest attacker to the weakest."""
Attacker: TypeAlias = Literal["white-box", "scores", "labels"]
"""What an attacker has of the model, from the most to the least; a surrogate of their own they may have in any case."""
AttackStatus: TypeAlias = Literal["done", "partial", "skipped", "unavailable", "failed", "not run"]
CheckStatus: TypeAlias = Literal["pass", "warn", "fail", "skipped"]
GateStatus: TypeAlias = Literal["pass", "fail", "inconclusive", "invalid"]

INCOMPLETE_STATUSES: frozenset[AttackStatus] = frozenset({"partial", "unavailable", "failed", "not run"})
"""An audit with an attack in one of these is incomplete; ``skipped`` is not among them (it did not apply)."""


def _plain(value: Any) -> Any:
    """A value as JSON can hold it: no NaN or infinity, no numpy scalars, no bytes that are not UTF-8."""
    if isinstance(value, str):
        return value.encode("utf-8", "backslashreplace").decode()
    if isinstance(value, dict):
        return {_plain(str(key)): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, os.PathLike):
        return _plain(os.fspath(value))
    if not isinstance(value, bool | int | float | BaseModel | None) and callable(getattr(value, "item", None)):
        value = value.item()
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value


Number: TypeAlias = FiniteFloat | None
Free: TypeAlias = dict[str, JsonValue]


class Section(BaseModel):
    """A frozen record that holds what JSON can hold."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True, protected_namespaces=())

    @model_validator(mode="before")
    @classmethod
    def _make_plain(cls, content: Any) -> Any:
        return _plain(content)
