"""What TorchScript raises, and what it means."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from robaudit.errors import RobauditError

__all__ = ["SCRIPT_ERROR", "failures_told", "last_line", "refused"]

SCRIPT_ERROR: type[Exception] = getattr(torch.jit, "Error")  # noqa: B009  # not in torch's types
"""What a module raises by itself, which is no RuntimeError."""
ALONE = "more than 1 value per channel"
"""What torch says of a batch norm in training mode that is given one value a channel."""


@contextlib.contextmanager
def failures_told() -> Iterator[None]:
    """What a module raises, in a sentence.

    Raises:
        RobauditError: the module fails.
        OutOfMemoryError: memory does not suffice.
    """
    try:
        yield
    except torch.OutOfMemoryError:
        raise
    except (RuntimeError, SCRIPT_ERROR) as error:
        if "can't allocate memory" in str(error):  # the CPU's allocator has no type for it
            raise torch.OutOfMemoryError(str(error)) from error
        raise RobauditError(f"the TorchScript module fails on the input: {last_line(error)}") from error


def refused(x: Tensor, training: Sequence[str], error: Exception) -> str:
    """What a file does with an input [N, *shape] that makes it fail; ``training``: its parts in training mode."""
    if training and ALONE in str(error):
        return (
            f"cannot answer one input alone: {', '.join(training[:3])} runs in training mode and needs a batch; call "
            "eval() on the model before it is saved"
        )
    shape = "x".join(map(str, x.shape[1:]))
    return f"does not take an input of {shape}: {last_line(error)}; give the right size with --resize or --data"


def last_line(error: Exception | str) -> str:
    """The last line of an error, where TorchScript says what is wrong."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[-1][:300] if lines else type(error).__name__
