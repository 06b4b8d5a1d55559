"""What may be shown of foreign text: cleaned on a line, escaped in JSON."""

from __future__ import annotations

import json
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from robaudit.printable import UNSAFE, is_printable, json_text, plain, printable, without_sequences

HOSTILE = "a\x1b[2Jb\x07\x7f\x9b2J\x85\u200e\u200f\u2028\u2029\u202a\u202e\u2066\u2069\U000e0041\ud800z"


def test_nothing_that_a_terminal_acts_upon_is_left() -> None:
    for text in (plain(HOSTILE), printable(HOSTILE)):
        assert is_printable(text)
        assert text[0] == "a"
        assert text[-1] == "z"
    assert plain("x" * 600, 10) == "x" * 9 + "…"
    assert printable("two  blanks") == "two  blanks"


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("\x1b[31mred\x1b[0m", "red"),
        ("\x1b]52;c;cm0gLXJm\x07after", "after"),
        ("\x1b]8;;http://evil\x1b\\link\x1b]8;;\x1b\\", "link"),
        ("\x9b2Jclear", "clear"),
        ("\x9d0;title\x9cafter", "after"),
        ("\x1bP+q544e\x1b\\dcs", "dcs"),
        ("\x1bcreset", "reset"),
        ("\x1b]0;never ended", ""),
        ("a\x1b", "a"),
    ],
)
def test_whole_sequences_go(text: str, shown: str) -> None:
    assert without_sequences(text) == shown


@given(st.recursive(st.text() | st.just(HOSTILE), lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner)))
def test_json_reads_back_the_same_and_holds_nothing_raw(content: object) -> None:
    text = json_text(content)
    assert json.loads(text) == content
    assert not [c for c in text if c != "\n" and unicodedata.category(c) in UNSAFE]
    text.encode()


def test_what_is_harmless_stays_readable() -> None:
    assert json_text({"name": "Kätzchen ≤ 8/255 猫"}) == '{\n  "name": "Kätzchen ≤ 8/255 猫"\n}\n'
    with pytest.raises(ValueError):
        json_text(float("nan"))
