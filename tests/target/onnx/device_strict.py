"""Runs a twin as if on an accelerator that never talks to the host.

Fake tensors carry shape, type and device but no numbers: what would read a value fails, and so does what would mix
devices. Without a real device torch cannot differentiate them, hence the backward pass runs on the CPU, under a mode
that refuses every operator that an accelerator would have to wait for.
"""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode

from robaudit.target.onnx import OnnxModule

READS = {"_local_scalar_dense", "item", "nonzero", "masked_select", "is_nonzero", "equal", "unique_dim", "_unique2"}


class StrictError(Exception):
    """The host would have waited for the accelerator."""


class Strict(TorchDispatchMode):
    """Refuses reads by the host and copies between devices."""

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        name = func.overloadpacket.__name__
        if name in READS:
            raise StrictError(f"{name} is read by the host")
        if name == "_to_copy" and kwargs.get("device") not in (None, args[0].device):
            raise StrictError(f"copied from {args[0].device} to {kwargs['device']}")
        if name == "copy_" and args[0].device != args[1].device:
            raise StrictError(f"copied from {args[1].device} to {args[0].device}")
        return func(*args, **kwargs)


def strictly(module: OnnxModule, shape: tuple[int, ...]) -> Tensor:
    """Run the program for every batch size, or that for this shape: forward on fake CUDA tensors, then both ways.

    Returns:
        The input gradient of the sum of all scores.
    """
    x = torch.rand(shape, requires_grad=True)
    program = module._general_program(x, {}) or module.graph_module(shape)
    moved = copy.deepcopy(program)
    mode = FakeTensorMode(allow_non_fake_inputs=False)
    for name, buffer in list(moved.named_buffers()):
        owner, _, attribute = name.rpartition(".")
        setattr(moved.get_submodule(owner), attribute, _on_cuda(mode, buffer))
    with torch.no_grad(), mode, Strict():
        (scores,) = moved(_on_cuda(mode, x))
    assert scores.device.type == "cuda"
    with Strict():
        (scores,) = program(x)
        (slope,) = torch.autograd.grad(scores.sum(), x)
    return slope


def _on_cuda(mode: FakeTensorMode, value: Tensor) -> Tensor:
    with mode:
        return torch.empty_strided(value.shape, value.stride(), dtype=value.dtype, device="cuda")
