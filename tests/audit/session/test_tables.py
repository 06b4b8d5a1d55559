"""Tables in an audit: ranges, what may not change, whole numbers, rows that cannot be read, what is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from onnx import TensorProto
from run_kit import make_profile, make_request, run_here
from table_files import NAMES, RANGES, answers, write_model, write_table

from robaudit.audit.config.request import AuditRequest
from robaudit.audit.config.resolve import resolve_settings
from robaudit.audit.inspection.survey import survey
from robaudit.audit.result.document import Result
from robaudit.audit.run.asking import request_of
from robaudit.audit.run.identity import identity_of
from robaudit.audit.session.loading import load
from robaudit.errors import UsageError

ATTACKS = "\n  - {id: apgd-ce, steps: 8}\n"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write_table(tmp_path / "t.csv", write_model(tmp_path / "m.onnx"))
    (tmp_path / "r.csv").write_text(RANGES)
    return tmp_path


def request(folder: Path, **changes: Any) -> AuditRequest:
    profile = make_profile(folder / "p.yaml", ATTACKS, eps=0.2)
    data = changes.pop("data", folder / "t.csv")
    return make_request(folder / "m.onnx", data, profile, **({"input_values": {}} | changes))


def audit(folder: Path, **changes: Any) -> Result:
    return run_here(request(folder, **changes), folder / "run")


def test_observed_ranges_are_assumed_and_no_gate_passes(folder):
    profile = make_profile(folder / "p.yaml", ATTACKS)
    profile.write_text(profile.read_text() + "  - {metric: robust_accuracy, min: 0.01}\n")
    result = run_here(make_request(folder / "m.onnx", folder / "t.csv", profile, input_values={}), folder / "run")
    assert result.target.assumed == (
        "the features' ranges were taken from the data and are assumed (give --feature-ranges)",
    )
    assert {g.metric: g.status for g in result.gates}["robust_accuracy"] == "invalid"
    assert "1 of 4 features never changes and stays as it is" in result.data.notes
    assert result.data.class_order == "sorted, assumed"
    assert any(text.startswith("that class numbers follow the sorted labels is assumed") for text in result.limitations)
    site = result.target.input.features[3]
    assert (site.low, site.high) == (5.0, 5.0)


def test_declared_normalisation_leaves_the_ranges_to_the_data(folder):
    spec = load(request(folder, input_values={"mean": (0.0,), "std": (1.0,)})).opened.spec
    assert spec.ranges is not None
    assert (spec.mean, spec.assumed) == ((0.0,), ("domain",))


def test_files_beside_the_model_are_found(folder):
    (folder / "t.csv").rename(folder / "m.data.csv")
    (folder / "r.csv").rename(folder / "m.ranges.csv")
    resolved = resolve_settings({}, {}, folder / "m.onnx")
    loaded = load(request_of(folder / "m.onnx", resolved))
    assert loaded.data.source == str(folder / "m.data.csv")
    assert loaded.opened.spec.assumed == ()
    assert loaded.opened.spec.provenance["domain"] == "sidecar file"
    assert loaded.opened.spec.fixed == (1, 3)


def test_a_row_that_cannot_be_read_costs_itself_alone(folder):
    lines = (folder / "t.csv").read_text().splitlines()
    cells = lines[4].split(",")
    lines[4] = ",".join([cells[0], "", *cells[2:]])
    cells = lines[7].split(",")
    lines[7] = ",".join([*cells[:4], ""])
    (folder / "t.csv").write_text("\n".join(lines))
    result = audit(folder)
    assert result.clean.accuracy is not None
    assert result.clean.accuracy.n == len(lines) - 2  # less the header and the row without a label
    where = folder / "t.csv"
    assert [e.message for e in result.errors] == [
        f"line 5 of {where} has no value for income",
        f"line 8 of {where} has no label",
    ]
    assert result.samples[6].label is None


def test_whole_numbers_of_an_integer_file(tmp_path):
    model = write_model(tmp_path / "m.onnx", TensorProto.INT64)
    x = write_table(tmp_path / "t.csv", model).round().astype(int)
    rows = [",".join(map(str, (*row, label))) for row, label in zip(x.tolist(), answers(model, x), strict=True)]
    (tmp_path / "t.csv").write_text("\n".join([",".join([*NAMES, "y"]), *rows]))
    result = audit(tmp_path)
    assert result.clean.accuracy is not None
    assert result.clean.accuracy.estimate == 1.0
    assert all(f.integer for f in result.target.input.features)
    away = np.load(tmp_path / "run" / "evidence.npz")["adversarial"].astype(np.float64)
    ends = [(f.low, f.high) for f in result.target.input.features]
    raw = np.stack([low + away[:, i] * (high - low) for i, (low, high) in enumerate(ends)], 1)
    assert len(raw) > 0
    np.testing.assert_allclose(raw, raw.round(), rtol=1e-6, atol=1e-3)


def test_the_file_sees_the_very_values_of_the_table(folder):
    loaded = load(request(folder))
    rows = np.loadtxt(folder / "t.csv", delimiter=",", skiprows=1, usecols=range(4))
    u = torch.from_numpy(np.stack([loaded.data.load(i) for i in range(len(rows))])).to(loaded.opened.dtype)
    assert torch.equal(loaded.opened.spec.to_file(u), torch.from_numpy(rows.astype(np.float32)))


def test_a_torchscript_file(folder):
    torch.manual_seed(0)
    net = torch.nn.Sequential(torch.nn.Linear(4, 8), torch.nn.Tanh(), torch.nn.Linear(8, 3)).eval()
    torch.jit.save(torch.jit.trace(net, torch.zeros(1, 4)), str(folder / "m.pt"))
    profile = make_profile(folder / "p.yaml", ATTACKS, eps=0.2)
    given = make_request(folder / "m.pt", folder / "t.csv", profile, input_values={}, reference="model")
    result = run_here(given, folder / "run")
    assert result.target.gradient.available
    assert result.worst_case.upper_bound_observed.n == 30
    assert [a.status for a in result.attacks] == ["done"]


def test_ranges_and_label_column_name_the_run(folder):
    ids = {
        identity_of(request(folder)).run_id,
        identity_of(request(folder, feature_ranges=folder / "r.csv")).run_id,
        identity_of(request(folder, label_column="label")).run_id,
    }
    assert len(ids) == 3


def test_a_survey_lists_the_features(folder):
    found = survey(request(folder, feature_ranges=folder / "r.csv"))
    assert found.meaning.features == {
        "age": "[18, 90], whole numbers",
        "income": "[0, 50000], immutable",
        "rate": "[-1, 1]",
        "site": "[5, 5], constant",
    }
    assert found.meaning.domain is None


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"label_column": "nothing"}, "has no column 'nothing'"),
        ({"label_column": "age"}, r"label is '\w', which is no number"),
        ({"feature_ranges": "r.csv", "input_values": {"domain": (0.0, 1.0)}}, "give one"),
        ({"labels": "l.csv"}, "l.csv is for image folders"),
        ({"input_values": {"domain": (0.0, 1.0)}}, r"line 2 of .*: age is .*, outside of its range \[0, 1\]"),
        ({"data": None, "feature_ranges": "r.csv", "reference": "model"}, "is for tables"),
        ({"data": None, "label_column": "y", "reference": "model"}, "--label-column is for tables"),
    ],
)
def test_what_does_not_fit_is_refused_in_one_sentence(folder, changes, words):
    given = {k: folder / v if isinstance(v, str) and v.endswith(".csv") else v for k, v in changes.items()}
    with pytest.raises(UsageError, match=words):
        load(request(folder, **given))


def test_ranges_must_fit_arrays(folder):
    np.savez(folder / "d.npz", x=np.full((4, 4), 20.0), y=np.zeros(4, int))
    (folder / "few.csv").write_text("name,low,high\na,0,100\n")
    with pytest.raises(UsageError, match=r"has 1 ranges, and .* holds samples of 4 features without names"):
        load(request(folder, data=folder / "d.npz", feature_ranges=folder / "few.csv"))
    (folder / "all.csv").write_text("name,low,high\na,0,100\nb,0,100\nc,0,100\nd,0,100\n")
    loaded = load(request(folder, data=folder / "d.npz", feature_ranges=folder / "all.csv"))
    np.testing.assert_allclose(loaded.data.load(0), 0.2, rtol=1e-6)
    assert loaded.opened.spec.assumed == ()


def test_features_of_which_none_can_change_are_refused(folder):
    rows = [line.split(",") for line in RANGES.splitlines()]
    (folder / "r.csv").write_text(
        "\n".join(",".join([*row[:3], "yes" if i else row[3], row[4]]) for i, row in enumerate(rows))
    )
    with pytest.raises(UsageError, match="every feature is immutable"):
        load(request(folder, feature_ranges=folder / "r.csv"))
    header, first, *_ = (folder / "t.csv").read_text().splitlines()
    (folder / "t.csv").write_text(f"{header}\n{first}\n")
    with pytest.raises(UsageError, match="one value throughout the data"):
        load(request(folder, classes=("a", "b", "c")))
    load(request(folder, classes=("a", "b", "c")), inspecting=True)
