"""Certificates through a whole audit: plan, journal, resume, bracket, gates, reports, stored results."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from run_kit import (
    make_data,
    make_onnx,
    make_profile,
    make_request,
    make_script,
    outcome,
    records,
    run_here,
)

from robaudit.audit.config.resolve import resolve_settings
from robaudit.audit.journal.journal import Journal
from robaudit.audit.plan.validate import validate
from robaudit.audit.result.document import Result
from robaudit.audit.stored.file import parse_result
from robaudit.certificates.base import Proof
from robaudit.certificates.interval import Interval
from robaudit.errors import UsageError
from robaudit.report import html, junit, markdown, samples_csv, sarif, terminal

ATTACKS = "\n  - {id: fgsm}\n  - {id: apgd-ce, steps: 8}\n"


def profile(path: Path, eps: float = 0.01, more: str = "", **changes: str) -> Path:
    make_profile(path, ATTACKS, eps=eps, **changes)
    path.write_text(path.read_text() + "certificates: [interval]\n" + more)
    return path


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("files")
    make_onnx(folder / "m.onnx")
    make_data(folder / "m.npz", 24)
    profile(folder / "p.yaml")
    return folder


@pytest.fixture(scope="module")
def whole(files: Path, tmp_path_factory: pytest.TempPathFactory) -> Result:
    request = make_request(files / "m.onnx", files / "m.npz", files / "p.yaml")
    return run_here(request, tmp_path_factory.mktemp("whole") / "run")


def test_the_bracket_holds_sample_by_sample(whole: Result) -> None:
    section = whole.certified
    assert section is not None
    (entry,) = section.certificates
    assert (entry.id, entry.status, entry.norm, entry.eps, entry.tried) == ("interval", "done", "linf", 0.01, 22)
    proved = [s for s in whole.samples if s.proved("interval")]
    assert 0 < len(proved) == entry.proved == section.lower_bound.k < 22
    assert section.lower_bound.n == 24
    assert any(s.broken_by for s in whole.samples)
    assert not any(s.broken_by for s in proved)
    assert section.lower_bound.k <= whole.worst_case.robust_accuracy.k
    assert section.contradicted == ()
    assert all(bool(s.certified) == s.correct for s in whole.samples)
    assert whole.verdict.exit_code == 0
    assert any(text.startswith("what is certified is a lower bound") for text in whole.limitations)


def test_nothing_of_it_stands_in_a_result_without_certificates(files: Path, tmp_path: Path) -> None:
    request = make_request(files / "m.onnx", files / "m.npz", make_profile(tmp_path / "p.yaml", ATTACKS, eps=0.02))
    found = run_here(request, tmp_path / "run")
    content = json.loads(found.to_json())
    assert "certified" not in content
    assert not any("certified" in sample for sample in content["samples"])
    assert "certificates" not in content["profile"]["resolved"]
    assert "prove" not in terminal.render_text(found)


def test_a_resumed_audit_proves_nothing_twice(files: Path, whole: Result, tmp_path: Path, monkeypatch) -> None:
    asked = []
    prove = Interval.prove
    monkeypatch.setattr(Interval, "prove", lambda self, *args: (asked.append(1), prove(self, *args))[1])
    request = make_request(files / "m.onnx", files / "m.npz", files / "p.yaml")
    first = run_here(request, tmp_path / "run", stop=lambda: len(asked) >= 9)
    assert first.verdict.exit_code == 130
    (entry,) = first.certified.certificates
    assert (entry.status, entry.tried, len(records(tmp_path / "run", "certificate"))) == ("partial", 9, 9)
    again = run_here(request, tmp_path / "run")
    assert len(asked) == 22
    without = [json.loads(outcome(result)) for result in (again, whole)]
    for content in without:
        content["certified"]["certificates"][0].pop("seconds")
    assert without[0] == without[1]


def test_gates_decide_on_the_lower_bound(files: Path, whole: Result, tmp_path: Path) -> None:
    k, n = whole.certified.lower_bound.k, 24
    for least, status, code in ((0.001, "pass", 0), (0.999, "fail", 1), (k / n, "inconclusive", 4)):
        gate = f"  - {{metric: certified_accuracy, min: {least}}}\n"
        path = profile(tmp_path / "p.yaml")
        path.write_text(path.read_text().replace("gates:\n", f"gates:\n{gate}"))
        found = run_here(make_request(files / "m.onnx", files / "m.npz", path), tmp_path / f"run{least:.3f}")
        (decided,) = [g for g in found.gates if g.metric == "certified_accuracy"]
        assert (decided.status, decided.observed.k, found.verdict.exit_code) == (status, k, code)
        if status == "fail":
            assert "which does not say that they can be broken" in found.verdict.next_steps[0]


def test_the_flag_adds_to_what_the_profile_names(tmp_path: Path) -> None:
    def named(path: Path, *flags: str) -> dict[str, Any]:
        flag = {"profile": str(path), "certify": list(flags)}
        return dict(resolve_settings(flag, {}, tmp_path / "m.onnx").profile.certificates)

    without = make_profile(tmp_path / "q.yaml", ATTACKS)
    assert named(without) == {}
    assert named(without, "interval") == named(profile(tmp_path / "p.yaml"), "interval") == {"interval": {}}
    both = tmp_path / "both.yaml"
    both.write_text(without.read_text() + "certificates: {other: {steps: 3}}\n")
    assert named(both, "interval", "other") == {"other": {"steps": 3}, "interval": {}}


@pytest.mark.parametrize(
    ("more", "words"),
    [
        ("certificates: [intervall]\n", "unknown certificate 'intervall'; did you mean 'interval'"),
        ("certificates: {interval: {steps: 3}}\n", "the certificate 'interval' has no parameter 'steps'"),
        ("gates: [{metric: certified_accuracy, min: 0.1}]\n", "needs certificates"),
    ],
)
def test_what_cannot_be_is_refused_before_anything_is_loaded(
    more: str, words: str, files: Path, tmp_path: Path
) -> None:
    path = make_profile(tmp_path / "p.yaml", ATTACKS)
    path.write_text(path.read_text().split("gates:")[0] + more)
    with pytest.raises(UsageError, match=words.split(";")[0]) as refused:
        validate(make_request(files / "m.onnx", files / "m.npz", path))
    assert words in str(refused.value)


def test_a_file_that_is_no_graph_is_not_certified(tmp_path: Path) -> None:
    make_script(tmp_path / "m.pt")
    make_data(tmp_path / "m.npz", 16)
    path = profile(tmp_path / "p.yaml")
    path.write_text(path.read_text().replace("gates:\n", "gates:\n  - {metric: certified_accuracy, min: 0}\n"))
    found = run_here(make_request(tmp_path / "m.pt", tmp_path / "m.npz", path), tmp_path / "run")
    (entry,) = found.certified.certificates
    assert (entry.status, entry.tried, found.certified.lower_bound.k) == ("skipped", 0, 0)
    assert "torchscript file is no ONNX graph" in entry.reason
    assert found.gates[0].status == "invalid"
    assert found.verdict.exit_code == 3
    assert found.worst_case.robust_accuracy is not None  # what the attacks say is as good as before


def test_a_proof_that_an_attack_contradicts_is_an_error_of_ours(files: Path, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(Interval, "prove", lambda *_: Proof(True, 1.0))
    path = profile(tmp_path / "p.yaml", more="")
    path.write_text(path.read_text().replace("gates:\n", "gates:\n  - {metric: robust_accuracy, min: 0.99}\n"))
    found = run_here(make_request(files / "m.onnx", files / "m.npz", path), tmp_path / "run")
    broken = [s for s in found.samples if s.broken_by]
    assert found.certified.contradicted == tuple(s.index for s in broken) != ()
    assert (found.verdict.status, found.verdict.exit_code) == ("withheld", 3)  # although a gate failed on evidence
    assert found.worst_case.robust_accuracy is None
    assert f"{broken[0].id} (proved by interval, broken by {broken[0].broken_by})" in found.verdict.reasons[0]
    assert any("report it to the authors" in step for step in found.verdict.next_steps)
    assert "RA023" in sarif.render(found)
    assert "proved and broken at once" in terminal.render_text(found)
    # and a file that hides it is refused
    content = json.loads(found.to_json())
    content["certified"]["contradicted"] = []
    with pytest.raises(UsageError, match="contradicts itself"):
        parse_result(_sealed(content), "it")


def test_stored_results_are_held_to_their_samples(whole: Result) -> None:
    def changed(edit) -> str:
        content = json.loads(whole.to_json())
        edit(content)
        return _sealed(content)

    unproved = next(i for i, s in enumerate(whole.samples) if s.certified and not s.proved("interval"))
    for edit, words in (
        (lambda c: c["certified"]["lower_bound"].update(k=22), "certified.lower_bound"),
        (lambda c: c["samples"][unproved]["certified"][0].update(proved=True), "with the margin"),
        (lambda c: c["samples"][unproved].update(certified=[]), "certificates[0].tried"),
        (lambda c: c["certified"]["certificates"][0].update(eps=0.5), "no ball of its threat model"),
        (lambda c: c.pop("certified"), "certificates"),
        (lambda c: c["samples"][unproved]["certified"][0].update(by="else"), "does not have"),
    ):
        with pytest.raises(UsageError, match="contradicts itself") as refused:
            parse_result(changed(edit), "it")
        assert words in str(refused.value)


def _sealed(content: dict) -> str:
    from robaudit.audit.result.document import content_digest

    return json.dumps(content | {"digest": content_digest(content)})


def test_every_report_tells_it(whole: Result) -> None:
    k = whole.certified.lower_bound.k
    text = " ".join(terminal.render_text(whole).split())
    assert f"certified {k} of 24 <= true <= attacked {whole.worst_case.robust_accuracy.k} of 24" in text
    assert "What is proved" in text
    assert f"{k} of 22 samples" in markdown.render(whole)
    assert 'id="certified"' in html.render(whole)
    assert 'classname="robaudit.certificates"' in junit.render(whole)
    lines = samples_csv.render(whole).splitlines()
    assert lines[0].endswith("proved_interval,margin_interval")
    place = lines[0].split(",").index("proved_interval")
    assert sum(line.split(",")[place] == "true" for line in lines) == k


def test_a_union_is_proved_in_every_norm(files: Path, tmp_path: Path) -> None:
    path = profile(tmp_path / "p.yaml")
    text = path.read_text().replace("eps: 0.01}", "eps: 0.01, also: [{norm: l2, eps: 0.03}, {norm: l0, eps: 1}]}")
    path.write_text(text)
    found = run_here(make_request(files / "m.onnx", files / "m.npz", path), tmp_path / "run")
    entries = {entry.id: entry for entry in found.certified.certificates}
    assert list(entries) == ["linf/interval", "l2/interval", "l0/interval"]
    assert entries["linf/interval"].proved > 0
    assert entries["l2/interval"].proved > 0
    assert entries["l0/interval"].status == "skipped"
    assert found.certified.lower_bound.k == 0  # nothing is proved in L0
    path.write_text(text.replace(", {norm: l0, eps: 1}", ""))
    found = run_here(make_request(files / "m.onnx", files / "m.npz", path), tmp_path / "both")
    both = [s for s in found.samples if s.proved("linf/interval") and s.proved("l2/interval")]
    assert found.certified.lower_bound.k == len(both) > 0


def test_a_targeted_audit_proves_of_its_classes_alone(files: Path, tmp_path: Path, whole: Result) -> None:
    path = profile(tmp_path / "p.yaml")
    path.write_text(path.read_text().replace("eps: 0.01}", "eps: 0.01, goal: random}"))
    found = run_here(make_request(files / "m.onnx", files / "m.npz", path), tmp_path / "run")
    before = {s.index: s.certified[0].margin for s in whole.samples if s.certified}
    now = {s.index: s.certified[0].margin for s in found.samples if s.certified}
    assert now.keys() == before.keys()
    assert all(now[i] >= before[i] for i in now)  # one rival of three
    assert any(now[i] > before[i] + 0.1 for i in now)
    assert found.certified.contradicted == ()


def test_an_audit_in_looks_proves_the_samples_that_it_took(files: Path, tmp_path: Path) -> None:
    make_data(tmp_path / "m.npz", 120)
    path = profile(tmp_path / "p.yaml")
    path.write_text(path.read_text().replace("gates:\n", "gates:\n  - {metric: robust_accuracy, min: 0.05}\n"))
    request = make_request(files / "m.onnx", tmp_path / "m.npz", path, until_decided=True)
    found = run_here(request, tmp_path / "run")
    assert found.sequential.samples < 120
    (entry,) = found.certified.certificates
    assert (entry.status, entry.tried) == ("done", sum(s.correct for s in found.samples))
    assert found.certified.lower_bound.n == found.sequential.samples


def test_a_certifier_that_fails_costs_the_audit_its_completeness(files: Path, tmp_path: Path, monkeypatch) -> None:
    def fail(*_: object) -> Proof:
        raise ZeroDivisionError("no bound")

    monkeypatch.setattr(Interval, "prove", fail)
    request = make_request(files / "m.onnx", files / "m.npz", files / "p.yaml")
    found = run_here(request, tmp_path / "run")
    (entry,) = found.certified.certificates
    assert (entry.status, entry.tried, found.verdict.exit_code) == ("failed", 0, 3)
    assert "no bound" in entry.reason
    assert sum(error.where == "certificate interval" for error in found.errors) == 22


def test_the_command_line_tells_of_it(files: Path, tmp_path: Path, robaudit) -> None:
    assert "certificate: Carry the box" in robaudit("explain").out
    told = robaudit("explain", "interval").out
    assert "Gowal" in told
    assert "certified_accuracy" in told
    flags = ["--data", str(files / "m.npz"), "--profile", str(files / "p.yaml"), "--run-dir", str(tmp_path / "run")]
    shown = robaudit("scan", str(files / "m.onnx"), *flags, "--dry-run").out
    assert "interval              certificate, linf 0.01" in shown


def test_journals_without_a_folder_hold_certificates_too(files: Path, tmp_path: Path, whole: Result) -> None:
    request = make_request(files / "m.onnx", files / "m.npz", files / "p.yaml", batch_size=3)
    found = run_here(request, tmp_path / "run", journal=Journal(None))
    assert [s.certified for s in found.samples] == [s.certified for s in whole.samples]
    assert np.isfinite([s.certified[0].margin for s in found.samples if s.certified]).all()
