"""The price of secrecy, in words, figures and plain characters: accuracy against queries for each access."""

from __future__ import annotations

from itertools import pairwise

from rich.console import Console
from rich.text import Text

from robaudit.audit.result.derive import balls
from robaudit.audit.result.document import Access, AccessCurve, QueryPoint, Result, Secrecy
from robaudit.plural import counted
from robaudit.report.console import heading, indented
from robaudit.report.curve import BARS, draw_bars, metric_word
from robaudit.report.words import ball, plain, short_rate

__all__ = [
    "ACCESS_NAMES",
    "draw_secrecy",
    "point_at",
    "query_words",
    "secrecy_rows",
    "secrecy_sentences",
    "secrecy_title",
]

ACCESS_NAMES: dict[Access, str] = {
    "transfer": "transfer",
    "labels": "labels",
    "scores": "scores",
    "white-box": "white box",
}
KEPT: dict[Access, str] = {"labels": "the model's answers", "scores": "the scores", "white-box": "the file"}
"""What whoever has the next smaller access does not know."""
LISTED = (0, 10, 100, 1000, 10_000, 100_000, 1_000_000)
"""Numbers of queries that a table has room for, beside the curve's end."""


def secrecy_title(result: Result, secrecy: Secrecy) -> str:
    """What the curves show."""
    within = ball(next(each for each in balls(result.threat_model) if each.norm == secrecy.norm))
    return f"The price of secrecy within {within}: {metric_word(result)} against queries, an upper bound at each"


def draw_secrecy(console: Console, result: Result) -> None:
    """Each access as bars to scale, one a number of queries, with exact intervals and sentences on what it means."""
    for secrecy in result.secrecy:
        heading(console, secrecy_title(result, secrecy))
        shown = listed(secrecy)
        width = max(len(query_words(queries)) for queries in shown)
        for curve in secrecy.curves:
            known = ((queries, point_at(curve, queries)) for queries in shown)
            rows = [(query_words(queries), point, " ") for queries, point in known if point is not None]
            attacks = ", ".join(plain(id, 40) for id in curve.attacks)
            console.print(indented(Text(f"{ACCESS_NAMES[curve.access]}: {attacks}")))
            if curve.access == "white-box":
                rows = [("any", point, " ") for _, point, _ in rows[:1]]
            draw_bars(console, [(f"{label:>{width}}", point, mark) for label, point, mark in rows])
        console.print(indented(Text(BARS.format(f"{secrecy.confidence:.0%}") + ".", style="dim")))
        for sentence in secrecy_sentences(result, secrecy):
            console.print(indented(Text(sentence)))


def listed(secrecy: Secrecy) -> list[int]:
    """Numbers of queries that a table shows: powers of ten, and where the curves end."""
    ends = {curve.queries for curve in secrecy.curves if curve.queries is not None}
    return sorted({queries for queries in LISTED if queries < max(ends)} | ends)


def point_at(curve: AccessCurve, queries: int) -> QueryPoint | None:
    """What stands after so many queries; None beyond the curve's end. White box needs none."""
    if curve.queries is not None and queries > curve.queries:
        return None
    return [point for point in curve.points if point.queries <= queries][-1]


def query_words(queries: float) -> str:
    """A number of queries: ``1,200``, ``37.5``."""
    return f"{queries:,.0f}" if float(queries).is_integer() else f"{queries:,.1f}"


def _queries(queries: int) -> str:
    return f"{query_words(queries)} {'query' if queries == 1 else 'queries'}"


def secrecy_rows(secrecy: Secrecy) -> tuple[list[str], list[list[str]]]:
    """Head and rows of a table: what stands at some numbers of queries for each access, median and mean of queries."""
    shown = listed(secrecy)
    rows = []
    for curve in secrecy.curves:
        points = [point_at(curve, queries) for queries in shown]
        cells = ["-" if point is None else short_rate(point) for point in points]
        rows.append([ACCESS_NAMES[curve.access], *cells, _median(curve), _mean(curve)])
    return ["access", *map(query_words, shown), "median queries", "mean queries"], rows


def _median(curve: AccessCurve) -> str:
    if curve.queries is None or not curve.broken + curve.unbroken:
        return "-"
    return _within(curve.median_queries, curve.queries)


def _within(queries: float | None, end: int) -> str:
    """A number of queries, which may lie beyond the end of the curve."""
    return f"more than {query_words(end)}" if queries is None else query_words(queries)


def _mean(curve: AccessCurve) -> str:
    if curve.mean_queries is None:
        return "-"
    return f"{'at least ' if curve.unbroken else ''}{query_words(round(curve.mean_queries, 1))}"


def secrecy_sentences(result: Result, secrecy: Secrecy) -> list[str]:
    """What the curves come to: what samples cost at each access, and what an attacker is spared by the next."""
    found = [_cost(curve, secrecy.confidence) for curve in secrecy.curves]
    found += [_bought(less, more) for less, more in pairwise(secrecy.curves) if less.broken + less.unbroken]
    open_ = [ACCESS_NAMES[curve.access] for curve in secrecy.curves if not curve.complete]
    if open_:
        found.append(f"Attacks did not come to their end, so that more may fall: {', '.join(open_)}.")
    which = "All samples answered correctly" if metric_word(result) == "accuracy" else "All samples"
    found.append(
        f"{which} are counted, those that did not fall too; who has more access can do what one with less can, and "
        "each sample counts at its cheapest. A stronger attack can only lower a curve."
    )
    return found


def _cost(curve: AccessCurve, confidence: float) -> str:
    """What the samples cost an attacker with one access."""
    name, n = ACCESS_NAMES[curve.access].capitalize(), curve.broken + curve.unbroken
    fell = f"{curve.broken} of {counted(n, 'sample')}"
    if curve.queries is None:
        return f"{name}: {fell} fell to all attacks together; gradients need no queries."
    if curve.queries == 0:
        return f"{name}: {fell} fell to one candidate each, without a query."
    words = f"{name}: {fell} fell within {_queries(curve.queries)}"
    if not n:
        return f"{words}."
    words += f"; median {_median(curve)}"
    if curve.median_low is not None:
        high = _within(curve.median_high, curve.queries)
        words += f" ({confidence:.0%} interval {query_words(curve.median_low)} to {high})"
    stand = f", the {curve.unbroken} that stand counted with {query_words(curve.queries)}" if curve.unbroken else ""
    return f"{words}, mean {_mean(curve)}{stand}."


def _bought(less: AccessCurve, more: AccessCurve) -> str:
    """What it buys to keep from an attacker what the next access knows."""
    begin = f"Secrecy of {KEPT[more.access]} buys"
    if (ratio := _ratio(less, more)) is not None:
        times, few, many = ratio
        alone = f"an attacker with {ACCESS_NAMES[less.access]} alone"
        return f"{begin}: {alone} needs {times} the queries for the median sample ({many} for {few})."
    one, other = less.points[-1], more.points[-1]
    if less.access != "transfer" and less.queries and more.queries:  # both are given as many queries
        most = min(less.queries, more.queries)
        one, other = point_at(less, most) or one, point_at(more, most) or other
    points = 100 * ((one.estimate or 0.0) - (other.estimate or 0.0))
    bought = f"{points:.1f} points" if one.k != other.k else "nothing"
    told = ", ".join(f"{short_rate(p)} stand {_given(curve, p)}" for curve, p in ((less, one), (more, other)))
    return f"{begin} {bought}: {told}."


def _given(curve: AccessCurve, point: QueryPoint) -> str:
    """What an attacker has at a point of a curve."""
    name = "with the file itself" if curve.access == "white-box" else f"with {ACCESS_NAMES[curve.access]}"
    return f"{name} and {_queries(point.queries)}" if curve.queries else name


def _ratio(less: AccessCurve, more: AccessCurve) -> tuple[str, str, str] | None:
    """(how many times the queries, those of more access, those of less) for the median sample; None: not known."""
    if less.access == "transfer" or less.queries is None or not more.median_queries:
        return None
    many = less.queries if less.median_queries is None else less.median_queries
    times = many / more.median_queries
    if times < 1:  # less access was given fewer queries than the median takes with more
        return None
    words = f"{times:.1f} times" if times < 10 else f"{times:,.0f} times"
    words = f"{'more than ' if less.median_queries is None else ''}{words}"
    return words, query_words(more.median_queries), _median(less)
