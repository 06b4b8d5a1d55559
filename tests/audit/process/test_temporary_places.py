"""A process of its own where nothing can be written, and a working directory that is gone."""

from __future__ import annotations

import errno
import os
import tempfile
from pathlib import Path

import pytest
from command_line import Command, refused

from robaudit.audit.process.child import Child
from robaudit.audit.process.confinement import Confinement
from robaudit.errors import UsageError
from robaudit.target.running.watch import Watched


def nothing() -> None:
    """What would run."""


@pytest.mark.parametrize("code", [errno.ENOENT, errno.ENOSPC, errno.EROFS])
def test_without_a_place_for_temporary_files_nothing_starts(monkeypatch: pytest.MonkeyPatch, code: int) -> None:
    def fail(**_: object) -> str:
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(tempfile, "mkdtemp", fail)
    with pytest.raises(UsageError, match=rf"temporary files cannot be written \({os.strerror(code)}\); name .* TMPDIR"):
        Child(nothing, (), Confinement())


def test_a_disk_that_fills_up_at_the_start_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(path: Path) -> None:
        path.write_bytes(b"begun")
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.setattr("robaudit.audit.process.child.Watched", fail)
    with pytest.raises(UsageError, match="No space left on device"):
        Child(nothing, (), Confinement())
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="it has the only disk that is always full")
def test_memory_of_both_processes_takes_its_room_at_once() -> None:
    with pytest.raises(OSError) as caught:  # else the first page that is touched later ends the process (SIGBUS)
        Watched(Path("/dev/full"))
    assert caught.value.errno == errno.ENOSPC


@pytest.mark.skipif(os.name != "posix", reason="a folder in use cannot be removed elsewhere")
def test_a_working_directory_that_is_gone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, robaudit: Command) -> None:
    gone = tmp_path / "gone"
    gone.mkdir()
    monkeypatch.chdir(gone)
    gone.rmdir()
    refused(robaudit("profile", "list"), "the working directory is not there any more")
