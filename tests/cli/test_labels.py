"""Labels as people write them, from the command line to the classes that the model is judged by."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from command_line import Command, refused
from model_files import write_onnx
from onnx import TensorProto, helper
from PIL import Image
from run_kit import make_profile, make_request

from robaudit.audit.inspection.survey import survey
from robaudit.audit.run.identity import identity_of
from robaudit.audit.session.loading import load


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A model whose class is the strongest of red, green and blue, and six photos in a flat folder."""
    nodes = [
        helper.make_node("GlobalAveragePool", ["x"], ["p"]),
        helper.make_node("Flatten", ["p"], ["f"]),
        helper.make_node("MatMul", ["f", "w"], ["y"]),
    ]
    write_onnx(tmp_path / "m.onnx", nodes, ("N", 3, 4, 4), {"w": 20 * np.eye(3, dtype=np.float32)})
    (tmp_path / "photos").mkdir()
    for i in range(6):
        Image.new("RGB", (4, 4), tuple(180 if c == i % 3 else 20 + i for c in range(3))).save(
            tmp_path / "photos" / f"i{i}.png"
        )
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_what_was_made_of_the_labels_is_said(robaudit: Command, place: Path) -> None:
    rows = "".join(f"{i};i{i}.png;4;{'' if i == 5 else i % 3}\r\n" for i in range(6))
    (place / "l.csv").write_text(f";Image ID;width;Category\r\n{rows}", encoding="utf-16")
    code, out, err = robaudit("scan", "m.onnx", "--data", "photos", "--labels", "l.csv", "--dry-run")
    assert code == 0, err
    assert "columns of l.csv that are not used: width" in out
    assert "1 of 6 samples cannot be audited: i5.png has no label" in out


def test_the_label_column_of_a_csv_may_be_named(robaudit: Command, place: Path) -> None:
    rows = "".join(f"i{i}.png,{i % 3}\n" for i in range(6))
    (place / "l.csv").write_text(f"file,fruit\n{rows}")
    given = ("scan", "m.onnx", "--data", "photos", "--labels", "l.csv", "--dry-run")
    refused(robaudit(*given), "known to hold the labels", "--label-column fruit, if that is it (columns: file, fruit)")
    assert robaudit(*given, "--label-column", "fruit").code == 0
    refused(robaudit("scan", "m.onnx", "--label-column", "fruit", "--dry-run"), "is for tables and CSV files of labels")


def test_class_names_are_read_in_any_encoding_and_must_be_as_many_as_classes(robaudit: Command, place: Path) -> None:
    rows = "".join(f"i{i}.png,{('thé', 'café', 'naïf')[i % 3]}\n" for i in range(6))
    (place / "l.csv").write_text(f"file,label\n{rows}", encoding="utf-8")
    names = "the\u0301\ncafe\u0301\nnai\u0308f\n"
    given = ("scan", "m.onnx", "--data", "photos", "--labels", "l.csv", "--classes", "c.txt", "--dry-run")
    for encoding in ("utf-8-sig", "utf-16"):
        (place / "c.txt").write_text(names, encoding=encoding)
        assert robaudit(*given).code == 0
    (place / "c.txt").write_text("background\n" + names, encoding="utf-8")
    refused(robaudit(*given), "4 class names were given and the model has 3 classes")
    (place / "c.txt").write_text("\n")
    refused(robaudit(*given), "holds no class names")


def request(place: Path, data: str, **changes: object) -> object:
    return make_request(place / "m.onnx", place / data, make_profile(place / "p.yaml"), **changes)


def test_a_linked_folder_is_part_of_what_a_run_is_known_by(place: Path) -> None:
    for c in range(3):
        (place / "pool" / str(c)).mkdir(parents=True)
        (place / "photos" / f"i{c}.png").rename(place / "pool" / str(c) / "a.png")
    (place / "split").mkdir()
    for c in range(3):
        (place / "split" / str(c)).symlink_to(place / "pool" / str(c))
    asked = request(place, "split")
    before = identity_of(asked).run_id
    assert load(asked).data.labels.tolist() == [0, 1, 2]
    Image.new("RGB", (4, 4), (9, 99, 9)).save(place / "pool" / "1" / "b.png")
    assert identity_of(asked).run_id != before


def test_inspect_tells_what_was_made_of_the_data(place: Path) -> None:
    for c in range(3):
        (place / "set" / "abc"[c]).mkdir(parents=True)
        (place / "photos" / f"i{c}.png").rename(place / "set" / "abc"[c] / "a.png")
    (place / "set" / "a" / "b.heic").touch()
    notes = survey(request(place, "set")).notes
    assert "files skipped because they cannot be read as images: 1 .heic" in notes
    assert "class numbers follow the sorted class names, which is assumed" in notes


def test_labels_of_arrays_and_tables_go_through_the_classes_that_the_file_declares(place: Path) -> None:
    rng = np.random.default_rng(0)
    x = rng.uniform(0, 1, (30, 3)).astype(np.float32)
    y = x.argmax(1) + 1
    node = helper.make_node(
        "LinearClassifier",
        ["x"],
        ["label", "scores"],
        domain="ai.onnx.ml",
        coefficients=(np.eye(3) * 9).ravel().tolist(),
        intercepts=[0.0] * 3,
        classlabels_ints=[1, 2, 3],
        multi_class=0,
        post_transform="SOFTMAX",
    )
    value = helper.make_tensor_value_info
    outputs = [value("label", TensorProto.INT64, ["N"]), value("scores", TensorProto.FLOAT, ["N", 3])]
    graph = helper.make_graph([node], "g", [value("x", TensorProto.FLOAT, ["N", 3])], outputs)
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("ai.onnx.ml", 1)]
    onnx.save(helper.make_model(graph, opset_imports=opsets, ir_version=8), place / "m.onnx")
    few = y < 3
    np.savez(place / "all.npz", x=x, y=y)
    np.savez(place / "few.npz", x=x[few], y=y[few])
    rows = "".join(f"{','.join(map(repr, map(float, row)))},{label}\n" for row, label in zip(x, y, strict=True))
    (place / "t.csv").write_text("a,b,c,label\n" + rows)
    for name, expected in (("all.npz", y), ("few.npz", y[few]), ("t.csv", y)):
        found = load(request(place, name, input_values={})).data
        assert (found.labels.tolist(), found.class_names) == ((expected - 1).tolist(), ["1", "2", "3"]), name
