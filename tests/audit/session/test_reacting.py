"""An audit that finds masked gradients says where they are hidden, and attacks what stands otherwise."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from model_files import write_onnx
from onnx import helper
from run_kit import CLASSES, SHAPE, make_data, make_onnx, make_profile, make_request, run_here, weights

from robaudit.audit.config.profile_files import load_profile
from robaudit.audit.result.document import Result
from robaudit.audit.stored.file import parse_result
from robaudit.errors import UsageError
from robaudit.report.html import render as html
from robaudit.report.markdown import render as markdown
from robaudit.report.masking import masking_lines

NODE = helper.make_node
ATTACKS = "\n  - {id: apgd-ce, steps: 10}\n"
REACTION = "reaction:\n  attacks:\n    - {id: apgd-ce+smooth, steps: 20, loss: margin}\n    - {id: rays, queries: 50}\n"
CHECKS = "[zero-gradient, evidence]"


def steps(path: Path) -> Path:
    """The kit's network with hidden units that are 0 or 1 but for a sliver: a clip of what is far past its ends."""
    w1, b1, w2, b2 = (w.astype(np.float32) for w in weights())
    nodes = [
        NODE("Flatten", ["x"], ["f"], name="flat"),
        NODE("Gemm", ["f", "w1", "b1"], ["h"], transB=1, name="first"),
        NODE("Mul", ["h", "steep"], ["s"], name="steepen"),
        NODE("Clip", ["s", "low", "high"], ["c"], name="cap"),
        NODE("Gemm", ["c", "w2", "b2"], ["logits"], transB=1, name="second"),
    ]
    arrays = {"w1": w1, "b1": b1, "w2": w2, "b2": b2}
    arrays |= {"steep": np.float32(1e5), "low": np.float32(-1), "high": np.float32(1)}
    return write_onnx(path, nodes, ("N", *SHAPE), arrays, outputs={"logits": (("N", CLASSES), 1)})


def audited(folder: Path, model: Path, more: str = REACTION, run: str = "run") -> Result:
    profile = make_profile(folder / "p.yaml", ATTACKS, eps=0.1, checks=CHECKS)
    profile.write_text(profile.read_text() + more)
    request = make_request(model, make_data(folder / "d.npz", 24), profile)
    return run_here(request, folder / run)


@pytest.fixture(scope="module")
def masked(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Result]:
    folder = tmp_path_factory.mktemp("masked")
    return folder, audited(folder, steps(folder / "m.onnx"))


def script_steps(path: Path) -> Path:
    """The same as TorchScript."""
    w1, b1, w2, b2 = (torch.from_numpy(w.astype(np.float32)) for w in weights())

    class Steps(torch.nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            hidden = torch.nn.functional.linear(x.flatten(1), w1, b1)
            return torch.nn.functional.linear(torch.clamp(hidden * 1e5, -1.0, 1.0), w2, b2)

    torch.jit.trace(Steps(), torch.zeros(2, *SHAPE)).save(str(path))
    return path


def test_a_smooth_backward_attacks_torchscript_too(tmp_path: Path) -> None:
    attacks = "\n  - {id: pgd, steps: 10}\n  - {id: pgd+smooth, steps: 10, smooth: {width: 0.3, pool: 0.1}}\n"
    profile = make_profile(tmp_path / "p.yaml", attacks, eps=0.1, checks="[evidence]")
    request = make_request(script_steps(tmp_path / "m.pt"), make_data(tmp_path / "d.npz", 24), profile)
    result = run_here(request, tmp_path / "run")
    ran = {attack.id: attack for attack in result.attacks}
    assert ran["pgd+smooth"].status == "done"
    assert ran["pgd+smooth"].parameters["smooth"] == {"width": 0.3, "pool": 0.1}
    assert "pgd+smooth" in {sample.broken_by for sample in result.samples}


def test_the_operator_that_hides_the_gradient_is_named_and_passed(masked: tuple[Path, Result]) -> None:
    _, result = masked
    found = result.masking
    assert found is not None
    assert "zero-gradient" in found.signs
    lost = next(place for place in found.hidden if place.why == "lost")
    assert lost.operators == ("Clip (cap)",)
    assert lost.before is not None
    assert lost.after is not None
    assert lost.before > 0.9 > 0.5 > lost.after
    assert found.attacks["reaction/apgd-ce+smooth"] > 0
    assert found.stood - sum(found.attacks.values()) == found.left == sum(s.stands for s in result.samples)
    by = {sample.broken_by for sample in result.samples}
    assert "reaction/apgd-ce+smooth" in by
    assert "evidence" not in [check.id for check in result.checks if check.status == "fail"]


def test_every_report_tells_of_it(masked: tuple[Path, Result]) -> None:
    _, result = masked
    assert any("Clip (cap)" in line and "loses it" in line for line in masking_lines(result))
    for text in (html(result), markdown(result)):
        assert "Masked gradients" in text
        assert "Clip (cap)" in text
    assert parse_result(result.to_json(), "r.json") == result


def test_a_resumed_audit_reacts_alike(masked: tuple[Path, Result]) -> None:
    folder, result = masked
    again = audited(folder, folder / "m.onnx")
    assert again.masking == result.masking
    assert [s.broken_by for s in again.samples] == [s.broken_by for s in result.samples]


def test_an_audit_without_a_reaction_does_not_react(masked: tuple[Path, Result]) -> None:
    folder, result = masked
    plain = audited(folder, folder / "m.onnx", more="reaction: false\n", run="plain")
    assert plain.masking is None
    assert sum(s.stands for s in plain.samples) > sum(s.stands for s in result.samples)


def test_where_nothing_tells_of_masking_no_further_attack_runs(tmp_path: Path) -> None:
    result = audited(tmp_path, make_onnx(tmp_path / "m.onnx"))
    assert result.masking is None
    assert [attack.id for attack in result.attacks] == ["apgd-ce"]


def test_a_gradient_that_ends_is_taken_up_by_labels(tmp_path: Path) -> None:
    """An ArgMax in the middle: no gradient at all, which is a reason of its own."""
    w1, b1 = (w.astype(np.float32) for w in weights()[:2])
    nodes = [
        NODE("Flatten", ["x"], ["f"]),
        NODE("Gemm", ["f", "w1", "b1"], ["h"], transB=1),
        NODE("ArgMax", ["h"], ["k"], axis=1, keepdims=0, name="winner"),
        NODE("Mul", ["k", "one"], ["same"]),  # of what is computed with an index there is no smooth backward
        NODE("Gather", ["table", "same"], ["logits"], name="look up"),
    ]
    table = np.random.default_rng(0).normal(size=(12, CLASSES)).astype(np.float32)
    path = write_onnx(
        tmp_path / "m.onnx",
        nodes,
        ("N", *SHAPE),
        {"w1": w1, "b1": b1, "table": table, "one": np.int64(1)},
        outputs={"logits": (("N", CLASSES), 1)},
    )
    result = audited(tmp_path, path)
    assert result.masking is not None
    assert result.masking.signs == ("graph-scan",)
    assert any("Gather (look up)" in place.operators for place in result.masking.hidden)
    ran = {attack.id: attack.status for attack in result.attacks}
    assert ran["reaction/rays"] == "done"
    assert ran["reaction/apgd-ce+smooth"] == "skipped"


def test_bad_attacks_of_a_reaction_are_refused(tmp_path: Path) -> None:
    profile = make_profile(tmp_path / "p.yaml", ATTACKS)
    profile.write_text(profile.read_text() + "reaction:\n  attacks: [{id: pgdd}]\n")
    with pytest.raises(UsageError, match=r"unknown attack 'pgdd'"):
        audited(tmp_path, make_onnx(tmp_path / "m.onnx"), more="reaction:\n  attacks: [{id: pgdd}]\n")
    assert load_profile("quick").reaction is not None
    assert load_profile("autoattack").reaction is None


def test_an_audit_until_its_gates_are_decided_names_the_place_alone(tmp_path: Path) -> None:
    profile = make_profile(tmp_path / "p.yaml", ATTACKS, eps=0.1, checks=CHECKS)
    profile.write_text(profile.read_text() + "  - {metric: robust_accuracy, min: 0.05}\n" + REACTION)
    request = make_request(steps(tmp_path / "m.onnx"), make_data(tmp_path / "d.npz", 64), profile, until_decided=True)
    result = run_here(request, tmp_path / "run")
    assert result.sequential is not None
    assert result.masking is not None
    assert result.masking.attacks == {}
    assert any(place.operators == ("Clip (cap)",) for place in result.masking.hidden)
    assert not any(attack.id.startswith("reaction/") for attack in result.attacks)
