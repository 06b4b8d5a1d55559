"""Audits in which only what a mask marks may change, from the flag to the replay."""

from __future__ import annotations

import base64
import json
import shutil
import subprocess
import sys
import zlib
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from run_kit import ALL, SHAPE, load, make_data, make_onnx, make_profile, make_request, outcome, run_here, scan

from robaudit.audit.config.profile_files import load_profile
from robaudit.audit.config.request import AuditRequest
from robaudit.audit.journal.journal import Journal
from robaudit.audit.replay.replaying import replay
from robaudit.audit.replay.request import ReplayRequest
from robaudit.audit.result.document import Result
from robaudit.audit.run.identity import identity_of
from robaudit.audit.run.rundir import MARKER
from robaudit.audit.stored.file import load_result, save_result
from robaudit.audit.verdict.comparable import check_comparable
from robaudit.errors import AuditError, UsageError
from robaudit.files import sha256_file

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")
PLACE = np.zeros(SHAPE[1:], dtype=bool)
PLACE[1:4, 2:6] = True
WORDS = "only 12 of 36 features may change (mask m.png)"


def draw(path: Path, place: np.ndarray = PLACE) -> Path:
    Image.fromarray(np.where(place, 255, 0).astype(np.uint8)).save(path)
    return path


def request(folder: Path, *, eps: float = 1.0, place: np.ndarray = PLACE, more: str = "", **changes) -> AuditRequest:
    """Of the kit's network, with a mask in the profile."""
    draw(folder / "m.png", place)
    profile = make_profile(folder / "p.yaml", ALL, checks=changes.pop("checks", "[evidence]"))
    sets = "sets: [{id: mask, file: m.png}]"
    norm = changes.pop("norm", "linf")
    threat = f"threat: {{norm: {norm}, eps: {eps}, {sets}{more}}}"
    profile.write_text(profile.read_text().replace("threat: {norm: linf, eps: 0.03}", threat))
    return make_request(make_onnx(folder / "m.onnx"), make_data(folder / "data.npz"), profile, **changes)


@pytest.fixture(scope="module")
def finished(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("masked")
    asked = request(folder)
    result = run_here(asked, folder / "run")
    assert result.evidence.count > 3
    save_result(result, folder / "run" / "result.json")
    (folder / "run" / MARKER).write_text(json.dumps({"run": result.run.id, "model": str(asked.model)}))
    return folder


@pytest.fixture
def run(finished: Path, tmp_path: Path) -> Path:
    shutil.copytree(finished, tmp_path / "copy")
    return tmp_path / "copy" / "run"


def test_nothing_moves_outside_of_it_and_the_result_says_so(finished: Path) -> None:
    result = load_result(finished / "run" / "result.json")
    (told,) = result.threat_model.sets
    assert (told.id, told.words, told.free, told.features) == ("mask", WORDS, 12, 36)
    assert told.content["file"] == "m.png"
    assert result.verdict.headline.endswith(f"under L∞ ≤ 1.0, where {WORDS}.")
    assert any("changes of what was to stay" in sentence for sentence in result.limitations)
    kept = dict(np.load(finished / "run" / "evidence.npz"))
    moved = np.abs(kept["adversarial"] - kept["original"]).max((0, 1))
    assert not moved[~PLACE].any()
    assert moved[PLACE].all()
    assert str(finished) not in result.to_json()
    assert '"sets"' not in run_here(without(request(finished)), finished / "free").to_json()


def without(asked: AuditRequest) -> AuditRequest:
    threat = asked.profile.threat.model_copy(update={"sets": ()})
    return replace(asked, profile=asked.profile.model_copy(update={"threat": threat}))


def test_a_resumed_audit_comes_to_the_same(finished: Path, tmp_path: Path) -> None:
    asked = request(tmp_path)
    seen = 0

    def stop() -> bool:
        nonlocal seen
        seen += 1
        return seen > 12

    journal = Journal(tmp_path / "run")
    (tmp_path / "run").mkdir()
    run_here(asked, tmp_path / "run", stop=stop, journal=journal)
    resumed = run_here(replace(asked, batch_size=3), tmp_path / "run")
    assert resumed.run.resumed
    whole = json.loads(outcome(load_result(finished / "run" / "result.json")))
    assert json.loads(outcome(resumed))["samples"] == whole["samples"]


def test_the_run_is_named_by_what_the_mask_holds(tmp_path: Path) -> None:
    asked = request(tmp_path)
    first, free = identity_of(asked), identity_of(without(asked)).run_id
    assert str(tmp_path / "m.png") in first.files
    draw(tmp_path / "m.png", np.roll(PLACE, 1, 0))
    assert len({first.run_id, free, identity_of(asked).run_id}) == 3
    draw(tmp_path / "m.png")
    assert identity_of(asked).run_id == first.run_id
    (tmp_path / "m.png").unlink()
    with pytest.raises(UsageError, match="there is no mask"):
        identity_of(asked)


def test_the_evidence_replays_where_the_mask_is_not(run: Path) -> None:
    (run.parent / "m.png").unlink()
    found = replay(ReplayRequest(run, run.parent / "m.onnx"))
    assert found.holds
    assert found.count > 3


def test_a_replay_needs_neither_torch_nor_a_reader_of_images(run: Path) -> None:
    code = (
        "import sys; from pathlib import Path\n"
        "class Refused:\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        "        assert name.partition('.')[0] not in ('torch', 'PIL'), name\n"
        "sys.meta_path.insert(0, Refused())\n"
        "from robaudit.audit.replay.replaying import replay\n"
        "from robaudit.audit.replay.request import ReplayRequest\n"
        "assert replay(ReplayRequest(Path('run'), Path('m.onnx'))).holds\n"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=run.parent, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_a_point_outside_of_the_mask_is_found(run: Path) -> None:
    kept = dict(np.load(run / "evidence.npz"))
    kept["adversarial"] = kept["adversarial"].copy()
    kept["adversarial"][0, 0, 0, 0] += np.float32(1e-4)
    kept["adversarial"][1, 0, 1, 2] = kept["original"][1, 0, 1, 2]  # within: another distance at most
    np.savez(run / "evidence.npz", **kept)
    result = load_result(run / "result.json")
    evidence = result.evidence.model_copy(update={"sha256": sha256_file(run / "evidence.npz")})
    save_result(result.model_copy(update={"evidence": evidence}), run / "result.json")
    rows = replay(ReplayRequest(run, run.parent / "m.onnx")).examples
    assert [row.status for row in rows].count("outside") == 1
    assert rows[0].status == "outside"


def changed(result: Result, **fields: object) -> Result:
    (told,) = result.threat_model.sets
    sets = (told.model_copy(update=fields),)
    return result.model_copy(update={"threat_model": result.threat_model.model_copy(update={"sets": sets})})


def test_a_wider_mask_is_not_slipped_into_a_result(run: Path) -> None:
    result = load_result(run / "result.json")
    (told,) = result.threat_model.sets
    for bits, words in ((base64.b64encode(zlib.compress(b"\xff" * 5)).decode(), "another digest"), ("AA==", "damaged")):
        save_result(changed(result, content={**told.content, "bits": bits}), run / "result.json")
        with pytest.raises(UsageError, match=f"its perturbation set mask .*{words}"):
            load_result(run / "result.json")
    save_result(changed(result, free=0), run / "result.json")
    with pytest.raises(UsageError, match="lets 0 of 36 features change"):
        load_result(run / "result.json")
    save_result(changed(result, free=36), run / "result.json")
    with pytest.raises(AuditError, match="not the one that it describes"):
        replay(ReplayRequest(run, run.parent / "m.onnx"))


def test_audits_with_other_masks_are_not_compared(finished: Path, tmp_path: Path) -> None:
    base = load_result(finished / "run" / "result.json")
    same = run_here(request(tmp_path), tmp_path / "same")
    check_comparable(base, same)
    (told,) = base.threat_model.sets
    renamed = changed(base, content={**told.content, "file": "other.png"}, words=told.words.replace("m.png", "o.png"))
    check_comparable(renamed, same)
    moved = run_here(request(tmp_path, place=np.roll(PLACE, 1, 0)), tmp_path / "moved")
    with pytest.raises(AuditError, match=r"it was that only 12 of 36 .* SHA-256 \w{12}, and is that only 12 of 36"):
        check_comparable(base, moved)
    free = run_here(without(request(tmp_path)), tmp_path / "free")
    with pytest.raises(AuditError, match=r"only 12 of 36 features may change .*, and is that everything may change"):
        check_comparable(base, free)
    with pytest.raises(UsageError, match="SHA-256"):  # before anything is attacked
        run_here(request(tmp_path, place=np.roll(PLACE, 1, 0), baseline=base), tmp_path / "early")


def test_a_radius_within_it_in_several_norms_and_with_a_curve(tmp_path: Path) -> None:
    asked = request(tmp_path, eps=0.2, more=", also: [{norm: l2, eps: 0.5}, {norm: l1, eps: 2}, {norm: l0, eps: 3}]")
    profile = load_profile(str(tmp_path / "p.yaml"))
    content = profile.model_dump(mode="json") | {"curve": {"rounds": 3}}
    asked = replace(asked, profile=type(profile).model_validate(content))
    result = run_here(asked, tmp_path / "run")
    assert result.verdict.status != "incomplete"
    assert {check.status for check in result.checks} == {"pass"}
    assert sum(outcome.broken for outcome in result.threats) > 4
    kept = dict(np.load(tmp_path / "run" / "evidence.npz"))
    for name in ("", "nearest_"):
        moved = np.abs(kept[f"{name}adversarial"] - kept[f"{name}original"]).max((0, 1))
        assert not moved[~PLACE].any()
    save_result(result, tmp_path / "run" / "result.json")
    assert replay(ReplayRequest(tmp_path / "run", tmp_path / "m.onnx")).holds


def test_the_checks_hold_with_a_mask(tmp_path: Path) -> None:
    checks = "[zero-gradient, unbounded, black-over-white, evidence]"
    result = run_here(request(tmp_path, eps=0.3, checks=checks), tmp_path / "run")
    assert {check.id: check.status for check in result.checks} == dict.fromkeys(
        ("zero-gradient", "unbounded", "black-over-white", "evidence"), "pass"
    )


@pytest.mark.slow
def test_the_command_line(tmp_path: Path) -> None:
    model, data = make_onnx(tmp_path / "m.onnx"), make_data(tmp_path / "data.npz")
    profile = make_profile(tmp_path / "p.yaml")
    draw(tmp_path / "m.png")
    reports = [text for suffix in ("md", "html", "sarif", "xml", "csv") for text in ("-o", f"r.{suffix}")]
    flags = ("--mask", "m.png", "--eps", "1", *reports)
    done = scan(model, data, profile, tmp_path / "run", *flags, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert load(tmp_path / "run").threat_model.sets[0].words == WORDS
    assert WORDS in " ".join(done.stdout.split())
    for suffix in ("md", "html", "sarif", "xml"):
        assert "only 12 of 36 features may change" in (tmp_path / f"r.{suffix}").read_text(), suffix
    again = scan(model, data, profile, tmp_path / "run", "--mask", "m.png", "--eps", "1", cwd=tmp_path)
    assert again.returncode == 0, again.stderr
    for mask, words in (("no.png", "there is no mask no.png"), ("data.npz", "must hold one array")):
        refused = scan(model, data, profile, tmp_path / "other", "--mask", mask, cwd=tmp_path)
        assert refused.returncode == 2
        assert words in refused.stderr
        assert len(refused.stderr.splitlines()) == 1
