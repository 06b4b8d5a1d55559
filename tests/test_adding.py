"""The complete examples of docs/adding-a-*.md, run as they stand; packages: test_plugin.py, test_*_packages.py."""

from __future__ import annotations

import importlib
import importlib.util
import re
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).parent / "checks"))

from fake_bench import FakeBench

import robaudit.checks
from robaudit.checks.registry import check_classes

ROOT = Path(__file__).parents[1]


def example(kind: str) -> str:
    (block,) = re.findall(r"```python\n(.*?)```", (ROOT / "docs" / f"adding-{kind}.md").read_text("utf-8"), re.DOTALL)
    return str(block)


@pytest.fixture
def beside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Puts a module beside those of a package, as its page says, and takes it away again."""
    added = []

    def add(package: ModuleType, name: str, text: str) -> None:
        (tmp_path / f"{name}.py").write_text(text)
        monkeypatch.setattr(package, "__path__", [*package.__path__, str(tmp_path)])
        importlib.invalidate_caches()
        added.append(f"{package.__name__}.{name}")

    yield add
    for name in added:
        sys.modules.pop(name, None)


def test_the_documented_check_is_found_measures_and_judges(beside) -> None:
    beside(robaudit.checks, "few_samples", example("a-check"))
    check_classes.cache_clear()
    try:
        check = check_classes()["few-samples"]()
    finally:
        check_classes.cache_clear()
    few, many = (check.verdict(check.measure(FakeBench(count=count))) for count in (12, 40))
    assert (few.status, few.value, few.message) == ("warn", 12, "12 samples are answered correctly")
    assert (many.status, many.threshold) == ("pass", 30)


@pytest.mark.parametrize("kind", ["a-check"])
def test_places_that_a_page_names_are_there(kind: str) -> None:
    text = (ROOT / "docs" / f"adding-{kind}.md").read_text("utf-8")
    names = re.findall(r"`([A-Z_]+|[a-z]+_[a-z]+)` (?:in|of) `(robaudit/[\w/]+\.py)`", text)
    assert names
    for name, file in names:
        assert re.search(rf"^(def )?{name}\b", (ROOT / file).read_text("utf-8"), re.MULTILINE), (file, name)
