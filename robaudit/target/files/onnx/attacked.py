"""The input of an ONNX file that is attacked: whether it can be."""

from __future__ import annotations

import onnx

from robaudit.errors import UsageError
from robaudit.target.files.onnx.declared import image_type, is_single_image
from robaudit.target.inputs.discover import FileInput
from robaudit.target.inputs.several import DeclaredInput

__all__ = ["attacked_input"]

NUMERIC = ("float16", "bfloat16", "float32", "float64", "uint8", "int8", "uint16", "int16", "int32", "int64")


def attacked_input(declared: DeclaredInput, model: onnx.ModelProto, rank: int | None, where: str) -> FileInput:
    """The input that is attacked.

    Args:
        declared: which it is.
        model: that it is of.
        rank: of a batch, where it does not declare its own.
        where: it is, for messages.

    Raises:
        UsageError: it holds no numbers that can be perturbed.
    """
    shape, dtype = declared.shape, declared.dtype
    if shape is None and rank is None:
        raise UsageError(
            f"{where} does not declare its shape; give --data with arrays of the right one, or --resize for images"
        )
    shape = shape or (None,) * (rank or 0)
    if len(shape) < 2:
        raise UsageError(f"{where} ({declared.size}) has no batch and feature dimensions")
    if is_single_image(shape):
        raise UsageError(f"{where} ({declared.size}) is one image without a batch; export the model with a batch first")
    entry = next((i for i in model.graph.input if i.name == declared.name), None)
    if any(d.HasField("dim_value") and d.dim_value == 0 for d in entry.type.tensor_type.shape.dim) if entry else 0:
        raise UsageError(f"{where} holds no values: one of its dimensions is 0")
    if dtype not in NUMERIC:
        raise UsageError(f"{where} is of type {dtype}; robaudit perturbs numbers only")
    return FileInput(declared.name, shape, dtype, image_type(model, declared.name))
