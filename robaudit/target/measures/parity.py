"""Does the twin, whose gradients are used, say what the file says?"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from robaudit.target.head.answers import is_decided, predictions
from robaudit.target.head.scores import Head

__all__ = ["Parity", "compare", "difference", "differences", "size_of"]

BATCH = 64
"""Points that are compared at once."""
NOISY = 8
"""Points of these on which the runtime's own noise is measured."""
MOVES = 2
"""Times that these points are moved by one unit in the last place, up or down at random, where the file rounds inside.

There the last bit of any float before a rounding can decide a whole step. How far the file's own scores then move is
measured, not assumed: most quantised files are met to the last bit, and a step off is to be seen.
"""
TIE = 1e-4
"""Scores whose difference over the largest score is less are equal, as runtimes differ by as much."""
ROUNDED = math.log(1e-6)
"""A logarithm of -inf, of a probability that rounded to 0, equals one below this; half precision ends at log 6e-8."""
UNIT = 2 * 2.0**-149
"""Difference between probabilities so small that it is rounding: two steps of the smallest numbers of float32, of which
a logarithm below -87 is made."""
FLUSHED = -math.log(torch.finfo(torch.float32).tiny)
"""A score so far behind the first equals -inf: its exponential is below the smallest normal number of float32, which
some processors' kernels take for 0 and others do not."""
CANCELLED = float(torch.finfo(torch.float32).eps) / TIE
"""Share of what is summed below which a score is the remainder of a cancellation: its rounding alone passes ``TIE``."""


@dataclass(frozen=True)
class Parity:
    """Twin against file.

    Args:
        n: inputs compared.
        argmax_agreement: share with equal predictions; a tie within ``TIE`` or the noise floor is equal.
        relative_difference: largest difference over the largest score, or over a share of what is summed in it where
            the terms all but cancel; 0 where the file returns labels.
        noise: the same between the runtime with and without its optimisations and, in a quantised file, between
            inputs that differ in the last place; None where it was not measured.
        asked: answers of the file that this took.
    """

    n: int
    argmax_agreement: float
    relative_difference: float
    noise: float | None = None
    asked: int = 0


def compare(
    u: Tensor,
    head: Head,
    scores: Callable[[Tensor], Tensor],
    answers: Callable[[Tensor], Tensor],
    unoptimised: Callable[[Tensor], Tensor | None] | None,
    *,
    rounds: bool = False,
    terms: Sequence[Tensor] = (),
) -> Parity:
    """Compare on [N, *shape] points; one to which both answers name no class counts as equal.

    Args:
        u: points.
        head: says what the file makes of the twin's answer.
        scores: of the file.
        answers: of the twin.
        unoptimised: scores of the file by a runtime without optimisations, None where it has none.
        rounds: the file is quantised.
        terms: the twin's constants, which its sums are made of.
    """
    equal, worst, largest, floor, asked = 0, 0.0, 1e-12, 0.0, len(u)
    for start in range(0, len(u), BATCH):
        part = u[start : start + BATCH]
        expected = scores(part).double()
        with torch.no_grad():
            answer = answers(part)
            found = head.replayed(answer).double()
        decided = is_decided(expected)
        equal += int((~decided & ~is_decided(found)).sum())
        if not bool(decided.any()):
            continue
        expected, found = expected[decided], found[decided]
        if head.kind == "labels":  # the file tells no margin; the twin does
            logits = head.logits(answer).double()[decided]
            behind = logits.amax(1) - logits.gather(1, expected.argmax(1, keepdim=True))[:, 0]
            equal += int((behind <= TIE * size_of(logits)).sum())
            continue
        size = max(size_of(expected), 1e-12)
        largest = max(largest, size)
        if unoptimised is not None:
            few = part[decided.to(part.device)][:NOISY]
            again = unoptimised(few)
            if again is None:
                unoptimised = None
            else:
                asked += len(few) * (1 + MOVES * rounds)
                floor = max(floor, difference(expected[: len(few)], again.double()))
                floor = max([floor, *_differences(few, expected, scores)]) if rounds else floor
        named = predictions(found)
        behind = expected.amax(1) - expected.gather(1, named.clamp_min(0)[:, None])[:, 0]
        apart = difference(expected, found, logarithms=head.logarithms)
        if apart > TIE * size or bool((behind > TIE * size).any()):
            row = int((expected - found).nan_to_num(0.0).abs().amax(1).argmax())
            place = part[decided.to(part.device)][row : row + 1]
            size = max(size, CANCELLED * summed(place, lambda u: head.replayed(answers(u)), terms))
            largest = max(largest, size)
        equal += int(((behind <= max(TIE * size, floor)) & (named >= 0)).sum())
        worst = max(worst, apart)
    return Parity(len(u), equal / len(u), worst / largest, None if unoptimised is None else floor / largest, asked)


def summed(u: Tensor, scores: Callable[[Tensor], Tensor], terms: Sequence[Tensor]) -> float:
    """The size of what is summed in the largest score: that of its terms, before any of them cancel.

    In a sum of products, a factor times the derivative by it is the sum of the terms that it stands in; the sizes of
    these, summed over a layer's weights or over the input, bound the sizes of the terms from below. Rounding is a share
    of that, however small the score itself is.

    Args:
        u: [1, *shape] a point.
        scores: [1, ...] that a model gives there, with a gradient.
        terms: float tensors that the model computes with, besides ``u``.
    """
    factors = [u.detach().clone(), *(t for t in terms if t.is_floating_point() and t.is_leaf)]
    with torch.no_grad():  # what a model prepares for this shape must not keep a graph
        scores(factors[0])
    for factor in factors:
        factor.requires_grad_()
    try:
        with torch.enable_grad():
            value = scores(factors[0]).flatten()
            largest = value.detach().nan_to_num(0.0, 0.0, 0.0).abs().argmax()
            found = torch.autograd.grad(value[largest], factors, allow_unused=True)
    finally:
        for factor in factors:
            factor.requires_grad_(False)
    sizes = [float((f.detach() * g).abs().sum()) for f, g in zip(factors, found, strict=True) if g is not None]
    return max([0.0, *(size for size in sizes if math.isfinite(size))])


def _differences(u: Tensor, expected: Tensor, scores: Callable[[Tensor], Tensor]) -> list[float]:
    """How far the file's scores move with the last place of every input."""
    generator, found = torch.Generator().manual_seed(0), []
    for _ in range(MOVES):
        up = torch.rand(u.shape, generator=generator).to(u.device) < 0.5
        moved = torch.nextafter(u, torch.where(up, torch.inf, -torch.inf).to(u.dtype))
        found.append(difference(expected[: len(u)], scores(moved).double()))
    return found


def _far_behind(scores: Tensor) -> Tensor:
    """Where scores [..., K] lie ``FLUSHED`` or more behind the first of their row."""
    return scores <= scores.amax(-1, keepdim=True) - FLUSHED if scores.dim() else torch.zeros_like(scores).bool()


def size_of(scores: Tensor) -> float:
    """The largest absolute value, what is not finite left aside."""
    kept = scores[scores.isfinite()]
    return float(kept.abs().amax()) if kept.numel() else 0.0


def difference(a: Tensor, b: Tensor, *, logarithms: bool = False) -> float:
    """Largest of :func:`differences`."""
    return float(differences(a, b, logarithms=logarithms).amax()) if a.numel() else 0.0


def differences(a: Tensor, b: Tensor, *, logarithms: bool = False) -> Tensor:
    """|a - b|, 0 where both are the same infinity or NaN, and infinite where only one of them is finite.

    -inf equals what is so far behind the first score of its row that processors differ on whether it is 0.

    Args:
        a, b: scores [..., K].
        logarithms: of probabilities, of which one that rounds to 0 gives -inf, and one that nearly does has few digits.
    """
    none = float("-inf")
    same = (a == b) | (a.isnan() & b.isnan()) | ((a == none) & _far_behind(b)) | ((b == none) & _far_behind(a))
    if logarithms:
        same |= ((a == none) & (b < ROUNDED)) | ((b == none) & (a < ROUNDED))
        same |= (a.double().exp() - b.double().exp()).abs() <= UNIT
    away = (a - b).abs()
    return torch.where(same, 0.0, torch.where(away.isnan(), float("inf"), away))
