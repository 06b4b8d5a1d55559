"""Spares the import of torch's compiler, which shapes of meta tensors would cause."""

from __future__ import annotations

import contextlib
import functools
import gc
import sys
from types import FunctionType

import torch
import torch._compile

__all__ = ["spare_compiler"]


@functools.cache
def spare_compiler() -> None:
    """Let torch compute shapes without importing its compiler, which takes more than a second.

    Functions of torch that its compiler is not to trace, shapes of elementwise operators among them, are wrapped at
    their first call, and the wrapper is the compiler's. Where nothing has imported it yet, each of them is told that it
    is its own wrapper. It changes nothing where torch keeps them otherwise: then the import is not spared.
    """
    if "torch._dynamo" in sys.modules:
        return
    with contextlib.suppress(AttributeError, TypeError, ValueError):
        code = torch._compile._disable_dynamo(lambda: None).__code__
        place = code.co_freevars.index("fn")
        for found in gc.get_objects():
            if type(found) is FunctionType and found.__code__ is code and found.__closure__ is not None:
                inner = found.__closure__[place].cell_contents
                inner.__dict__.setdefault("__dynamo_disable", inner)
