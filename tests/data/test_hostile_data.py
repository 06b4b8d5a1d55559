"""Data that somebody made to hurt: one bad thing costs itself, and what cannot be read costs nothing but a sentence."""

from __future__ import annotations

import gzip
import io
import os
import time
import warnings
import zipfile

import numpy as np
import pytest
from PIL import Image

import robaudit.memory
from robaudit.data.arrays import read_npz
from robaudit.data.delimited import read_sheet
from robaudit.data.image_survey import common_size
from robaudit.data.images import open_folder
from robaudit.data.labels import resolve_labels
from robaudit.data.npz import read_npy
from robaudit.data.numbers import whole
from robaudit.data.ranges import observed_ranges, read_ranges
from robaudit.data.reader import Fit, Wanted
from robaudit.data.registry import check_source
from robaudit.data.table import read_table
from robaudit.errors import UnreadableSampleError, UsageError

needs_pipes = pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="NOT TESTED: no named pipes here")


def picture(path, size=(4, 4), mode="RGB"):
    Image.new(mode, size).save(path, format="PNG")
    return path


def opened(folder, *, labelled=True, **changes):
    return open_folder(folder, Fit(**{"shape": (3, 4, 4), "num_classes": 2, **changes}), Wanted(labelled=labelled))


@pytest.fixture
def little_memory(monkeypatch):
    monkeypatch.setattr(robaudit.memory, "available_memory", lambda: 10**6)


@pytest.fixture
def folder(tmp_path):
    for name in "ab":
        (tmp_path / "data" / name).mkdir(parents=True)
        picture(tmp_path / "data" / name / "0.png")
    return tmp_path / "data"


def odd_name(folder, name):
    path = os.path.join(os.fsencode(folder), name)
    try:
        with open(path, "wb"):
            pass
        os.unlink(path)
    except OSError:
        pytest.skip("NOT TESTED: this file system takes no name that is no UTF-8")
    return os.fsdecode(path)


def test_a_name_that_is_no_text_is_read_and_shown_escaped(folder):
    os.rename(folder / "a" / "0.png", odd_name(folder / "a", b"caf\xe9.png"))
    os.rename(folder / "b", odd_name(folder, b"\xe9t\xe9"))
    data = opened(folder)
    assert data.ids == ["a/caf%E9.png", "%E9t%E9/0.png"] or data.ids == ["%E9t%E9/0.png", "a/caf%E9.png"]
    assert sorted(data.class_names) == ["%E9t%E9", "a"]
    assert [data.load(i).shape for i in range(2)] == [(3, 4, 4)] * 2
    assert data.stored(0)
    "\n".join([*data.ids, *data.notes, *data.class_names]).encode()


@needs_pipes
@pytest.mark.parametrize("kind", ["pipe", "dangling", "loop", "folder"])
def test_labels_that_are_no_file_are_refused_and_not_passed_over(tmp_path, kind):
    picture(tmp_path / "0.png")
    path = tmp_path / "labels.csv"
    if kind == "pipe":
        os.mkfifo(path)
    elif kind == "folder":
        path.mkdir()
    else:
        path.symlink_to("nowhere.csv" if kind == "dangling" else "labels.csv")
    with pytest.raises(UsageError, match=r"the labels file .*labels.csv is no ordinary file"):
        opened(tmp_path)


@needs_pipes
def test_what_is_no_image_costs_itself(folder):
    os.mkfifo(folder / "a" / "pipe.png")
    for name, target in {"zero": "/dev/zero", "dangling": "nowhere", "loop": "loop.png"}.items():
        (folder / "a" / f"{name}.png").symlink_to(target)
    with (folder / "b" / "huge.png").open("wb") as file:
        file.truncate(2**36)
    (folder / "b" / "empty.png").touch()
    picture(folder / "b" / "bomb.png", (20000, 20000), "1")
    began = time.monotonic()
    data = opened(folder)
    assert "a/dangling.png" in data.notes[0]
    assert "a/pipe.png" in data.notes[0]
    reasons = {}
    for index, name in enumerate(data.ids):
        try:
            data.load(index)
        except UnreadableSampleError as error:
            reasons[name] = str(error)
    assert sorted(reasons) == ["b/bomb.png", "b/empty.png", "b/huge.png"]
    assert "decompression bomb" in reasons["b/bomb.png"]
    assert "it has 64.0 GB" in reasons["b/huge.png"]
    assert reasons["b/empty.png"].endswith("it is no image of a format that is read here")
    assert data.stored(data.ids.index("b/huge.png")) is None
    assert common_size(folder) == (4, 4)
    assert time.monotonic() - began < 20


def test_sixteen_bits_keep_their_values(tmp_path):
    values = np.arange(2**16, dtype=np.uint16).reshape(256, 256)
    Image.fromarray(values).save(tmp_path / "0.png")
    data = opened(tmp_path, shape=(1, 256, 256), labelled=False)
    assert np.array_equal(np.round(data.load(0)[0] * 255), (values.astype(int) + 128) // 257)


def test_one_long_cell_costs_its_row(tmp_path):
    path = tmp_path / "t.csv"
    path.write_text("a,b,label\n" + "1,2,x\n3,4,y\n" * 10 + "5," + "6" * 200_000 + ",x\n5," + "six" * 70_000 + ",x\n")
    table = read_table(path)
    assert len(table.values) == 22
    assert np.flatnonzero(~np.isfinite(table.values).all(1)).tolist() == [20, 21]
    assert list(table.problems) == [21]
    assert len(table.problems[21]) < 100


def test_many_columns_take_seconds(tmp_path):
    path = tmp_path / "t.csv"
    names = [f"c{i}" for i in range(60_000)]
    rows = "".join(",".join(["1"] * len(names)) + f",{row % 2}\n" for row in range(3))
    path.write_text(",".join(names) + f",label\n{rows}")
    began = time.monotonic()
    table = read_table(path)
    observed = observed_ranges(table.names, table.values, "here")
    (tmp_path / "r.csv").write_text("name,low,high\n" + "".join(f"{name},0,2\n" for name in names))
    ordered = read_ranges(tmp_path / "r.csv").ordered(table.names, "here", observed)
    assert (table.values.shape, len(ordered)) == ((3, 60_000), 60_000)
    assert time.monotonic() - began < 60


def test_many_columns_that_count_rows_take_seconds(tmp_path):
    path = tmp_path / "t.csv"
    rows = "".join(",".join(str(7 * row + i) for i in range(8_000)) + f",{row % 2}\n" for row in range(3))
    path.write_text(",".join(f"{i}_id" for i in range(8_000)) + f",label\n{rows}")
    began = time.monotonic()
    assert read_table(path).values.shape == (3, 8_000)
    assert time.monotonic() - began < 10


def test_labels_of_thousands_of_digits_are_no_numbers():
    assert whole("9" * 5000) is None
    assert whole("1e999") is None
    labels = resolve_labels(["0", "1"] * 9 + ["9" * 5000], declared=None, num_classes=2, where="here")
    assert labels.index[:2].tolist() == [0, 1]
    assert list(labels.problems) == [18]


def test_text_that_memory_does_not_hold_is_refused_before_it_is_unpacked(tmp_path, little_memory):
    packed, plain = tmp_path / "t.csv.gz", tmp_path / "t.csv"
    with gzip.open(packed, "wb") as file:
        file.write(b"a,b,label\n" + b"1,2,x\n" * 100_000)
    with plain.open("wb") as file:
        file.write(b"a,b,label\n")
        file.truncate(2**40)
    check_source(packed)
    with pytest.raises(UsageError, match=r"the text in .*, of which .* are unpacked, would take about"):
        read_sheet(packed)
    for call in (check_source, read_sheet):
        with pytest.raises(UsageError, match=r"the text of .* would take about 25600.0 GB of memory"):
            call(plain)


def archive(path, **arrays):
    """Arrays whose shapes are told and whose numbers are not there."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as opened:
        for name, (shape, dtype) in arrays.items():
            with opened.open(f"{name}.npy", "w") as file:
                header = {"descr": dtype, "fortran_order": False, "shape": shape}
                np.lib.format.write_array_header_2_0(file, header)
                file.write(bytes(100))
    return path


def test_arrays_that_memory_does_not_hold_are_refused_before_they_are_taken(tmp_path, little_memory):
    for shape in ((10**6, 3), (2**62, 3), (2**40, 2**40)):
        path = archive(tmp_path / "x.npz", x=(shape, "<f4"))
        with pytest.raises(UsageError, match=r"the array x of .* would take about .* GB of memory"):
            read_npz(path)
    path = archive(tmp_path / "y.npz", x=((5, 2), "<f4"), y=((2**30,), "|i1"))
    with pytest.raises(UsageError, match="holds 5 samples and 1073741824 labels"):
        read_npz(path)
    with zipfile.ZipFile(path) as opened, opened.open("y.npy") as member:
        (tmp_path / "y.npy").write_bytes(member.read())
    with pytest.raises(UsageError, match="would take about"):
        read_npy(tmp_path / "y.npy")


def test_an_archive_that_is_none_is_refused_unread(tmp_path):
    path = tmp_path / "x.npz"
    with path.open("wb") as file:
        file.write(b"PK\x03\x04")
        file.truncate(2**40)
    began = time.monotonic()
    with pytest.raises(UsageError, match=r"no readable \.npz archive"):
        check_source(path)
    assert time.monotonic() - began < 5


@needs_pipes
@pytest.mark.parametrize("name", ["x.npz", "x.csv", "x.csv.gz", "x.npy"])
def test_a_pipe_is_no_data(tmp_path, name):
    path = tmp_path / name
    os.mkfifo(path)
    with pytest.raises(UsageError, match="no ordinary file"):
        check_source(path)
    with pytest.raises(UsageError, match="no ordinary file"):
        {"x.npz": read_npz, "x.npy": read_npy}.get(name, read_sheet)(path)


def zipped(path, **members):
    with zipfile.ZipFile(path, "w") as file:
        for name, content in members.items():
            file.writestr(name, content)
    return path


def stored(array):
    raw = io.BytesIO()
    np.lib.format.write_array(raw, array)
    return raw.getvalue()


@pytest.mark.parametrize("order", "<>")
def test_texts_of_impossible_characters_are_refused(tmp_path, order):
    text = np.zeros(3, f"{order}U1")
    text.view(f"{order}u4")[:] = [97, 0x7FFFFFFF, 98]
    path = zipped(tmp_path / "a.npz", **{"x.npy": stored(np.zeros((3, 4), np.uint8)), "y.npy": stored(text)})
    with pytest.raises(UsageError, match=r"the array y of .*a.npz holds numbers that stand for no character"):
        read_npz(path)


@pytest.mark.parametrize("second", ["x", "x.npy"])
def test_an_archive_with_two_arrays_of_one_name_is_refused(tmp_path, second):
    path = tmp_path / "a.npz"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with zipfile.ZipFile(path, "w") as file:
            file.writestr("x.npy", stored(np.zeros((3, 4), np.uint8)))
            file.writestr(second, stored(np.ones((3, 4), np.uint8)))
    with pytest.raises(UsageError, match=r"a.npz is no readable .npz archive: it holds two arrays named 'x'"):
        read_npz(path)


def test_folders_too_deep_are_skipped_and_told(folder):
    below = folder / "a"
    for _ in range(100):
        below = below / "deep"
    below.mkdir(parents=True)
    picture(below / "1.png")
    picture(folder / "a" / "deep" / "2.png")
    data = opened(folder)
    assert list(data.ids) == ["a/0.png", "a/deep/2.png", "b/0.png"]
    assert any(
        note.startswith("folders skipped because they lie more than 64 deep: a/deep/deep") for note in data.notes
    )


def test_what_nobody_may_look_at_costs_itself_alone(folder, monkeypatch):
    def stat(self, **_):
        if "closed" in self.parts:
            raise PermissionError(13, "Permission denied", str(self))
        return os.stat(self)

    (folder / "a" / "closed").symlink_to(folder / "b")
    monkeypatch.setattr("pathlib.Path.stat", stat)  # as in a folder that may not be searched
    assert set(opened(folder).ids) >= {"a/0.png", "b/0.png"}
