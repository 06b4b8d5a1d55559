"""Consoles that cannot print a character get its nearest: no error, and no question mark."""

from __future__ import annotations

import io

import pytest

from robaudit.report.nearest import adapt, fitted

TEXT = "L∞ ≤ 8/255, ε = ½ … ‘naïve’ – “Straße” × ✓ ─┼╮ █ 中"


@pytest.mark.parametrize(
    ("encoding", "found"),
    [
        ("utf-8", TEXT),
        ("ascii", "Linf <= 8/255, eps = 1/2 ... 'naive' - \"Strasse\" x ok -++ # \\u4e2d"),
        ("latin-1", "Linf <= 8/255, eps = ½ ... 'naïve' - \"Straße\" × ok -++ # \\u4e2d"),
        ("cp1252", "Linf <= 8/255, eps = ½ … ‘naïve’ – “Straße” × ok -++ # \\u4e2d"),
        ("cp437", "L∞ ≤ 8/255, ε = ½ ... 'naïve' - \"Straße\" x ok ─┼+ █ \\u4e2d"),
        ("no such encoding", "Linf <= 8/255, eps = 1/2 ... 'naive' - \"Strasse\" x ok -++ # \\u4e2d"),
        (None, TEXT),
    ],
)
def test_the_nearest_characters(encoding, found):
    assert fitted(TEXT, encoding) == found


def test_letters_of_other_accents_and_names_that_are_no_text():
    assert fitted("Łódź Ångström e\u0301", "ascii") == "Lodz Angstrom e"
    assert fitted("a\udcffb", "utf-8") == "a\\udcffb"


def test_streams_are_adapted_in_place():
    raw = io.BytesIO()
    stream = io.TextIOWrapper(raw, encoding="cp1252", errors="strict")
    adapt(stream, io.StringIO(), None)
    stream.write("ε ≤ 1\n")
    stream.flush()
    assert raw.getvalue().strip() == b"eps <= 1"
