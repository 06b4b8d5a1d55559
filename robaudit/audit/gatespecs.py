"""Gates as people write them: a metric, its bounds, and how much it counts."""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import date
from typing import Any, Literal

from pydantic import (
    Field,
    FiniteFloat,
    GetJsonSchemaHandler,
    SerializerFunctionWrapHandler,
    model_serializer,
    model_validator,
)
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema

from robaudit.audit.metrics import Metric, parse_metric
from robaudit.audit.specs import Spec, parse_eps
from robaudit.errors import UsageError

__all__ = ["GateSpec", "IgnoreSpec", "check_metric", "merge_gates", "parse_gate"]

EXPRESSION = re.compile(r"\s*(.+?)\s*(>=|≥|<=|≤)\s*([-+.\deE]+)\s*(%?)\s*")


def check_metric(text: str) -> Metric:
    """The metric that a name means, its radius looked at too.

    Raises:
        UsageError: no result has it, with a suggestion.
    """
    metric = parse_metric(text)
    if metric.eps is not None:
        parse_eps(metric.eps, metric.norm or "any")
    return metric


def parse_gate(text: str) -> dict[str, Any]:
    """A gate on one line: ``robust_accuracy>=0.6``, ``attack.square.success_rate <= 20%``, or a verdict's name alone.

    Raises:
        UsageError: it is none.
    """
    found = EXPRESSION.fullmatch(text)
    if found is None:
        if any(sign in text for sign in "<>=≥≤"):
            raise UsageError(f"the gate {text!r} is not METRIC>=NUMBER or METRIC<=NUMBER")
        return {"metric": text.strip()}
    metric, sign, number, percent = found.groups()
    try:
        value = float(number)
    except ValueError:
        raise UsageError(f"the gate {text!r} compares with {number!r}, which is no number") from None
    return {"metric": metric, "min" if sign in (">=", "≥") else "max": value / 100 if percent else value}


class IgnoreSpec(Spec):
    """An exception: the gate is decided and shown, and does not count until the date is over."""

    reason: str = Field(min_length=1)
    """Why."""
    until: date
    """Last day on which it holds (UTC), such as 2026-12-31; from the next day on the gate counts as if there were no
    exception, and that is said."""


class GateSpec(Spec):
    """A bound that a metric of the result must keep; on one line also ``robust_accuracy>=0.6``."""

    metric: str
    """What it looks at: robust_accuracy, clean_accuracy, class.NAME.robust_accuracy, attack.ID.success_rate,
    median_distance, coverage, check.ID, regression ...; docs/gates.md lists all."""
    min: FiniteFloat | None = None
    """Least value that passes."""
    max: FiniteFloat | None = None
    """Largest value that passes."""
    level: Literal["error", "warn"] = "error"
    """Whether it decides the exit code."""
    confidence: float = Field(default=0.95, gt=0, lt=1)
    """Confidence of the exact one-sided bounds."""
    ignore: IgnoreSpec | None = None
    """An exception with its reason and last day."""

    @classmethod
    def __get_pydantic_json_schema__(cls, core: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        """The schema: a map, or the same on one line."""
        schema = handler.resolve_ref_schema(handler(core))
        return {"anyOf": [schema, {"type": "string"}]} if handler.mode == "validation" else schema

    @model_validator(mode="before")
    @classmethod
    def _on_one_line(cls, content: Any) -> Any:
        if not isinstance(content, str):
            return content
        try:
            return parse_gate(content)
        except UsageError as error:
            raise ValueError(str(error)) from error

    @model_validator(mode="after")
    def _has_bound(self) -> GateSpec:
        try:
            unit = check_metric(self.metric).family.unit
        except UsageError as error:
            raise ValueError(str(error)) from error
        bounds = [bound for bound in (self.min, self.max) if bound is not None]
        if unit == "verdict":
            if bounds:
                raise ValueError(f"the gate on {self.metric} takes no min or max: it passes or fails")
            return self
        if not bounds:
            raise ValueError(f"the gate on {self.metric} needs a min or a max")
        if unit == "share" and not all(0 <= bound <= 1 for bound in bounds):
            raise ValueError(f"a bound on {self.metric} is a share between 0 and 1")
        if len(bounds) == 2 and bounds[0] > bounds[1]:
            raise ValueError(f"the gate on {self.metric} can never pass: its min is above its max")
        return self

    @model_serializer(mode="wrap")
    def _as_written(self, dump: SerializerFunctionWrapHandler) -> dict[str, Any]:
        content: dict[str, Any] = dump(self)
        return content if self.ignore is not None else {k: v for k, v in content.items() if k != "ignore"}


def merge_gates(base: Sequence[GateSpec], extra: Sequence[GateSpec]) -> tuple[GateSpec, ...]:
    """The base's gates, each replaced by the extra one on the same metric, then the other extra ones."""
    replaced = {parse_metric(gate.metric).canonical for gate in extra}
    return (*(gate for gate in base if parse_metric(gate.metric).canonical not in replaced), *extra)
