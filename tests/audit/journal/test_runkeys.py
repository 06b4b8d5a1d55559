"""The key of journals is the user's own, and is made once."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from robaudit.audit.journal.keys import key_path, run_key

pytestmark = pytest.mark.skipif(os.name != "posix", reason="modes and owners")


@pytest.fixture
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    return tmp_path / "state/robaudit/journal.key"


def test_it_is_made_once_for_the_user_alone(state: Path) -> None:
    first = run_key("a")
    assert first.problem is None
    assert state.stat().st_mode & 0o777 == 0o600
    assert state.parent.stat().st_mode & 0o777 == 0o700
    assert run_key("a") == first
    assert run_key("b").key != first.key
    assert run_key("b").name != first.name
    assert [path.name for path in state.parent.iterdir()] == ["journal.key"]


def test_audits_that_begin_together_share_it(state: Path) -> None:
    with ThreadPoolExecutor(16) as pool:
        assert len(set(pool.map(lambda _: run_key("a").key, range(64)))) == 1


@pytest.mark.parametrize("kind", ["open to others", "short", "long", "link", "pipe", "folder"])
def test_a_key_that_others_may_know_is_not_used(state: Path, tmp_path: Path, kind: str) -> None:
    good = run_key("a")
    content = state.read_bytes()
    if kind == "open to others":
        state.chmod(0o640)
    elif kind in ("short", "long"):
        state.write_bytes(content[:31] if kind == "short" else content + b"x")
    else:
        state.unlink()
        (tmp_path / "key").write_bytes(content)
        (tmp_path / "key").chmod(0o600)
        {"link": lambda: state.symlink_to(tmp_path / "key"), "pipe": lambda: os.mkfifo(state), "folder": state.mkdir}[
            kind
        ]()
    found = run_key("a")
    assert found.key != good.key
    assert found.key != run_key("a").key  # one that is gone with the process
    assert f"the key {state}" in (found.problem or "")


@pytest.mark.skipif(os.geteuid() != 0, reason="NOT TESTED with another user's key: it takes root")
def test_another_user_s_key_is_not_used(state: Path) -> None:
    good = run_key("a")
    os.chown(state, 12345, 12345)
    assert run_key("a").key != good.key


def test_reading_makes_none(state: Path) -> None:
    assert run_key("a", make=False).problem is not None
    assert not state.parent.exists()


def test_a_relative_state_folder_counts_for_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", "state")
    monkeypatch.setenv("HOME", "/somewhere")
    assert key_path() == Path("/somewhere/.local/state/robaudit/journal.key")
