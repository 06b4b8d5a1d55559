"""A Matplotlib figure as SVG that is part of a page: its colours are the page's, and its text is text.

Colours are drawn as tokens and become CSS variables, so that one drawing serves light, dark and paper.
"""

from __future__ import annotations

import contextlib
import io
import logging
import re
import warnings
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any
from xml.etree import ElementTree

from markupsafe import Markup

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["ACCENT", "GRID", "INK", "MARK", "MUTED", "canvas", "to_svg"]

INK, MUTED, GRID, ACCENT, MARK = "#010203", "#010204", "#010205", "#010206", "#010207"
TOKENS = {INK: "ink", MUTED: "muted", GRID: "line", ACCENT: "accent", MARK: "mark"}
FONT = 12.0
SVG = "{http://www.w3.org/2000/svg}"
LINK = "{http://www.w3.org/1999/xlink}href"
STYLE: Any = {
    "svg.fonttype": "none",
    "svg.hashsalt": "robaudit",
    "text.parse_math": False,
    "font.size": FONT,
    "font.family": "sans-serif",
    "font.sans-serif": ["DejaVu Sans"],
    "text.color": INK,
    "axes.edgecolor": MUTED,
    "axes.labelcolor": INK,
    "axes.grid": True,
    "axes.axisbelow": True,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "grid.color": GRID,
    "grid.linewidth": 1.0,
    "xtick.color": MUTED,
    "ytick.color": MUTED,
    "xtick.labelcolor": INK,
    "ytick.labelcolor": INK,
}


@contextlib.contextmanager
def canvas(width: float, height: float) -> Iterator[tuple[Figure, Axes]]:
    """A figure of so many CSS pixels, with one pair of axes; what is drawn within has the style of the page."""
    logging.getLogger("matplotlib").setLevel(logging.ERROR)  # where it keeps its fonts is nobody's business here
    import matplotlib
    from matplotlib.figure import Figure

    with matplotlib.rc_context(STYLE), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a letter that its font lacks is the browser's to draw
        figure = Figure(figsize=(width / 72, height / 72), layout="constrained")
        axes = figure.add_subplot()
        figure.patch.set_visible(False)
        axes.patch.set_visible(False)
        yield figure, axes


def to_svg(figure: Figure, name: str, title: str, description: str) -> Markup:
    """The drawing as an element for a page.

    Args:
        figure: of :func:`canvas`, within it, drawn with the tokens of this module alone.
        name: unique on the page.
        title: what it shows.
        description: what it says, for those who cannot see it.
    """
    from matplotlib.backends.backend_svg import FigureCanvasSVG

    file = io.BytesIO()
    printer: Any = FigureCanvasSVG(figure)
    printer.print_svg(file, metadata={"Date": None, "Creator": None, "Format": None, "Type": None})
    root = ElementTree.fromstring(file.getvalue())
    _drop(root)
    used = {value[1:] for element in root.iter() for value in _references(element)}
    for element in root.iter():
        _adapt(element, name, used)
        used.discard(element.attrib.get("id", "").removeprefix(f"{name}-"))  # what has the same name looks the same
    for key in ("width", "height", "version"):
        root.attrib.pop(key, None)
    root.attrib |= {"role": "img", "aria-labelledby": f"{name}-title {name}-desc", "class": "chart"}
    for place, (tag, text) in enumerate((("title", title), ("desc", description))):
        element = ElementTree.Element(tag, id=f"{name}-{tag}")
        element.text = text
        root.insert(place, element)
    return Markup(ElementTree.tostring(root, encoding="unicode"))


def _drop(root: ElementTree.Element) -> None:
    """Metadata, and the style element, whose rules would hold for the whole page."""
    for parent in list(root.iter()):
        for child in list(parent):
            if child.tag in (f"{SVG}metadata", f"{SVG}style"):
                parent.remove(child)


def _references(element: ElementTree.Element) -> list[str]:
    found = [element.attrib[LINK]] if LINK in element.attrib else []
    return found + [m for value in element.attrib.values() for m in re.findall(r"url\((#[^)]+)\)", value)]


def _adapt(element: ElementTree.Element, name: str, used: set[str]) -> None:
    element.tag = element.tag.removeprefix(SVG)
    for key, value in list(element.attrib.items()):
        del element.attrib[key]
        if key == "id" and value not in used:
            continue
        if key == "id":
            value = f"{name}-{value}"
        elif key == LINK:
            key, value = "href", f"#{name}-{value[1:]}"
        elif key == "style":
            value = _colours(re.sub(r"font-family: [^;]+;?|font: [^;]*?(\d+(?:\.\d+)?px)[^;]*", _size, value))
        element.attrib[key] = re.sub(r"url\(#", f"url(#{name}-", value)


def _size(match: re.Match[str]) -> str:
    return f"font-size: {match[1]}" if match[1] else ""


def _colours(style: str) -> str:
    return re.sub(r"#0102\d\d", lambda m: f"var(--{TOKENS[m[0]]})", style)
