"""Characters that a console cannot print become the nearest that it can; only the standard library is needed here."""

from __future__ import annotations

import codecs
import contextlib
import unicodedata
from typing import Any

__all__ = ["NEAREST", "adapt", "fitted"]

NEAREST = "robaudit.nearest"
"""Name of the error handler, for ``str.encode``."""
PAIRS = """
∞ inf  ≤ <=  ≥ >=  ≠ !=  ≈ ~  ± +-  × x  · .  ÷ /  − -  √ sqrt  ε eps  α alpha  β beta  γ gamma  δ delta  λ lambda
μ u  σ sigma  π pi  – -  — -  ‐ -  ‑ -  … ...  ’ '  ‘ '  “ "  ” "  „ "  « "  » "  • -  → ->  ← <-  ↑ ^  ↓ v  ✓ ok  ✔ ok
✗ x  ✘ x  ░ .  ° deg  ß ss  æ ae  Æ AE  œ oe  Œ OE  ø o  Ø O  ł l  Ł L  đ d  Đ D  ı i  � ?  § section  € EUR  £ GBP
─ -  ━ -  ═ -  │ |  ┃ |  ║ |  ╌ -  ╶ -  ╴ -  ╸ -  ╺ -  ╵ |  ⁄ /
"""
WORDS = dict(zip(PAIRS.split()[::2], PAIRS.split()[1::2], strict=True))


def _nearest(letter: str) -> str:
    """In ASCII: what it is written as, its letters without accents, else its number."""
    if letter in WORDS:
        return WORDS[letter]
    number = ord(letter)
    if 0x2500 <= number < 0x2580:  # corners and crossings of boxes
        return "+"
    if 0x2580 <= number < 0x25A0:  # blocks, as in bars
        return "#"
    if 0x2800 <= number < 0x2900:  # Braille, as in spinners
        return "*"
    plain = "".join(c for c in unicodedata.normalize("NFKD", letter) if not unicodedata.combining(c))
    plain = "".join(WORDS.get(c, c) for c in plain)
    if unicodedata.combining(letter):
        return ""
    if plain.isascii() and plain:
        return plain
    return f"\\u{number:04x}" if number < 0x10000 else f"\\U{number:08x}"


def _handle(error: UnicodeError) -> tuple[str, int]:
    if not isinstance(error, UnicodeEncodeError):
        raise error
    return "".join(map(_nearest, error.object[error.start : error.end])), error.end


codecs.register_error(NEAREST, _handle)


def fitted(text: str, encoding: str | None) -> str:
    """Text in which each character that an encoding lacks is the nearest that it has."""
    encoding = encoding or "utf-8"
    try:
        return text.encode(encoding, NEAREST).decode(encoding)
    except LookupError:  # no such encoding
        return text.encode("ascii", NEAREST).decode("ascii")


def adapt(*streams: Any) -> None:
    """Let whatever is written to text streams come out, with the nearest characters; others are left as they are."""
    for stream in streams:
        with contextlib.suppress(AttributeError, ValueError, OSError):
            stream.reconfigure(errors=NEAREST)
