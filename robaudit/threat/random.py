"""Counter-based random numbers: a pure function of (seed, sample, attack, restart, aim, step, purpose).

No generator state exists, so a draw does not depend on the batch, the order, the device or a resume.
The mixing function is SplitMix64's finaliser (Steele, Lea, Flood 2014, fig. 15), computed in int64, whose
multiplication wraps in the same way on every device.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

import torch
from torch import Tensor

__all__ = ["Draws", "key_of", "mixed"]

_GAMMA = -7046029254386353131  # 0x9E3779B97F4A7C15
_M1 = -4658895280553007687  # 0xBF58476D1CE4E5B9
_M2 = -7723592293110705685  # 0x94D049BB133111EB
_PART = 2**17
"""Words of a part."""
_ODD = 0x0001000100010001
"""The lowest bit of each quarter of a word."""


def key_of(*parts: object) -> int:
    """A signed 64-bit key from any printable parts, equal on every machine."""
    text = "\x1f".join(str(part) for part in parts).encode()
    return int.from_bytes(hashlib.blake2b(text, digest_size=8).digest(), "little", signed=True)


def _shift(z: Tensor, bits: int) -> Tensor:
    """Logical right shift (torch shifts signed integers arithmetically)."""
    return (z >> bits).bitwise_and_((1 << (64 - bits)) - 1)


def mixed(z: Tensor) -> Tensor:
    """SplitMix64's finaliser of int64 words; overwrites its argument, since these arrays are large."""
    z.bitwise_xor_(_shift(z, 30)).mul_(_M1)
    z.bitwise_xor_(_shift(z, 27)).mul_(_M2)
    return z.bitwise_xor_(_shift(z, 31))


Change: TypeAlias = Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]
"""Of two uniform numbers into two others."""


def _normal(first: Tensor, second: Tensor) -> tuple[Tensor, Tensor]:
    """Box and Muller; overwrites its arguments."""
    radius = first.neg_().log1p_().mul_(-2).sqrt_()
    angle = second.mul_(2 * math.pi)
    return angle.cos().mul_(radius), angle.sin_().mul_(radius)


@dataclass(frozen=True)
class Draws:
    """Random numbers for a batch of slots.

    Args:
        keys: [S] int64, one key a slot (from :func:`key_of`).
    """

    keys: Tensor

    def _bits(self, purpose: str, step: Tensor | int, words: range) -> Tensor:
        """[S, words] 64 bits each."""
        start = mixed(self.keys ^ key_of(purpose))
        number = torch.as_tensor(step, dtype=torch.int64, device=self.keys.device)
        start = mixed(start + (number + 1) * _GAMMA)
        counter = torch.arange(words.start + 1, words.stop + 1, dtype=torch.int64, device=self.keys.device) * _GAMMA
        return mixed(start[:, None] + counter[None, :])

    def _drawn(
        self, purpose: str, step: Tensor | int, shape: tuple[int, ...], change: Change | None, skip: int = 0
    ) -> Tensor:
        """[S, *shape] float32 from uniforms on the 24-bit grid of [0, 1), two of each 64-bit word.

        They stand in turn, so that a longer draw begins with the shorter one. On a CPU it is done in parts that the
        cache holds.
        """
        size, before = math.prod(shape), skip // 2
        words = (size + 1) // 2
        drawn = torch.empty(len(self.keys), 2 * words, device=self.keys.device)
        most = max(1, _PART // max(1, len(self.keys))) if drawn.device.type == "cpu" else max(1, words)
        for begin in range(0, words, most):
            part = range(begin, min(begin + most, words))
            bits = self._bits(purpose, step, range(before + part.start, before + part.stop))
            second = (bits & 0xFFFFFF).float().mul_(2.0**-24)
            first = _shift(bits, 40).float().mul_(2.0**-24)
            both = drawn[:, 2 * part.start : 2 * part.stop]
            both[:, ::2], both[:, 1::2] = (first, second) if change is None else change(first, second)
        return drawn[:, :size].reshape(-1, *shape)

    def uniform(self, purpose: str, step: Tensor | int, shape: tuple[int, ...]) -> Tensor:
        """Uniform on [0, 1).

        Args:
            purpose: names the draw; two draws of one step need two names.
            step: a number for all slots or [S] int64, each slot's own.
            shape: of one slot's draw.

        Returns:
            [S, *shape] float32.
        """
        return self._drawn(purpose, step, shape, None)

    def normal(self, purpose: str, step: Tensor | int, shape: tuple[int, ...], *, skip: int = 0) -> Tensor:
        """Standard normal by Box and Muller (1958); arguments and shape as :meth:`uniform`.

        Args:
            purpose: as in :meth:`uniform`; ``step`` and ``shape`` likewise.
            step: see there.
            shape: see there.
            skip: how many numbers of the draw come before these, an even number.
        """
        return self._drawn(purpose, step, shape, _normal, skip)

    def coarse(self, purpose: str, step: Tensor | int, shape: tuple[int, ...], *, skip: int = 0) -> Tensor:
        """Uniform on the odd whole numbers from -32767 to 32767, for noise: a third of the work of :meth:`uniform`.

        Args:
            purpose: as in :meth:`uniform`; ``step`` likewise.
            step: see there.
            shape: of one slot's draw: its rows, and the shape of a row. Each row begins a word of its own.
            skip: how many rows of the draw come before these.

        Returns:
            [S, *shape] int16.
        """
        size = math.prod(shape[1:])
        words = (size + 3) // 4
        bits = self._bits(purpose, step, range(skip * words, (skip + shape[0]) * words)).bitwise_or_(_ODD)
        drawn = bits.view(torch.int16).reshape(len(self.keys), shape[0], 4 * words)
        return drawn[..., :size].reshape(-1, *shape)

    def sign(self, purpose: str, step: Tensor | int, shape: tuple[int, ...]) -> Tensor:
        """-1 or 1 with equal probability; arguments and shape as :meth:`uniform`."""
        return torch.where(self.uniform(purpose, step, shape) < 0.5, -1.0, 1.0)

    def integers(self, purpose: str, step: Tensor | int, high: Tensor) -> Tensor:
        """One integer in [0, high) for each slot.

        Args:
            purpose: as in :meth:`uniform`.
            step: as in :meth:`uniform`.
            high: [S] int64, exclusive, at least 1 and below 2**24.

        Returns:
            [S] int64.
        """
        drawn = (self.uniform(purpose, step, (1,))[:, 0].double() * high).long()
        return torch.minimum(drawn, high - 1)
