"""The formats of a report by suffix, for help texts; imports nothing, so that help stays quick."""

from __future__ import annotations

__all__ = ["FORMATS", "SUFFIX_LIST"]

FORMATS: dict[str, str] = {
    ".json": "the whole result, from which every other format can be made again",
    ".txt": "as on a terminal",
    ".html": "one page that loads nothing, with charts and pictures; prints well",
    ".md": "Markdown, such as the job summary of a CI service",
    ".sarif": "SARIF 2.1.0, for code scanning",
    ".sarif.json": "the same",
    ".xml": "JUnit, a test case for each gate, attack and check",
    ".cdx.json": "CycloneDX 1.6, a machine-learning model card",
    ".csv": "a row for each sample",
}
"""What a suffix stands for; a test holds it against the renderers."""

SUFFIX_LIST = ", ".join(FORMATS)
