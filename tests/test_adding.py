"""The complete examples of docs/adding-a-*.md, run as they stand; packages: test_plugin.py, test_*_packages.py."""

from __future__ import annotations

import importlib
import importlib.util
import re
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parent / "checks"))

from fake_bench import FakeBench

import robaudit.checks
from robaudit.checks.registry import check_classes
from robaudit.data.source import Dataset
from robaudit.errors import UnreadableSampleError, UsageError

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


def test_the_documented_source_is_read(tmp_path: Path) -> None:
    spec = importlib.util.spec_from_loader("npy_folder", loader=None)
    assert spec is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["npy_folder"] = module  # dataclasses look their module up
    try:
        exec(compile(example("a-data-source"), "npy_folder.py", "exec"), vars(module))
        with pytest.raises(UsageError, match="is not a folder of files named"):
            module.open_npy_folder(tmp_path)
        for name, value in (("3-b.npy", 255), ("1-a.npy", 51)):
            np.save(tmp_path / name, np.full((1, 2, 2), value, dtype=np.uint8))
        (tmp_path / "2-c.npy").write_bytes(b"\x93NUMPY")
        data: Dataset = module.open_npy_folder(tmp_path, 0, 255)
        assert (data.ids, data.labels.tolist()) == (["1-a.npy", "2-c.npy", "3-b.npy"], [1, 2, 3])
        assert data.load(0) == pytest.approx(np.full((1, 2, 2), 0.2))
        assert data.load(2).dtype == np.float32
        with pytest.raises(UnreadableSampleError, match=r"2-c\.npy"):
            data.load(1)
    finally:
        del sys.modules["npy_folder"]


@pytest.mark.parametrize("kind", ["a-check", "a-data-source"])
def test_places_that_a_page_names_are_there(kind: str) -> None:
    text = (ROOT / "docs" / f"adding-{kind}.md").read_text("utf-8")
    names = re.findall(r"`([A-Z_]+|[a-z]+_[a-z]+)` (?:in|of) `(robaudit/[\w/]+\.py)`", text)
    assert names
    for name, file in names:
        assert re.search(rf"^(def )?{name}\b", (ROOT / file).read_text("utf-8"), re.MULTILINE), (file, name)
