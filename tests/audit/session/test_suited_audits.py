"""Files without a gradient, audited as they come: the default profile suits itself to what the file gives."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest
from command_line import Command
from run_kit import labels_only, make_data, make_request, run_here

from robaudit.audit.result.document import Result


@pytest.fixture(scope="module")
def trees(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Gradient boosting over the wines as scikit-learn's users export it, and a table of others."""
    import skl2onnx
    from sklearn.datasets import load_wine
    from sklearn.ensemble import GradientBoostingClassifier

    folder, wine = tmp_path_factory.mktemp("trees"), load_wine()
    x, order = wine.data.astype(np.float32), np.random.default_rng(0).permutation(len(wine.data))
    boosting = GradientBoostingClassifier(n_estimators=20, random_state=0)
    model = boosting.fit(x[order[30:]], wine.target[order[30:]])
    (folder / "gbm.onnx").write_bytes(skl2onnx.to_onnx(model, x[:1]).SerializeToString())
    with (folder / "wine.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow([*(name.replace("/", " ") for name in wine.feature_names), "label"])
        writer.writerows([*x[i].tolist(), wine.target[i]] for i in order[:6])
    return folder / "gbm.onnx", folder / "wine.csv"


@pytest.mark.parametrize("norm", [("linf", "0.15"), ("l2", "0.3"), ("l0", "2")])
def test_trees_and_a_table_end_with_a_verdict(
    robaudit: Command, trees: tuple[Path, Path], norm: tuple[str, str], tmp_path: Path, no_settings: None
) -> None:
    model, data = trees
    report = tmp_path / "r.json"
    flags = ["--norm", norm[0], "--eps", norm[1], "--run-dir", tmp_path / "run", "--output", report]
    done = robaudit("scan", model, "--data", data, *flags)
    assert done.code == 0, done.out + done.err
    result = Result.model_validate_json(report.read_text())
    assert any(sample.broken_by for sample in result.samples)
    assert {attack.access for attack in result.attacks if attack.status == "done"} <= {"scores", "labels"}
    assert all(attack.status in ("done", "skipped") for attack in result.attacks)
    assert any("attacks the file by its scores alone: it has no gradient" in note for note in result.run.notes)
    assert {gate.status for gate in result.gates if gate.metric in ("coverage", "validity")} == {"pass"}


@pytest.mark.parametrize(("hide", "access"), [(True, {"labels"}), (False, {"white-box"})])
def test_a_file_of_labels_is_attacked_by_labels_unless_something_before_them_has_a_gradient(
    hide: bool, access: set[str], tmp_path: Path
) -> None:
    profile = tmp_path / "p.yaml"
    profile.write_text("extends: auto\nthreat: {eps: '0.06'}\n")
    model, data = labels_only(tmp_path / "m.onnx", hide=hide), make_data(tmp_path / "d.npz", 8)
    result = run_here(make_request(model, data, profile), tmp_path / "run")
    assert {attack.access for attack in result.attacks if attack.status == "done"} == access
    assert not [attack.id for attack in result.attacks if attack.status not in ("done", "skipped")]
    assert any(sample.broken_by for sample in result.samples)
    assert result.verdict.exit_code == 0
