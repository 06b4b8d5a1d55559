"""What an outsider gets, as it is asked for: by flags, by profile, and refused where it cannot be."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from robaudit.audit.config.profile import Profile
from robaudit.audit.config.profile_files import load_profile
from robaudit.audit.config.resolve import resolve_settings
from robaudit.audit.plan.attacks import service_of
from robaudit.errors import UsageError
from robaudit.query_rate import parse_query_rate
from robaudit.threat.service import FILE, Service

ANSWERS = "threat: {answers: {top: 5, decimals: 3, noise: 0.1, reject_below: 0.2}, duplicates: free, rate: 10/s}\n"


def written(folder: Path, text: str, name: str = "p.yaml") -> Path:
    (folder / name).write_text(f"extends: quick\n{text}")
    return folder / name


def resolved(folder: Path, **flags: Any) -> Profile:
    return resolve_settings(flags, {}, folder / "m.onnx").profile


def test_flags_take_the_place_of_what_the_profile_says(tmp_path: Path) -> None:
    path = str(written(tmp_path, ANSWERS))
    assert service_of(resolved(tmp_path, profile=path)) == Service(5, 3, 0.1, 0.2, free_repeats=True)
    flags = {"top_scores": 2, "score_noise": 0.0, "reject_below": 0.5, "duplicates": "charged", "query_rate": "1/s"}
    found = resolved(tmp_path, profile=path, **flags)
    assert service_of(found) == Service(2, 3, 0.0, 0.5)
    assert found.threat.rate == "1/s"
    assert service_of(resolved(tmp_path)) == FILE


def test_a_profile_changes_what_another_says(tmp_path: Path) -> None:
    base = written(tmp_path, ANSWERS, "base.yaml")
    (tmp_path / "p.yaml").write_text(f"extends: {base}\nthreat: {{answers: {{top: 1}}, duplicates: charged}}\n")
    assert service_of(load_profile(str(tmp_path / "p.yaml"))) == Service(1, 3, 0.1, 0.2)


def test_the_usual_service_leaves_no_trace_in_a_profile(tmp_path: Path) -> None:
    assert {"answers", "duplicates", "rate"}.isdisjoint(resolved(tmp_path).model_dump()["threat"])


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("answers: {top: 0}", "threat.answers.top"),
        ("answers: {decimals: -1}", "threat.answers.decimals"),
        ("answers: {noise: -0.1}", "threat.answers.noise"),
        ("answers: {noise: .inf}", "line 2: .inf is no finite number"),
        ("answers: {reject_below: 1.5}", "threat.answers.reject_below"),
        ("answers: {tops: 3}", "unknown key 'threat.answers.tops'"),
        ("duplicates: maybe", "threat.duplicates"),
        ("rate: soon", "2/s, 60/min, 1000/h or 5000/day, not 'soon'"),
    ],
)
def test_what_cannot_be_is_refused_with_its_place(tmp_path: Path, text: str, words: str) -> None:
    with pytest.raises(UsageError) as caught:
        load_profile(str(written(tmp_path, f"threat: {{{text}}}\n")))
    assert words in str(caught.value)
    assert "p.yaml" in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        ({"top_scores": 0}, "top_scores: "),
        ({"score_decimals": 99}, "score_decimals: "),
        ({"score_noise": -1.0}, "score_noise: "),
        ({"reject_below": 0.0}, "reject_below: "),
        ({"duplicates": "twice"}, "duplicates"),
        ({"query_rate": "60"}, "query_rate: "),
    ],
)
def test_flags_that_cannot_be_are_refused(tmp_path: Path, flags: dict[str, Any], words: str) -> None:
    with pytest.raises(UsageError, match=words):
        resolved(tmp_path, **flags)


@pytest.mark.parametrize(
    ("text", "per_second"), [("2/s", 2), ("60/min", 1), ("60 / minute", 1), ("1000/h", 1 / 3.6), ("86400/day", 1)]
)
def test_rates(text: str, per_second: float) -> None:
    assert parse_query_rate(text) == pytest.approx(per_second)


@pytest.mark.parametrize("text", ["", "0/s", "5", "5/fortnight", "-3/s", "1e400/s", "x/s", "9" * 400 + "/s"])
def test_no_rates(text: str) -> None:
    with pytest.raises(UsageError, match="a rate of queries is written as"):
        parse_query_rate(text)
