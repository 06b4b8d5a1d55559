"""Queries that repeat, what a service tells of its answers, and what a monitor of it sees."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

import pytest
import torch
from models import FakeFile, attack_all, network, samples_for
from torch import Tensor

from robaudit.attacks.base import Problem, SlotAttack, Slots
from robaudit.attacks.parameters import Count, attack_parameters
from robaudit.attacks.registry import make_attack
from robaudit.attacks.requests import Answer, Labels, Scores
from robaudit.engine.ledger import ANSWER_BYTES, RECENT, Ledger, Seen
from robaudit.engine.oracle import Oracle, Purpose
from robaudit.engine.served import cut, disturbed
from robaudit.threat.model import Access, ThreatModel
from robaudit.threat.norms import Norm
from robaudit.threat.service import FILE, Service

THREAT = ThreatModel(Norm.LINF, 1e-9)


@dataclass
class State(Slots):
    step: Tensor


@attack_parameters
class Rounds(SlotAttack[State]):
    """Asks about the same few points over and over, several at a time."""

    id = "rounds"
    access = Access.SCORES
    norms = frozenset(Norm)

    queries: Count = 30
    different: Count = 3
    width: Count = 1
    steps: Count = 1000

    def init(self, problem: Problem) -> State:
        return State(problem.full(0).long())

    def query(self, problem: Problem, state: State) -> Scores:
        places = state.step[:, None] * self.width + torch.arange(self.width)
        shift = (places % self.different).to(problem.x) * 1e-11
        points = problem.x[:, None] + shift.reshape(len(problem), -1, *[1] * len(problem.shape))
        return Scores(points)

    def update(self, problem: Problem, state: State, answer: Answer) -> State:
        return State(state.step + 1)

    def done(self, problem: Problem, state: State) -> Tensor:
        return state.step >= self.steps


def run(attack: SlotAttack, service: Service = FILE, count: int = 5, **more) -> tuple[dict, int]:
    target = network((4,), 3)
    samples = samples_for(target, count)
    before = target.score_rows
    found = attack_all(target, attack, THREAT, samples, service=service, **more)
    return found, target.score_rows - before


@pytest.mark.parametrize("width", [1, 4, 7])
def test_a_repeated_query_is_answered_from_memory_and_charged(width: int) -> None:
    found, rows = run(Rounds(width=width))
    assert rows == 5 * 3
    assert {(r.queries, r.seen.repeated, r.seen.bad) for r in found.values()} == {(30, 27, 30)}


@pytest.mark.parametrize("width", [1, 4, 7])
def test_repeats_that_are_free_leave_the_budget_to_new_queries(width: int) -> None:
    free = Service(free_repeats=True)
    found, rows = run(Rounds(different=40, width=width, steps=100), free)
    assert rows == 5 * 30
    assert {r.queries for r in found.values()} == {30}
    found, rows = run(Rounds(width=width, steps=20), free)
    assert rows == 5 * 3
    assert {(r.queries, r.seen.repeated, r.seen.bad) for r in found.values()} == {(3, 20 * width - 3, 3)}


def test_a_search_that_stands_still_ends_though_repeats_are_free() -> None:
    found, _ = run(Rounds(steps=10**6), Service(free_repeats=True))
    assert {(r.queries, r.seen.repeated) for r in found.values()} == {(3, 300)}


@pytest.mark.parametrize("free", [False, True])
def test_a_model_that_answers_anew_each_time_is_asked_each_time(free: bool) -> None:
    target = network((4,), 3)
    target.repeats_itself = False
    samples, before = samples_for(target, 5), target.score_rows
    found = attack_all(target, Rounds(width=4), THREAT, samples, service=Service(free_repeats=free))
    assert target.score_rows - before == 5 * 30
    assert {(r.queries, r.seen.repeated, r.seen.bad) for r in found.values()} == {(30, 27, 30)}


def test_units_share_no_memory_and_no_batch_changes_what_they_come_to() -> None:
    same = samples_for(network((4,), 3), 1) * 4
    twins = [dataclasses.replace(sample, index=i) for i, sample in enumerate(same)]
    target = network((4,), 3)
    before = target.score_rows
    attack_all(target, Rounds(), THREAT, twins)
    assert target.score_rows - before == 4 * 3
    for service in (FILE, Service(free_repeats=True), Service(noise=0.3, decimals=1, top=2)):
        found = [run(Rounds(width=3), service, slots=s, micro_batch=m)[0] for s, m in ((1, 1), (3, 2), (8, 64))]
        assert found[0] == found[1] == found[2]


def test_memory_is_bounded_and_what_it_lost_is_still_known_to_repeat() -> None:
    ledger = Ledger()
    for print_ in range(-2000, 2000):
        assert not ledger.knows(print_)
        ledger.note(print_)
        ledger.keep(print_, torch.zeros(1000).numpy())
    assert all(ledger.knows(print_) for print_ in (-2000, -1, 0, 1999))
    assert not ledger.knows(2000)
    assert len(ledger._recent) < RECENT
    assert ledger.answer(-2000) is None
    assert ledger.answer(1999) is not None
    assert ledger._bytes <= ANSWER_BYTES


def test_the_key_is_what_the_file_is_fed() -> None:
    target = network((4,), 3)
    target.as_input = lambda u: (u * 255).round().long()  # type: ignore[method-assign]
    before = target.score_rows
    found = attack_all(target, Rounds(), THREAT, samples_for(target, 2))
    assert {r.seen.repeated for r in found.values()} == {29}
    assert target.score_rows - before == 2 + 2  # the samples themselves were scored by the helper


PROBABILITIES = torch.tensor([[0.61, 0.2, 0.1, 0.06, 0.03]], dtype=torch.float64)


def test_of_probabilities_what_is_not_told_shares_the_rest() -> None:
    found = cut(PROBABILITIES, "probabilities", Service(top=2, decimals=1), None)
    torch.testing.assert_close(found, torch.tensor([[0.6, 0.2, 0.2 / 3, 0.2 / 3, 0.2 / 3]], dtype=torch.float64))
    # no class that is not told can be above those that are
    even = cut(torch.full((1, 5), 0.2, dtype=torch.float64), "probabilities", Service(top=1), None)
    torch.testing.assert_close(even, torch.full((1, 5), 0.2, dtype=torch.float64))


def test_of_other_scores_it_is_the_lowest_that_was_told() -> None:
    clean = cut(torch.tensor([[5.0, 2.0, 1.0]]), "logits", Service(top=2), None)
    assert clean.tolist() == [[5.0, 2.0, 2.0]]
    now = cut(torch.tensor([[3.0, 1.0, 2.5], [3.0, 0.0, 1.0]]), "logits", Service(top=2), clean.expand(2, 3))
    assert now.tolist() == [[3.0, 2.0, 2.5], [3.0, 1.0, 1.0]]


def test_one_score_alone_tells_whether_it_fell() -> None:
    service, clean = Service(top=1), torch.tensor([[5.0, 5.0, 5.0]])
    told = cut(torch.tensor([[4.0, 1.0, 0.0]]), "logits", service, clean)
    assert told.tolist() == [[4.0, 5.0, 5.0]]


def test_noise_is_that_of_the_query_and_probabilities_stay_such() -> None:
    scores, keys = torch.zeros(4000, 5, dtype=torch.float64), torch.arange(4000)
    noisy = disturbed(scores, "logits", Service(noise=0.5), keys)
    assert abs(float(noisy.std()) - 0.5) < 0.02
    assert torch.equal(noisy[7:9], disturbed(scores[7:9], "logits", Service(noise=0.5), keys[7:9]))
    told = disturbed(scores, "probabilities", Service(noise=0.5), keys)
    assert 0 <= float(told.min()) <= float(told.max()) <= 1


@attack_parameters
class Listens(SlotAttack[State]):
    """Keeps what it is told of the sample itself."""

    id = "listens"
    access = Access.SCORES
    norms = frozenset(Norm)
    heard = []  # noqa: RUF012 (the test reads it)

    def init(self, problem: Problem) -> State:
        type(self).heard.append(problem.clean)
        return State(problem.full(0).long())

    def query(self, problem: Problem, state: State) -> Scores | Labels:
        return Scores(problem.x)

    def update(self, problem: Problem, state: State, answer: Answer) -> State:
        type(self).heard.append(answer.logits)
        return State(state.step + 1)

    def done(self, problem: Problem, state: State) -> Tensor:
        return state.step >= 1


def test_the_clean_scores_are_told_as_any_query() -> None:
    Listens.heard.clear()
    service = Service(top=2, decimals=2, noise=0.1)
    run(Listens(), service, count=1)
    clean, told = Listens.heard
    assert torch.equal(clean, told)
    assert len(set(told[0].tolist())) == 2


def rejecting(p: float) -> tuple[FakeFile, Service]:
    """A model that is sure of many inputs and unsure between its classes."""
    target = network((4,), 3)
    target.module[3].weight.mul_(6)
    target.module[3].bias.mul_(6)
    return target, Service(reject_below=p)


@pytest.mark.parametrize("name", ["square", "nes", "hopskipjump", "rays"])
def test_what_is_rejected_has_no_class_and_is_no_success(name: str) -> None:
    target, service = rejecting(0.5)
    samples = [s for s in samples_for(target, 40) if float(torch.tensor(s.clean).softmax(0).max()) >= 0.5]
    threat = ThreatModel(Norm.LINF, 0.3)
    attack = make_attack(name, {"queries": 300})
    plain = attack_all(target, attack, threat, samples)
    served = attack_all(target, attack, threat, samples, service=service)
    fell = [r for r in served.values() if r.success]
    assert len(fell) > len(samples) / 2  # an attack that cannot cross the band of rejections would be of no use
    points = torch.stack([torch.from_numpy(r.point) for r in fell])
    assert bool((target.scores(points).softmax(1).amax(1) >= 0.5).all())
    assert sum(r.queries for r in served.values()) > sum(r.queries for r in plain.values())
    assert all(r.queries <= 300 for r in served.values())


def test_every_purpose_tells_of_a_rejection() -> None:
    target, service = rejecting(0.6)
    points = torch.stack([torch.from_numpy(s.u) for s in samples_for(target, 30)])
    unsure = target.scores(points).softmax(1).amax(1) < 0.6
    assert 0 < int(unsure.sum()) < 30
    for purpose in Purpose:
        reply = Oracle(target, service=service).ask(points, purpose)
        assert reply.rejected is not None
        assert reply.rejected.tolist() == unsure.tolist()


def test_what_is_seen_of_several_units_adds_up() -> None:
    one, other = Seen(1, 2, 50, 7, 9, 4), Seen(1, 1, 10, 1, 3, 1)
    assert one + other == Seen(2, 3, 60, 8, 3, 4)
    assert (one + Seen()).first_flagged == 9


def test_a_monitor_of_images_flags_square_within_its_first_queries() -> None:
    target = network((1, 20, 20), 4)
    samples = samples_for(target, 3)
    found = attack_all(target, make_attack("square", {"queries": 120}), ThreatModel(Norm.LINF, 1e-6), samples)
    for result in found.values():
        assert result.seen.watched == 50
        assert result.seen.flagged >= 40
        assert result.seen.first_flagged is not None
        assert result.seen.first_flagged <= 10
        assert result.seen.burst <= result.seen.flagged
        assert result.seen.bad == result.queries == 120


@pytest.mark.parametrize("id", ["square", "rays", "hopskipjump"])
def test_queries_are_inputs_that_the_file_can_be_given(id: str) -> None:
    """Whole-numbered features are asked about at whole numbers, so that an answer is one that the judge gives too."""
    target = network((6,), 3)
    real, asked = target.scores, []

    def scores(u: Tensor, *, alone: bool = False) -> Tensor:
        asked.append(u)
        return real(u, alone=alone)

    def snap(u: Tensor, origin: Tensor) -> Tensor:
        steps = (u - origin) * 10
        return (origin + torch.where(steps > 0, (steps + 1e-6).floor(), (steps - 1e-6).ceil()) / 10).clamp(0, 1)

    target.whole, target.scores, target.snap = True, scores, snap  # type: ignore[method-assign]
    grid = [dataclasses.replace(s, u=(s.u * 10).round() / 10) for s in samples_for(target, 4)]
    samples = [dataclasses.replace(s, label=int(real(torch.tensor(s.u)[None]).argmax())) for s in grid]
    asked.clear()
    found = attack_all(target, make_attack(id, {"queries": 60}), ThreatModel(Norm.LINF, 0.25), samples)
    points = torch.cat(asked) * 10
    assert len(points) >= 20
    assert (points - points.round()).abs().max() < 1e-4
    assert any(r.success for r in found.values())
    assert all(r.refused == 0 for r in found.values() if id == "square")
