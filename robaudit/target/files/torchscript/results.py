"""What a TorchScript module returns, as one row of numbers an input."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from robaudit.errors import RobauditError
from robaudit.target.outputs.declared import Choice, FileOutput
from robaudit.target.outputs.rows import width_of

__all__ = ["as_array", "chosen", "declared_output", "named_tensors", "rows_of", "with_label"]


def named_tensors(result: Any) -> dict[str, Tensor]:
    """The tensors of a module's result by name: ``output``, ``output0`` and so on, or the keys of a dictionary."""
    if isinstance(result, Tensor):
        return {"output": result}
    if isinstance(result, dict):
        return {str(name): value for name, value in result.items() if isinstance(value, Tensor)}
    if isinstance(result, list | tuple):
        return {f"output{i}": value for i, value in enumerate(result) if isinstance(value, Tensor)}
    return {}


def declared_output(name: str, value: Tensor) -> FileOutput:
    """An output as one answer shows it."""
    shape = (None, *value.shape[1:]) if value.dim() else ()
    return FileOutput(name, shape, str(value.dtype).removeprefix("torch."))


def as_array(value: Tensor) -> np.ndarray[Any, Any]:
    """The values of a tensor; NumPy has no bfloat16, which is widened."""
    value = value.detach().cpu()
    found: np.ndarray[Any, Any] = (value.float() if value.dtype == torch.bfloat16 else value).numpy()
    return found


def chosen(result: Any, choice: Choice, count: int) -> Tensor:
    """The chosen scores [N, K] of a module's result, whose columns may be outputs of their own.

    Raises:
        RobauditError: it has not one row an input.
    """
    if isinstance(result, Tensor):
        scores = rows_of(result, count)
    else:
        found = named_tensors(result)
        names = choice.columns or (choice.output.name,)
        scores = torch.cat([rows_of(found[name], count) for name in names], 1)
    whole = choice.role == "scores" and not scores.is_floating_point()
    return scores.float() if whole else scores


def with_label(result: Any, choice: Choice, count: int) -> Tensor:
    """The chosen scores, and what a label output beside them says as one more column: [N, K] or [N, K + 1].

    Raises:
        RobauditError: it has not one row an input.
    """
    scores, label = chosen(result, choice, count), choice.label
    if label is None:
        return scores
    return torch.cat([scores, rows_of(named_tensors(result)[label.name], count)[:, :1].to(scores.dtype)], 1)


def rows_of(result: Tensor, count: int) -> Tensor:
    """One row an input [N, K], half precision widened to float32.

    Raises:
        RobauditError: the tensor has not one row an input.
    """
    width = width_of(result.shape, count)
    if width is None:
        shape = "x".join(map(str, result.shape))
        raise RobauditError(f"the output of {count} inputs has shape {shape}, not one row an input")
    result = result.reshape(count, width)
    return result.float() if result.dtype in (torch.float16, torch.bfloat16) else result
