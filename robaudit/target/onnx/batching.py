"""Choosing how a graph runs a batch, by trying."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from robaudit.errors import UnsupportedOperatorError

if TYPE_CHECKING:
    from robaudit.target.onnx.module import OnnxModule

_TOLERANCE = 1e-4


def choose(
    module: OnnxModule, sample_shape: tuple[int, ...], dtype: torch.dtype, fixed_inputs: Mapping[str, Tensor]
) -> str:
    """The fastest way that treats every sample of a batch as if it were alone."""
    module = module.without_draws() or module  # of draws nothing could be compared
    device = next((b.device for b in module.buffers()), torch.device("cpu"))
    x = _samples(sample_shape, dtype).to(device)
    how = _fits(module, x, fixed_inputs)
    narrow = module.rounds_to_half or any(b.dtype in (torch.float16, torch.bfloat16) for b in module.buffers())
    coarse = module.is_quantised or narrow
    if how == "loop" and coarse and dtype.is_floating_point:
        # Rounding amplifies last-bit differences between batch sizes; in float64 only real ones remain.
        wide = {name: v.double() if v.is_floating_point() else v for name, v in fixed_inputs.items()}
        how = _fits(module.float_twin(torch.float64), x.double(), wide)
    return how


def _fits(module: OnnxModule, x: Tensor, fixed_inputs: Mapping[str, Tensor]) -> str:
    with torch.no_grad(), torch.inference_mode(False):
        # What each input gets alone, by the program for exactly the file's batch size. A graph that cannot
        # run so has no twin at all, and the error is the caller's.
        alone = module.run("loop", x, fixed_inputs)
        if module.branches_on_data(x, fixed_inputs):
            return "loop"  # one branch for a whole batch would be right only by accident
        for how in ("direct", "vmap"):
            try:
                together = module.run(how, x, fixed_inputs)
            except UnsupportedOperatorError:
                continue
            except Exception:  # whatever a kernel or vmap refuses, the loop remains
                continue
            if all(_same(a, b) for a, b in zip(alone, together, strict=True)):
                return how
    return "loop"


def _samples(shape: tuple[int, ...], dtype: torch.dtype) -> Tensor:
    """Three distinct inputs of comparable size, so that the largest does not hide an error in another."""
    generator = torch.Generator().manual_seed(0)
    if not dtype.is_floating_point:
        # Tokens: 0 and 1 exist in every vocabulary. Pixels: the whole range.
        high = 256 if dtype == torch.uint8 else 2
        return torch.randint(0, high, (3, *shape), generator=generator).to(dtype)
    x = torch.rand((3, *shape), generator=generator)
    x[1] = torch.randn(shape, generator=generator)
    return x.to(dtype)


def _same(alone: Tensor, together: Tensor) -> bool:
    if alone.shape != together.shape or alone.dtype != together.dtype:
        return False
    if not alone.is_floating_point():
        return bool(torch.equal(alone, together))
    scale = alone.abs().nan_to_num(0.0, 0.0, 0.0).max() if alone.numel() else alone.new_zeros(())
    tolerance = float(scale) * max(_TOLERANCE, 8 * torch.finfo(alone.dtype).eps)
    return torch.allclose(alone, together, rtol=0.0, atol=tolerance, equal_nan=True)
