"""What the price of secrecy is measured with by default is what the shipped profiles attack with."""

from __future__ import annotations

import pytest

from robaudit.audit.config.attack_specs import SecrecySpec
from robaudit.audit.config.profile import Profile
from robaudit.audit.config.profile_files import load_profile
from robaudit.audit.plan.attacks import Planned, TargetTraits, plan_attacks
from robaudit.audit.plan.secrecy import ACCESSES, plan_secrecy
from robaudit.threat.model import Access

TRAITS = TargetTraits(10, (3, 32, 32), files=("s.onnx",), surrogates=("s.onnx",))
BUDGET = {"queries", "trial", "within", "schedule"}
"""Parameters that say how many queries are spent, which a curve shares out by itself."""


def threatened(name: str, norm: str, goal: str) -> Profile:
    profile = load_profile(name)
    changes = {"norm": norm, "goal": goal, "eps": {"l0": 20, "l1": 4.0}.get(norm, 0.5)}
    return profile.model_copy(update={"threat": profile.threat.model_copy(update=changes)})


def told(planned: Planned) -> tuple[str, dict[str, object]]:
    return planned.attack.id, {k: v for k, v in planned.parameters.items() if k not in BUDGET}


@pytest.mark.parametrize("goal", ["untargeted", "random"])
@pytest.mark.parametrize("norm", ["linf", "l2", "l1", "l0"])
def test_the_usual_attacks_are_those_of_the_profiles(norm: str, goal: str) -> None:
    profile = threatened("quick", norm, goal).model_copy(update={"attacks": (), "secrecy": SecrecySpec()})
    found = {plan.access: [told(p) for p in plan.plan] for plan in plan_secrecy(profile, TRAITS, [])}
    expected = {}
    for access, name in zip(ACCESSES, ("transfer", "labels", "blackbox"), strict=True):
        ready = [p for p in plan_attacks(threatened(name, norm, goal), TRAITS) if p.status == "ready"]
        mine = [told(p) for p in ready if p.attack.access is access]
        expected[access] = mine if access is Access.LABELS else mine[:1]
    assert found == {access: attacks for access, attacks in expected.items() if attacks}
