"""Queries as a service answers them: repeated ones from memory, and of an answer what the service tells."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from robaudit.attacks.base import Problem
from robaudit.attacks.requests import Answer, Request, Scores
from robaudit.engine.fingerprints import fingerprints
from robaudit.engine.ledger import Ledgers
from robaudit.engine.oracle import Oracle
from robaudit.engine.rows import Rows
from robaudit.target.head.answers import predictions
from robaudit.target.head.scores import Kind
from robaudit.threat.goals import reached
from robaudit.threat.masked import floored
from robaudit.threat.random import Draws, mixed
from robaudit.threat.service import Service

__all__ = ["Asks", "Repeats", "Told", "afresh", "answer_of", "answered", "note_seen", "told", "told_clean"]


@dataclass(frozen=True)
class Told:
    """What an attacker is told of queries, [N] each.

    Args:
        scores: [N, K].
        labels: int64, -1 where an answer names no class or the service rejects the input.
        rejected: bool; None: the service rejects nothing.
    """

    scores: Tensor
    labels: Tensor
    rejected: Tensor | None = None


Asks = Callable[[Tensor], Tensor]
"""Asks the file for the scores [M, K] of points [M, *shape], in micro-batches."""


def disturbed(scores: Tensor, kind: Kind, service: Service, keys: Tensor) -> Tensor:
    """[N, K] scores with the service's noise; probabilities stay in [0, 1].

    Args:
        scores: [N, K] of the file.
        kind: of the scores.
        service: says how much noise.
        keys: [N] int64, of the noise: the same query of the same unit has the same.
    """
    if not service.noise or kind == "labels":
        return scores
    noisy = scores + service.noise * Draws(keys).normal("noise", 0, (scores.shape[1],)).to(scores)
    return noisy.clamp(0, 1) if kind == "probabilities" else noisy


def cut(scores: Tensor, kind: Kind, service: Service, clean: Tensor | None) -> Tensor:
    """[N, K] scores as they are told: rounded, and the highest alone.

    They are the numbers that the file gives: probabilities where it ends in a softmax, else its own. Of a class that is
    not told the attacker assumes, of probabilities, an equal share of what is left of 1, at most the lowest that is
    told; of other scores the lowest that was told of the unperturbed sample, or now if that is lower. Where one score
    alone is told it is the former, so that to lower that score is progress.

    Args:
        scores: [N, K].
        kind: of the scores.
        service: says what is told.
        clean: [N, K] what was told of the samples; None: these are their scores.
    """
    if kind == "labels":
        return scores
    if service.decimals is not None:
        scores = scores.round(decimals=service.decimals)
    count = scores.shape[1]
    if service.top is None or service.top >= count:
        return scores
    high = scores.nan_to_num(nan=-torch.inf).topk(service.top, dim=1)
    lowest = high.values[:, -1:]
    if kind == "probabilities":
        share = (1 - high.values.sum(1, keepdim=True)).clamp_min(0) / (count - service.top)
        floor = torch.minimum(share, lowest)
    elif clean is None or clean.shape[1] == 0:
        floor = lowest
    else:
        before = clean.amin(1, keepdim=True)
        floor = before if service.top == 1 else torch.minimum(before, lowest)
    known = floor.expand_as(scores).scatter(1, high.indices, high.values)
    return known.masked_fill(scores.isnan().any(1, keepdim=True), torch.nan)


def flat(scores: Tensor, kind: Kind) -> Tensor:
    """[N, K] scores of a rejected input, of which the attacker knows nothing: all classes are equal."""
    classes = scores.shape[1]
    value = {"probabilities": 1 / classes, "log-probabilities": -math.log(classes)}.get(kind, 0.0)
    return torch.full_like(scores, value)


@dataclass(frozen=True)
class Repeats:
    """Which rows of a request ask again what was asked before in their unit.

    Args:
        prints: [N] fingerprint of each row's input, and ``keys`` [N] int64 of its noise.
        slots: slot of each row.
        again: whether it repeats an earlier query, of this request too.
    """

    prints: list[int]
    keys: Tensor
    slots: list[int]
    again: list[bool]

    @classmethod
    def of(cls, fed: Tensor, rows: Rows, problem: Problem, ledgers: Ledgers) -> Repeats:
        """Of rows whose inputs the file is fed as ``fed`` [N, ...]."""
        slot = rows.slots(len(problem))
        found = fingerprints(fed)
        prints, slots = torch.stack([found, slot]).tolist()  # a GPU is waited for once
        here: set[tuple[int, int]] = set()
        again = []
        for place, print_ in zip(slots, prints, strict=True):
            again.append((place, print_) in here or ledgers.of[place].knows(print_))
            here.add((place, print_))
        return cls(prints, mixed(problem.keys[slot] ^ found), slots, again)

    def charged(self, rows: Rows) -> Tensor:
        """Bool of the request's leading dimensions: rows that are no repeats."""
        new = torch.zeros_like(rows.wanted)
        new[rows.wanted] = ~torch.tensor(self.again, device=new.device)
        return new


def answered(rows: Rows, repeats: Repeats, ledgers: Ledgers, ask: Asks) -> Tensor:
    """[N, K] scores of the file: what was answered before from memory, the rest asked; all of it noted."""
    known: dict[int, int] = {}
    first: dict[tuple[int, int], int] = {}
    wanted: list[int] = []
    for row, (slot, print_) in enumerate(zip(repeats.slots, repeats.prints, strict=True)):
        if (slot, print_) in first:
            known[row] = first[slot, print_]
        elif not repeats.again[row] or ledgers.of[slot].answer(print_) is None:
            first[slot, print_] = row
            wanted.append(row)
    if len(wanted) == len(repeats.prints):
        scores = ask(rows.points)
    else:
        scores = _put_together(rows, repeats, ledgers, wanted, ask)
        for row, twin in known.items():
            scores[row] = scores[twin]
    _note(repeats, ledgers, scores, wanted)
    return scores


def afresh(rows: Rows, repeats: Repeats, ledgers: Ledgers, ask: Asks) -> Tensor:
    """[N, K] scores of a file that answers anew each time: all are asked, and repeats are counted all the same."""
    for slot, print_, again in zip(repeats.slots, repeats.prints, repeats.again, strict=True):
        ledgers.of[slot].repeated += again
        if not again:
            ledgers.of[slot].note(print_)
    return ask(rows.points)


def _put_together(rows: Rows, repeats: Repeats, ledgers: Ledgers, wanted: list[int], ask: Asks) -> Tensor:
    """The scores, those of repeats within the request left open."""
    asked = ask(rows.points[wanted]) if wanted else None
    kept = {
        row: answer
        for row, (slot, print_) in enumerate(zip(repeats.slots, repeats.prints, strict=True))
        if (answer := ledgers.of[slot].answer(print_)) is not None
    }
    if asked is None:
        like = torch.from_numpy(next(iter(kept.values()))).to(rows.points.device)
        scores = like.new_empty(len(repeats.prints), len(like))
    else:
        scores = asked.new_empty(len(repeats.prints), asked.shape[1])
        scores[wanted] = asked
    for row in sorted(kept.keys() - set(wanted)):
        scores[row] = torch.from_numpy(kept[row]).to(scores)
    return scores


def _note(repeats: Repeats, ledgers: Ledgers, scores: Tensor, wanted: list[int]) -> None:
    """Remember the queries, and their answers."""
    values = scores.detach().cpu().numpy()
    for row in wanted:
        ledger, print_ = ledgers.of[repeats.slots[row]], repeats.prints[row]
        if not repeats.again[row]:
            ledger.note(print_)
        ledger.keep(print_, values[row].copy())
    for slot, again in zip(repeats.slots, repeats.again, strict=True):
        ledgers.of[slot].repeated += again


def told(
    oracle: Oracle, request: Request, problem: Problem, rows: Rows, scores: Tensor, keys: Tensor | None = None
) -> Told:
    """What the attacker is told of queries with these scores [N, K] of the file.

    Noise can change the class that is told, rounding and a list cut short cannot. Labels are told as they are.

    Args:
        oracle: knows the service.
        request: of labels alone, or of scores.
        problem: the slots.
        rows: that were asked.
        scores: [N, K] of the file.
        keys: [N] int64 of the noise; None: those of the inputs.
    """
    service, kind, rejected = oracle.service, oracle.score_kind, oracle.rejects(scores, rows.points, alone=False)
    labels = predictions(scores)
    if isinstance(request, Scores) and not service.tells_all:
        if keys is None:
            keys = keys_of(oracle, problem.keys[rows.slots(len(problem))], rows.points)
        scores = disturbed(scores, kind, service, keys)
        labels = predictions(scores)
        scores = cut(scores, kind, service, rows.of(problem.clean))
    if rejected is not None:
        labels = labels.masked_fill(rejected, -1)
        scores = torch.where(rejected[:, None], flat(scores, kind), scores)
    return Told(scores, labels, rejected)


def told_clean(oracle: Oracle, problem: Problem) -> Tensor:
    """[S, K] what an attacker by scores is told of the samples themselves, which it is not charged for."""
    service, kind = oracle.service, oracle.score_kind
    if service.tells_all:
        return problem.clean
    scores = disturbed(problem.clean, kind, service, keys_of(oracle, problem.keys, problem.x))
    return cut(scores, kind, service, None)


def keys_of(oracle: Oracle, keys: Tensor, points: Tensor) -> Tensor:
    """[N] int64: the same of the same input of the same unit."""
    return mixed(keys ^ fingerprints(oracle.as_input(points)))


def answer_of(problem: Problem, rows: Rows, found: Told, request: Request) -> Answer:
    """What the attacker was told, in the request's leading dimensions."""
    fooled = rows.placed(reached(found.labels, rows.of(problem.label), rows.of(problem.goal), found.rejected))
    return Answer(
        points=rows.asked,
        answered=rows.wanted,
        fooled=fooled,
        refused=torch.zeros_like(fooled),
        labels=rows.placed(found.labels, -1),
        logits=rows.placed(floored(found.scores)) if isinstance(request, Scores) else None,
        rejected=None if found.rejected is None else rows.placed(found.rejected),
    )


def note_seen(rows: Rows, repeats: Repeats, found: Told, problem: Problem, ledgers: Ledgers, *, free: bool) -> None:
    """Tell each unit's ledger what a monitor sees of its queries; ``free``: repeats are not sent."""
    success = reached(found.labels, rows.of(problem.label), rows.of(problem.goal), found.rejected)
    for row, (slot, fooled) in enumerate(zip(repeats.slots, success.tolist(), strict=True)):
        if free and repeats.again[row]:
            continue
        ledger = ledgers.of[slot]
        ledger.bad += not fooled
        if ledger.is_watching:
            ledger.watch(rows.points[row].detach().cpu().numpy())
