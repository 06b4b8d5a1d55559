"""Gates as people write them: a metric, its bounds, and how much it counts."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
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

from robaudit.audit.config.metrics import OF_NORM, Metric, parse_metric
from robaudit.audit.config.specs import Spec, parse_eps
from robaudit.errors import UsageError

__all__ = [
    "GateSpec",
    "IgnoreSpec",
    "check_contradictions",
    "check_metric",
    "figure_of",
    "gate_words",
    "merge_gates",
    "parse_gate",
]

EXPRESSION = re.compile(r"\s*(.+?)\s*(>=|≥|<=|≤)\s*([-+.\deE]+)\s*(%?)\s*")
PERCENT = re.compile(r"\s*([-+.\deE]+)\s*%\s*")
SURE = "a gate's confidence lies above 0.5 and below 1, such as 0.95"


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
        UsageError: it is not one.
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
    bound = _share(metric, value) if percent else value
    return {"metric": metric, "min" if sign in (">=", "≥") else "max": bound}


def _share(metric: str, percent: float) -> float:
    """A percentage as a share.

    Raises:
        UsageError: the metric is no share, or there is no such metric.
    """
    unit = check_metric(metric).family.unit
    if unit == "distance":
        raise UsageError(
            f"the gate on {metric} bounds a distance, and {percent:g}% is a share; give the distance, such as 0.03"
        )
    if unit != "share":
        what = "is a count" if unit == "count" else "passes or fails"
        raise UsageError(f"the gate on {metric} takes no percentage, as {metric} {what}")
    return percent / 100


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
    confidence: float = Field(default=0.95, gt=0.5, lt=1)
    """Confidence of the exact one-sided bounds, above 0.5: at a half or less they lie beyond the estimate, so that a
    gate would pass that the estimate itself misses."""
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
        try:
            return parse_gate(content) if isinstance(content, str) else _with_shares(content)
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
        try:
            check_contradictions([self])
        except UsageError as error:
            raise ValueError(str(error)) from error
        return self

    @model_serializer(mode="wrap")
    def _as_written(self, dump: SerializerFunctionWrapHandler) -> dict[str, Any]:
        content: dict[str, Any] = dump(self)
        return content if self.ignore is not None else {k: v for k, v in content.items() if k != "ignore"}


def _with_shares(content: Any) -> Any:
    """A gate's map with bounds such as ``20%`` as shares.

    Raises:
        UsageError: a percentage of what is no share, or a confidence outside of (0.5, 1).
    """
    if not isinstance(content, Mapping):
        return content
    found = dict(content)
    for name in ("min", "max"):
        percent = PERCENT.fullmatch(found[name]) if isinstance(found.get(name), str) else None
        if percent is not None and isinstance(found.get("metric"), str):
            found[name] = _share(found["metric"], _number(percent[1], found[name]))
    confidence = found.get("confidence")
    if isinstance(confidence, str) and (percent := PERCENT.fullmatch(confidence)):
        found["confidence"] = confidence = _number(percent[1], confidence) / 100
    if isinstance(confidence, int | float) and not 0.5 < confidence < 1:
        raise UsageError(f"{SURE}, not {confidence:g}")
    return found


def _number(text: str, whole: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise UsageError(f"{whole!r} is no percentage") from None


def check_contradictions(gates: Sequence[GateSpec], radii: Mapping[str, float] | None = None) -> None:
    """Refuse gates on one figure of which one at least can never pass.

    Args:
        gates: all that are to be decided.
        radii: of the threat models by norm, the main one first, which tells what else names the worst case.

    Raises:
        UsageError: a min lies above a max; or on it, where the figure has an interval.
    """
    lows: dict[str, tuple[float, str]] = {}
    highs: dict[str, tuple[float, str]] = {}
    for gate in gates:
        metric = parse_metric(gate.metric)
        figure = figure_of(metric, radii or {})
        if gate.min is not None:
            lows[figure] = max(lows.get(figure, (gate.min, gate.metric)), (gate.min, gate.metric))
        if gate.max is not None:
            highs[figure] = min(highs.get(figure, (gate.max, gate.metric)), (gate.max, gate.metric))
        if figure not in lows or figure not in highs:
            continue
        (low, below), (high, above) = lows[figure], highs[figure]
        who = f"the gate on {below}" if len(gates) == 1 else f"the gates {below}>={low:g} and {above}<={high:g}"
        if low > high:
            raise UsageError(f"{who} can never pass: {'its' if len(gates) == 1 else 'the'} min is above the max")
        if low == high and metric.family.interval not in ("none", "order statistics"):
            raise UsageError(f"{who} can never pass: min and max are both {low:g}, and the figure has an interval")


def figure_of(metric: Metric, radii: Mapping[str, float]) -> str:
    """What a metric is of: the same text for all ways to name it.

    Args:
        metric: of a gate.
        radii: of the threat models by norm, the main one first.
    """
    name = "rate_alone" if (metric.head, metric.name) == ("attack", "robust_accuracy") else metric.name
    worst = metric.subject is None and radii and metric.name in OF_NORM
    norm, eps = metric.norm, None if metric.eps is None else parse_eps(metric.eps, metric.norm or "any")
    if worst and norm is None and (eps is not None or len(radii) == 1):
        norm = next(iter(radii))
    if worst and norm is not None and norm in radii and eps is None:
        eps = radii[norm]
    subject = "" if metric.subject is None else f"{metric.head}.{metric.subject}."
    return f"{subject}{name}" + (f".{norm}" if norm else "") + ("" if eps is None else f"@{eps:.12g}")


def merge_gates(base: Sequence[GateSpec], extra: Sequence[GateSpec]) -> tuple[GateSpec, ...]:
    """The base's gates, each replaced by the extra one on the same metric, then the other extra ones."""
    replaced = {parse_metric(gate.metric).canonical for gate in extra}
    return (*(gate for gate in base if parse_metric(gate.metric).canonical not in replaced), *extra)


def gate_words(gate: Mapping[str, Any]) -> str:
    """A gate with its bounds."""
    bounds = f" ≥ {gate['min']:g}" if gate["min"] is not None else ""
    bounds += f" ≤ {gate['max']:g}" if gate["max"] is not None else ""
    return f"{gate['metric']}{bounds}"
