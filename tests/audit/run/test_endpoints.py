"""Audits of endpoints from start to end: as of the file that is served, within the caps, and nothing paid twice."""

from __future__ import annotations

import io
import json
import os
import signal
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from command_line import ROBAUDIT, refused
from remote_kit import Inference, Server, served, write_endpoint
from run_kit import environment, load, make_data, make_onnx, make_profile, make_request, run_here, scan, start, wait_for

from robaudit.audit.config.resolve import resolve_settings
from robaudit.cli.endpoint import with_cap
from robaudit.errors import AuditError

pytest.importorskip("aiohttp", reason="NOT TESTED: the extra `remote` is not installed")
BLACK_BOX = "\n  - {id: square, queries: 60}\n  - {id: hopskipjump, queries: 150}\n"
ASKED_TWICE = 3
"""Inputs that are asked again to find out whether the server answers alike each time."""


@pytest.fixture
def server(tmp_path: Path):
    with served(Inference(make_onnx(tmp_path / "m.onnx"))) as found:
        yield found


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return make_data(tmp_path / "d.npz", 8)


@pytest.fixture
def profile(tmp_path: Path) -> Path:
    return make_profile(tmp_path / "p.yaml", BLACK_BOX, checks="[clean, determinism, batch-state, evidence]")


def endpoint(server: Server, folder: Path, more: str = "") -> Path:
    return write_endpoint(folder / "endpoint.yaml", f"{server.url}/v2/models/cats", more)


def told(result: Any) -> dict[str, Any]:
    """What an audit finds: samples, queries and verdict."""
    content = result.model_dump(mode="json")
    for attack in content["attacks"]:
        del attack["seconds"]
    return {name: content[name] for name in ("samples", "attacks", "checks", "gates", "verdict", "clean", "worst_case")}


def test_samples_queries_and_verdict_are_those_of_the_file(server, data, profile, tmp_path):
    local = run_here(make_request(tmp_path / "m.onnx", data, profile), tmp_path / "local")
    asked = make_request(endpoint(server, tmp_path, "max_batch: 4\n"), data, profile)
    remote = run_here(asked, tmp_path / "remote")
    assert told(remote) == told(local)
    assert sum(attack.queries for attack in remote.attacks) > 300
    assert any(seen.rows == 4 for seen in server.posts)


def test_a_white_box_attack_is_unavailable_with_the_reason(server, data, tmp_path):
    profile = make_profile(tmp_path / "p.yaml", "\n  - {id: fgsm}\n  - {id: square, queries: 20}\n")
    result = run_here(make_request(endpoint(server, tmp_path), data, profile), tmp_path / "run")
    assert (result.attacks[0].status, result.attacks[0].reason) == (
        "unavailable",
        "it is behind HTTP, which gives answers and no gradients",
    )


def test_the_command_tells_what_was_sent_where_and_the_secret_nowhere(server, data, profile, tmp_path, monkeypatch):
    monkeypatch.setenv("CATS", "s3cret-token")
    path = endpoint(server, tmp_path, "auth: {env: CATS}\nprice: {amount: 0.01, currency: EUR}\n")
    run, reports = tmp_path / "run", [tmp_path / f"r.{kind}" for kind in ("json", "html", "md", "sarif")]
    flags = [text for report in reports for text in ("--output", str(report))]
    done = scan(path, data, profile, run, "--max-cost", "50", *flags)
    result = load(run)
    assert result.verdict.exit_code == done.returncode
    assert {seen.headers["Authorization"] for seen in server.seen} == {"Bearer s3cret-token"}
    sent = result.target.details["sent"]
    assert isinstance(sent, dict)
    assert (sent["queries"], sent["requests"]) == (server.rows, len(server.posts))
    assert sent["cost"] == {"amount": pytest.approx(server.rows / 100), "currency": "EUR"}
    assert result.run.network.startswith(f"{server.rows} inputs were sent to {server.url}/v2/models/cats in ")
    assert "nothing was sent" not in done.stdout
    state = result.environment.details.get("sandbox", "")
    assert "network to port" in str(state) or not str(state).startswith("Landlock")
    for file in (*reports, *(path for path in run.rglob("*") if path.is_file())):
        assert b"s3cret" not in file.read_bytes(), file
    assert "s3cret" not in done.stdout + done.stderr


def test_what_costs_money_takes_a_limit(robaudit, server, data, profile, tmp_path, no_settings):
    path = endpoint(server, tmp_path, "price: {amount: 0.01}\n")
    refused(robaudit("scan", path, "--data", data), "charges 0.01 USD a query", "--max-cost")
    refused(robaudit("inspect", path, "--data", data), "--max-cost")
    refused(robaudit("scan", endpoint(server, tmp_path), "--max-cost", "5"), "--max-cost takes a price in")
    refused(robaudit("scan", tmp_path / "m.onnx", "--max-queries", "5"), "--max-queries is for endpoints")
    refused(robaudit("scan", "--data", data), "no model was given")
    refused(robaudit("scan", path, "--endpoint", path), "not both")
    refused(robaudit("scan", "http://example.com/v2/models/x"), "plain http to another machine")
    assert not server.posts


def test_the_most_that_attacks_may_cost_is_told_before_they_run(robaudit, server, data, profile, tmp_path, no_settings):
    path = endpoint(server, tmp_path, "price: {amount: 0.01, currency: EUR}\n")
    flags = ("--data", data, "--max-cost", "50", "--domain", "0,1")
    planned = robaudit("scan", path, "--profile", profile, "--dry-run", *flags)
    assert f"at most {8 * (60 + 150) / 100:.2f} EUR for these attacks on all samples" in planned.out
    asked = server.rows
    assert f"the endpoint was asked about {asked} inputs in" in planned.out
    assert f"may have cost {asked / 100:.2f} EUR" in planned.out
    found = json.loads(robaudit("inspect", path, *flags, "--format", "json").out)
    cost = found["costs"]["blackbox"]
    assert cost["money"] == {"amount": pytest.approx(cost["queries"] * cost["samples"] * 0.01), "currency": "EUR"}
    assert cost["samples"] == 8
    assert cost["queries"] > 1000
    assert any(f"asked about {server.rows - asked} inputs" in note for note in found["notes"])
    free = json.loads(robaudit("inspect", tmp_path / "m.onnx", "--data", data, "--format", "json").out)
    assert free["costs"]["blackbox"]["money"] is None


def test_an_endpoint_is_audited_by_its_scores_where_nothing_else_is_said(server, data, tmp_path):
    profile = tmp_path / "p.yaml"
    profile.write_text("extends: auto\nthreat: {eps: '0.1'}\n")
    result = run_here(make_request(endpoint(server, tmp_path, "max_batch: 64\n"), data, profile), tmp_path / "run")
    assert {attack.access for attack in result.attacks if attack.status == "done"} >= {"scores"}
    assert all(attack.access != "white-box" for attack in result.attacks)
    assert result.verdict.exit_code == 0


def test_the_price_of_secrecy_is_that_of_the_file(server, data, tmp_path):
    profile = make_profile(tmp_path / "p.yaml", "\n  - {id: square, queries: 60}\n", eps=0.1)
    profile.write_text(profile.read_text() + "secrecy: {queries: 60}\n")
    local = run_here(make_request(tmp_path / "m.onnx", data, profile), tmp_path / "local")
    remote = run_here(make_request(endpoint(server, tmp_path, "max_batch: 8\n"), data, profile), tmp_path / "remote")
    assert remote.secrecy == local.secrecy
    assert [curve.access for curve in remote.secrecy[0].curves] == ["labels", "scores"]
    assert any(curve.broken for curve in remote.secrecy[0].curves)


def test_a_terminal_is_asked_what_it_may_cost(server, tmp_path, monkeypatch):
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    priced, free = (
        endpoint(server, tmp_path, "price: {amount: 0.01}\n"),
        write_endpoint(tmp_path / "f.yaml", server.url),
    )
    monkeypatch.setattr(sys, "stdin", Terminal())
    monkeypatch.setattr(sys, "stderr", Terminal())
    monkeypatch.setattr("typer.prompt", lambda text, **_: 4.5)

    def most(path: Path, **given: Any) -> float | None:
        return with_cap(resolve_settings(given, {}, path), path).settings.max_cost

    assert (most(priced), most(priced, max_cost=2.0), most(free)) == (4.5, 2.0, None)
    monkeypatch.setattr(sys, "stdin", io.StringIO())
    assert most(priced) is None


def test_an_audit_ends_at_the_cap_and_goes_on_with_a_higher_one(server, data, profile, tmp_path):
    path, run = endpoint(server, tmp_path), tmp_path / "run"
    done = scan(path, data, profile, run, "--max-queries", "200")
    assert done.returncode == 3
    assert server.rows <= 200
    first = load(run)
    assert first.run.failed is not None
    assert first.run.failed.startswith("--max-queries 200: ")
    assert first.run.network.startswith(f"{server.rows} inputs were sent")
    scan(path, data, profile, run, "--max-queries", "100000")
    whole = run_here(make_request(tmp_path / "m.onnx", data, profile), tmp_path / "local")
    assert told(load(run))["samples"] == told(whole)["samples"]
    assert repeated(server) <= ASKED_TWICE


def repeated(server: Server) -> int:
    """Inputs that were sent more often than once in the same company: alone, or with others."""
    counts: Counter[tuple[bool, str]] = Counter()
    for seen in server.posts:
        (tensor,) = json.loads(seen.body)["inputs"]
        size = len(tensor["data"]) // seen.rows
        for i in range(seen.rows):
            counts[seen.rows == 1, json.dumps(tensor["data"][i * size : (i + 1) * size])] += 1
    return sum(count - 1 for count in counts.values())


@pytest.mark.slow
@pytest.mark.parametrize("moment", [30, 250])
def test_nothing_is_paid_twice_after_a_kill(server, data, profile, tmp_path, moment):
    path, run = endpoint(server, tmp_path, "concurrency: 1\nmax_batch: 1\n"), tmp_path / "run"
    process = start(path, data, profile, run)
    wait_for(lambda: server.rows >= moment)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    done = scan(path, data, profile, run)
    assert load(run).run.failed is None, done.stderr
    under_way = 1  # of the killed process, whose answer nobody read
    assert repeated(server) <= ASKED_TWICE + under_way
    whole = run_here(make_request(tmp_path / "m.onnx", data, profile), tmp_path / "local")
    assert told(load(run))["samples"] == told(whole)["samples"]
    sent = load(run).target.details["sent"]
    assert isinstance(sent, dict)
    assert sent["queries"] == server.rows


def test_an_address_alone_is_enough(server, data, tmp_path):
    command = [ROBAUDIT, "inspect", f"{server.url}/v2/models/cats", "--data", str(data), "-f", "json"]
    done = subprocess.run(command, env=environment(), cwd=tmp_path, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["file"]["format"] == "endpoint"
    assert found["head"]["classes"] == 4
    assert (tmp_path / ".robaudit" / "endpoints").is_dir()


def test_a_server_that_is_lost_ends_the_audit_with_what_is_finished(server, data, profile, tmp_path):
    truth = server.answer

    def answer(seen: Any) -> Any:
        if len(server.posts) > 100:
            server.misbehave = lambda seen, number: truth(seen.__class__("GET", "/nowhere", {}, b""))
        return truth(seen)

    server.answer = answer
    with pytest.raises(AuditError, match="404"):
        run_here(make_request(endpoint(server, tmp_path), data, profile), tmp_path / "run")
    unpaid = sum(seen.rows for seen in server.posts[101:])
    server.answer, server.misbehave = truth, lambda seen, number: None
    result = run_here(make_request(endpoint(server, tmp_path), data, profile), tmp_path / "run")
    assert result.run.failed is None
    assert repeated(server) <= ASKED_TWICE + unpaid
