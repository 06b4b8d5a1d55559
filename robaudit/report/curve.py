"""The robustness curve, drawn with plain characters."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Console
from rich.text import Text

from robaudit.audit.result.document import Curve, CurvePoint, QueryPoint, Result
from robaudit.audit.verdict.phrases import NORM_SIGNS
from robaudit.report.console import heading, indented
from robaudit.report.words import number, short_rate

__all__ = ["BARS", "curve_sentences", "curve_title", "draw_bars", "draw_curves", "listed_points", "metric_word"]

WIDEST = 50
NARROWEST = 8
EVEN = 1e-6
BARS = "# lower end of the exact {} interval, = estimate, - upper end"
"""What the characters of a bar mean."""


def draw_curves(console: Console, result: Result) -> None:
    """Each curve as bars to scale, one a radius, with the exact interval of each and a sentence on what it means."""
    for curve in result.curves:
        heading(console, curve_title(result, curve))
        points = listed_points(curve)
        draw_bars(console, [(number(p.eps), p, ">" if p.eps == curve.area_eps else " ") for p in points])
        legend = f"{BARS.format(f'{curve.confidence:.0%}')}; > the threat model's eps."
        console.print(indented(Text(legend, style="dim")))
        for sentence in curve_sentences(result, curve):
            console.print(indented(Text(sentence)))


def draw_bars(console: Console, rows: Sequence[tuple[str, CurvePoint | QueryPoint, str]]) -> None:
    """A bar to scale for each (label, what stands there, mark before it), with its figure; beside it if there is room.

    Args:
        console: to draw on.
        rows: from the top.
    """
    left = max(len(label) for label, _, _ in rows)
    room = console.width - left - max(len(short_rate(point)) for _, point, _ in rows) - 7
    beside = room >= NARROWEST
    width = min(WIDEST, room if beside else console.width - left - 6)
    for label, point, mark in rows:
        line = Text(f"  {mark} {label:>{left}} |").append(_bar(point, max(width, NARROWEST)), style="cyan")
        figure = short_rate(point)
        console.print(line.append(f" {figure}") if beside else line, no_wrap=True, overflow="crop")
        if not beside:
            console.print(Text(f"    {'':{left}}  {figure}"))


def listed_points(curve: Curve) -> list[CurvePoint]:
    """The points that a list has room for: the evenly spaced ones, and the threat model's."""

    def even(eps: float) -> bool:
        return abs(eps / curve.step - round(eps / curve.step)) < EVEN

    return [point for point in curve.points if even(point.eps) or point.eps == curve.area_eps]


def _bar(point: CurvePoint | QueryPoint, width: int) -> str:
    """``#`` up to the interval's lower end, ``=`` up to the estimate, ``-`` up to its upper end."""
    low, middle, high = (round(value * width) for value in (point.low, point.estimate or 0.0, point.high))
    return ("#" * low + "=" * (middle - low) + "-" * (high - middle)).ljust(width)


def metric_word(result: Result) -> str:
    """What is measured, in one word."""
    return "accuracy" if result.worst_case.metric == "robust_accuracy" else "stability"


def curve_title(result: Result, curve: Curve) -> str:
    """What the curve shows."""
    return f"{metric_word(result).capitalize()} at every eps in {NORM_SIGNS[curve.norm]}: an upper bound at each"


def curve_sentences(result: Result, curve: Curve) -> list[str]:
    """What the curve comes to: median, mean, samples that never fell."""
    metric = metric_word(result)
    n = curve.broken + curve.unbroken
    samples = f"{n} samples answered correctly" if metric == "accuracy" else f"{n} samples"
    sure = f"{curve.confidence:.0%}"
    found = []
    if curve.median_distance is not None:
        interval = f"{sure} interval unknown: too few samples"
        if curve.median_low is not None:
            high = "beyond what was found" if curve.median_high is None else number(curve.median_high)
            interval = f"{sure} interval {number(curve.median_low)} to {high}"
        one = samples.replace(f"{n} samples", "one sample")
        half = f"Half of the {samples} fall" if n > 1 else f"The {one} falls"
        found.append(f"{half} at {number(curve.median_distance)} or nearer (median; {interval}).")
    if curve.area is not None:
        mean = curve.area / curve.area_eps
        found.append(f"Mean {metric} from eps 0 to {number(curve.area_eps)}: {mean:.1%} (area {number(curve.area)}).")
    if curve.unbroken:
        found.append(f"For {curve.unbroken} of {n} nothing was found at any distance.")
    found.append("Each sample counts up to its smallest verified distance; a stronger attack can only lower the curve.")
    return found
