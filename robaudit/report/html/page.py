"""The page: what the sections say, put into the templates.

Text gets into the page through the templates alone, which escape it, after control and direction characters were
taken out of it; a policy in the page forbids scripts and any load from outside.
"""

from __future__ import annotations

import functools
from pathlib import Path
from typing import TYPE_CHECKING, Any

from markupsafe import Markup, escape

from robaudit.audit.result.document import Result
from robaudit.audit.result.secrecy import for_secrecy
from robaudit.printable import printable
from robaudit.report.certified import bracket_words, certificate_rows, proved_words
from robaudit.report.chances import CHANCES, chance_lines
from robaudit.report.curve import curve_sentences, curve_title
from robaudit.report.details import input_details
from robaudit.report.html import sections
from robaudit.report.html.charts import bracket_chart, class_chart, curve_chart, secrecy_chart
from robaudit.report.html.classes import class_rows
from robaudit.report.html.gallery import gallery
from robaudit.report.masking import MASKING, masking_lines
from robaudit.report.paths import relative_path, without_folders
from robaudit.report.queries import TITLE, query_lines
from robaudit.report.secrecy import secrecy_rows, secrecy_sentences, secrecy_title
from robaudit.report.sentences import (
    attack_notes,
    drawn_words,
    error_lines,
    pairs_words,
    stopping_words,
    verdict_words,
    where_words,
)
from robaudit.report.transfer import matrix_rows, matrix_sentences, matrix_title, surrogate_lines
from robaudit.report.words import plain, short_rate, threat_words

if TYPE_CHECKING:
    from jinja2 import Environment

__all__ = ["TEMPLATES", "environment", "page"]

TEMPLATES = Path(__file__).with_name("templates")
LONGEST = 20_000
LISTED_SAMPLES = 40
SIGNS = {
    **dict.fromkeys(("pass", "passed", "done", "better"), ("good", "✓")),
    **dict.fromkeys(("fail", "failed", "worse"), ("bad", "✗")),
    **dict.fromkeys(("skipped", "no change detected"), ("none", "–")),
    "measured": ("plain", "="),
}
DOUBT = ("doubt", "!")


def page(result: Result, folder: Path | None) -> str:
    """The whole page as HTML."""
    return environment().get_template("page.html.j2").render(_context(result, folder)).rstrip() + "\n"


@functools.cache
def environment() -> Environment:
    """What renders the templates."""
    import jinja2

    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        finalize=_shown,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["sign"] = lambda status: SIGNS.get(status, DOUBT)
    environment.filters["drawn"] = drawn_words
    environment.filters["path"] = relative_path
    environment.filters["rate"] = short_rate
    return environment


def _shown(value: Any) -> Any:
    """What a template may show of a value: one line without control, direction or invisible characters.

    Folders of the machine that ran the audit are left out; the command tells its paths as the result does.
    """
    return value if isinstance(value, Markup) else plain(without_folders(str(value)), LONGEST)


def _context(result: Result, folder: Path | None) -> dict[str, Any]:
    rows = class_rows(result)
    quotable = result.worst_case.robust_accuracy is not None or result.worst_case.stability is not None
    comparison = result.comparison
    content = {
        "css": Markup((TEMPLATES / "style.css").read_text("utf-8")),
        "result": result,
        "where": where_words(result),
        "command": escape(printable(result.run.command)),
        "status": verdict_words(result),
        "notices": sections.notices(result),
        "cards": sections.cards(result),
        "pairs": pairs_words(result),
        "stopped": stopping_words(result),
        "sure": f"{100 * result.worst_case.upper_bound_observed.confidence:.4g} %",
        "bracket": bracket_chart(result),
        "threat": threat_words(result.threat_model, result.data),
        "attacks": sections.attack_rows(result),
        "attack_notes": attack_notes(result),
        "queries": query_lines(result),
        "query_title": TITLE,
        "fitted": ", ".join(plain(fit.attack, 40) for fit in result.fits),
        "settings": sections.settings_rows(result),
        "threats": sections.threat_rows(result),
        "certified": result.certified,
        "proved": [text for text in (proved_words(result), bracket_words(result)) if text],
        "certificates": certificate_rows(result),
        "chances": chance_lines(result),
        "chances_title": CHANCES,
        "curves": [
            (curve_title(result, curve), curve_chart(result, curve, place), curve_sentences(result, curve))
            for place, curve in enumerate(result.curves)
        ],
        "apart": any(map(for_secrecy, result.attacks)),
        "secrecy": [
            (
                secrecy_title(result, secrecy),
                secrecy_chart(result, secrecy, place),
                secrecy_rows(secrecy),
                secrecy_sentences(result, secrecy),
            )
            for place, secrecy in enumerate(result.secrecy)
        ],
        "surrogates": surrogate_lines(result),
        "matrices": [
            (matrix_title(result, matrix), matrix_rows(matrix), matrix_sentences(result, matrix))
            for matrix in (result.transfer.matrices if result.transfer is not None else ())
        ],
        "checks": sections.check_rows(result),
        "masking": masking_lines(result),
        "masking_title": MASKING,
        "gates": sections.gate_rows(result),
        "comparison": comparison,
        "changes": sections.change_rows(result),
        "changed": [
            (title, found[:LISTED_SAMPLES], max(0, len(found) - LISTED_SAMPLES))
            for title, found in (
                ("Newly broken", comparison.newly_broken if comparison else ()),
                ("Newly fixed", comparison.newly_fixed if comparison else ()),
            )
            if found
        ],
        "gallery": gallery(result, folder),
        "classes": rows,
        "class_chart": class_chart(rows) if quotable else None,
        "quotable": quotable,
        "errors": error_lines(result),
        "provenance": sections.provenance(result),
        "details": input_details(result.target),
    }
    return content | {"contents": _contents(content)}


def _contents(content: dict[str, Any]) -> list[tuple[str, str]]:
    """The sections of this page, by anchor."""
    result: Result = content["result"]
    known = (
        ("verdict", "Verdict", True),
        ("threat", "Threat model", True),
        ("attacks", "Attacks", bool(content["attacks"])),
        ("threats", "Threat models and their union", bool(content["threats"])),
        ("certified", "What is proved", bool(content["certificates"])),
        ("chances", CHANCES, bool(content["chances"])),
        ("curves", "Robustness curve", bool(content["curves"])),
        ("secrecy", "The price of secrecy", bool(content["secrecy"])),
        ("transfer", "Surrogates and transfer", result.transfer is not None),
        ("checks", "Checks of the audit itself", bool(content["checks"])),
        ("masking", MASKING, bool(content["masking"])),
        ("gates", "Gates", bool(content["gates"])),
        ("comparison", "Against the baseline", content["comparison"] is not None),
        ("gallery", "Adversarial examples", True),
        ("classes", "Classes", bool(content["classes"])),
        ("limits", "What this does not say", bool(result.limitations)),
        ("errors", "Errors", bool(content["errors"])),
        ("next", "What to do next", bool(result.verdict.next_steps)),
        ("provenance", "Provenance", True),
        ("reproduce", "Reproduce", True),
    )
    return [(anchor, title) for anchor, title, present in known if present]
