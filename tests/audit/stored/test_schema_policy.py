"""What docs/schema-policy.md promises: results of older minor versions are read, and serve as baselines."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from results import make_result, make_samples, make_stored

from robaudit.audit.result.document import OLDEST_READ, SCHEMA_VERSION, Result, content_digest
from robaudit.audit.stored.file import load_result, parse_result
from robaudit.audit.verdict.conclusion import conclude
from robaudit.errors import UsageError

ROOT = Path(__file__).parents[3]
STORED = sorted((ROOT / "tests" / "schemas" / "results").glob("*.json"))
"""A result that an audit wrote with each older version, by that version."""


def numbers(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in version.split("."))


def sealed(content: dict[str, Any]) -> str:
    """A result's JSON with the digest of what it now holds."""
    rest = {name: value for name, value in content.items() if name != "digest"}
    return json.dumps(rest | {"digest": content_digest(rest)})


def current() -> dict[str, Any]:
    found: dict[str, Any] = json.loads(conclude(make_stored(make_result(samples=make_samples(41, 100))), []).to_json())
    return found


def test_a_result_of_every_older_version_is_kept() -> None:
    major, minor = numbers(SCHEMA_VERSION)
    wanted = [f"{major}.{older}" for older in range(numbers(OLDEST_READ)[1], minor)]
    assert sorted((path.stem for path in STORED), key=numbers) == wanted
    assert numbers(OLDEST_READ)[0] == major


@pytest.mark.parametrize("path", STORED, ids=lambda path: path.stem)
def test_a_result_of_an_older_version_is_read_with_all_its_figures(path: Path) -> None:
    content = json.loads(path.read_text("utf-8"))
    assert content["schema_version"] == path.stem
    found = load_result(path)
    assert found.schema_version == SCHEMA_VERSION
    assert (found.worst_case.robust_accuracy.k, found.worst_case.robust_accuracy.n) == (7, 20)
    assert [sample.broken_by for sample in found.samples] == [sample["broken_by"] for sample in content["samples"]]
    assert found.verdict.status == content["verdict"]["status"]
    assert len(found.curves[0].points) == len(content["curves"][0]["points"])
    assert found.tool.methods == (1 if numbers(path.stem) < (1, 7) else {"1.7": 2, "1.8": 3, "1.9": 4}[path.stem])
    again = parse_result(found.to_json(), "again")  # written anew, it is of this version
    assert again == found


@pytest.mark.parametrize("path", STORED, ids=lambda path: path.stem)
def test_an_older_result_is_held_against_its_samples_too(path: Path) -> None:
    content = json.loads(path.read_text("utf-8"))
    with pytest.raises(UsageError, match="was changed after robaudit wrote it"):
        parse_result(json.dumps(content | {"limitations": []}), "r.json")
    content["worst_case"]["robust_accuracy"]["k"] = 9
    with pytest.raises(UsageError, match=r"worst_case\.robust_accuracy"):
        parse_result(sealed(content), "r.json")


@pytest.mark.parametrize("path", STORED, ids=lambda path: path.stem)
def test_an_older_result_is_a_baseline_on_the_command_line(path: Path, robaudit, tmp_path: Path) -> None:
    new = tmp_path / "new.json"
    assert robaudit("report", path, "-o", new).code == 0
    assert json.loads(new.read_text("utf-8"))["schema_version"] == SCHEMA_VERSION
    told = robaudit("diff", path, new)
    assert told.code == 0, told.err
    assert "the same file byte for byte" in told.out
    assert "by robaudit 0.1.0" in " ".join(told.out.split())
    assert robaudit("report", path, "-o", tmp_path / "r.html").code == 0


def test_a_derived_field_that_a_later_minor_added_is_derived_for_an_older_result() -> None:
    """As if `rate_alone` had been added later; in a result of the own version its absence is a contradiction."""
    whole = parse_result(sealed(current()), "r.json")
    content = current()
    assert content["attacks"][0].pop("rate_alone") is not None
    assert parse_result(sealed(content | {"schema_version": OLDEST_READ}), "r.json") == whole
    with pytest.raises(UsageError, match="rate_alone is null"):
        parse_result(sealed(content), "r.json")


@pytest.mark.parametrize(
    ("version", "words"),
    [
        ("1.11", "and this robaudit reads 1.4 to 1.10; update robaudit"),
        ("2.0", "update robaudit"),
        ("1.3", "scan again, or use the robaudit that wrote it"),
        ("0.9", "scan again"),
        ("1.7.1", "scan again"),
        ("1.04", "scan again"),
        (1.7, "scan again"),
        (None, "schema version None"),
        ("١.٧", "scan again"),
    ],
)
def test_a_version_that_is_not_read_is_refused_with_what_to_do(version: object, words: str) -> None:
    content = current() | {"schema_version": version, "new_section": {"a": 1}}
    with pytest.raises(UsageError, match=re.escape(words)) as caught:
        parse_result(sealed(content), "r.json")
    assert "\n" not in str(caught.value)


def test_the_own_version_takes_no_unknown_field() -> None:
    with pytest.raises(UsageError, match="new_section: Extra inputs are not permitted"):
        parse_result(sealed(current() | {"new_section": {}}), "r.json")


def test_the_documented_versions_are_those_of_the_code() -> None:
    text = (ROOT / "docs" / "schema-policy.md").read_text("utf-8")
    assert f"`{SCHEMA_VERSION}`" in text
    assert f"`{OLDEST_READ}`" in text
    assert isinstance(Result.model_fields["schema_version"].default, str)
