"""Spectra of signals, and the windows and filters that go with them."""

from __future__ import annotations

import math

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from robaudit.target.onnx.arguments import ints
from robaudit.target.onnx.element_types import DTYPES
from robaudit.target.onnx.graph import Node
from robaudit.target.onnx.registry import operator


def _complex(x: Tensor) -> Tensor:
    """[..., 1] (real) or [..., 2] (real and imaginary part) as complex numbers."""
    wide = x.to(torch.float32) if x.dtype in (torch.float16, torch.bfloat16) else x
    imaginary = wide[..., 1] if x.shape[-1] == 2 else torch.zeros_like(wide[..., 0])
    return torch.complex(wide[..., 0], imaginary)


def _pairs(z: Tensor, dtype: torch.dtype) -> Tensor:
    return torch.stack([torch.real(z), torch.imag(z)], -1).to(dtype)


@operator("DFT", host=(1, 2))
def _dft(node: Node, x: Tensor, length: Tensor | None = None, axis: Tensor | None = None) -> Tensor:
    if axis is not None:
        along = ints(axis)[0] % x.dim()
    else:
        along = node.integer("axis", 1 if node.version < 20 else -2) % x.dim()
    size = x.shape[along] if length is None else ints(length)[0]
    inverse, onesided = bool(node.integer("inverse", 0)), bool(node.integer("onesided", 0))
    z = _complex(x)
    if inverse and onesided:
        size = 2 * (x.shape[along] - 1) if length is None else size
        return torch.unsqueeze(torch.fft.irfft(z, size, along), -1).to(x.dtype)
    if inverse:
        return _pairs(torch.fft.ifft(z, size, along), x.dtype)
    spectrum = torch.fft.fft(z, size, along)
    return _pairs(torch.narrow(spectrum, along, 0, size // 2 + 1) if onesided else spectrum, x.dtype)


@operator("STFT", host=(1, 3))
def _stft(node: Node, x: Tensor, step: Tensor, window: Tensor | None = None, length: Tensor | None = None) -> Tensor:
    hop = ints(step)[0]
    size = ints(length)[0] if length is not None else x.shape[1] if window is None else window.shape[0]
    if x.dim() == 2:
        x = torch.unsqueeze(x, 2)
    frames = torch.stack([part.unfold(1, size, hop) for part in torch.unbind(x, 2)], -1)
    if window is not None:
        frames = frames * torch.reshape(_as_long(window, size), [1, 1, -1, 1])
    spectrum = torch.fft.fft(_complex(frames), size, 2)
    if node.integer("onesided", 1):
        spectrum = torch.narrow(spectrum, 2, 0, size // 2 + 1)
    return _pairs(spectrum, x.dtype)


def _as_long(window: Tensor, size: int) -> Tensor:
    """A window shorter than the frame sits in its middle."""
    missing = size - window.shape[0]
    return F.pad(window, [missing // 2, missing - missing // 2]) if missing > 0 else window


_COSINES = {
    "HannWindow": (0.5, 0.5, 0.0),
    "HammingWindow": (25 / 46, 21 / 46, 0.0),
    "BlackmanWindow": (0.42, 0.5, 0.08),
}


@operator(*_COSINES, host=(0,))
def _window(node: Node, size: Tensor) -> Tensor:
    count = ints(size)[0]
    last = count if node.integer("periodic", 1) else count - 1
    angle = np.arange(count) * (2 * math.pi / max(last, 1))
    level, first, second = _COSINES[node.op]
    values = level - first * np.cos(angle) + second * np.cos(2 * angle)
    return torch.from_numpy(values).to(DTYPES[node.integer("output_datatype", 1)])


@operator("MelWeightMatrix", host=(0, 1, 2, 3, 4))
def _mel_weights(node: Node, bins: Tensor, length: Tensor, rate: Tensor, low: Tensor, high: Tensor) -> Tensor:
    count, size = ints(bins)[0], ints(length)[0]
    first, last = (2595 * math.log10(1 + float(edge) / 700) for edge in (low, high))
    mels = np.arange(count + 2) * ((last - first) / (count + 2)) + first
    edges = ((size + 1) * 700 * (10 ** (mels / 2595) - 1) // ints(rate)[0]).astype(np.int64)
    matrix = np.zeros((size // 2 + 1, count))
    for i in range(count):
        left, centre, right = (int(edge) for edge in edges[i : i + 3])
        if left == centre:
            matrix[centre, i] = 1.0
        else:
            matrix[left : centre + 1, i] = np.arange(centre + 1 - left) / (centre - left)
        if right > centre:
            matrix[centre:right, i] = np.arange(right - centre, 0, -1) / (right - centre)
    return torch.from_numpy(matrix).to(DTYPES[node.integer("output_datatype", 1)])
