"""What an autograd function of our own needs: to be one call of a recorded program, and hidden from transforms."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar, cast

import torch
from torch import Tensor
from torch.overrides import wrap_torch_function

__all__ = ["is_plain", "recorded"]

_Call = TypeVar("_Call", bound=Callable[..., Any])


def _tensors(*arguments: Any) -> tuple[Any, ...]:
    return tuple(argument for argument in arguments if isinstance(argument, Tensor))


def recorded(function: _Call) -> _Call:
    """Makes a function one call of a program that is recorded."""
    found: Any = wrap_torch_function(_tensors)(function)
    return cast("_Call", found)


def is_plain(x: Tensor) -> bool:
    """Whether nobody looks inside: neither a transform of functions nor a compiler nor a tracer."""
    if torch.compiler.is_compiling() or torch._C._get_tracing_state() or type(x) is not Tensor:
        return False
    return not (torch._C._functorch.is_functorch_wrapped_tensor(x) or torch._C._len_torch_dispatch_stack())
