"""The formats of a report by suffix, for help texts; imports nothing, so that help stays quick."""

from __future__ import annotations

__all__ = ["FORMATS", "SUFFIX_LIST"]

FORMATS: dict[str, str] = {
    ".json": "the whole result, from which every other format can be made again",
    ".txt": "as on a terminal",
}
"""What a suffix stands for; a test holds it against the renderers."""

SUFFIX_LIST = ", ".join(FORMATS)
