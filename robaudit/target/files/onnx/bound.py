"""Inputs that a session reads where torch has them: on a GPU no image goes through host memory."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from robaudit.target.files.onnx.runtime import Session, alone, refusing
from robaudit.target.inputs.several import FixedInput

__all__ = ["ask_bound", "binds", "each_alone"]

KINDS = {torch.float16: np.float16, torch.float32: np.float32, torch.float64: np.float64}


def binds(session: Session, device: torch.device) -> bool:
    """Whether a session computes on torch's GPU; on a CPU it reads NumPy's arrays in place as it is."""
    return device.type == "cuda" and session.provider == "CUDAExecutionProvider" and not session.narrow


def ask_bound(
    session: Session, outputs: list[str], name: str, values: Tensor, fixed: Sequence[FixedInput] = ()
) -> list[Any]:
    """The outputs for values [N, ...] of the attacked input, float16 to float64, which are read where they lie.

    The outputs are made on the same device; only they, a few numbers an input, are brought to the host.

    Raises:
        RuntimeMemoryError: the memory ran out.
        RobauditError: the runtime refuses the input.
    """
    values = values.detach().contiguous()
    device, number = values.device.type, values.device.index or 0
    with refusing():
        binding = session.runtime.io_binding()
        binding.bind_input(name, device, number, KINDS[values.dtype], list(values.shape), values.data_ptr())
        for other in fixed:
            binding.bind_cpu_input(other.declared.name, other.rows(len(values)))
        for output in outputs:
            binding.bind_output(output, device, number)
        if values.is_cuda:  # the runtime has a stream of its own
            torch.cuda.current_stream(values.device).synchronize()
        session.runtime.run_with_iobinding(binding)
        binding.synchronize_outputs()
        results: list[Any] = binding.copy_outputs_to_cpu()
        return results


def each_alone(
    call: Callable[[NDArray[Any] | Tensor, int], NDArray[Any]], values: NDArray[Any] | Tensor, width: int
) -> NDArray[Any]:
    """Answers [N, ...] to inputs that are asked one at a time, each filling the ``width`` rows of its call."""
    if not isinstance(values, Tensor):
        return alone(call, values, width)
    rows = (values[i : i + 1].expand(width, *values.shape[1:]) for i in range(len(values)))
    return np.concatenate([call(row, width)[:1] for row in rows])
