"""A run directory with something else in it than robaudit's own files, and who may hold it."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from robaudit.audit.journal.journal import Journal
from robaudit.audit.journal.keys import RunKey
from robaudit.audit.run.rundir import KEPT, claimable, claimed
from robaudit.errors import UsageError

KEY = RunKey(b"key", "name")
PLACES = (*KEPT, "evidence")

pytestmark = pytest.mark.skipif(os.name != "posix", reason="links, pipes and owners")


@pytest.mark.parametrize("name", PLACES)
@pytest.mark.parametrize("kind", ["link", "dangling link", "pipe"])
@pytest.mark.parametrize("fresh", [False, True])
def test_links_and_pipes_are_refused_and_left_alone(tmp_path: Path, name: str, kind: str, fresh: bool) -> None:
    run, other = tmp_path / "run", tmp_path / "other"
    run.mkdir()
    (run / "robaudit-run.json").write_text(json.dumps({"run": "id", "key": "name"}))
    (run / "journal.jsonl").write_text("")
    other.mkdir() if name == "evidence" else other.write_text("mine")
    (run / name).unlink(missing_ok=True)
    if kind == "pipe":
        os.mkfifo(run / name)
    else:
        (run / name).symlink_to(other if kind == "link" else tmp_path / "nowhere")
    before = sorted(tmp_path.rglob("*"))
    what = "a pipe" if kind == "pipe" else "a link"
    with pytest.raises(UsageError, match=f"{name} is {what} and not robaudit's own"):
        claimable(run, "id", fresh=fresh)
    with (
        pytest.raises(UsageError, match=f"{name} is {what} and not robaudit's own"),
        claimed(run, "id", fresh=fresh, key=KEY),
    ):
        pass
    assert sorted(tmp_path.rglob("*")) == before
    assert name == "evidence" or other.read_text() == "mine"


def test_a_folder_under_the_name_of_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "result.json").mkdir()
    with pytest.raises(UsageError, match=r"result\.json is a folder"), claimed(tmp_path, "id", fresh=True, key=KEY):
        pass


def test_a_dangling_link_is_no_run_directory(tmp_path: Path) -> None:
    (tmp_path / "run").symlink_to(tmp_path / "nowhere")
    with pytest.raises(UsageError, match="cannot be used: File exists"):
        claimable(tmp_path / "run", "id", fresh=False)
    with (
        pytest.raises(UsageError, match="cannot be used: File exists"),
        claimed(tmp_path / "run", "id", fresh=True, key=KEY),
    ):
        pass
    assert not (tmp_path / "nowhere").exists()


@pytest.mark.skipif(os.geteuid() != 0, reason="NOT TESTED with another user's folder: it takes root")
def test_a_folder_of_another_user_that_anybody_may_write_to_is_refused(tmp_path: Path) -> None:
    run = tmp_path / "run"
    run.mkdir()
    run.chmod(0o777)
    with claimed(run, "id", fresh=False, key=KEY):  # one's own
        pass
    os.chown(run, 12345, 12345)
    with (
        pytest.raises(UsageError, match="another user's that anybody may write to"),
        claimed(run, "id", fresh=True, key=KEY),
    ):
        pass
    run.chmod(0o755)
    with claimed(run, "id", fresh=False, key=KEY):
        pass


def test_other_names_of_its_files_keep_their_content(tmp_path: Path) -> None:
    """As a backup of hard links has them."""
    with claimed(tmp_path / "run", "id", fresh=False, key=KEY, kept={"model": "a"}):
        pass
    backup = tmp_path / "backup"
    os.link(tmp_path / "run/robaudit-run.json", backup)
    before = backup.read_text()
    (tmp_path / "run/journal.jsonl").write_text("")
    with claimed(tmp_path / "run", "id", fresh=False, key=KEY, kept={"model": "b"}):
        pass
    assert backup.read_text() == before


def test_the_key_decides_what_is_taken_up(tmp_path: Path) -> None:
    with claimed(tmp_path, "id", fresh=False, key=KEY) as told:
        assert told is None
        (tmp_path / "journal.jsonl").write_text("x")
    with claimed(tmp_path, "id", fresh=False, key=KEY) as told:
        assert told is None
        assert (tmp_path / "journal.jsonl").exists()
    with claimed(tmp_path, "id", fresh=False, key=RunKey(b"another", "another")) as told:
        assert "nothing in it is believed" in (told or "")
        assert not (tmp_path / "journal.jsonl").exists()


def test_no_pipe_among_the_tests_of_others_is_waited_for_and_no_link_written(tmp_path: Path) -> None:
    from robaudit.audit.run.tested import begin_test

    for name in ("a", "b", "mine"):
        (tmp_path / name).mkdir()
    os.mkfifo(tmp_path / "a/tests.json")
    (tmp_path / "b/tests.json").symlink_to("/dev/zero")
    victim = tmp_path / "victim"
    victim.write_text("mine")
    (tmp_path / "mine/tests.json").symlink_to(victim)
    begun = begin_test(tmp_path / "mine", "id", "subject", Journal(None))
    assert begun.before == ()
    assert all("is damaged" in sentence for sentence in begun.told)
    assert len(begun.told) == 3
    assert victim.read_text() == "mine"
    assert json.loads((tmp_path / "mine/tests.json").read_text())[0]["run"] == "id"


def test_the_default_run_directory_is_no_link(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As a repository may hold one that leads elsewhere; whoever wants one names it."""
    from robaudit.audit.run.identity import default_folder

    monkeypatch.chdir(tmp_path)
    folder = default_folder(Path("m.onnx"), "0123456789abcdef")
    assert folder == Path(".robaudit/m-0123456789ab")
    (tmp_path / "elsewhere").mkdir()
    folder.parent.mkdir()
    folder.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(UsageError, match="is a link; name it with --run-dir"):
        default_folder(Path("m.onnx"), "0123456789abcdef")
