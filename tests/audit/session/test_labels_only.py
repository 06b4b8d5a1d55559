"""Audits of files whose answers are not scores: labels, and scores behind several inputs."""

from __future__ import annotations

from pathlib import Path

from run_kit import EVERY_CHECK, labels_only, make_data, make_profile, make_request, run_here

from robaudit.audit.result.document import Result

ATTACKS = """
  - {id: fgsm}
  - {id: apgd-t, steps: 8, targets: 2}
  - {id: square, queries: 60}
  - {id: hopskipjump, queries: 200}
"""


def audited(tmp_path: Path, **how: bool) -> Result:
    request = make_request(
        labels_only(tmp_path / "m.onnx", **how),
        make_data(tmp_path / "d.npz", 16),
        make_profile(tmp_path / "p.yaml", ATTACKS, eps=0.2, checks=EVERY_CHECK),
    )
    return run_here(request, tmp_path / "run")


def test_labels_are_audited_by_gradients_before_the_decision_and_by_label_attacks(tmp_path) -> None:
    result = audited(tmp_path)
    target = result.target
    assert (target.head, target.num_classes) == ("labels", 4)
    assert [(o.name, o.scores) for o in target.outputs] == [("label", True)]
    assert target.gradient.available
    assert target.gradient.before == ("Identity (label)", "ArgMax (decide)")
    attacks = {attack.id: attack for attack in result.attacks}
    assert (attacks["square"].status, attacks["square"].reason) == ("unavailable", "the file returns labels only")
    assert [attacks[name].status for name in ("fgsm", "apgd-t", "hopskipjump")] == ["done"] * 3
    assert attacks["fgsm"].broken > 0
    assert result.clean.accuracy is not None
    assert result.clean.accuracy.k == 14
    assert {check.id: check.status for check in result.checks if check.status == "fail"} == {}
    assert "zero-gradient" in {check.id for check in result.checks if check.status == "pass"}


def test_labels_alone_leave_label_attacks(tmp_path) -> None:
    result = audited(tmp_path, hide=True)
    assert result.target.num_classes == 4  # from the labels of the data
    assert not result.target.gradient.available
    attacks = {attack.id: attack for attack in result.attacks}
    assert attacks["fgsm"].status == attacks["apgd-t"].status == attacks["square"].status == "unavailable"
    assert "labels only" in str(attacks["fgsm"].reason)
    assert attacks["hopskipjump"].status == "done"
    assert attacks["hopskipjump"].broken > 0
