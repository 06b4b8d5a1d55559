"""Settings of checks: what they change, and that a report says so."""

from __future__ import annotations

import inspect

import pytest
from results import make_result

from robaudit.audit.verdict.limitations import limitations
from robaudit.checks.registry import make_check, own_checks
from robaudit.extensions import ParameterError


@pytest.mark.parametrize(
    ("id", "measured", "settings", "usual", "changed"),
    [
        ("zero-gradient", {"samples": 10, "blind": {"pgd": 3}, "zero": {"ce": 3}}, {"threshold": 0.3}, "fail", "warn"),
        ("determinism", {"deviation": 1e-3, "state": None}, {"threshold": 1e-3}, "fail", "pass"),
        ("batch-state", {"deviation": 0.01}, {"threshold": 0.02}, "warn", "pass"),
        ("parity", {"points": 9, "agreement": 0.99, "difference": 0.0}, {"agreement": 0.9}, "fail", "pass"),
        ("parity", {"points": 9, "agreement": 1.0, "difference": 0.1}, {"threshold": 0.2}, "fail", "pass"),
        (
            "output-head",
            {"kind": "sigmoids", "samples": 100, "saturated": 0, "several": 8},
            {"several": 0.08},
            "warn",
            "pass",
        ),
    ],
)
def test_a_setting_decides_and_its_default_is_what_it_was(id, measured, settings, usual, changed) -> None:
    assert make_check(id).verdict(measured).status == usual
    assert make_check(id, settings).verdict(measured).status == changed


def test_points_of_black_over_white_are_percentages() -> None:
    measured = {"white": 1, "drawn": 100, "counts": {"scores": 9}}
    assert "beyond chance" in make_check("black-over-white").verdict(measured).message
    loose = make_check("black-over-white", {"scores": 20}).verdict(measured)
    assert "beyond chance" not in loose.message
    assert loose.threshold == 0.2


@pytest.mark.parametrize("id", own_checks())
def test_every_setting_is_described_and_refuses_nonsense(id) -> None:
    cls = own_checks()[id]
    for name, parameter in inspect.signature(cls).parameters.items():
        assert f"    {name}: " in inspect.getdoc(cls).partition("\nArgs:")[2], name
        assert getattr(make_check(id), name) == parameter.default
        for nonsense in (-1, "much", True, None, [], float("nan")):
            with pytest.raises(ParameterError) as caught:
                make_check(id, {name: nonsense})
            assert caught.value.parameter == name


def test_a_report_says_which_checks_judge_by_other_settings() -> None:
    result = make_result()

    def told(checks: object) -> list[str]:
        profile = result.profile.model_copy(update={"resolved": {"checks": checks}})
        found = limitations(result.model_copy(update={"profile": profile}))
        return [text for text in found if "the profile set" in text]

    assert told({"zero-gradient": {"threshold": 0.3, "samples": 64}, "clean": {}}) == [
        "the profile set what the check zero-gradient judges by: threshold 0.3, not 0.05"
    ]
    for unusual in ({}, {"zero-gradient": {}}, {"zero-gradient": {"threshold": 0.05}}, {"other": {"a": 1}}, [], None):
        assert told(unusual) == []
