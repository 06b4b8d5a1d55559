"""What an audit makes of the user's own data: unlabelled data, and ranges for a part of a table's features."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest
from model_files import write_onnx
from onnx import helper
from PIL import Image
from run_kit import make_data, make_onnx, make_profile, make_request, run_here
from table_files import HIGH, LOW, NAMES, write_model, write_table

from robaudit.audit.config.profile_files import load_profile
from robaudit.audit.config.request import AuditRequest
from robaudit.audit.session.loaded import Loaded
from robaudit.audit.session.loading import load
from robaudit.errors import UsageError


def tabular(folder: Path, data: Path, **changes: object) -> Loaded:
    model = folder / "m.onnx"
    if not model.exists():
        write_model(model)
    profile = load_profile(str(make_profile(folder / "p.yaml")))
    return load(AuditRequest(model=model, data=data, profile=profile, **changes))  # type: ignore[arg-type]


def test_arrays_without_labels_are_audited_for_stability_and_it_is_said(tmp_path):
    data = make_data(tmp_path / "d.npz")
    with np.load(data) as archive:
        np.savez(data, x=archive["x"])
    request = make_request(
        make_onnx(tmp_path / "m.onnx"), data, make_profile(tmp_path / "p.yaml", "\n  - {id: fgsm}\n")
    )
    result = run_here(request, tmp_path / "run")
    assert result.worst_case.metric == "stability"
    assert result.worst_case.stability is not None
    assert result.clean.accuracy is None
    assert result.data.reference == "model"
    assert any("no labels were found (give them as y)" in note for note in result.data.notes)
    assert "keeps its own answer" in result.verdict.headline


def test_a_flat_folder_without_labels_is_audited_for_stability(tmp_path):
    (tmp_path / "d").mkdir()
    for i in range(4):
        Image.new("L", (8, 8), 60 * i).save(tmp_path / "d" / f"{i}.png")
    profile = make_profile(tmp_path / "p.yaml")
    loaded = load(make_request(make_onnx(tmp_path / "m.onnx"), tmp_path / "d", profile))
    assert loaded.reference == "model"
    assert any("--labels FILE.csv" in note for note in loaded.data.notes)


@pytest.mark.parametrize(("sizes", "found"), [((20, 20, 20), (3, 20, 20)), ((20, 24, 20), None)])
def test_images_of_one_size_tell_the_size_that_a_file_leaves_free(tmp_path, sizes, found):
    for i, size in enumerate(sizes):
        (tmp_path / "d" / str(i)).mkdir(parents=True)
        Image.new("RGB", (size, 20), (60 * i, 0, 0)).save(tmp_path / "d" / str(i) / "a.png")
    nodes = [
        helper.make_node("GlobalAveragePool", ["x"], ["p"]),
        helper.make_node("Flatten", ["p"], ["f"]),
        helper.make_node("MatMul", ["f", "w"], ["y"]),
    ]
    model = write_onnx(tmp_path / "m.onnx", nodes, ["N", 3, "H", "W"], {"w": np.eye(3, dtype=np.float32)})
    profile = load_profile(str(make_profile(tmp_path / "p.yaml")))
    request = AuditRequest(model=model, data=tmp_path / "d", profile=profile)
    if found is None:
        with pytest.raises(UsageError, match=r"leaves its size free; give --data with arrays of the size"):
            load(request)
        return
    spec = load(request).opened.spec
    assert (spec.shape, spec.provenance["resize"]) == (found, "data")


def rewritten(path: Path, label: str | None, *, numbers: bool = True) -> Path:
    """The table without its labels, or with them under another name."""
    with path.open(newline="") as file:
        header, *rows = list(csv.reader(file))
    rows = [[*row[:-1], str("abc".index(row[-1])) if numbers else row[-1]] for row in rows]
    cut = None if label else -1
    with path.open("w", newline="") as file:
        csv.writer(file).writerows([[*header[:-1], label or ""][:cut], *(row[:cut] for row in rows)])
    return path


def test_a_table_of_nothing_but_features_is_audited_for_stability(tmp_path):
    write_table(tmp_path / "t.csv", write_model(tmp_path / "m.onnx"))
    loaded = tabular(tmp_path, rewritten(tmp_path / "t.csv", None))
    assert loaded.reference == "model"
    assert len(loaded.data.load(0)) == 4


@pytest.mark.parametrize("numbers", [True, False])
def test_a_column_too_many_may_be_the_labels_and_is_asked_for(tmp_path, numbers):
    write_table(tmp_path / "t.csv", write_model(tmp_path / "m.onnx"))
    with pytest.raises(UsageError, match=r"no column of .* is known to hold labels.*--label-column"):
        tabular(tmp_path, rewritten(tmp_path / "t.csv", "churned", numbers=numbers))


def test_a_part_of_the_ranges_may_be_declared(tmp_path):
    x = write_table(tmp_path / "t.csv", write_model(tmp_path / "m.onnx"))
    (tmp_path / "r.csv").write_text("name,low,high\nincome,0,50000\n")
    loaded = tabular(tmp_path, tmp_path / "t.csv", feature_ranges=tmp_path / "r.csv")
    ranges = loaded.opened.spec.ranges
    assert ranges is not None
    assert ranges.names == NAMES
    assert (ranges.low[1], ranges.high[1]) == (0, 50_000)
    assert (ranges.low[0], ranges.high[0]) == (x[:, 0].min(), x[:, 0].max())
    assert ranges.guessed == ("age", "rate", "site")
    assert loaded.opened.spec.assumed == ("domain",)
    assert "for age, rate, site" in loaded.opened.spec.provenance["domain"]


@pytest.mark.parametrize(
    ("text", "words"),
    [("name,low,high\n1,0,50000\n", None), ("name,low,high\nincome,0,50000\n", "by their places from 0")],
)
def test_features_of_arrays_are_named_by_their_places(tmp_path, text, words):
    x = LOW + np.random.default_rng(0).random((20, 4)) * (HIGH - LOW)
    np.savez(tmp_path / "d.npz", x=x, y=np.arange(20) % 3)
    (tmp_path / "r.csv").write_text(text)
    if words is not None:
        with pytest.raises(UsageError, match=words):
            tabular(tmp_path, tmp_path / "d.npz", feature_ranges=tmp_path / "r.csv")
        return
    ranges = tabular(tmp_path, tmp_path / "d.npz", feature_ranges=tmp_path / "r.csv").opened.spec.ranges
    assert ranges is not None
    assert (ranges.low[1], ranges.high[1]) == (0, 50_000)
    assert (ranges.low[0], ranges.high[0]) == (x[:, 0].min(), x[:, 0].max())


def test_a_table_in_an_archive_is_told_of_ranges_for_each_feature(tmp_path):
    np.savez(tmp_path / "d.npz", x=LOW + np.random.default_rng(0).random((20, 4)) * (HIGH - LOW), y=np.arange(20) % 3)
    with pytest.raises(UsageError, match=r"--feature-ranges FILE.csv, which may be partial, or store the table as CSV"):
        tabular(tmp_path, tmp_path / "d.npz")
