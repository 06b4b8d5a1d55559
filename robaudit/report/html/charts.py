"""The charts of the page. Shapes tell as much as colours do, and every figure stands in a table too."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from markupsafe import Markup

from robaudit.audit.result.document import Access, AccessCurve, Curve, CurvePoint, QueryPoint, Rate, Result, Secrecy
from robaudit.audit.verdict.phrases import NORM_SIGNS
from robaudit.report.curve import curve_sentences, curve_title
from robaudit.report.html.classes import ClassRow
from robaudit.report.html.figure import ACCENT, INK, MARK, MUTED, canvas, to_svg
from robaudit.report.secrecy import ACCESS_NAMES, query_words, secrecy_sentences, secrecy_title
from robaudit.report.words import ball, number, plain, short_rate

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["bracket_chart", "class_chart", "curve_chart", "drawn_points", "secrecy_chart"]

WIDTH = 540
ROW = 30
MARGIN = 56
MOST_ROWS = 16
MOST_CLASSES = 24
LABEL = 26
COLUMNS = 1000
"""Parts of a curve's width in which at most two points are drawn."""
CLEAN, STEP, WORST, PROVED = "s", "o", "D", "^"
STYLES: dict[Access, tuple[str, str, tuple[float, ...]]] = {
    "transfer": (MUTED, "s", (1, 2)),
    "labels": (ACCENT, "o", ()),
    "scores": (INK, "^", (6, 3)),
    "white-box": (MARK, "D", (8, 3, 2, 3)),
}
"""Colour, marker and dashes of each access, so that they differ on paper too."""
NO_QUERY = 0.4
"""Where on a logarithmic axis no query at all is drawn."""


@dataclass(frozen=True)
class _Row:
    label: str
    rate: Rate
    marker: str
    color: str


def _rate_rows(axes: Axes, rows: Sequence[_Row]) -> None:
    """A point with its interval and its figure for each row, the first at the top."""
    for place, row in enumerate(rows):
        middle = 100 * (row.rate.estimate or 0.0)
        axes.plot([100 * row.rate.low, 100 * row.rate.high], [place] * 2, color=row.color, linewidth=2.0)
        for end in (row.rate.low, row.rate.high):
            axes.plot([100 * end], [place], marker="|", markersize=9, markeredgewidth=1.6, color=row.color)
        axes.plot([middle], [place], marker=row.marker, markersize=8, color=row.color, linestyle="none")
        beside = ("axes fraction", "data")
        axes.annotate(f"{middle:.1f} %", (1.01, place), xycoords=beside, va="center", color=INK, annotation_clip=False)
    axes.set_yticks(range(len(rows)), [row.label for row in rows])
    axes.set_ylim(len(rows) - 0.4, -0.6)
    axes.set_xlim(-1, 101)
    axes.set_xticks(range(0, 101, 20), [f"{share} %" for share in range(0, 101, 20)])
    axes.grid(visible=False, axis="y")
    axes.tick_params(axis="y", length=0)


def bracket_chart(result: Result) -> Markup | None:
    """What stands without an attack, after each, and after all; None where there is nothing to draw or to quote."""
    worst = result.worst_case.robust_accuracy or result.worst_case.stability
    if worst is None or worst.n == 0:
        return None
    rows = []
    if result.clean.accuracy is not None:
        rows.append(_Row("no attack", result.clean.accuracy, CLEAN, MUTED))
    if result.threats:
        rows += [_Row(ball(outcome), outcome.upper_bound_observed, STEP, ACCENT) for outcome in result.threats]
    else:
        ran = [(a.id, a.cumulative_robust_accuracy) for a in result.attacks if a.cumulative_robust_accuracy is not None]
        labels = [
            f"then {plain(name, LABEL)}" if i else f"after {plain(name, LABEL)}" for i, (name, _) in enumerate(ran)
        ]
        rows += [_Row(label, left, STEP, ACCENT) for label, (_, left) in zip(labels, ran, strict=True)][:MOST_ROWS]
    rows.append(_Row("worst case", worst, WORST, MARK))
    place = len(rows) - 1
    if result.certified is not None:
        rows.append(_Row("certified", result.certified.lower_bound, PROVED, MUTED))
    with canvas(WIDTH, MARGIN + ROW * len(rows)) as (figure, axes):
        axes.barh([place], [100 * (worst.estimate or 0.0)], height=0.7, color=MARK, alpha=0.18)
        _rate_rows(axes, rows)
        told = "; ".join(f"{row.label}: {short_rate(row.rate)}" for row in rows)
        return to_svg(figure, "chart-bracket", "What is left standing, with exact intervals", f"{told}.")


def class_chart(rows: Sequence[ClassRow]) -> Markup | None:
    """What stands of each class, and what did without an attack; None of one class or very many."""
    if not 1 < len(rows) <= MOST_CLASSES:
        return None
    with canvas(WIDTH, MARGIN + ROW * len(rows)) as (figure, axes):
        shown = [_Row(plain(row.name, LABEL), row.standing, WORST, MARK) for row in rows]
        for place, row in enumerate(rows):
            if row.clean is not None:
                share = 100 * (row.clean.estimate or 0.0)
                axes.plot([share], [place], marker=CLEAN, markersize=9, color=MUTED, fillstyle="none", linestyle="none")
        _rate_rows(axes, shown)
        told = "; ".join(f"{row.name}: {short_rate(row.standing)}" for row in rows)
        return to_svg(figure, "chart-classes", "What is left standing of each class, with exact intervals", f"{told}.")


def drawn_points(curve: Curve) -> list[CurvePoint]:
    """Every point at which the curve falls; of thousands, of those in a thousandth of its width the first and last.

    A figure holds from its point to the next, so that nothing is drawn further off than that thousandth.
    """
    points = [point for point in curve.points if point.estimate is not None]
    if len(points) <= 2 * COLUMNS:
        return points
    columns: dict[int, list[CurvePoint]] = {}
    for point in points:
        columns.setdefault(int(COLUMNS * point.eps / points[-1].eps), []).append(point)
    return [point for column in columns.values() for point in (column[:1] + column[1:][-1:])]


def curve_chart(result: Result, curve: Curve, place: int) -> Markup | None:
    """A robustness curve, a step at every distance at which samples fall, with its band of pointwise intervals; None
    without samples."""
    points = drawn_points(curve)
    if len(points) < 2:
        return None
    with canvas(WIDTH, 290) as (figure, axes):
        eps = [point.eps for point in points]
        low, high = ([100 * getattr(point, end) for point in points] for end in ("low", "high"))
        axes.fill_between(eps, low, high, step="post", color=ACCENT, alpha=0.18, linewidth=0)
        axes.step(eps, [100 * (point.estimate or 0.0) for point in points], where="post", color=ACCENT, linewidth=2.2)
        axes.axvline(curve.area_eps, color=MARK, linewidth=1.6, linestyle=(0, (5, 3)))
        side = "right" if curve.area_eps > 0.7 * eps[-1] else "left"
        axes.text(curve.area_eps, 99, f" eps {number(curve.area_eps)} ", va="top", ha=side, color=MARK)
        if curve.median_distance is not None and curve.median_distance <= eps[-1]:
            axes.plot(
                [curve.median_distance], [0], marker="^", markersize=9, color=INK, clip_on=False, linestyle="none"
            )
        axes.set_xlim(0, eps[-1])
        axes.set_ylim(0, 100)
        axes.set_yticks(range(0, 101, 20), [f"{share} %" for share in range(0, 101, 20)])
        axes.set_xlabel(
            f"eps in {NORM_SIGNS[curve.norm]}, " + ("features" if curve.norm == "l0" else "as a share of the range")
        )
        return to_svg(
            figure, f"chart-curve-{place}", curve_title(result, curve), " ".join(curve_sentences(result, curve))
        )


def secrecy_chart(result: Result, secrecy: Secrecy, place: int) -> Markup | None:
    """Accuracy against queries, a step at every number at which samples fall, with a band of pointwise intervals for
    each access; white box is a line, as it needs no queries. None without samples."""
    if not any(point.n for curve in secrecy.curves for point in curve.points):
        return None
    reach = max(curve.queries or 1 for curve in secrecy.curves)
    with canvas(WIDTH, 320) as (figure, axes):
        axes.set_xscale("log")
        for curve in secrecy.curves:
            _access_line(axes, curve, reach)
        powers = [10**power for power in range(len(str(reach))) if 10**power <= reach]
        axes.set_xticks([NO_QUERY, *powers], ["0", *map(query_words, powers)])
        axes.minorticks_off()
        axes.set_xlim(NO_QUERY, 1.05 * reach)
        axes.set_ylim(0, 101)
        axes.set_yticks(range(0, 101, 20), [f"{share} %" for share in range(0, 101, 20)])
        axes.set_xlabel("queries for each sample")
        figure.legend(loc="outside upper left", ncols=len(secrecy.curves), frameon=False)
        words = " ".join(secrecy_sentences(result, secrecy))
        return to_svg(figure, f"chart-secrecy-{place}", secrecy_title(result, secrecy), words)


def _access_line(axes: Axes, curve: AccessCurve, reach: int) -> None:
    """One access; where it has no queries to spend what it leaves is drawn on to the right, dotted or as a line."""
    color, marker, dashes = STYLES[curve.access]
    points: list[QueryPoint] = list(curve.points)
    where = [point.queries or NO_QUERY for point in points]
    if not curve.queries:
        points, where = [*points, points[-1]], [*where, reach]
    low, middle, high = ([100 * (getattr(p, part) or 0.0) for p in points] for part in ("low", "estimate", "high"))
    axes.fill_between(where, low, high, step="post", color=color, alpha=0.13, linewidth=0)
    [line] = axes.step(where, middle, where="post", label=ACCESS_NAMES[curve.access], clip_on=False)
    line.set(color=color, linewidth=2.2, marker=marker, markersize=6, markevery=[0, len(points) - 1])
    if dashes:
        line.set_dashes(dashes)
