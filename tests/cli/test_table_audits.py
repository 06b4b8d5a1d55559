"""Tables, from a CSV file to the evidence, as a user meets them."""

from __future__ import annotations

import os
import subprocess

import numpy as np
from quick_start import ran
from table_files import HIGH, LOW, NAMES, RANGES, answers, write_model, write_table

from robaudit.audit.result.document import Result

ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1", "COLUMNS": "100"}
PROFILE = """
name: tiny
threat: {norm: linf, eps: 0.2}
attacks:
  - {id: fgsm}
  - {id: apgd-ce, steps: 8}
  - {id: square, queries: 60}
checks: [clean, parity, evidence]
"""


def robaudit(*arguments: object) -> subprocess.CompletedProcess[str]:
    return ran(arguments, env=ENVIRONMENT)


def test_a_table_with_declared_ranges(tmp_path):
    write_table(tmp_path / "t.csv", write_model(tmp_path / "m.onnx"))
    (tmp_path / "r.csv").write_text(RANGES)
    (tmp_path / "p.yaml").write_text(PROFILE)
    given = ("--data", tmp_path / "t.csv", "--feature-ranges", tmp_path / "r.csv")
    run = ("--profile", tmp_path / "p.yaml", "--run-dir", tmp_path / "run", "--no-progress", "-v")
    done = robaudit("scan", tmp_path / "m.onnx", *given, *run)
    assert done.returncode == 0, done.stderr
    result = Result.model_validate_json((tmp_path / "run" / "result.json").read_text())
    assert result.clean.accuracy is not None
    assert result.clean.accuracy.estimate == 1.0, "raw units reach the file as they stand"
    assert result.data.kind == "table"
    assert result.target.assumed == ()
    assert result.target.input.domain is None
    features = {f.name: f for f in result.target.input.features}
    assert list(features) == list(NAMES)
    assert (features["income"].immutable, features["age"].integer, features["rate"].high) == (True, True, 1.0)
    assert "2 of 4 features as they are" in result.threat_model.domain
    assert "age     [18, 90]    whole numbers" in done.stdout
    assert "income  [0, 50000]  immutable" in done.stdout
    assert "site    [5, 5]      constant" in done.stdout
    evidence = np.load(tmp_path / "run" / "evidence.npz")
    away, origin = evidence["adversarial"], evidence["original"]
    assert len(away) > 3
    assert np.array_equal(away[:, [1, 3]], origin[:, [1, 3]]), "what cannot change has not"
    assert (away[:, [0, 2]] != origin[:, [0, 2]]).any()
    raw = LOW + away.astype(np.float64) * (HIGH - LOW)
    np.testing.assert_allclose(raw[:, 0], raw[:, 0].round(), atol=1e-4)
    raw[:, 0] = raw[:, 0].round()
    assert np.array_equal(answers(tmp_path / "m.onnx", raw), evidence["prediction"])
    shown = robaudit("inspect", tmp_path / "m.onnx", *given)
    assert shown.returncode == 0, shown.stderr
    assert " [18, 90], whole numbers\n" in shown.stdout
