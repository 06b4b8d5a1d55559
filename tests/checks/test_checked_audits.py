"""Whole audits of models that deceive, and of one that does not."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from run_kit import CLASSES, EVERY_CHECK, make_data, make_onnx, make_profile, make_request, run_here

from robaudit.audit.replay.replaying import replay
from robaudit.audit.replay.request import ReplayRequest
from robaudit.audit.run.rundir import MARKER
from robaudit.audit.stored.file import save_result
from robaudit.checks.registry import own_checks
from robaudit.report.chances import chance_lines

ATTACKS = "\n  - {id: fgsm}\n  - {id: apgd-ce, steps: 10}\n  - {id: square, queries: 100}\n"


@pytest.mark.parametrize(
    ("model", "attacks", "declared", "failing"),
    [
        ({"scale": 0.0}, ATTACKS, None, {"zero-gradient"}),
        ({}, ATTACKS, 0.3, {"clean"}),
    ],
)
def test_the_headline_is_withheld(
    tmp_path: Path, model: dict[str, Any], attacks: str, declared: float | None, failing: set[str]
) -> None:
    request = make_request(
        make_onnx(tmp_path / "m.onnx", **model),
        make_data(tmp_path / "d.npz", 24),
        make_profile(tmp_path / "p.yaml", attacks, eps=0.02, checks=EVERY_CHECK),
        clean_accuracy=declared,
    )
    result = run_here(request, tmp_path / "run")
    failed = {check.id for check in result.checks if check.status == "fail"}
    assert failing <= failed
    assert result.worst_case.robust_accuracy is None
    assert result.verdict.status == "withheld"
    assert result.run.reproducible
    assert result.verdict.exit_code == 3


def test_a_random_model_is_judged_on_its_draws(tmp_path: Path) -> None:
    """It is attacked on means over draws; what it came to is replayed, and told as chances to survive."""
    request = make_request(
        make_onnx(tmp_path / "m.onnx", extra="noise"),
        make_data(tmp_path / "d.npz", 24),
        make_profile(tmp_path / "p.yaml", ATTACKS, eps=0.05, checks=EVERY_CHECK),
    )
    result = run_here(request, tmp_path / "run")
    assert [check.id for check in result.checks if check.status == "fail"] == []
    assert result.verdict.status != "withheld"
    assert result.target.random == "file"
    assert not result.run.reproducible
    assert result.chances is not None
    one, ten, hundred = result.chances.survival
    assert [one.tries, ten.tries, hundred.tries] == [1, 10, 100]
    assert one.clean > one.attacked > ten.attacked >= hundred.attacked
    assert result.broken
    for sample in result.broken:
        assert sample.draws is not None
        assert sample.draws.fooled > 12  # at more than half of the draws when it fell; by chance fewer are no lie
    assert any("survive" in line or "fooled with a mean chance" in line for line in chance_lines(result))
    save_result(result, tmp_path / "run" / "result.json")
    (tmp_path / "run" / MARKER).write_text(json.dumps({"run": result.run.id, "model": str(tmp_path / "m.onnx")}))
    again = replay(ReplayRequest(tmp_path / "run"))
    assert again.fooled == again.count == len(result.broken)


def test_a_sound_model_passes_every_check(tmp_path: Path) -> None:
    request = make_request(
        make_onnx(tmp_path / "m.onnx"),
        make_data(tmp_path / "d.npz", 24),
        make_profile(tmp_path / "p.yaml", ATTACKS, eps=0.02, checks=EVERY_CHECK),
        clean_accuracy=0.92,
    )
    result = run_here(request, tmp_path / "run")
    skipped = {c.id for c in result.checks if c.status == "skipped"}
    assert skipped == {"gradient-masking"}  # no attack is smooth
    assert {c.status for c in result.checks if c.id not in skipped} <= {"pass", "warn"}, result.checks
    assert result.verdict.exit_code == 0, result.verdict


def test_rounding_inside_is_passed_straight_through(tmp_path: Path) -> None:
    request = make_request(
        make_onnx(tmp_path / "m.onnx", extra="round"),
        make_data(tmp_path / "d.npz", 24),
        make_profile(tmp_path / "p.yaml", ATTACKS, eps=0.2, checks=EVERY_CHECK),
    )
    result = run_here(request, tmp_path / "run")
    gradient = result.target.gradient
    assert (gradient.available, gradient.method) == (True, "straight-through")
    assert [cut.split(" ")[0] for cut in gradient.cuts] == ["Round"]
    statuses = {check.id: check.status for check in result.checks}
    assert statuses["zero-gradient"] == "pass"
    assert statuses["parity"] == "pass"
    assert {a.id for a in result.attacks if a.status == "done" and a.broken} & {"fgsm", "apgd-ce"}


@pytest.mark.parametrize("fall", [0.5, 0.0])
def test_a_copy_of_each_class_does_not_lead_a_ratio_astray(tmp_path: Path, fall: float) -> None:
    """Below each class a copy: the ratio's numerator is constant, and climbing it widens the lead over all others."""
    model = onnx.load(make_onnx(tmp_path / "m.onnx"))
    model.graph.node.append(helper.make_node("Sub", ["logits", "fall"], ["lower"]))
    model.graph.node.append(helper.make_node("Concat", ["logits", "lower"], ["out"], axis=1))
    model.graph.initializer.append(numpy_helper.from_array(np.float32(fall), "fall"))
    del model.graph.output[:]
    model.graph.output.append(helper.make_tensor_value_info("out", TensorProto.FLOAT, ["N", 2 * CLASSES]))
    onnx.save(model, tmp_path / "m.onnx")
    profile = make_profile(tmp_path / "p.yaml", "\n  - {id: apgd-dlr, steps: 10}\n", eps=0.05, checks="[zero-gradient]")
    data, plain = make_data(tmp_path / "d.npz", 12), make_onnx(tmp_path / "plain.onnx")
    result = run_here(make_request(tmp_path / "m.onnx", data, profile), tmp_path / "run")
    same = run_here(make_request(plain, data, profile), tmp_path / "same")
    assert result.verdict.exit_code == 0
    assert result.attacks[0].broken == same.attacks[0].broken > 0


def test_every_check_on_the_file_is_measured_in_an_audit(tmp_path: Path) -> None:
    make_onnx(tmp_path / "s.onnx")
    profile = make_profile(tmp_path / "p.yaml", ATTACKS, eps=0.05, checks="every")
    profile.write_text(profile.read_text() + "matrix: {attacks: [mi]}\n")
    request = make_request(
        make_onnx(tmp_path / "m.onnx"), make_data(tmp_path / "d.npz", 20), profile, surrogates=(tmp_path / "s.onnx",)
    )
    result = run_here(request, tmp_path / "run")
    found = {check.id: check for check in result.checks}
    on_the_file = [id for id, cls in own_checks().items() if "RA120" <= cls.facts.rule.id <= "RA139"]
    assert {id: found[id].status for id in on_the_file} == dict.fromkeys(on_the_file, "pass") | {
        "relu-stability": "skipped",  # its units are tanh
        "trojan": "skipped",  # four classes
    }, [found[id].message for id in on_the_file]
    free = ("sparsity", "relu-stability", "transfer-gap", "trojan")
    assert all((found[id].forwards, found[id].queries) == (0, 0) for id in free)
    assert (found["stateful"].queries, found["logit-scale"].forwards) == (1000 + 2 * 16, 18)
    assert found["clever"].backwards == 8 * 20 * 64 * 3
    assert result.transfer is not None
    [cell] = result.transfer.matrices[0].cells
    assert found["transfer-gap"].message.startswith(f"transfer fools {len(cell.fooled)} of 18 at most (matrix/")
    assert run_here(request, tmp_path / "run").checks == result.checks
