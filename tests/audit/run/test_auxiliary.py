"""Surrogates and stand-ins that hang, crash, fail or do not fit: each costs the attacks that need it, and no more."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from journal_kit import comes_back, plan, unit
from run_kit import (
    changed,
    load,
    make_data,
    make_onnx,
    make_profile,
    make_request,
    make_script,
    records,
    run_here,
    scan,
    weights,
    with_settings,
)

from robaudit.audit.config.profile_files import load_profile
from robaudit.audit.config.request import AuditRequest
from robaudit.audit.config.settings import Settings
from robaudit.audit.journal.journal import Journal
from robaudit.audit.journal.records.attacks import AuxiliaryModel
from robaudit.audit.plan.auxiliary import unusable
from robaudit.audit.result.document import Result
from robaudit.audit.run.again import Again, Ending
from robaudit.target.running.attributed import Attributed
from robaudit.target.running.watch import AtWork, Watch, Watched

TRANSFER = "\n  - {id: fgsm}\n  - {id: transfer-mi-fgsm, steps: 10}\n  - {id: square, queries: 20}\n"
WHITE = "\n  - {id: fgsm}\n  - {id: apgd-ce, steps: 5}\n  - {id: square, queries: 20}\n"
EPS = 0.01


class Odd(torch.nn.Module):
    """A linear model that does something odd, always or where the first feature of an input is near a value."""

    def __init__(self, way: str, value: float | None, offset: float = 0.0) -> None:
        super().__init__()
        self.way, self.always, self.value, self.offset = way, value is None, value or 0.0, offset
        self.weight = torch.nn.Parameter(torch.tensor(weights()[0][:4], dtype=torch.float32))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        f = x.flatten(1)
        near = bool(((f[:, 0] - self.value).abs() - self.offset).abs().min() < 2e-5)
        steps = torch.zeros(1)
        zero = int(x.sum() * 0)
        if (near or self.always) and self.way == "crashes":
            steps = steps + (zero - 9223372036854775807 - 1) // (zero - 1)  # SIGFPE
        if (near or self.always) and self.way == "raises":
            raise RuntimeError("not this one")
        while (near or self.always) and self.way == "hangs":
            steps = steps + 1
        return (f - 0.5) @ self.weight.t() + 0 * steps


def odd(path: Path, way: str, value: float | None = None, offset: float = 0.0) -> Path:
    torch.jit.script(Odd(way, value, offset).eval()).save(str(path))
    return path


def first_feature(data: Path) -> float:
    """Of the first sample."""
    with np.load(data) as arrays:
        return float(arrays["x"].reshape(len(arrays["x"]), -1)[0, 0])


@pytest.fixture
def audit(tmp_path: Path) -> AuditRequest:
    model, data = make_onnx(tmp_path / "m.onnx"), make_data(tmp_path / "d.npz", 8, wrong=0)
    return make_request(model, data, make_profile(tmp_path / "p.yaml", TRANSFER, eps=EPS))


def told(result: Result) -> list[tuple[str, str]]:
    return [(error.where, error.message) for error in result.errors if error.where in ("surrogate", "stand-in")]


def statuses(result: Result) -> dict[str, str]:
    return {attack.id: attack.status for attack in result.attacks}


# What becomes of the worker


def after(again: Again, journal: Journal, **fields: Any) -> Again | str:
    surrogates = (Path("a.pt"), Path("b.pt"))
    settings = Settings(stand_in="s.pt")
    request = AuditRequest(Path("m.onnx"), load_profile("quick"), surrogates=surrogates, settings=settings)
    return again.after(Ending(**fields), request, journal)


CRASHED = {"crashed": True, "how": "PyTorch crashed (SIGSEGV)"}


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"hung": True, "loaded": True}, "the surrogate b.pt did not answer within 5 s on one of 2 samples"),
        ({**CRASHED, "loaded": True}, "the surrogate b.pt ended the process that asked it: PyTorch crashed (SIGSEGV)"),
        (CRASHED, "the surrogate b.pt ended the process that asked it: PyTorch crashed (SIGSEGV)"),
        ({"late": True}, "the surrogate b.pt was not loaded and run once within 300 s"),
        ({"too_large": True, "how": "it took more"}, "the surrogate b.pt ended the process that asked it: it took"),
    ],
)
def test_a_surrogate_costs_itself_and_no_sample(fields: dict[str, Any], words: str) -> None:
    journal = Journal(None)
    at_work = AtWork("transfer ran", ("x", "y"), (1, 2), 5.0, auxiliary="surrogate 1")
    again = after(Again(suspects=frozenset({7})), journal, at_work=at_work, **fields)
    assert isinstance(again, Again)
    assert words in again.note
    assert "goes on without it" in again.note
    assert (again.suspects, again.halved, again.count) == (frozenset({7}), False, 0)
    (record,) = journal.records
    assert comes_back([record])
    assert isinstance(record, AuxiliaryModel)
    assert (record.key, record.attack) == ("surrogate 1", "transfer")
    assert isinstance(after(again, journal, at_work=at_work, **fields), str)  # it is not loaded, so that it was not it


def test_one_that_takes_much_memory_in_a_batch_is_tried_with_half_of_it() -> None:
    journal, at_work = Journal(None), AtWork("fgsm ran", ("x",), (1,), 5.0, auxiliary="stand-in 0")
    large = {"too_large": True, "how": "it took more", "loaded": True, "at_work": at_work}
    first = after(Again(), journal, **large)
    assert isinstance(first, Again)
    assert (first.halved, journal.records) == (True, [])
    second = after(first, journal, **large)
    assert isinstance(second, Again)
    assert [record.key for record in journal.of(AuxiliaryModel)] == ["stand-in 0"]
    assert not second.halved


def test_other_limits_give_it_another_try() -> None:
    journal = Journal(None)
    after(Again(), journal, late=True, at_work=AtWork(auxiliary="surrogate 0"))
    request = AuditRequest(Path("m.onnx"), load_profile("quick"), surrogates=(Path("a.pt"),))
    assert list(unusable(journal, request)) == ["surrogate 0"]
    assert unusable(journal, with_settings(request, load_timeout=600.0)) == {}
    journal.records += [plan("transfer", access="transfer"), unit("transfer", 0)]
    assert list(unusable(journal, with_settings(request, load_timeout=600.0))) == ["surrogate 0"]


def test_the_way_back_is_told_as_the_models_own(tmp_path: Path) -> None:
    other, watch = Watched(tmp_path / "pulse"), Watch(tmp_path / "pulse", 1.0)
    seen: list[tuple[str, str]] = []

    class Spy(torch.autograd.Function):
        @staticmethod
        def forward(ctx: Any, x: torch.Tensor, name: str) -> torch.Tensor:
            ctx.name = name
            seen.append((name, other.at_work().auxiliary))
            return x.clone()

        @staticmethod
        def backward(ctx: Any, slope: torch.Tensor) -> tuple[torch.Tensor, None]:  # type: ignore[override]
            seen.append((ctx.name, other.at_work().auxiliary))
            return slope, None

    class Model:
        def __init__(self, name: str) -> None:
            self.name = name

        def logits(self, u: torch.Tensor) -> torch.Tensor:
            return Spy.apply(u * 2, self.name)

    u = torch.ones(2, 3, requires_grad=True)
    first, second = (Attributed(Model(name), watch, f"surrogate {name}") for name in "ab")
    with watch.about("transfer ran", [1]):
        inner = Spy.apply(u, "target")
        value = Spy.apply(torch.stack([first.logits(inner), second.logits(inner)]).mean(0), "target")
        (slope,) = torch.autograd.grad(value.sum(), u)
    assert torch.equal(slope, torch.full((2, 3), 2.0))
    assert set(seen) == {("target", ""), ("a", "surrogate a"), ("b", "surrogate b")}
    assert len(seen) == 8
    assert other.at_work().auxiliary == ""


# Audits in this process


def test_one_that_raises_or_does_not_fit_costs_the_transfer_attack(tmp_path: Path, audit: AuditRequest) -> None:
    plain = run_here(audit, tmp_path / "plain")
    small = make_onnx(tmp_path / "small.onnx")
    small.write_bytes(small.read_bytes()[:-40])
    for number, path in enumerate([odd(tmp_path / "raises.pt", "raises"), small]):
        request = changed(audit, surrogates=(path,), trust_model=True)
        result = run_here(request, tmp_path / f"run{number}")
        assert statuses(result) == {"fgsm": "done", "transfer-mi-fgsm": "unavailable", "square": "done"}
        [(where, message)] = told(result)
        assert where == "surrogate"
        assert message.startswith(f"the surrogate {path.name} cannot be used: ")
        assert result.attacks[1].reason == message
        assert result.verdict.exit_code == 3
        assert [s.broken_by for s in result.samples] == [s.broken_by for s in plain.samples]


def test_what_ran_on_fewer_surrogates_is_incomplete(tmp_path: Path, audit: AuditRequest) -> None:
    both = (odd(tmp_path / "raises.pt", "raises"), make_script(tmp_path / "s.pt"))
    result = run_here(changed(audit, surrogates=both, trust_model=True), tmp_path / "run")
    assert statuses(result)["transfer-mi-fgsm"] == "done"
    [(_, message)] = told(result)
    assert message in result.verdict.reasons
    assert (result.run.complete, result.verdict.exit_code) == (False, 3)
    # nobody needed it
    profile = make_profile(tmp_path / "w.yaml", WHITE, eps=EPS)
    request = make_request(audit.model, audit.data, profile, surrogates=both, trust_model=True)
    result = run_here(request, tmp_path / "white")
    assert (len(told(result)), result.run.complete) == (1, True)


def test_without_the_stand_in_white_box_is_unavailable(tmp_path: Path, audit: AuditRequest) -> None:
    """Not carried out on the model's own gradient, which was not asked for."""
    stand_in = odd(tmp_path / "raises.pt", "raises")
    request = with_settings(audit, trust_model=True, stand_in=str(stand_in))
    result = run_here(request, tmp_path / "run")
    assert statuses(result) == {"fgsm": "unavailable", "transfer-mi-fgsm": "skipped", "square": "done"}
    assert "the stand-in raises.pt cannot be used" in str(result.attacks[0].reason)
    assert not result.target.gradient.available
    assert result.verdict.exit_code == 3


# Audits as a user runs them


def run(tmp_path: Path, audit: AuditRequest, *options: str, attacks: str = TRANSFER) -> tuple[Result, int, str]:
    profile = make_profile(tmp_path / "cli.yaml", attacks, eps=EPS)
    limits = ("--trust-model", "--call-timeout", "2", "--load-timeout", "90", "-f", "json")
    assert audit.data is not None
    done = scan(audit.model, audit.data, profile, tmp_path / "run", *limits, *options, timeout=300)
    return load(tmp_path / "run"), done.returncode, done.stderr


@pytest.mark.slow
def test_a_surrogate_that_crashes_while_it_is_loaded(tmp_path: Path, audit: AuditRequest) -> None:
    path = odd(tmp_path / "odd.pt", "crashes")
    result, code, err = run(tmp_path, audit, "--surrogate", str(path))
    assert code == 3, err
    assert statuses(result) == {"fgsm": "done", "transfer-mi-fgsm": "unavailable", "square": "done"}
    assert "the surrogate odd.pt ended the process that asked it: PyTorch crashed (SIGFPE)" in told(result)[0][1]
    assert result.run.failed is None


@pytest.mark.slow
def test_a_surrogate_that_hangs_during_the_attack(tmp_path: Path, audit: AuditRequest) -> None:
    """On one point: no sample is lost; and an audit that is taken up does not ask it again."""
    assert audit.data is not None
    path = odd(tmp_path / "odd.pt", "hangs", first_feature(audit.data), EPS / 10)
    result, code, err = run(tmp_path, audit, "--surrogate", str(path))
    assert code == 3, err
    assert statuses(result) == {"fgsm": "done", "transfer-mi-fgsm": "failed", "square": "done"}
    assert "the surrogate odd.pt did not answer within 2 s" in str(result.attacks[1].reason)
    assert not [sample.id for sample in result.samples if sample.error]
    before = len(records(tmp_path / "run", "auxiliary"))
    again, code, _ = run(tmp_path, audit, "--surrogate", str(path))
    assert (statuses(again), code) == (statuses(result), 3)
    assert len(records(tmp_path / "run", "auxiliary")) == before


@pytest.mark.slow
def test_a_stand_in_that_crashes_during_an_attack(tmp_path: Path, audit: AuditRequest) -> None:
    """What was done before stays done, and broken stays broken."""
    assert audit.data is not None
    path = odd(tmp_path / "odd.pt", "crashes", first_feature(audit.data), 0.003)  # where fgsm never is
    pgd = "{id: pgd, steps: 3, step_length: 0.003, random_start: false}"
    attacks = f"\n  - {{id: fgsm}}\n  - {pgd}\n  - {{id: apgd-ce, steps: 5}}\n  - {{id: square, queries: 20}}\n"
    result, code, err = run(tmp_path, audit, "--stand-in", str(path), attacks=attacks)
    assert code == 3, err
    assert statuses(result) == {"fgsm": "done", "pgd": "failed", "apgd-ce": "unavailable", "square": "done"}
    assert result.attacks[0].attempted == 8
    assert "the stand-in odd.pt ended the process that asked it: PyTorch crashed" in str(result.attacks[2].reason)
    assert not [sample.id for sample in result.samples if sample.error]
    assert result.run.failed is None
