"""An endpoint answers as the file that it serves, whatever the server does meanwhile, and nothing is paid twice."""

from __future__ import annotations

import dataclasses
import email.utils
import itertools
import json
import math
import sys
import threading
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path

import numpy as np
import pytest
import torch
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from model_files import FLOAT, linear_onnx, weight, write_onnx
from onnx import helper
from remote_kit import Inference, Reply, Seen, Server, reply, served, write_endpoint

from robaudit.errors import AuditError, ChangedFileError, UsageError
from robaudit.target.files.remote.answers import ANSWERS, Answers, Caps, SpentError, totals_of
from robaudit.target.files.remote.endpoint import Price
from robaudit.target.files.remote.replies import pause
from robaudit.target.load import Allowed, open_target
from robaudit.target.reading.interface import Interface
from robaudit.target.reading.opened import OpenedTarget

pytest.importorskip("aiohttp", reason="NOT TESTED: the extra `remote` is not installed")
KEY = b"k" * 32
SHAPE = (3, 4, 4)


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return linear_onnx(tmp_path / "m.onnx")


@pytest.fixture
def server(model: Path) -> Iterator[Server]:
    with served(Inference(model)) as found:
        yield found


def opened(server: Server, folder: Path, more: str = "", answers: Answers | None = None) -> OpenedTarget:
    path = write_endpoint(folder / "endpoint.yaml", f"{server.url}/v2/models/cats", more)
    return open_target(path, device="cpu", allowed=Allowed(answers=Answers() if answers is None else answers))


def points(count: int = 5, seed: int = 0) -> torch.Tensor:
    return torch.rand((count, *SHAPE), generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("binary", [False, True])
def test_scores_are_those_of_the_file(model, tmp_path, binary):
    local = open_target(model, device="cpu")
    with served(Inference(model, binary=binary)) as server:
        remote = opened(server, tmp_path)
        assert torch.equal(remote.scores(points()), local.scores(points()))
        assert torch.equal(remote.scores(points(), alone=True), local.scores(points(), alone=True))
        assert (remote.num_classes, remote.spec.shape) == (local.num_classes, local.spec.shape)
        sent = {seen.headers["Content-Type"] for seen in server.posts}
    assert sent == {"application/octet-stream" if binary else "application/json"}
    assert remote.file.no_gradient == "it is behind HTTP, which gives answers and no gradients"


def test_inputs_share_requests_up_to_the_batch_and_no_further(server, tmp_path):
    remote = opened(server, tmp_path, "max_batch: 4\n")
    before = len(server.posts)
    remote.scores(points(10, seed=1))
    assert sorted(seen.rows for seen in server.posts[before:]) == [2, 4, 4]
    remote.scores(points(3, seed=2), alone=True)
    assert [seen.rows for seen in server.posts[before + 3 :]] == [1, 1, 1]


def test_identical_queries_are_answered_from_memory(server, tmp_path):
    remote = opened(server, tmp_path)
    first = remote.scores(points())
    sent = server.rows
    assert torch.equal(remote.scores(points()), first)
    assert torch.equal(remote.scores(points()[[0, 0, 3]]), first[[0, 0, 3]])
    assert server.rows == sent


def test_a_server_that_answers_otherwise_each_time_is_asked_each_time(server, tmp_path):
    noise = iter(np.random.default_rng(0).normal(size=(1000, 10)).tolist())
    server.misbehave = lambda seen, number: reply(
        {"outputs": [{"name": "y", "datatype": "FP32", "shape": [seen.rows, 5], "data": next(noise)[:5] * seen.rows}]}
    )
    remote = opened(server, tmp_path)
    one, other = remote.scores(points(1)), remote.scores(points(1))
    assert not torch.equal(one, other)


def test_nothing_is_paid_twice_by_the_next_process(server, tmp_path):
    folder = tmp_path / "run"
    folder.mkdir()
    first = opened(server, tmp_path, answers=Answers(folder / ANSWERS, KEY))
    scores = first.scores(points())
    first.file.answered.close()  # type: ignore[attr-defined]
    sent = server.rows
    with (folder / ANSWERS).open("ab") as file:
        file.write(b"A\x00\x01")  # what a killed process had half written
    again = opened(server, tmp_path, answers=Answers(folder / ANSWERS, KEY))
    assert torch.equal(again.scores(points()), scores)
    assert server.rows == sent
    told = totals_of(folder / ANSWERS, KEY)
    assert told is not None
    assert (told.queries, told.requests) == (server.rows, len(server.posts))


def test_answers_that_were_edited_or_are_of_another_run_are_not_believed(server, tmp_path):
    path = tmp_path / ANSWERS
    opened(server, tmp_path, answers=Answers(path, KEY)).file.answered.close()  # type: ignore[attr-defined]
    for damage in (lambda raw: raw[:-1] + bytes([raw[-1] ^ 1]), lambda raw: raw):
        path.write_bytes(damage(path.read_bytes()))
        before, key = server.rows, KEY if damage(b"ab") != b"ab" else b"o" * 32
        opened(server, tmp_path, answers=Answers(path, key)).file.answered.close()  # type: ignore[attr-defined]
        assert server.rows > before


def test_another_version_of_the_model_is_refused_when_an_audit_goes_on(model, tmp_path):
    answer = Inference(model)
    with served(answer) as server:
        opened(server, tmp_path, answers=Answers(tmp_path / ANSWERS, KEY)).file.answered.close()  # type: ignore[attr-defined]
        answer.version = "2"
        with pytest.raises(ChangedFileError, match="another model than when this audit began"):
            opened(server, tmp_path, answers=Answers(tmp_path / ANSWERS, KEY))


def test_the_query_after_the_last_that_is_allowed_is_refused_before_it_is_sent(server, tmp_path):
    remote = opened(server, tmp_path, answers=Answers(caps=Caps(queries=20)))
    spent = server.rows
    remote.scores(points(20 - spent, seed=7))
    assert server.rows == 20
    with pytest.raises(SpentError, match="--max-queries 20: 20 were sent"):
        remote.scores(points(1, seed=8))
    assert server.rows == 20


@pytest.mark.parametrize(("per", "most"), [("query", 8), ("request", 8)])
def test_money_is_capped(server, tmp_path, per, most):
    answers = Answers(caps=Caps(cost=2.0), price=Price(amount=0.25, per=per, currency="EUR"))
    remote = opened(server, tmp_path, answers=answers)
    with pytest.raises(SpentError, match=r"--max-cost 2: .* EUR may have been billed"):
        [remote.scores(points(1, seed=seed)) for seed in range(20)]
    assert (server.rows if per == "query" else len(server.posts)) == most


Wrong = Callable[[], Reply]
PASSING: dict[str, Wrong] = {
    "too many": lambda: reply({"error": "slow down"}, 429, Retry_After="0"),
    "unavailable": lambda: reply({"error": "starting"}, 503, Retry_After="0"),
    "reset": lambda: Reply(reset=True),
    "failed": lambda: reply({"error": "worker died"}, 500),
    "empty": lambda: reply({"outputs": [{"name": "y", "datatype": "FP32", "shape": [0], "data": []}]}),
    "wrong shape": lambda: reply({"outputs": [{"name": "y", "datatype": "FP32", "shape": [1, 5], "data": [1.0]}]}),
    "no output": lambda: reply({"outputs": []}),
    "no JSON": lambda: Reply(200, b"<html>"),
    "slow": lambda: Reply(200, b"{}", wait=0.6),
}
FREE = {"too many"}
"""Refusals that no service bills."""


@pytest.mark.parametrize("what", PASSING)
def test_a_fault_that_passes_costs_an_attempt_and_no_answer(model, server, tmp_path, what):
    local = open_target(model, device="cpu")
    remote = opened(server, tmp_path, "timeout: 0.3\n")
    before, number = remote.file.answered.totals.queries, len(server.posts)  # type: ignore[attr-defined]
    server.misbehave = lambda seen, place: PASSING[what]() if place == number else None
    assert torch.equal(remote.scores(points()), local.scores(points()))
    billed = remote.file.answered.totals.queries - before  # type: ignore[attr-defined]
    assert billed == len(points()) * (1 if what in FREE else 2)


@pytest.mark.parametrize("what", ["failed", "empty", "wrong shape", "no output", "no JSON"])
def test_a_fault_that_stays_ends_at_the_second_time_where_the_server_is_ready(server, tmp_path, what):
    remote = opened(server, tmp_path, "attempts: 9\n")
    before = len(server.posts)
    server.misbehave = lambda seen, place: PASSING[what]()
    with pytest.raises(AuditError, match=r"fails on the same request each time .* says that it is ready"):
        remote.scores(points(1))
    assert len(server.posts) == before + 2


DATA = {"name": "y", "datatype": "FP32", "shape": [1, 5], "data": [0.0] * 5}
HOSTILE: dict[str, object] = {
    "values that are texts": DATA | {"data": ["a"] * 5},
    "a map for values": DATA | {"data": {"a": 1}},
    "no values": {name: value for name, value in DATA.items() if name != "data"},
    "an unknown type": DATA | {"datatype": "FP8"},
    "a shape of texts": DATA | {"shape": ["a", 5]},
    "a negative size": DATA | {"parameters": {"binary_data_size": -1}},
    "a size that is none": DATA | {"parameters": {"binary_data_size": "9"}},
    "bytes that are not there": DATA | {"parameters": {"binary_data_size": 20}},
    "no tensor": "y",
}


@pytest.mark.parametrize("what", HOSTILE)
def test_answers_that_are_none_end_in_a_sentence(server, tmp_path, what):
    remote = opened(server, tmp_path)
    server.misbehave = lambda seen, place: reply({"outputs": [HOSTILE[what]]})
    with pytest.raises(AuditError, match=r"fails on the same request each time \(200, but the (output y|response)"):
        remote.scores(points(1))


@pytest.mark.parametrize(("text", "seconds"), [("3", 3), ("-1", 0), ("inf", 120), ("nan", None), ("soon", None)])
def test_pauses_that_servers_ask_for(text, seconds):
    assert pause(text) == seconds


def test_a_pause_until_a_moment():
    moment = datetime.now(UTC) + timedelta(seconds=30)
    assert 25 < (pause(email.utils.format_datetime(moment)) or 0) <= 30


def test_a_server_that_is_not_ready_is_waited_for(server, tmp_path):
    remote = opened(server, tmp_path, "attempts: 4\n")
    before, truth = len(server.posts), server.answer
    server.answer = lambda seen: reply({}, 503) if seen.path.endswith("ready") else truth(seen)
    server.misbehave = lambda seen, place: reply({"error": "loading"}, 500)
    with pytest.raises(AuditError, match="asked 4 times without an answer"):
        remote.scores(points(1))
    assert len(server.posts) == before + 4


def test_a_reset_after_a_failure_counts_as_billed(server, tmp_path):
    remote = opened(server, tmp_path)
    before, number = remote.file.answered.totals.queries, len(server.posts)  # type: ignore[attr-defined]
    wrong = {number: PASSING["failed"], number + 1: PASSING["reset"]}
    server.misbehave = lambda seen, place: wrong[place]() if place in wrong else None
    remote.scores(points(2))
    assert remote.file.answered.totals.queries - before == 3 * 2  # type: ignore[attr-defined]


def test_the_server_says_how_long_to_wait(server, tmp_path):
    remote = opened(server, tmp_path)
    number = len(server.posts)
    server.misbehave = lambda seen, place: reply({}, 429, Retry_After="1") if place == number else None
    begin = time.monotonic()
    remote.scores(points(1))
    assert time.monotonic() - begin >= 1


def test_not_a_number_is_an_answer(server, tmp_path):
    remote = opened(server, tmp_path)
    server.misbehave = lambda seen, place: Reply(
        200,
        json.dumps(
            {"outputs": [{"name": "y", "datatype": "FP32", "shape": [1, 5], "data": [math.nan, None, 1, 2, 3]}]}
        ).encode(),
    )
    assert torch.isnan(remote.scores(points(1))).tolist() == [[True, True, False, False, False]]


@pytest.mark.parametrize(
    ("status", "content", "words"),
    [
        (422, {"detail": [{"loc": ["body", "inputs", 0], "msg": "shape"}]}, r"422: body\.inputs\.0: shape"),
        (404, {"error": "no model cats"}, "404: no model cats"),
        (413, {"error": "too large"}, "413: too large; 2 inputs were in the request: if it takes fewer.*max_batch"),
        (401, {}, r"refuses requests without a secret \(auth\) \(401\)"),
    ],
)
def test_refusals_are_told_and_not_tried_again(server, tmp_path, status, content, words):
    remote = opened(server, tmp_path)
    before = len(server.posts)
    server.misbehave = lambda seen, place: reply(content, status)
    with pytest.raises(AuditError, match=words):
        remote.scores(points(2))
    assert len(server.posts) == before + 1


def test_the_secret_is_sent_and_shown_nowhere(server, tmp_path, monkeypatch):
    monkeypatch.setenv("CATS", "s3cret-token")
    remote = opened(server, tmp_path, "auth: {env: CATS}\n", Answers(tmp_path / ANSWERS, KEY))
    assert {seen.headers.get("Authorization") for seen in server.seen} == {"Bearer s3cret-token"}
    server.misbehave = lambda seen, place: reply({"error": f"bad header {dict(seen.headers)}"}, 400)
    with pytest.raises(AuditError) as error:
        remote.scores(points(1))
    assert "[secret]" in str(error.value)
    truth = server.answer
    server.misbehave = lambda seen, place: None
    server.answer = lambda seen: reply({"name": seen.headers["Authorization"]}) if seen.path == "/v2" else truth(seen)
    told = opened(server, tmp_path, "auth: {env: CATS}\n").facts
    assert "[secret]" in json.dumps(told)
    for text in (str(error.value), repr(remote.file.client._secret), json.dumps(told)):  # type: ignore[attr-defined]
        assert "s3cret" not in text
    assert b"s3cret" not in (tmp_path / ANSWERS).read_bytes()
    monkeypatch.delenv("CATS")
    with pytest.raises(UsageError, match="the variable CATS is not set"):
        opened(server, tmp_path, "auth: {env: CATS}\n")


def test_a_secret_from_a_file_in_a_parameter(server, tmp_path):
    (tmp_path / "token").write_text("abc\n")
    truth = server.answer
    server.answer = lambda seen: truth(dataclasses.replace(seen, path=seen.path.partition("?")[0]))
    opened(server, tmp_path, "auth: {file: token, query: key}\n")
    assert all(seen.path.endswith("?key=abc") for seen in server.seen)


def test_redirects_stay_on_the_host_unless_another_is_allowed(server, tmp_path, monkeypatch):
    monkeypatch.setenv("CATS", "token")
    elsewhere = Server(server.answer)
    elsewhere.start()
    try:
        truth, other = server.answer, elsewhere.url.replace("127.0.0.1", "localhost")
        server.answer = lambda seen: (
            reply({}, 307, Location=f"{other}{seen.path}") if "infer" in seen.path else truth(seen)
        )
        with pytest.raises(UsageError, match=r"redirects to http://localhost:.*another host"):
            opened(server, tmp_path)
        assert not elsewhere.seen
        remote = opened(server, tmp_path, "allow: {redirects: [localhost]}\nauth: {env: CATS}\n")
        assert remote.num_classes > 1
        assert all("Authorization" not in seen.headers for seen in elsewhere.seen)
    finally:
        elsewhere.stop()


def test_the_model_of_a_server_with_one_is_found(server, tmp_path):
    path = write_endpoint(tmp_path / "endpoint.yaml", server.url)
    assert (
        open_target(path, device="cpu", allowed=Allowed(answers=Answers())).facts["endpoint"]["model"]["name"] == "cats"
    )


def test_a_wrong_address_is_told(server, tmp_path):
    path = write_endpoint(tmp_path / "endpoint.yaml", f"{server.url}/v2/models/dogs")
    with pytest.raises(UsageError, match="/v2/models/dogs answers 404: there is no /v2/models/dogs"):
        open_target(path, device="cpu", allowed=Allowed(answers=Answers()))
    with pytest.raises(UsageError, match="can be audited and inspected, and is of no use otherwise"):
        open_target(path, device="cpu")


def test_no_more_requests_at_a_time_than_allowed(server, tmp_path):
    remote = opened(server, tmp_path, "concurrency: 3\n")
    lock, now, most = threading.Lock(), 0, 0
    truth = server.answer

    def answer(seen: Seen) -> Reply:
        nonlocal now, most
        with lock:
            now += 1
            most = max(most, now)
        time.sleep(0.1)
        with lock:
            now -= 1
        return truth(seen)

    server.answer = answer
    remote.scores(points(9, seed=3), alone=True)
    assert most == 3


def test_no_more_inputs_in_a_time_than_the_rate_allows(server, tmp_path):
    remote = opened(server, tmp_path, "concurrency: 4\nrate: 20/s\nmax_batch: 2\n")
    sent: list[tuple[float, int]] = []
    truth = server.answer

    def answer(seen: Seen) -> Reply:
        sent.append((time.monotonic(), seen.rows))
        return truth(seen)

    server.answer = answer
    remote.scores(points(8, seed=3))
    assert [rows for _, rows in sent] == [2, 2, 2, 2]
    waits = [later - before for (before, _), (later, _) in itertools.pairwise(sent)]
    assert min(waits) > 0.07  # two inputs take a tenth of a second


def test_inputs_that_keep_their_value_are_sent_with_each_request(tmp_path):
    model = write_onnx(
        tmp_path / "two.onnx",
        [helper.make_node("MatMul", ["x", "w"], ["z"]), helper.make_node("Mul", ["z", "t"], ["y"])],
        ("N", 6),
        {"w": weight(4, 6)},
        outputs={"y": (("N", 4), FLOAT)},
        extra_inputs={"t": ((1,), FLOAT)},
    )
    interface = Interface(fixed={"t": "2.5"})
    local = open_target(model, device="cpu", interface=interface)
    u = torch.rand((7, 6), generator=torch.Generator().manual_seed(0))
    with served(Inference(model)) as server:
        path = write_endpoint(tmp_path / "endpoint.yaml", f"{server.url}/v2/models/cats")
        remote = open_target(path, device="cpu", interface=interface, allowed=Allowed(answers=Answers()))
        assert torch.equal(remote.scores(u), local.scores(u))


def test_a_certificate_that_fails_is_refused_unless_allowed(model, tmp_path):
    certificate = self_signed(tmp_path)
    with served(Inference(model), certificate) as server:
        with pytest.raises(UsageError, match="has a certificate that cannot be verified"):
            opened(server, tmp_path)
        assert not server.seen
        for more in (f"ca: {certificate.name}\n", "allow: {bad_certificates: true}\n"):
            assert opened(server, tmp_path, more).num_classes == 5


def self_signed(folder: Path) -> Path:
    """A certificate for 127.0.0.1 and its key, in one file."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "here")])
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    path = folder / "server.pem"
    path.write_bytes(private + made.public_bytes(serialization.Encoding.PEM))
    return path


def test_what_is_not_installed_is_told(server, tmp_path, monkeypatch):
    monkeypatch.delitem(sys.modules, "robaudit.target.files.remote.client", raising=False)
    monkeypatch.setitem(sys.modules, "aiohttp", None)
    with pytest.raises(UsageError, match=r"endpoints take aiohttp: pip install 'robaudit\[remote\]'"):
        opened(server, tmp_path)
