"""What an ONNX file declares of its inputs and outputs, in the terms of the other modules."""

from __future__ import annotations

from typing import Any

import onnx

from robaudit.target.inputs.several import DeclaredInput

__all__ = ["declared_input", "dtype_of", "image_type", "is_single_image", "shape_of"]


def declared_input(given: Any, model: onnx.ModelProto) -> DeclaredInput:
    """An input as ONNX Runtime describes it."""
    symbols = tuple(d if isinstance(d, str) else None for d in given.shape or ())
    optional = given.type.startswith("optional")
    return DeclaredInput(given.name, shape_of(given, model), dtype_of(given.type), symbols, optional)


def shape_of(given: Any, model: onnx.ModelProto) -> tuple[int | None, ...] | None:
    """Sizes of an input or output; None for a free one, and for all where the file does not say how many there are.

    ONNX Runtime describes a scalar and a tensor of any rank alike; the graph tells them apart.
    """
    if not given.shape:
        entries = (*model.graph.input, *model.graph.output)
        declared = next((entry for entry in entries if entry.name == given.name), None)
        return () if declared is not None and declared.type.tensor_type.HasField("shape") else None
    return tuple(d if isinstance(d, int) and d > 0 else None for d in given.shape)


def is_single_image(shape: tuple[int | None, ...]) -> bool:
    """Whether a shape is that of one square colour image, 3 x H x W or H x W x 3, and no batch of maps."""
    if len(shape) != 3 or None in shape:
        return False
    first, second, last = shape
    return (first == 3 and second == last) or (last == 3 and first == second)


def dtype_of(text: str) -> str:
    """NumPy name of a type such as ``tensor(float)``; other types as they are."""
    inner = text.removeprefix("tensor(").removesuffix(")") if text.startswith("tensor(") else text
    return {"float": "float32", "double": "float64"}.get(inner, inner)


def image_type(model: onnx.ModelProto, name: str) -> dict[str, Any]:
    """What is known where the input is typed as an image (ONNX IR: type denotation, standard metadata)."""
    found: dict[str, Any] = {}
    declared = next(entry for entry in model.graph.input if entry.name == name)
    if declared.type.denotation == "IMAGE":
        names = [d.denotation for d in declared.type.tensor_type.shape.dim]
        if "DATA_CHANNEL" in names:
            found["layout"] = "nchw" if names.index("DATA_CHANNEL") == 1 else "nhwc"
    metadata = {p.key: p.value for p in model.metadata_props}
    if metadata.get("Image.BitmapPixelFormat") in ("Rgb8", "Bgr8"):
        found["channels"] = metadata["Image.BitmapPixelFormat"][:3].lower()
    ranges = {"NominalRange_0_255": (255.0, 0.0), "Normalized_0_1": (1.0, 0.0), "Normalized_1_1": (2.0, 1.0)}
    if metadata.get("Image.NominalPixelRange") in ranges:
        scale, mean = ranges[metadata["Image.NominalPixelRange"]]
        found |= {"scale": scale, "mean": (mean,) if mean else (), "std": ()}
    return found
