"""Rounding to floating-point numbers of 4 to 8 bits, which are carried by wider ones."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from robaudit.target.onnx import element_types


@dataclass(frozen=True)
class Format:
    """``mantissa``: stored bits; ``lowest``: exponent of the smallest normal number; ``overflow``: what stands for
    numbers beyond the largest when they do not saturate (OCP 8-bit and MX specifications, ONNX's list of types).
    """

    mantissa: int
    lowest: int
    largest: float
    overflow: float
    signed_zero: bool = True


FORMATS: dict[int, Format] = {
    element_types.FLOAT8E4M3FN: Format(3, -6, 448.0, math.nan),
    element_types.FLOAT8E4M3FNUZ: Format(3, -7, 240.0, math.nan, signed_zero=False),
    element_types.FLOAT8E5M2: Format(2, -14, 57344.0, math.inf),
    element_types.FLOAT8E5M2FNUZ: Format(2, -15, 57344.0, math.nan, signed_zero=False),
    element_types.FLOAT4E2M1: Format(1, 0, 6.0, 6.0),
    element_types.FLOAT6E2M3: Format(3, 0, 7.5, 7.5),
    element_types.FLOAT6E3M2: Format(2, -2, 28.0, 28.0),
}
WITHOUT_NAN = frozenset({element_types.FLOAT4E2M1, element_types.FLOAT6E2M3, element_types.FLOAT6E3M2})
"""Nor have they infinities: everything saturates, and NaN becomes 0."""
_FRACTION = 0x7FFFFF
"""The bits of a float32's fraction; the exponent's follow."""


def rounded(x: Tensor, code: int, *, saturate: bool = True) -> Tensor:
    """The nearest numbers of a format, half to even, in x's type (at least float32).

    Args:
        x: any floating-point type, rounded to float32 first.
        code: ONNX type.
        saturate: whether numbers beyond the largest become the largest, else NaN or infinity.
    """
    form = FORMATS[code]
    wide = x.to(torch.float32)
    exponent = (torch.abs(wide).view(torch.int32) >> 23) - 127
    place = torch.clamp(exponent, form.lowest, 127) - form.mantissa
    step = ((place + 127) << 23).view(torch.float32)
    y = torch.round(wide / step) * step
    if saturate or code in WITHOUT_NAN:
        y = torch.clamp(y, -form.largest, form.largest)
    else:
        y = torch.where(torch.abs(y) > form.largest, torch.copysign(torch.full_like(y, form.overflow), y), y)
    if not form.signed_zero:
        y = y + 0.0
    if code in WITHOUT_NAN:
        y = torch.where(torch.isnan(wide), torch.zeros_like(y), y)
    return y.to(x.dtype) if x.dtype == torch.float64 else y


def power_of_two(x: Tensor, mode: str, *, saturate: bool = True) -> Tensor:
    """The nearest power of two (``float8e8m0``, which has no sign), in x's type (at least float32).

    Args:
        x: any floating-point type, rounded to float32 first.
        mode: "up", "down" or "nearest" (half up).
        saturate: whether numbers beyond the largest, 2^127, become the largest, else NaN.
    """
    bits = torch.bitwise_and(x.to(torch.float32).view(torch.int32), 0x7FFFFFFF)
    exponent = bits >> 23
    fraction = torch.bitwise_and(bits, _FRACTION)
    special = exponent == 255
    if mode == "up":
        exponent = exponent + (fraction > 0).to(torch.int32)
    elif mode == "nearest":
        half = fraction >> 22
        # Among subnormal numbers a half goes down.
        tie = torch.logical_and(exponent == 0, torch.bitwise_and(fraction, _FRACTION >> 1) == 0)
        exponent = exponent + torch.where(tie, torch.zeros_like(half), half)
    if saturate:
        exponent = torch.clamp(exponent, max=254)
    # Code 0 is 2^-127, a subnormal float32.
    y = torch.where(exponent == 0, torch.full_like(exponent, 1 << 22), exponent << 23).view(torch.float32)
    y = torch.where(torch.logical_or(special, exponent == 255), torch.full_like(y, math.nan), y)
    return y.to(x.dtype) if x.dtype == torch.float64 else y
