"""Data opened as an audit opens it, in one call."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from robaudit.data.reader import Fit, Wanted
from robaudit.data.registry import open_source
from robaudit.data.source import Dataset

USER = ("labels", "label_column", "target_column", "labelled")


def open_dataset(path: Path, **options: Any) -> Dataset:
    """The samples of a path; ``options`` are those of ``Wanted`` and ``Fit``."""
    wanted = {name: options.pop(name) for name in USER if name in options}
    names = options.get("class_names")
    return open_source(path, Wanted(**wanted, classes=tuple(names) if names else None)).samples(Fit(**options))
