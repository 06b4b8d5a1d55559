"""An expensive attack that waits for a success of a cheap one."""

from __future__ import annotations

from pathlib import Path

import pytest
from run_kit import make_data, make_onnx, make_profile, make_request, run_here

from robaudit.audit.config.attack_specs import AttackSpec
from robaudit.audit.config.profile_files import load_profile
from robaudit.audit.plan.attacks import TargetTraits
from robaudit.audit.plan.fronts import plan_fronts
from robaudit.audit.plan.validate import validate
from robaudit.audit.result.document import Result
from robaudit.errors import UsageError

WAITING = "\n  - fgsm\n  - {id: pgd, steps: 4, if_broke: fgsm}\n  - {id: apgd-ce, steps: 4, if_broke: pgd}\n"


def audited(folder: Path, eps: float, **changes: object) -> Result:
    profile = make_profile(folder / "p.yaml", WAITING, eps=eps)
    if changes:
        profile.write_text(profile.read_text() + "  - {metric: robust_accuracy, min: 0.05}\n")
    request = make_request(make_onnx(folder / "m.onnx"), make_data(folder / "d.npz", 24), profile, **changes)
    return run_here(request, folder / "run")


def test_it_runs_where_the_cheap_one_broke_a_sample(tmp_path: Path) -> None:
    result = audited(tmp_path, 0.1)
    ran = {attack.id: attack for attack in result.attacks}
    assert ran["fgsm"].broken > 0
    assert ran["pgd"].status == "done"
    assert ran["pgd"].parameters["if_broke"] == "fgsm"


@pytest.mark.parametrize("changes", [{}, {"until_decided": True}])
def test_it_is_skipped_where_that_broke_nothing(tmp_path: Path, changes: dict[str, object]) -> None:
    result = audited(tmp_path, 2e-5, **changes)
    ran = {attack.id: (attack.status, attack.reason, attack.attempted) for attack in result.attacks}
    assert ran["fgsm"][0] == "done"
    assert ran["pgd"] == ("skipped", "fgsm broke nothing", 0)
    assert ran["apgd-ce"] == ("skipped", "pgd broke nothing", 0)
    assert {gate.status for gate in result.gates if gate.metric == "coverage"} == {"pass"}  # no gap
    again = audited(tmp_path, 2e-5, **changes)  # the same run directory
    assert [a.status for a in again.attacks] == [a.status for a in result.attacks]


def test_it_runs_where_the_cheap_one_does_not_apply(tmp_path: Path) -> None:
    profile = make_profile(tmp_path / "p.yaml", "\n  - {id: bim}\n  - {id: pgd, if_broke: bim}\n", norm="l2")
    (front,) = plan_fronts(load_profile(str(profile)), TargetTraits(3, (4,)))
    assert [(one.key, one.status, one.if_broke) for one in front.plan] == [
        ("bim", "skipped", None),
        ("pgd", "ready", None),
    ]


def test_it_waits_in_its_own_norm(tmp_path: Path) -> None:
    attacks = "\n  - {id: pgd+smooth}\n  - {id: apgd-ce, if_broke: pgd+smooth}\n"
    profile = make_profile(tmp_path / "p.yaml", attacks)
    text = profile.read_text().replace("eps: 0.03}", "eps: 0.03, also: [{norm: l2, eps: 0.5}]}")
    profile.write_text(text)
    fronts = plan_fronts(load_profile(str(profile)), TargetTraits(3, (4,)))
    assert [front.plan[1].if_broke for front in fronts] == ["linf/pgd+smooth", "l2/pgd+smooth"]


def test_what_it_waits_for_may_have_its_short_name() -> None:
    assert AttackSpec.model_validate({"id": "pgd", "if_broke": "mi+di"}).if_broke == "transfer-mi-fgsm+di"


@pytest.mark.parametrize("named", ["apgd-ce", "pgd", "fgsmm"])
@pytest.mark.parametrize("place", ["attacks:", "reaction:\n  attacks:"])
def test_what_it_waits_for_stands_before_it(tmp_path: Path, named: str, place: str) -> None:
    profile = make_profile(tmp_path / "p.yaml", "\n  - ilcm")
    text = profile.read_text().replace("attacks:\n  - ilcm", f"{place} [{{id: pgd, if_broke: {named}}}, apgd-ce]")
    profile.write_text(text if place == "attacks:" else text + "attacks: [ilcm]\n")
    request = make_request(tmp_path / "m.onnx", tmp_path / "d.npz", profile)
    with pytest.raises(UsageError, match=rf"line \d.*p\.yaml.*if_broke: {named} is no attack that stands before pgd"):
        validate(request)
