"""The profiles named after AutoAttack carry the parameters of its authors' code."""

from __future__ import annotations

import pytest
import yaml

from robaudit.audit.config.profile import ThreatSpec
from robaudit.audit.config.profile_files import load_profile, profile_path
from robaudit.audit.plan.attacks import Planned, TargetTraits, plan_attacks

APGD = {"steps": 100, "restarts": 1, "wide_start": False}
SQUARE = {"queries": 5000, "p_init": 0.8, "schedule": 10000}
FAB = {"steps": 100, "restarts": 1, "alpha_max": 0.1, "eta": 1.05, "beta": 0.9}
STANDARD = {
    "linf": [
        ("apgd-ce", APGD),
        ("apgd-t", APGD | {"targets": 9}),
        ("fab-t", FAB | {"targets": 9}),
        ("square", SQUARE),
    ],
    "l1": [
        ("apgd-ce", APGD | {"restarts": 5, "wide_start": True}),
        ("apgd-t", APGD | {"targets": 5, "wide_start": True}),
        ("fab-t", FAB | {"targets": 9}),
        ("square", SQUARE),
    ],
}
STANDARD["l2"] = STANDARD["linf"]
PLUS = [
    ("apgd-ce", APGD | {"restarts": 5}),
    ("apgd-dlr", APGD | {"restarts": 5}),
    ("fab", FAB | {"restarts": 5}),
    ("square", SQUARE),
    ("apgd-t", APGD | {"targets": 9}),
    ("fab-t", FAB | {"targets": 9}),
]
RAND = [("apgd-ce", APGD | {"eot": 20}), ("apgd-dlr", APGD | {"eot": 20})]
NAMES = ["autoattack", "autoattack-plus", "autoattack-rand"]


def plan(name: str, norm: str, classes: int = 10) -> list[Planned]:
    threat = ThreatSpec.model_validate({"norm": norm, "eps": "0.5"})
    profile = load_profile(name).model_copy(update={"threat": threat})
    return plan_attacks(profile, TargetTraits(classes, (3, 8, 8)))


@pytest.mark.parametrize("norm", ["linf", "l2", "l1"])
@pytest.mark.parametrize("name", NAMES)
def test_parameters_are_the_published_ones(name: str, norm: str) -> None:
    expected = {"autoattack": STANDARD[norm], "autoattack-plus": PLUS, "autoattack-rand": RAND}[name]
    found = plan(name, norm)
    assert [planned.status for planned in found] == ["ready"] * len(expected)
    for planned, (key, parameters) in zip(found, expected, strict=True):
        assert planned.key == key
        assert {k: v for k, v in planned.parameters.items() if k in parameters} == parameters


def test_everything_is_written_out() -> None:
    """A changed default of an attack must not change what the name stands for."""
    for name in NAMES:
        for attack in yaml.safe_load(profile_path(name)[0].read_text())["attacks"]:
            assert {"steps", "restarts"} <= attack.keys() or attack.keys() > {"queries", "p_init", "schedule"}


@pytest.mark.parametrize(("classes", "fallen"), [(2, {"apgd-dlr", "apgd-t"}), (3, {"apgd-t"}), (4, set())])
def test_few_classes_lose_what_the_authors_code_cannot_run(classes: int, fallen: set[str]) -> None:
    found = {planned.key: planned for planned in plan("autoattack-plus", "linf", classes)}
    assert {key for key, planned in found.items() if planned.status != "ready"} == fallen
    assert all("own code stops there too" in str(found[key].reason) for key in fallen)
