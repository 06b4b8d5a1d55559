"""Reports that could not be written, or would take the place of something else, are refused before the audit."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from robaudit.audit.run.rundir import KEPT, check_apart
from robaudit.errors import UsageError
from robaudit.report.base import Format
from robaudit.report.outputs import check_output, check_outputs


def test_a_path_named_twice_is_refused(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(tmp_path)
    check_outputs([tmp_path / "r.json", tmp_path / "r.html"], [])
    for twice in (tmp_path / "r.json", tmp_path / "." / "r.json", tmp_path / "link" / "r.json"):
        with pytest.raises(UsageError, match="named twice"):
            check_outputs([tmp_path / "r.json", twice], [])


def test_an_input_is_not_replaced(tmp_path: Path) -> None:
    data = tmp_path / "d.csv"
    data.write_text("x,y\n")
    (tmp_path / "other.csv").hardlink_to(data)
    (tmp_path / "link.csv").symlink_to(data)
    for name in ("d.csv", "other.csv", "link.csv"):
        with pytest.raises(UsageError, match="would replace the data"):
            check_outputs([tmp_path / name], [("the model", None), ("the data", data)])
    check_outputs([tmp_path / "e.csv"], [("the data", data)])


def test_a_file_of_the_data_folder_is_not_replaced(tmp_path: Path) -> None:
    folder = tmp_path / "images"
    (folder / "cat").mkdir(parents=True)
    (folder / "labels.csv").write_text("file,label\n")
    with pytest.raises(UsageError, match="would replace the data"):
        check_outputs([folder / "labels.csv"], [("the data", folder)])
    check_outputs([folder / "report.html", tmp_path / "labels.csv"], [("the data", folder)])


def test_an_image_is_not_replaced_by_a_report_of_another_package(tmp_path: Path, monkeypatch) -> None:
    picture = Format("picture", (".png",), "", lambda result, run: b"")
    monkeypatch.setattr("robaudit.report.outputs.format_of", lambda path: picture)
    check_outputs([tmp_path / "a.png"], [("the data", tmp_path)])
    (tmp_path / "a.png").write_bytes(b"image")
    with pytest.raises(UsageError, match="would replace the data"):
        check_outputs([tmp_path / "a.png"], [("the data", tmp_path)])


@pytest.mark.parametrize("make", ["folder", "pipe", "long", "null"])
def test_what_cannot_be_replaced_is_refused(tmp_path: Path, make: str) -> None:
    target = tmp_path / ("r" * 260 + ".json" if make == "long" else "r\0.json" if make == "null" else "r.json")
    if make == "folder":
        target.mkdir()
    elif make == "pipe":
        os.mkfifo(target)
    with pytest.raises(UsageError, match="cannot be written there"):
        check_output(target)
    assert len(list(tmp_path.iterdir())) == (make in ("folder", "pipe"))


def test_the_longest_name_that_the_system_takes_is_written(tmp_path: Path) -> None:
    from robaudit.files import write_atomic

    target = tmp_path / ("r" * 250 + ".json")
    check_output(target)
    write_atomic(target, "{}")
    assert [path.name for path in tmp_path.iterdir()] == [target.name]


@pytest.fixture
def read_only(tmp_path: Path) -> Iterator[Path]:
    """A file system mounted read-only."""
    disk = tmp_path / "disk"
    disk.mkdir()
    if os.geteuid() != 0 or subprocess.run(["mount", "-t", "tmpfs", "-o", "ro", "tmpfs", disk]).returncode:
        pytest.skip("NOT TESTED on a read-only file system: mounting needs root")
    yield disk
    subprocess.run(["umount", "-l", disk])


def test_a_read_only_file_system_is_refused(read_only: Path) -> None:
    with pytest.raises(UsageError, match="Read-only file system"):
        check_output(read_only / "r.json")


@pytest.mark.parametrize("name", sorted(KEPT))
def test_the_run_directory_keeps_its_files(tmp_path: Path, name: str) -> None:
    (tmp_path / "link").symlink_to(tmp_path)
    for folder in (tmp_path, tmp_path / "link"):
        with pytest.raises(UsageError, match="run directory's own file"):
            check_apart(tmp_path, [str(folder / name)])
    check_apart(tmp_path / "run", [str(tmp_path / name)])


def test_scan_refuses_before_anything_is_loaded(robaudit, tmp_path: Path) -> None:
    model = tmp_path / "m.onnx"
    model.write_bytes(b"\x08\x07no model at all")
    np.savez(tmp_path / "d.npz", x=np.zeros((2, 1, 4, 4), np.float32), y=np.zeros(2, np.int64))
    labels = tmp_path / "l.csv"
    labels.write_text("file,label\n")
    other = tmp_path / "other" / "s.onnx"
    other.parent.mkdir()
    for path in (other, other.parent / "config.json"):
        path.write_text("{}")
    for more, words in (
        (["-o", tmp_path / "no" / "r.json"], "does not exist"),
        (["-o", tmp_path / "r.json", "-o", tmp_path / "r.json"], "named twice"),
        (["--labels", labels, "-o", labels], "would replace the labels"),
        (["--stand-in", other, "-o", other.parent / "config.json"], "what is written about the stand-in s.onnx"),
        (["--run-dir", tmp_path, "-o", tmp_path / "result.json"], "run directory's own file"),
    ):
        before = sorted(tmp_path.iterdir())
        done = robaudit("scan", model, "--data", tmp_path / "d.npz", *more)
        assert (done.code, words in done.err) == (2, True), done.err
        assert sorted(tmp_path.iterdir()) == before


def test_a_run_directory_among_the_images_is_refused(tmp_path: Path) -> None:
    images = tmp_path / "images"
    (images / "cat").mkdir(parents=True)
    (tmp_path / "link").symlink_to(images / "cat")
    for folder in (images, images / "cat", images / "cat" / "run", tmp_path / "link"):
        with pytest.raises(UsageError, match=r"lies in the data .* which it would change"):
            check_apart(folder, [], images)
    check_apart(tmp_path / "run", [], images)
    check_apart(images / ".robaudit" / "run", [], images)  # what is hidden is no image
    (tmp_path / "d.npz").write_bytes(b"")
    check_apart(tmp_path, [], tmp_path / "d.npz")
