"""CSV files of image labels, as spreadsheets, data frames and challenges write them."""

from __future__ import annotations

import gzip
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from robaudit.data.delimited import _parse
from robaudit.data.images import open_folder
from robaudit.data.reader import Fit, Wanted
from robaudit.data.source import Dataset
from robaudit.errors import UnreadableSampleError, UsageError

NAMES = ("red", "green", "blue")


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    folder = tmp_path / "photos"
    folder.mkdir()
    for i in range(6):
        Image.new("RGB", (4, 4), (i, i, i)).save(folder / f"i{i}.png")
    return folder


def read(
    photos: Path,
    content: str | bytes,
    *,
    name: str = "labels.csv",
    column: str | None = None,
    classes: list[str] | None = None,
    k: int | None = 3,
) -> Dataset:
    path = photos.parent / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return open_folder(photos, Fit((3, 4, 4), num_classes=k, class_names=classes), Wanted(path, column))


def found(data: Dataset) -> dict[str, int]:
    assert data.labels is not None
    return dict(zip(data.ids, data.labels.tolist(), strict=True))


EXPECTED = {f"i{i}.png": i % 3 for i in range(6)}
PLAIN = "file,label\n" + "".join(f"i{i}.png,{i % 3}\n" for i in range(6))


@pytest.mark.parametrize(
    "content",
    [
        PLAIN.replace(",", ";"),
        PLAIN.replace(",", "\t"),
        PLAIN.replace(",", "|"),
        PLAIN.replace("file,label\n", ""),
        PLAIN.replace("file,label\n", "").replace(",", " "),
        PLAIN.replace("file,label\n", "").replace(",", ";"),
        PLAIN.replace("\n", "\r\n"),
        PLAIN.replace("\n", "\r"),
        PLAIN.replace("\n", "\n\n"),
        PLAIN.replace("\n", ",\n"),
        PLAIN.replace("\n", ";;;\n").replace(",", ";"),
        "# made by hand\n" + PLAIN,
        "# " + PLAIN,
        "sep=;\r\n" + PLAIN.replace(",", ";"),
        PLAIN.replace("i2.png,2\n", "# the next two are blurred\ni2.png,2\n"),
        '"file","label"\n' + "".join(f'"i{i}.png","{i % 3}"\n' for i in range(6)),
        '"file", "label"\n' + "".join(f'"i{i}.png", "{i % 3}"\n' for i in range(6)),
        ("\ufeff" + PLAIN).encode(),
        PLAIN.encode("utf-16"),
        PLAIN.encode("utf-16-le"),
        gzip.compress(PLAIN.encode(), mtime=0),
        PLAIN.replace("file", "Bild für").encode("cp1252"),
    ],
)
def test_dialects_and_encodings(photos, content):
    data = read(photos, content)
    assert found(data) == EXPECTED
    assert data.class_order == "numeric"


@pytest.mark.parametrize(
    ("header", "row"),
    [
        ("file,width,label", "i{i}.png,4,{c}"),
        ("width,Label,file name", "4,{c},i{i}.png"),
        (",file,label", "{i},i{i}.png,{c}"),
        ("Unnamed: 0,Image_ID,Category", "{i},i{i},{c}"),
        ("image_id,category", "i{i}.png,{name}"),
        ("id,target", "i{i},{c}"),
        (",label", "i{i}.png,{c}"),
        ("id,path,y", "{i},photos/i{i}.png,{c}"),
        ("path,y", "photos\\i{i}.png,{c}"),
        ("path,y", "/home/someone/photos/i{i}.png,{c}"),
        ("who took it,class", "i{i}.png,{c}"),
        ("file,label,label_name", "i{i}.png,{c},{name}"),
        ("file,class_name,class_id", "i{i}.png,{name},{c}"),
        ("file,label,target", "i{i}.png,{c},{i}"),
        ("file,x,y,label", "i{i}.png,7,{i},{c}"),
        ("file,label", "I{i}.PNG,{c}"),
        ("file,label", "i{i}.png,{c}.0"),
        ("file;label", "i{i}.png;{c},0"),
        ("file,label", "i{i}.png,{c}.000000e+00"),
        ("label", "i{i}.png,{c}"),
    ],
)
def test_columns_are_found_by_their_names(photos, header, row):
    rows = "".join(row.format(i=i, c=i % 3, name="abc"[i % 3]) + "\n" for i in range(6))
    assert found(read(photos, f"{header}\n{rows}")) == EXPECTED


@pytest.mark.parametrize("one", ["1", "1.0", "True"])
def test_one_hot_columns_are_the_classes_in_their_order(photos, one):
    zero = {"1": "0", "1.0": "0.0", "True": "False"}[one]
    rows = "".join(f"i{i}.png,{','.join(one if c == i % 3 else zero for c in range(3))},{i}\n" for i in range(6))
    data = read(photos, f"image,red,green,blue,fold\n{rows}")
    assert found(data) == EXPECTED
    assert (data.class_names, data.class_order) == (list(NAMES), "column order, assumed")
    assert "class numbers follow the order of the columns, which is assumed" in data.notes
    declared = read(photos, f"image,red,green,blue,fold\n{rows}", classes=["blue", "green", "red"])
    assert found(declared) == {name: 2 - c for name, c in EXPECTED.items()}
    with pytest.raises(UsageError, match=r"one-hot in 3 columns \(red, green, blue\) and the model has 4"):
        read(photos, f"image,red,green,blue,fold\n{rows}", k=4)


def test_the_label_column_may_be_named(photos):
    rows = "".join(f"i{i}.png,{i % 2},{i % 3}\n" for i in range(6))
    assert found(read(photos, f"file,label,kind\n{rows}", column="Kind")) == EXPECTED
    written = "gr\u00f6\u00dfe", "gro\u0308\u00dfe"  # macOS types the second
    for header, column in (written, written[::-1]):
        assert found(read(photos, f"file,label,{header}\n{rows}", column=column)) == EXPECTED
    with pytest.raises(UsageError, match=r"no column 'kin'; did you mean 'kind'"):
        read(photos, f"file,label,kind\n{rows}", column="kin")


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (
            "file,kind\ni0.png,0\n",
            r"known to hold the labels; name it with --label-column kind, if that is it \(columns: file, kind\)",
        ),
        ("file,red,green\ni0.png,1,1\ni1.png,1,0\n", "marks several classes for 1 of 2"),
        ("file,red,green\ni0.png,0.2,0.8\n", "known to hold the labels"),
        ("file,label,category\ni0.png,0,1\ni1.png,1,1\n", r"may hold the labels \(label, category\); name one"),
        ("kind,label\nx,0\n", r"no column of .* names the images \(columns: kind, label\)"),
        ("i0.png,1,2\n", "has no header and 3 columns"),
        ("file,file,label\ni0.png,i1.png,1\n", "two columns named 'file'"),
        ("file,label\ngone.png,1\n", "none of the 1 files"),
        ("file,label\ni0.png,0.5\n", "must be whole numbers or names; number 0 is 0.5"),
        ("file,label\ni0.png,cat\ni1.png,dog\n", r"2 classes by name and the model has 3.*\(classes: cat, dog\)"),
        (b"PK\x03\x04....", "a zip archive, such as an Excel workbook"),
        (b"\x89PNG\x00\x01\x02\x03" * 8, "it is no text"),
        ("file,label\ni0.png,\n", "holds no label"),
        ('file,label\ni0.png,"0\n', "cannot be read"),
    ],
)
def test_what_nothing_names_is_refused(photos, content, words):
    with pytest.raises(UsageError, match=words):
        read(photos, content)


def test_a_bad_row_costs_itself(photos):
    rows = [
        "i0.png,0",
        "i1.png,",
        "i2.png,2,blurred",
        "i3.png,7",
        "i4.png,1",
        "i4.png,1.0",
        "i5.png,0",
        "i5.png,2",
        ",1",
        "gone.png,1",
        *[f"c{i}.png,{i % 3}" for i in range(9)],
    ]
    for i in range(9):
        Image.new("RGB", (4, 4)).save(photos / f"c{i}.png")
    Image.new("RGB", (4, 4)).save(photos / "other.png")
    data = read(photos, "file,label\n" + "\n".join(rows) + "\n")
    lost = {"i1.png", "i2.png", "i3.png", "i5.png"}
    assert {name for name, label in found(data).items() if label < 0} == lost
    assert found(data)["i4.png"] == 1
    assert data.notes[0] == "rows of labels.csv that name no file and were skipped: 1"
    assert data.notes[1] == "rows of labels.csv that name an image again, which counts once: 2"
    assert data.notes[2] == "1 of 16 images in the folder is not named by labels.csv and not used"
    assert data.notes[3].startswith("4 of 16 samples cannot be audited: i1.png has no label; i2.png has 3 cells")
    reasons = [
        "i1.png has no label",
        "has 3 cells in its row",
        "has the label 7, and",
        "has two labels",
        "No such file",
    ]
    bad = [i for i, name in enumerate(data.ids) if name in lost or name == "gone.png"]
    for index, reason in zip(bad, reasons, strict=True):
        with pytest.raises(UnreadableSampleError, match=reason):
            data.load(index)


def test_extra_columns_and_unusual_encodings_are_said(photos):
    rows = "".join(f"i{i}.png;{i};Bär{i % 3}\n" for i in range(6))
    data = read(photos, ("file;width;label\n" + rows).encode("cp1252"))
    assert data.class_names == ["Bär0", "Bär1", "Bär2"]
    assert data.notes[:2] == [
        "labels.csv is not UTF-8 and was read as code page 1252",
        "columns of labels.csv that are not used: width",
    ]


@pytest.mark.parametrize(
    ("labels", "classes", "expected"),
    [
        (("none", "cat", "dog"), None, [2, 0, 1]),
        (("none", "cat", "dog"), ["none", "cat", "dog"], [0, 1, 2]),
        (("NA", "cat", "dog"), ["cat", "dog", "emu"], [-1, 0, 1]),
        (("<NA>", "0", "2"), None, [-1, 0, 2]),
        (("nan", "0.0", "2.0"), None, [-1, 0, 2]),
    ],
)
def test_marks_of_missing_labels_may_be_classes(photos, labels, classes, expected):
    rows = "".join(f"i{i}.png,{label}\n" for i, label in enumerate(labels))
    data = read(photos, "file,label\n" + rows, classes=classes)
    assert data.labels is not None
    assert data.labels.tolist() == expected


def test_names_are_compared_in_normal_form_c(tmp_path):
    folder = tmp_path / "photos"
    folder.mkdir()
    for i in range(2):
        Image.fromarray(np.full((4, 4, 3), i, np.uint8)).save(folder / f"e\u0301te\u0301{i}.png")
    data = read(
        folder,
        "file,label\n\u00e9t\u00e90.png,th\u00e9\n\u00e9t\u00e91,cafe\u0301\n",
        classes=["caf\u00e9", "the\u0301"],
        k=2,
    )
    assert found(data) == {"\u00e9t\u00e90.png": 1, "\u00e9t\u00e91.png": 0}


def test_images_in_subfolders_are_found_by_their_last_name_if_that_is_unique(photos):
    (photos / "more").mkdir()
    Image.new("RGB", (4, 4)).save(photos / "more" / "deep.png")
    Image.new("RGB", (4, 4)).save(photos / "more" / "i0.png")
    rows = "file,label\ndeep.png,1\ni0.png,0\nmore/i0,2\n"
    assert found(read(photos, rows)) == {"more/deep.png": 1, "i0.png": 0, "more/i0.png": 2}


def test_flags_of_a_split_are_no_one_hot_labels(photos):
    rows = "".join(f"i{i}.png,{i % 2},{1 - i % 2}\n" for i in range(6))
    with pytest.raises(UsageError, match="known to hold the labels"):
        read(photos, f"file,train,is_test\n{rows}", k=2)
    assert found(read(photos, f"file,cat,dog\n{rows}", k=2))["i1.png"] == 0


@pytest.mark.parametrize(
    ("header", "cells", "flag"),
    [
        ("Bild;Klasse", "{0};{1}", "--label-column Klasse, if that is it (columns: Bild, Klasse)"),
        (
            "image,quality grade",
            "{0},{1}",
            "--label-column 'quality grade', if that is it (columns: image, quality grade)",
        ),
        (
            "image,choice,seconds",
            "{0},{2},0.{1}",
            "--label-column choice, if that is it (columns: image, choice, seconds)",
        ),
        ("image,a,b", "{0},0.{1},0.5", "--label-column (columns: image, a, b)"),
    ],
)
def test_the_flag_that_names_the_only_possible_column_is_told(photos, header, cells, flag):
    rows = "".join(cells.format(f"i{i}.png", i % 3, NAMES[i % 3]) + "\n" for i in range(6))
    with pytest.raises(UsageError) as caught:
        read(photos, f"{header}\n{rows}")
    assert str(caught.value).endswith(f"is known to hold the labels; name it with {flag}")


@pytest.mark.parametrize(
    ("row", "flaw"),
    [
        ('i2.png,"2', "opens a quotation mark in column 2 that is not closed"),
        ('"i2.png,2', "opens a quotation mark in column 1 that is not closed"),
        ('i2.png, "2" x', "goes on behind the closing quotation mark of column 2"),
    ],
)
def test_broken_quotation_marks_cost_their_line_alone(photos: Path, row: str, flaw: str) -> None:
    data = read(photos, PLAIN.replace("i2.png,2", row))
    assert found(data) == {name: label for name, label in EXPECTED.items() if name != "i2.png"}
    assert f"line 4 of labels.csv is skipped: it {flaw}" in data.notes
    assert "1 of 6 images in the folder is not named by labels.csv and not used" in data.notes


def test_a_cell_may_still_go_over_lines(photos: Path) -> None:
    data = read(photos, "file,label,remark\n" + "".join(f'i{i}.png,{i % 3},"a\n""b"", c"\n' for i in range(6)))
    assert found(data) == EXPECTED


def test_a_header_with_broken_quotation_marks_is_refused(photos: Path) -> None:
    with pytest.raises(UsageError, match=r"line 1 opens a quotation mark in column 2 that is not closed"):
        read(photos, PLAIN.replace("file,label", 'file,"label'))


def test_many_broken_lines_are_read_in_time_that_grows_with_them_alone() -> None:
    lines = [f'a{i},"b' for i in range(20_000)]
    began = time.process_time()
    rows, broken = _parse("\n".join(["x,y", *lines]), ",")
    assert (len(rows), len(broken)) == (1, 20_000)
    assert time.process_time() - began < 5


def test_a_null_in_the_name_of_an_image_costs_that_image_alone(photos: Path) -> None:
    data = read(photos, PLAIN.replace("i2.png", "i2\0.png"))
    assert len(data) == 6
    lost = next(i for i, name in enumerate(data.ids) if "\0" in name)
    with pytest.raises(UnreadableSampleError, match="no file has such a name"):
        data.load(lost)
