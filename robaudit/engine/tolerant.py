"""A model of which one input that it refuses costs that input alone, not the batch and not the attack."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field

import torch
from torch import Tensor

from robaudit.engine.models import AuditedFile, Differentiable
from robaudit.errors import AuditError, RobauditError, UsageError, reason
from robaudit.target.script_module import SCRIPT_ERROR

__all__ = ["REFUSALS", "Refusals", "TolerantFile", "TolerantModel", "out_of_memory"]

REFUSALS = (RobauditError, SCRIPT_ERROR, RuntimeError, ValueError, ArithmeticError, LookupError, MemoryError)
"""What files, twins and runtimes raise for an input."""


@dataclass
class Refusals:
    """What the models refused: evaluations that raised, each of which is an answer that names no class.

    Args:
        last: why, in the step at work; None: nothing was refused in it.
        doing: what the models are asked for.
        counts: evaluations refused, by what they were for; ``why``: the reason of the last of them.
    """

    last: str | None = None
    doing: str = ""
    counts: Counter[str] = field(default_factory=Counter)
    why: str = ""

    def add(self, error: Exception) -> None:
        """One more."""
        self.last = self.why = reason(error)
        self.counts[self.doing] += 1


def out_of_memory(error: Exception) -> bool:
    """CUDA has a type for it; the CPU's allocator raises a plain RuntimeError."""
    return isinstance(error, torch.OutOfMemoryError | MemoryError) or "can't allocate memory" in str(error)


class TolerantModel:
    """Another model, whose logits are NaN where it refuses an input.

    Args:
        model: the other.
        classes: of its logits.
        refusals: where the reasons are told.
    """

    def __init__(self, model: Differentiable, classes: int, refusals: Refusals) -> None:
        self._model = model
        self._classes = classes
        self._refusals = refusals

    def logits(self, u: Tensor) -> Tensor:
        """[N, *shape] in u-space to [N, K], differentiable."""
        return self._each(u, self._model.logits)

    def _each(self, u: Tensor, run: Callable[[Tensor], Tensor], *, alone: bool = False) -> Tensor:
        """All inputs together, or each alone where that fails.

        Raises:
            OutOfMemoryError: memory does not suffice for several; the caller asks for fewer.
            AuditError: it is not the input's fault.
        """
        try:
            return run(u)
        except (AuditError, UsageError):
            raise
        except REFUSALS as error:
            if len(u) > 1:
                if out_of_memory(error) and not alone:
                    raise
                return torch.cat([self._each(u[i : i + 1], run) for i in range(len(u))])
            self._refusals.add(error)
            return torch.full((1, self._classes), torch.nan, dtype=u.dtype, device=u.device) + 0 * u.sum()


class TolerantFile(TolerantModel):
    """The same of the file under audit, whose scores are NaN there too."""

    def __init__(self, file: AuditedFile, refusals: Refusals) -> None:
        super().__init__(file, file.num_classes, refusals)
        self._file = file
        self.num_classes = file.num_classes
        self.device, self.dtype = file.device, file.dtype

    def scores(self, u: Tensor, *, alone: bool = False) -> Tensor:
        """[N, *shape] in u-space to [N, K], by the shipped file; ``alone``: one input a run."""
        return self._each(u, lambda part: self._file.scores(part, alone=alone), alone=alone)

    def snap(self, u: Tensor, origin: Tensor) -> Tensor:
        """The nearest inputs that the file's input type can hold, rounded towards the origin."""
        return self._file.snap(u, origin)
