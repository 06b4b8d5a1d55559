"""Does a file give the same input the same answer: again, loaded afresh, and in a batch?"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from robaudit.target.files.model_file import ModelFile
from robaudit.target.measures.parity import difference

__all__ = [
    "COMPARED",
    "UNKNOWN",
    "BatchEffect",
    "Steadiness",
    "batch_effect",
    "is_repeatable",
    "keeps_state",
    "repeat_deviation",
]

COMPARED = 8
"""Samples on which answers are compared."""
REPEATS = 5
"""Answers to the same input that are compared."""
REPEATABLE = 1e-4
"""Largest difference between answers to the same input, over the largest score, of a file that repeats itself."""
INVARIANT, INVARIANT_HALF = 1e-4, 5e-3
"""Largest difference between an input alone and in a batch, over the largest score; for files in half precision."""


@dataclass(frozen=True)
class BatchEffect:
    """Whether answers are the same in any batch, and by how much they differ at most, relative to the largest score.

    ``deviation`` is None where batches were not compared; ``note`` says why they cannot be.
    """

    invariant: bool
    deviation: float | None
    note: str | None = None


@dataclass(frozen=True)
class Steadiness:
    """Whether a file gives the same input the same answer.

    Args:
        repeat_deviation: largest difference between answers to the same input, over the largest score.
        keeps_state: whether it keeps a state between calls; None: it repeats itself, or that was not found out.
        batch_invariant: whether answers are the same in any batch; None where there are no others, or no answers.
        batch_deviation: largest difference between an input alone and in a batch; None where none was compared.
    """

    repeat_deviation: float
    keeps_state: bool | None
    batch_invariant: bool | None
    batch_deviation: float | None


UNKNOWN = Steadiness(0.0, None, None, None)
"""Of a file that was not asked."""


def repeat_deviation(first: Tensor, ask: Callable[[], Tensor], size: float) -> float:
    """Largest difference of further answers from the first, [N, K] scores in float64, over ``size``."""
    return max(difference(first, ask().double()) for _ in range(REPEATS - 1)) / size


def is_repeatable(deviation: float) -> bool:
    """Whether a file with such a deviation repeats itself."""
    return deviation <= REPEATABLE


def keeps_state(file: ModelFile, x: Tensor, width: int, read: Callable[[Tensor], Tensor], size: float) -> bool:
    """Whether answers change since the file keeps a state between calls, not by chance.

    Two fresh loads of a file with a state give the same answers in the same order.

    Args:
        file: it is left as it is.
        x: one input [1, *file_shape].
        width: rows of a call.
        read: raw outputs to scores.
        size: of the largest score.

    Raises:
        Exception: it cannot be loaded again, for one of many reasons.
    """
    runs = []
    for fresh in (file.fresh(), file.fresh()):
        answers = [fresh.run(x, width=width) for _ in range(REPEATS)]
        runs.append(torch.cat([read(answer) for answer in answers]).double())
    return is_repeatable(difference(runs[0], runs[1]) / size)


def batch_effect(alone: Tensor, ask: Callable[[], Tensor], *, real: int, size: float, half: bool) -> BatchEffect:
    """Compare answers to inputs alone with those in a batch.

    Args:
        alone: [N, K] scores in float64.
        ask: the same inputs' scores in one batch, in reverse order.
        real: so many of the first are samples; the others are made up.
        size: of the largest score.
        half: the file is in half precision.
    """
    try:
        together = ask().flip(0).double().reshape(alone.shape)
    except Exception as error:  # a runtime may refuse batches that the file declares free
        note = f"batches fail ({' '.join(str(error).split())[:120]}); inputs run one at a time"
        return BatchEffect(False, None, note)
    deviation = difference(together, alone) / size
    # Where scores tie to the last bit, batches may break the tie otherwise; labels of real samples must agree.
    same = bool((together.argmax(1) == alone.argmax(1))[:real].all())
    return BatchEffect(deviation <= (INVARIANT_HALF if half else INVARIANT) and same, deviation)
