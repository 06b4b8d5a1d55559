"""Suffixes: the list that help reads off the text is that of the formats, and the longest suffix wins."""

from __future__ import annotations

from pathlib import Path

import pytest

from robaudit.errors import AuditError, UsageError
from robaudit.report.base import Format
from robaudit.report.outputs import check_output
from robaudit.report.registry import format_of, formats, suffixes
from robaudit.report.render import rendered


def test_what_is_read_off_the_text_is_what_is_declared() -> None:
    found = formats()
    assert suffixes() == list(found) == sorted(suffix for one in set(found.values()) for suffix in one.suffixes)
    assert set(found) >= {".json", ".txt", ".html", ".md", ".sarif", ".sarif.json", ".xml", ".cdx.json", ".csv"}
    assert {one.name for one in found.values() if one.evidence} == {"HTML"}


def test_the_longest_suffix_wins() -> None:
    names = ("a.json", "a.CDX.json", "b.sarif.json", "c.x.xml")
    assert [format_of(Path(name)).name for name in names] == ["JSON", "CycloneDX", "SARIF", "JUnit"]


@pytest.mark.parametrize("suffix", suffixes())
def test_every_suffix_is_taken_in_any_case(suffix, tmp_path) -> None:
    check_output(tmp_path / f"model.v2{suffix}")
    check_output(tmp_path / f"R{suffix.upper()}")
    with pytest.raises(UsageError, match="no report format"):
        check_output(tmp_path / f"model{suffix}.bak")


@pytest.mark.parametrize("wrong", [(), (".PDF",), ("pdf",), (".",), ".pdf"])
def test_a_format_says_its_suffixes_as_they_are_compared(wrong) -> None:
    with pytest.raises(ValueError, match="suffix"):
        Format("PDF", wrong, "pages", lambda result, run: "")


def test_the_run_directory_is_for_formats_that_show_evidence(tmp_path) -> None:
    def shown(result, run):
        return f"{result} {run}".encode()

    assert rendered(Format("a", (".a",), "", shown), "r", tmp_path) == b"r None"
    assert rendered(Format("a", (".a",), "", shown, evidence=True), "r", tmp_path) == f"r {tmp_path}".encode()


@pytest.mark.parametrize("render", [lambda result, run: {}["nowhere"], lambda result, run: None])
def test_a_format_that_fails_is_a_sentence(render) -> None:
    with pytest.raises(AuditError, match="the PDF report cannot be made: unexpected"):
        rendered(Format("PDF", (".pdf",), "", render), None)
