"""The complete examples of docs/adding-a-*.md, run as they stand; packages: test_plugin.py, test_*_packages.py."""

from __future__ import annotations

import importlib
import importlib.util
import os
import re
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).parent / "checks"))

from fake_bench import FakeBench
from run_kit import make_onnx

import robaudit.checks
from robaudit.checks.registry import check_classes, own_checks, usual_checks

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


def test_the_documented_check_is_found_beside_ours_too_measures_and_judges(beside) -> None:
    beside(robaudit.checks, "more_steps", example("a-check"))
    for cached in (own_checks, check_classes):
        cached.cache_clear()
    try:
        cls = check_classes()["more-steps"]
        assert "more-steps" in own_checks()
        assert "more-steps" in usual_checks()
    finally:
        for cached in (own_checks, check_classes):
            cached.cache_clear()
    check = cls(steps=1, samples=8)
    bench = FakeBench(count=12)
    measured = check.measure(bench)
    assert measured["samples"] == 8
    none = check.verdict({"samples": 0, "short": 0, "more": 0})
    few, many = (check.verdict({"samples": 100, "short": 40, "more": more}) for more in (2, 3))
    assert (none.status, few.status, many.status) == ("skipped", "pass", "warn")
    assert (many.value, many.threshold) == (0.03, 0.02)
    assert many.message == "of 100 samples 1 steps break 40, and 8 times as many 3 others"


@pytest.mark.parametrize("kind", ["a-check"])
def test_places_that_a_page_names_are_there(kind: str) -> None:
    text = (ROOT / "docs" / f"adding-{kind}.md").read_text("utf-8")
    names = re.findall(r"`([A-Z]\w+|[a-z]+_[a-z]+)`,? (?:in|of) `(robaudit/[\w/]+\.py)`", text)
    assert names
    for name, file in names:
        assert re.search(rf"^(def |class )?{name}\b", (ROOT / file).read_text("utf-8"), re.MULTILINE), (file, name)


SETTING = """
from __future__ import annotations
import sys
from dataclasses import dataclass
from pathlib import Path
from robaudit.audit.config import settings_of_audits
from robaudit.audit.config.declaring import Part, Read, setting

@dataclass(frozen=True)
class AuditSettings(settings_of_audits.AuditSettings):
{example}
settings_of_audits.AuditSettings = AuditSettings

from typer.testing import CliRunner
from robaudit.audit.config.building import build_request
from robaudit.audit.config.keys import record_of
from robaudit.audit.config.resolve import resolve_settings
from robaudit.audit.run.asking import read_files
from robaudit.audit.run.identity import identity_of
from robaudit.cli.app import app
sys.path.insert(0, {docs!r})
from reference_pages import _settings

folder = Path({folder!r})
model, file, config = folder / "m.onnx", folder / "p.csv", folder / "robaudit.yaml"
file.write_text("cat,1")
assert "--priors" in CliRunner().invoke(app, ["scan", "--help"]).output
assert "| `priors` | `ROBAUDIT_PRIORS` |" in _settings()

def asked(environment={{}}, **flags):
    resolved = resolve_settings(flags, environment, model)
    return resolved, build_request(model, resolved)

without = identity_of(asked()[1]).run_id
flag, variable = asked(priors=file), asked({{"ROBAUDIT_PRIORS": str(file)}})
config.write_text("priors: p.csv")
key = asked()
assert [each[0].sources["priors"] for each in (flag, variable, key)] == [
    "flag --priors", "environment ROBAUDIT_PRIORS", str(config)
]
assert {{each[1].settings.priors for each in (flag, variable, key)}} == {{str(file)}}
assert record_of(key[1].settings)["priors"] == str(file)
assert ("the weights of the classes", file) in read_files(key[1], key[0])
given = {{identity_of(each[1]).run_id for each in (flag, variable, key)}}
file.write_text("cat,2")
assert len(given | {{without, identity_of(key[1]).run_id}}) == 3
print("every way")
"""


def test_a_setting_takes_one_declaration(tmp_path: Path) -> None:
    """What the page shows, put into the class, is a flag, a key, a variable, a line in the docs, and names the run."""
    make_onnx(tmp_path / "m.onnx")
    code = SETTING.format(example=example("a-setting").rstrip(), docs=str(ROOT / "docs"), folder=str(tmp_path))
    wide = os.environ | {"COLUMNS": "200"}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=wide)
    assert (done.stdout, done.returncode) == ("every way\n", 0), done.stderr
