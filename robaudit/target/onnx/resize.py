"""Resizing as one small matrix an axis, built on the host.

Interpolation is linear and separable, so every mode of ONNX (antialiasing included) is a product with a
constant matrix: exact, differentiable, and without the nondeterministic kernels behind
``torch.nn.functional.interpolate``.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from robaudit.target.onnx.graph import Node
from robaudit.target.onnx.registry import operator

Array = NDArray[Any]


def _coordinates(node: Node, size: int, out: int, scale: float, roi: tuple[float, float]) -> Array:
    """Where each output position lies in the input; in single precision, as ONNX Runtime has it."""
    mode = node.text("coordinate_transformation_mode", "half_pixel" if node.version >= 11 else "asymmetric")
    x, ratio = np.arange(out, dtype=np.float32), np.float32(scale)
    match mode:
        case "half_pixel":
            return (x + np.float32(0.5)) / ratio - np.float32(0.5)
        case "pytorch_half_pixel":
            return (x + np.float32(0.5)) / ratio - np.float32(0.5) if out > 1 else np.zeros(out)
        case "asymmetric":
            return x / ratio
        case "align_corners":
            # By the output's whole length, as ONNX Runtime (which judges) has it; ONNX's own reference takes
            # the unrounded one, and the two differ where scale * size is no whole number.
            return x * np.float32(size - 1) / np.float32(out - 1) if out > 1 else np.zeros(out)
        case "half_pixel_symmetric":
            shift = np.float32(size / 2) * (1 - np.float32(out) / (ratio * np.float32(size)))
            return shift + (x + np.float32(0.5)) / ratio - np.float32(0.5)
        case "tf_crop_and_resize":
            begin, end = roi
            if out > 1:
                return begin * (size - 1) + x * (end - begin) * (size - 1) / (out - 1)
            return np.full(out, 0.5 * (begin + end) * (size - 1))
    raise node.unsupported(f"coordinate_transformation_mode {mode}")


def _nearest(node: Node, at: Array, size: int, scale: float) -> Array:
    # Before opset 11 there was no such attribute: ONNX Runtime rounds up when it shrinks.
    older = "ceil" if scale < 1 else "floor"
    mode = node.text("nearest_mode", "round_prefer_floor") if node.version >= 11 else older
    at = at.astype(np.float64)  # adding a half in single precision would round by itself
    rounding: dict[str, Callable[[Array], Array]] = {
        "round_prefer_floor": lambda v: np.ceil(v - 0.5),
        "round_prefer_ceil": lambda v: np.floor(v + 0.5),
        "floor": np.floor,
        "ceil": np.ceil,
    }
    if mode not in rounding:
        raise node.unsupported(f"nearest_mode {mode}")
    result: Array = rounding[mode](at).clip(0, size - 1).astype(np.int64)
    return result


def _kernel(mode: str, distance: Array, a: float) -> Array:
    if mode == "linear":
        return np.maximum(0.0, 1.0 - distance)
    near = ((a + 2) * distance - (a + 3)) * distance * distance + 1
    far = ((a * distance - 5 * a) * distance + 8 * a) * distance - 4 * a
    return np.where(distance <= 1, near, np.where(distance < 2, far, 0.0))


def _weights(node: Node, at: Array, size: int, scale: float) -> Array:
    """One row for each output position: what it takes of each input position."""
    mode, antialias = node.text("mode", "nearest"), bool(node.integer("antialias", 0))
    outside = bool(node.integer("exclude_outside", 0))
    stretch = min(scale, 1.0) if antialias else 1.0  # shrinking, the kernel widens
    reach = (1 if mode == "linear" else 2) / stretch
    matrix = np.zeros((len(at), size))
    for row, centre in enumerate(at.astype(np.float64)):
        taken = np.arange(math.floor(centre - reach), math.ceil(centre + reach) + 1)
        weight = _kernel(mode, np.abs(taken - centre) * stretch, node.number("cubic_coeff_a", -0.75))
        if outside:
            weight = np.where((taken >= 0) & (taken < size), weight, 0.0)
        if outside or antialias:
            weight = weight / weight.sum()
        np.add.at(matrix[row], taken.clip(0, size - 1), weight)
    return matrix


def _sizes(
    node: Node, shape: list[int], axes: list[int], scales: Tensor | None, sizes: Tensor | None
) -> list[tuple[int, float]]:
    """Output size and scale of each resized axis."""
    if scales is not None and scales.numel():
        return [(math.floor(shape[a] * s), s) for a, s in zip(axes, scales.double().tolist(), strict=True)]
    if sizes is None:
        raise node.unsupported("neither scales nor sizes")
    wanted = [int(v) for v in sizes.tolist()]
    ratios = [w / shape[a] for w, a in zip(wanted, axes, strict=True)]
    policy = node.text("keep_aspect_ratio_policy", "stretch")
    if policy == "stretch":
        return list(zip(wanted, ratios, strict=True))
    ratio = min(ratios) if policy == "not_larger" else max(ratios)
    return [(math.floor(ratio * shape[a] + 0.5), ratio) for a in axes]


@operator("Resize", host=(1, 2, 3))
def _resize(
    node: Node,
    x: Tensor,
    roi: Tensor | None = None,
    scales: Tensor | None = None,
    sizes: Tensor | None = None,
) -> Tensor:
    return _resized(node, x, None, roi, None) if node.version < 11 else _resized(node, x, roi, scales, sizes)


def _resized(node: Node, x: Tensor, roi: Tensor | None, scales: Tensor | None, sizes: Tensor | None) -> Tensor:
    axes = [axis % x.dim() for axis in node.integers("axes") or range(x.dim())]
    window = roi.double().tolist() if roi is not None and roi.numel() else [0.0] * len(axes) + [1.0] * len(axes)
    mode = node.text("mode", "nearest")
    if mode not in ("nearest", "linear", "cubic"):
        raise node.unsupported(f"mode {mode}")
    crops = node.text("coordinate_transformation_mode", "") == "tf_crop_and_resize"
    targets = _sizes(node, list(x.shape), axes, scales, sizes)
    if not crops and all(out == x.shape[axis] for axis, (out, _) in zip(axes, targets, strict=True)):
        return x  # as ONNX Runtime does, whatever the scales
    dtype = x.dtype
    if not x.is_floating_point() and (mode != "nearest" or crops):
        x = x.to(torch.float32)
    for i, (axis, (out, scale)) in enumerate(zip(axes, targets, strict=True)):
        size = x.shape[axis]
        # Asked to smooth, ONNX Runtime leaves an axis of the same size alone, whatever its scale.
        if out == size and (scale == 1.0 or (mode != "nearest" and node.integer("antialias", 0))) and not crops:
            continue
        at = _coordinates(node, size, out, scale, (window[i], window[i + len(axes)]))
        if mode == "nearest":
            x = torch.index_select(x, axis, torch.from_numpy(_nearest(node, at, size, scale)))
        else:
            matrix = torch.from_numpy(_weights(node, at, size, scale)).to(x.dtype)
            x = torch.movedim(torch.tensordot(x, matrix, ([axis], [1])), -1, axis)
        if crops:
            seen = torch.from_numpy((at >= 0) & (at <= size - 1))
            shape = [-1 if a == axis else 1 for a in range(x.dim())]
            x = torch.where(seen.reshape(shape), x, torch.tensor(node.number("extrapolation_value", 0.0)).to(x.dtype))
    return x.to(dtype)


@operator("Upsample", host=(1,))
def _upsample(node: Node, x: Tensor, scales: Tensor | None = None) -> Tensor:
    if scales is None:
        scales = torch.tensor(node.attributes["scales"], dtype=torch.float32)
    return _resized(node, x, None, scales, None)
