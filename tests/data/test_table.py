from __future__ import annotations

import gzip
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from data_kit import open_dataset

from robaudit.data.ranges import Ranges, observed_ranges, read_ranges
from robaudit.data.reader import Fit
from robaudit.data.registry import check_source, reader_of
from robaudit.data.source import Dataset
from robaudit.data.table import read_table
from robaudit.data.tabular import open_table
from robaudit.errors import UnreadableSampleError, UsageError

PLAIN = "age,income,target\n20,1000,0\n40,3000,1\n60,2000,1\n"


def write(folder: Path, text: str = PLAIN, name: str = "t.csv") -> Path:
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return path


def opened(path: Path, ranges: Ranges | None = None, **options: Any) -> Dataset:
    labelled = options.pop("labelled", True)
    table = read_table(path, options.pop("label_column", None), labelled=labelled)
    found = ranges or observed_ranges(table.names, table.values, str(path))
    defaults: dict[str, Any] = {"shape": (len(table.names),), "num_classes": 2, "class_names": None}
    return open_table(table, Fit(ranges=found, **(defaults | options)), labelled=labelled)


def test_each_feature_is_scaled_by_its_own_range(tmp_path):
    data = opened(write(tmp_path))
    np.testing.assert_allclose([data.load(i) for i in range(3)], [[0, 0], [0.5, 1], [1, 0.5]])
    assert data.labels is not None
    assert data.labels.tolist() == [0, 1, 1]
    assert (data.kind, data.class_order, list(data.ids)) == ("table", "numeric", ["t.csv:2", "t.csv:3", "t.csv:4"])
    declared = Ranges(("age", "income"), (0.0, 0.0), (80.0, 4000.0), (False,) * 2, (False,) * 2)
    np.testing.assert_allclose(opened(write(tmp_path), declared).load(0), [0.25, 0.25])


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("t.tsv", PLAIN.replace(",", "\t")),
        ("t.csv", PLAIN.replace(",", ";")),
        ("t.csv", "\ufeff" + PLAIN.replace("\n", "\r\n")),
        ("t.csv", '"age","income","target"\n' + PLAIN.split("\n", 1)[1] + "\n\n"),
        ("t.CSV", PLAIN),
    ],
)
def test_dialects(tmp_path, name, text):
    table = read_table(write(tmp_path, text, name))
    assert table.names == ("age", "income")
    assert table.values.tolist() == [[20, 1000], [40, 3000], [60, 2000]]


def test_a_compressed_table(tmp_path):
    path = tmp_path / "t.csv.gz"
    path.write_bytes(gzip.compress(PLAIN.encode()))
    assert reader_of(path).tabular
    check_source(path)
    assert read_table(path).values.tolist() == [[20, 1000], [40, 3000], [60, 2000]]
    path.write_bytes(gzip.compress(PLAIN.encode())[:-9])
    with pytest.raises(UsageError, match="cannot be read"):
        read_table(path)


def test_the_label_column_may_be_any(tmp_path):
    path = write(tmp_path, "who,age,income\n1,20,1000\n0,40,3000\n")
    with pytest.raises(UsageError, match=r"--label-column \(columns: who, age, income\)"):
        read_table(path)
    data = opened(path, label_column="who")
    assert data.labels is not None
    assert data.labels.tolist() == [1, 0]
    assert data.load(0).shape == (2,)
    with pytest.raises(UsageError, match=r"no column 'whom'.*did you mean 'who'"):
        read_table(path, "whom")
    free = read_table(path, labelled=False)
    assert (free.names, free.labels) == (("who", "age", "income"), None)
    assert read_table(write(tmp_path), labelled=False).names == ("age", "income"), "a label is never a feature"


@pytest.mark.parametrize("cell", ["", "NaN", "n/a", " ", "null", "inf"])
def test_a_missing_value_costs_that_row_alone(tmp_path, cell):
    path = write(tmp_path, PLAIN.replace("3000", cell))
    data = opened(path)
    np.testing.assert_allclose(data.load(2), [1, 1])
    with pytest.raises(UnreadableSampleError, match=r"line 3 of .*t.csv has no value for income"):
        data.load(1)
    assert "1 of 3 rows lacks a value and cannot be audited" in data.notes


def test_a_missing_label_costs_that_row_alone(tmp_path):
    data = opened(write(tmp_path, PLAIN.replace("3000,1", "3000,")))
    assert data.labels is not None
    assert data.labels.tolist() == [0, -1, 1]
    with pytest.raises(UnreadableSampleError, match=r"line 3 of .* has no label"):
        data.load(1)
    assert opened(write(tmp_path, PLAIN.replace("3000,1", "3000,")), labelled=False).load(1).tolist() == [0.5, 1]


@pytest.mark.parametrize(
    ("labels", "names", "found", "order", "classes"),
    [
        (("no", "yes", "yes"), None, [0, 1, 1], "sorted, assumed", ["no", "yes"]),
        (("no", "yes", "yes"), ["yes", "no"], [1, 0, 0], "declared", ["yes", "no"]),
        (("0.0", "1.0", "1"), None, [0, 1, 1], "numeric", None),
        (("0", "1", "1"), ["a", "b"], [0, 1, 1], "numeric", ["a", "b"]),
    ],
)
def test_labels_are_numbers_or_names(tmp_path, labels, names, found, order, classes):
    rows = "".join(f"{i},{i},{label}\n" for i, label in enumerate(labels))
    data = opened(write(tmp_path, "a,b,Class\n" + rows), class_names=names)
    assert data.labels is not None
    assert (data.labels.tolist(), data.class_order, data.class_names) == (found, order, classes)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "holds nothing"),
        ("a,b,y\n", "header and at least one row"),
        ("1,2,3\n4,5,6\n", "begin with a header"),
        ("a,a,y\n1,2,0\n", "two columns named 'a'"),
        ("a,,y\n1,2,0\n2,2,0\n", "column 2 of .* has no name"),
        ("a,b,y\n1,2,0\n1,2\n", "line 3 of .* has 2 cells, and the header 3"),
        ("a,b,y\n1,2,0\n1,red,0\n", "line 3 of .*: b is 'red', which is no number"),
        ('a,b,y\n1,"2,0\n', "cannot be read"),
        ("y\n1\n", "labels and no features"),
    ],
)
def test_what_is_no_table_is_refused(tmp_path, text, words):
    with pytest.raises(UsageError, match=words):
        read_table(write(tmp_path, text))


def test_a_file_that_is_no_text_or_not_there(tmp_path):
    (tmp_path / "t.csv").write_bytes(b"\x89PNG\0\1\2\3")
    with pytest.raises(UsageError, match="cannot be read"):
        read_table(tmp_path / "t.csv")
    with pytest.raises(UsageError, match="there is no table"):
        read_table(tmp_path / "u.csv")


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"shape": (3,)}, r"has 2 features \(age, income\) and the model takes 3"),
        ({"shape": (3, 8, 8)}, "the model takes 3x8x8"),
        ({"num_classes": 1}, "label 1 in the label column of .*out of range"),
    ],
)
def test_a_table_that_does_not_fit_the_model(tmp_path, options, words):
    with pytest.raises(UsageError, match=words):
        opened(write(tmp_path), **options)


def test_a_column_without_a_value_or_a_table_without_a_label(tmp_path):
    with pytest.raises(UsageError, match=r"the column 'b' of .* holds no value"):
        opened(write(tmp_path, "a,b,y\n1,,0\n2,?,1\n"))
    with pytest.raises(UsageError, match="holds no label"):
        opened(write(tmp_path, "a,b,y\n1,1,\n2,2,\n"))


def test_notes_on_constant_and_whole_numbered_features(tmp_path):
    data = opened(write(tmp_path, "a,b,c,y\n1,5,0.5,0\n2,5,0.25,1\n"))
    assert "1 of 3 features never changes and stays as it is" in data.notes
    assert any(note.startswith("1 feature holds whole numbers alone and is perturbed") for note in data.notes)
    np.testing.assert_array_equal(data.load(0)[1], 0)


RANGES = "name,low,high,immutable,integer\nage,18,100,yes,1\nincome,0,1e4,,\n"


def test_ranges_from_a_file(tmp_path):
    found = read_ranges(write(tmp_path, RANGES, "r.csv"))
    assert found == Ranges(("age", "income"), (18.0, 0.0), (100.0, 1e4), (True, False), (True, False))
    assert found.fixed == (0,)
    yaml = "income: [0, 1.0e+4]\nage: {low: 18, high: 100, immutable: true, integer: yes}\n"
    again = read_ranges(write(tmp_path, yaml, "r.yaml")).ordered(("age", "income"), "t.csv", found)
    assert again == found
    assert read_ranges(write(tmp_path, "high,name,low\n3,a,1\n1,b,1\n", "r.csv")).fixed == (1,)


@pytest.mark.parametrize(
    ("name", "text", "words"),
    [
        ("r.csv", "", "holds nothing"),
        ("r.csv", "name,low\na,1\n", "must have the columns name,low,high"),
        ("r.csv", "name,low,high,max\na,1,2,3\n", "not 'max'"),
        ("r.csv", "name,low,high\n", "holds no range"),
        ("r.csv", "name,low,high\na,1,2,3\n", "is no row of name,low,high"),
        ("r.csv", "name,low,high\na,x,2\n", "line 2 of .*r.csv: low of 'a' must be a number, not 'x'"),
        ("r.csv", "name,low,high\na,1\n", "line 2 of .*r.csv: high of 'a' must be a number"),
        ("r.csv", "name,low,high\na,3,2\n", "must be finite, low first"),
        ("r.csv", "name,low,high\na,0,inf\n", "must be finite, low first"),
        ("r.csv", "name,low,high\na,0,1\na,0,1\n", "range of 'a' twice"),
        ("r.csv", "name,low,high,integer\na,0.5,1,yes\n", "must end on whole numbers"),
        ("r.csv", "name,low,high,immutable\na,0,1,maybe\n", "must be yes or no, not 'maybe'"),
        ("r.yaml", "[1, 2]", "must map the name"),
        ("r.yaml", "b: [0, 1]\na: [1, 2, 3]", r"line 2 of .*r.yaml: a must be \[low, high\]"),
        ("r.yaml", "a: {low: 1, max: 2}", r"line 1 of .*r.yaml: a must be \[low, high\]"),
        (
            "r.yaml",
            "b: [0, 1]\n\na: [3, 2]",
            r"line 3 of .*r.yaml: the range \[3, 2\] of 'a' must be finite, low first",
        ),
        ("r.csv", 'name,low,high\nb,0,1\nc,0,1\n"a,1,2\nd,1,2\ne,1,2\n', "line 4 opens a quotation mark in column 1"),
        ("r.yaml", "a: [", "not valid YAML: line 1"),
    ],
)
def test_ranges_that_cannot_be_understood(tmp_path, name, text, words):
    with pytest.raises(UsageError, match=words):
        read_ranges(write(tmp_path, text, name))


def test_ranges_may_name_a_part_of_the_features_and_no_other(tmp_path):
    found = read_ranges(write(tmp_path, RANGES, "r.csv"))
    values = np.array([[20.0, 5.0, 150.0], [30.0, 9.0, 190.0]])
    seen = observed_ranges(("age", "income", "height"), values, "t.csv")
    assert seen.observed
    mixed = found.ordered(("age", "height", "income"), "t.csv", seen)
    assert mixed == Ranges(
        ("age", "height", "income"),
        (18.0, 150.0, 0.0),
        (100.0, 190.0, 1e4),
        (True, False, False),
        (True, False, False),
        guessed=("height",),
    )
    assert not mixed.observed
    with pytest.raises(UsageError, match=r"the ranges name 'income', which is no feature of t.csv"):
        found.ordered(("age",), "t.csv", seen)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (
            PLAIN.replace("40", "140").replace("60", "7"),
            r"line 3 .*: age is 140, outside of its range \[18, 100\] \(2 of",
        ),
        (
            PLAIN.replace("40", "40.5").replace("60,", "6.5,"),
            "line 3 of .*: age is 40.5, and its range says whole numbers",
        ),
    ],
)
def test_values_must_lie_in_their_ranges(tmp_path, text, words):
    declared = read_ranges(write(tmp_path, RANGES, "r.csv"))
    opened(write(tmp_path), declared)
    with pytest.raises(UsageError, match=words):
        opened(write(tmp_path, text), declared)


@pytest.mark.parametrize(
    ("value", "words"),
    [
        ("140", r"has 140 for age, outside of its range [18, 100]"),
        ("40.5", "has 40.5 for age, and its range says whole"),
    ],
)
def test_a_row_outside_of_its_ranges_costs_itself(tmp_path, value, words):
    declared = read_ranges(write(tmp_path, RANGES, "r.csv"))
    data = opened(write(tmp_path, PLAIN.replace("40", value)), declared)
    assert data.labels is not None
    assert data.labels.tolist() == [0, 1, 1]  # it has a label, so that it counts as not answered correctly
    with pytest.raises(UnreadableSampleError, match="line 3 of .* " + re.escape(words)):
        data.load(1)
    np.testing.assert_allclose(data.load(2), [(60 - 18) / 82, 0.2])
    assert any(note.startswith("1 of 3 samples cannot be audited: t.csv:3 " + words) for note in data.notes)


def arrays(folder: Path, **changes: Any) -> Path:
    path = folder / "t.npz"
    np.savez(path, **({"x": np.array([[20.0, 1000], [40, 3000]]), "y": np.array([0, 1])} | changes))
    return path


def open_arrays(path: Path, ranges: Ranges) -> Dataset:
    fixed = {"crop": 1.0, "interpolation": "bicubic", "num_classes": 2, "class_names": None, "labels": None}
    return open_dataset(path, shape=(2,), lo=0.0, hi=1.0, ranges=ranges, **fixed)


def test_ranges_serve_arrays_too(tmp_path):
    ranges = read_ranges(write(tmp_path, RANGES, "r.csv"))
    data = open_arrays(arrays(tmp_path), ranges)
    np.testing.assert_allclose(data.load(1), [22 / 82, 0.3], rtol=1e-6)
    assert data.labels is not None
    assert data.labels.tolist() == [0, 1]
    whole = open_arrays(arrays(tmp_path, x=np.array([[20, 100]], np.uint8), y=np.array([1.0])), ranges)
    np.testing.assert_allclose(whole.load(0), [2 / 82, 0.01], rtol=1e-6)
    with pytest.raises(UsageError, match=r"row 0 of .*: age is 1, outside"):
        open_arrays(arrays(tmp_path, x=np.ones((2, 2))), ranges)
    with pytest.raises(UsageError, match=r"samples of 3, and there are 2 ranges"):
        open_arrays(arrays(tmp_path, x=np.ones((2, 3))), ranges)
    with pytest.raises(UsageError, match="2 samples and 3 labels"):
        open_arrays(arrays(tmp_path, y=np.zeros(3)), ranges)


def test_ranges_are_no_use_to_image_folders(tmp_path):
    ranges = read_ranges(write(tmp_path, RANGES, "r.csv"))
    with pytest.raises(UsageError, match="--feature-ranges is for tables"):
        open_arrays(tmp_path, ranges)


FEATURES = [[0.5, 10.0], [1.25, 20.0], [2.0, 30.0]]
ROWS = "a,b,label\n0.5,10,0\n1.25,20,1\n2,30,1\n"


@pytest.mark.parametrize(
    "content",
    [
        "a;b;label\n0,5;10;0\n1,25;20;1\n2;30;1\n",
        "a\tb\tlabel\n0,5\t10\t0\n1,25\t20\t1\n2\t30\t1\n",
        'a,b,label\n"0,5",10,0\n"1,25",20,1\n2,30,1\n',
        "a;b;label;\n0,5;10;0;\n1,25;20;1;\n2;30;1;\n",
        ROWS.replace("\n", ",\n").replace("label,", "label"),
        ROWS.replace(",", "|"),
        "sep=;\r\n" + ROWS.replace(",", ";"),
        "# made by hand\n" + ROWS.replace("1.25", "# the next is doubtful\n1.25"),
        "# " + ROWS,
        ROWS.replace("\n", "\r"),
        ROWS.encode("utf-16"),
        ROWS.replace("a,", "höhe,").encode("cp1252"),
        ",a,b,label\n0,0.5,10,0\n1,1.25,20,1\n2,2,30,1\n",
        "Unnamed: 0,a,b,label\n0,0.5,10,0\n1,1.25,20,1\n2,2,30,1\n",
        "patient_id,a,b,label\np3,0.5,10,0\np1,1.25,20,1\np2,2,30,1\n",
        'a b label\n"1" 0.5 10 0\n"2" 1.25 20 1\n"3" 2 30 1\n',
        "label,a,b\n0,0.5,10\n1,1.25,20\n1,2,30\n",
        '"a", "b", "label"\n0.5, 10, "0"\n"1.25", 20, "1"\n2, "30", "1"\n',
        "a,b,label,label_name\n0.5,10,0,no\n1.25,20,1,yes\n2,30,1,yes\n",
        "a,b,label\n0.5,10,FALSE\n1.25,20,TRUE\n2,30,TRUE\n",
        "a,b,label\n0.5,10,-1\n1.25,20,1\n2,30,+1\n",
    ],
)
def test_tables_as_spreadsheets_data_frames_and_r_write_them(tmp_path, content):
    path = tmp_path / "t.csv"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    table = read_table(path).fitted((2,))
    assert table.values.tolist() == FEATURES
    data = opened(path)
    assert data.labels is not None
    assert data.labels.tolist() == [0, 1, 1]


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("a;b;label\n1,234;10;0\n2,500;20;1\n", "holds 1,234, which can be a decimal number or one with thousands"),
        ("a;b;label\n0,5;10;0\n0.5;20;1\n", "writes numbers both as 0.5 and as 0,5"),
        ("a;b;label\n0,5;1.234;0\n0,7;2.345;1\n", "holds 1.234, which can be"),
        ("class,b,y\n0,10,0\n1,20,1\n0,30,1\n", r"several columns of .* may hold the labels \(class, y\)"),
        ("5.1,3.5,setosa\n4.9,3.0,setosa\n", "must begin with a header"),
        (b"PAR1....", "it is Parquet, not text"),
    ],
)
def test_what_can_be_read_in_two_ways_is_refused(tmp_path, content, words):
    path = tmp_path / "t.csv"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(UsageError, match=words):
        read_table(path)


def test_thousands_are_read_where_nothing_is_doubtful(tmp_path):
    for text in ("a;b;y\n1.234,5;1.000;0\n0,5;2;1\n", 'a,b,y\n"1,234.5","1,000",0\n0.5,2,1\n'):
        assert read_table(write(tmp_path, text)).values.tolist() == [[1234.5, 1000], [0.5, 2]]


def test_an_index_is_a_feature_only_where_the_model_takes_it_and_that_is_said(tmp_path):
    path = write(tmp_path, "id,a,y\n7,1,0\n9,2,1\n3,4,1\n")
    one = read_table(path).fitted((1,))
    assert (one.names, one.notes) == (("a",), ("the column id tells rows apart and is no feature",))
    two = read_table(path).fitted((2,))
    assert two.names == ("id", "a")
    assert two.notes == ("the column id tells rows apart, and the model takes it: it is attacked as a feature",)
    counts = write(tmp_path, "id,a,y\n7,1,0\n9,2,1\n7,4,1\n")
    assert read_table(counts).fitted((1,)).names == ("id", "a"), "a number that repeats is no index"


def test_booleans_are_numbers(tmp_path):
    table = read_table(write(tmp_path, "a,b,y\nTrue,1,0\nfalse,2,1\n,3,1\n"))
    np.testing.assert_array_equal(table.values, [[1, 1], [0, 2], [np.nan, 3]])


def test_a_bad_row_costs_itself(tmp_path):
    text = "a,b,y\n" + "0.5,10,0\n" * 5 + "1,2\n1,red,1\n" + "2,30,1\n" * 5
    data = opened(write(tmp_path, text))
    lost = ["t.csv:7 has 2 cells, and the header 3", "t.csv:8 has 'red' for b, which is no number"]
    assert f"2 of 12 samples cannot be audited: {'; '.join(lost)}" in data.notes
    assert len(data) == 12
    with pytest.raises(UnreadableSampleError, match=r"line 7 of .*t\.csv has 2 cells, and the header 3"):
        data.load(5)
    np.testing.assert_allclose(data.load(4), [0, 0])


def test_ranges_share_the_reader(tmp_path):
    text = "name;low;high\na;0,5;1.000,5\nb;0;1\n"
    for content in (text.encode("utf-16"), text.encode(), text.replace("1.000,5", "1000,5").encode()):
        (tmp_path / "r.csv").write_bytes(content)
        assert read_ranges(tmp_path / "r.csv").high == (1000.5, 1.0)


def test_labels_go_through_the_declared_classes(tmp_path):
    path = write(tmp_path, "a,b,y\n1,1,1\n2,2,2.0\n3,3,1\n")
    data = opened(path, class_names=["1", "2"])
    assert data.labels is not None
    assert data.labels.tolist() == [0, 1, 0]
    with pytest.raises(UsageError, match=r"label 2 .* do they start at 1"):
        opened(path)


def test_the_only_column_of_words_is_told_where_none_is_known_to_hold_labels(tmp_path):
    with pytest.raises(
        UsageError, match=r"name it with --label-column Klasse, if that is it \(columns: a, b, Klasse\), or"
    ):
        read_table(write(tmp_path, "a,b,Klasse\n1,2,ja\n3,4,nein\n"))
    with pytest.raises(UsageError, match=r"name it with --label-column \(columns: a, b, Klasse\), or"):
        read_table(write(tmp_path, "a,b,Klasse\n1,2,0\n3,4,1\n"))


ROWS = [f"{20 + i},{1000 * i},{i % 2}" for i in range(12)]


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ('24,"4000,0', "opens a quotation mark in column 2 that is not closed"),
        ('24,"4000"0,0', "goes on behind the closing quotation mark of column 2"),
    ],
)
def test_a_row_with_broken_quotation_marks_costs_itself_alone(tmp_path: Path, row: str, reason: str) -> None:
    rows = [*ROWS[:4], row, *ROWS[5:]]
    data = opened(write(tmp_path, "\n".join(["age,income,target", *rows, ""])))
    assert data.labels is not None
    assert data.labels.tolist() == [0, 1, 0, 1, -1, 1, 0, 1, 0, 1, 0, 1]
    assert data.ids[4] == "t.csv:6"
    with pytest.raises(UnreadableSampleError, match=reason):
        data.load(4)
    np.testing.assert_allclose(data.load(5), [5 / 11, 5 / 11])


def test_many_rows_with_broken_quotation_marks_mean_another_dialect(tmp_path: Path) -> None:
    rows = [f'{row}"x' if i % 2 else f'"{row}' for i, row in enumerate(ROWS)]
    with pytest.raises(
        UsageError, match=r"the table .*t.csv cannot be read: line 2 opens a quotation mark in column 1"
    ):
        read_table(write(tmp_path, "\n".join(["age,income,target", *rows, ""])))


@pytest.mark.parametrize("early", [True, False])
def test_a_null_in_a_cell_costs_its_row_alone(tmp_path: Path, early: bool) -> None:
    rows = ROWS if early else [*ROWS * 400]
    place = 4 if early else len(rows) - 1
    rows = [*rows[:place], rows[place].replace(",", "\0,", 1), *rows[place + 1 :]]
    table = read_table(write(tmp_path, "\n".join(["age,income,target", *rows, ""])))
    assert len(table.lines) == len(rows)
    assert list(table.problems) == [place]
    assert "which is no number" in table.problems[place]


def test_what_is_mostly_nulls_is_no_text(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_bytes(PLAIN.encode() + b"\0" * 20)
    with pytest.raises(UsageError, match="it is no text"):
        read_table(tmp_path / "t.csv")
