"""Markdown: tables hold, the verdict comes first, and nothing that a file says is markup."""

from __future__ import annotations

import re
from html.parser import HTMLParser

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from markdown_it import MarkdownIt
from report_cases import HOSTILE, cases, hostile_results, hostile_texts

from robaudit.report.markdown import render
from robaudit.report.markup import escaped
from robaudit.report.words import plain

CASES = cases()
READER = MarkdownIt("commonmark", {"html": True}).enable(["table", "strikethrough"])
OURS = {"h2", "h3", "p", "strong", "table", "thead", "tbody", "tr", "th", "td", "ul", "li", "blockquote"}
OURS |= {"details", "summary", "pre", "code"}


class Page(HTMLParser):
    """Tags with their attributes, and the text, of a page."""

    def __init__(self, source: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.text = ""
        self.feed(source)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert not attrs, "nothing of ours has attributes"
        self.tags.append(tag)

    def handle_data(self, data: str) -> None:
        self.text += data


def cells(line: str) -> int:
    return len(re.findall(r"(?<!\\)\|", line))


def check_tables(text: str) -> None:
    """Every row of a table has the cells of its head."""
    width = 0
    for line in text.splitlines():
        if line.startswith("|"):
            width = width or cells(line)
            assert cells(line) == width
        else:
            width = 0


@pytest.mark.parametrize("name", CASES)
def test_every_kind_of_result_reads_well(name):
    text = render(CASES[name])
    page = Page(READER.render(text))
    assert set(page.tags) <= OURS
    assert page.tags.count("code") == page.tags.count("pre") == 1
    check_tables(text)
    assert text.index("##") < text.index(escaped(CASES[name].verdict.headline, 1000)) < text.index("|")
    assert plain(CASES[name].verdict.headline, 1000) in page.text
    assert "/home" not in page.text
    assert "compliant" not in text


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
@given(hostile_results())
def test_hostile_text_stays_text(result):
    text = render(result)
    tags = Page(READER.render(text)).tags
    assert set(tags) <= OURS
    assert tags.count("code") == tags.count("pre") == 1  # the command, whatever it holds
    check_tables(text)
    assert not re.search(r"[\x00-\x09\x0b-\x1f\u202e\ud800-\udfff]", text)


@settings(max_examples=300, deadline=None)
@given(hostile_texts() | st.text(alphabet="`*_[]()<>#!|~$&@:/.-+=1w \\\n"))
@example("\n".join(HOSTILE))
@example("www.evil.example http://evil.example a@evil.example")
def test_escaped_text_is_shown_as_it_is(text):
    shown = Page(READER.render(f"- {escaped(text)}\n\n| a |\n| --- |\n| {escaped(text)} |\n"))
    assert set(shown.tags) <= {"ul", "li", "p", "table", "thead", "tbody", "tr", "th", "td"}
    assert shown.tags.count("li") == shown.tags.count("td") == 1
    assert not re.search(r"www\.[^<]|://|@\w", escaped(text))


def test_what_is_escaped_reads_back():
    text = "a | b `c` **d** <e> [f](g) #1 @you 8/255 100% _x_ ~y~"
    assert Page(READER.render(escaped(text))).text.strip() == text


def test_parts():
    assert "PASS" not in render(CASES["withheld"]).split("###")[0]
    assert "not to be quoted" in render(CASES["withheld"])
    assert "Stability" in Page(READER.render(render(CASES["stability"]))).text
    assert "and 130 more" in render(CASES["worse than the baseline"])
    assert "(ignored until 2030-01-01)" in render(CASES["ignored"])
    assert "Exception: until the retraining" in render(CASES["ignored"])
    assert "Exception:" not in render(CASES["no longer ignored"])
    assert "Sequential audit, the gates were decided" in render(CASES["sequential"])
    assert "Each threat model by itself" in render(CASES["union"])
    assert "60 of 279" in render(CASES["targeted"])
    assert "Robustness curve" in render(CASES["curve"])
    assert "| access | 0 | 10 | 100 | 1,000 | median queries | mean queries |" in render(CASES["secrecy"])
    for name in ("union", "targeted", "curve"):
        assert "Against the baseline" not in render(CASES[name])
