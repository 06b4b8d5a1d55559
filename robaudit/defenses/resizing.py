"""Random resizing and padding."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from robaudit.attacks.parameters import attack_parameters
from robaudit.defenses.base import RandomDefense
from robaudit.defenses.suited import no_images
from robaudit.target.inputs.meaning import InputMeaning

if TYPE_CHECKING:  # replays of ONNX files do without torch
    from torch import Tensor

__all__ = ["ResizePad"]


@attack_parameters
class ResizePad(RandomDefense):
    """Makes the image smaller by a random factor, and puts it at a random place of a black one of the old size.

    It is drawn anew for each answer; width and height shrink alike, bilinearly. The gradient is exact at each draw, and
    attacks take means over draws. Source: Xie, Wang, Zhang, Ren, Yuille 2018, "Mitigating Adversarial Effects Through
    Randomization", which enlarges images instead, as its models take larger ones.

    Args:
        least: smallest factor.
    """

    id = "resize-pad"

    least: Annotated[float, Field(gt=0, lt=1)] = 0.85

    def unsuited(self, meaning: InputMeaning) -> str | None:
        """It takes images."""
        return no_images(meaning)

    def drawn(self, u: NDArray[Any], keys: NDArray[np.uint64]) -> NDArray[Any]:
        """Each image at its own draw, in double precision."""
        return np.stack(
            [np.clip(d @ one.astype(np.float64) @ a.T, 0, 1) for one, (d, a) in self._drawn(u, keys)]
        ).astype(u.dtype)

    def drawn_path(self, u: Tensor, keys: NDArray[np.uint64]) -> Tensor:
        """The same weights as matrices."""
        import torch

        pairs = [
            torch.from_numpy(d).to(u) @ one @ torch.from_numpy(a.T.copy()).to(u) for one, (d, a) in self._drawn(u, keys)
        ]
        return torch.stack(pairs)

    def _drawn(
        self, u: Any, keys: NDArray[np.uint64]
    ) -> list[tuple[Any, tuple[NDArray[np.float64], NDArray[np.float64]]]]:
        """Each image with the matrices [H, H] and [W, W] that shrink and place its columns and rows."""
        high, wide = u.shape[2:]
        found = []
        for one, key in zip(u, keys, strict=True):
            factor, down, across = np.random.Generator(np.random.Philox(key)).random(3)
            factor = self.least + (1 - self.least) * factor
            found.append((one, (_placing(high, factor, down), _placing(wide, factor, across))))
        return found


def _placing(size: int, factor: float, place: float) -> NDArray[np.float64]:
    """[size, size] what each place of a line, in its row, takes from the others: bilinear weights of a line that is
    made shorter, and zeros around it.

    Args:
        size: of the line.
        factor: that it is made shorter by.
        place: from 0 to 1, of its beginning among those that there are.
    """
    short = max(1, round(size * factor))
    begin = min(int(place * (size - short + 1)), size - short)
    at = np.clip((np.arange(short) + 0.5) * size / short - 0.5, 0, size - 1)
    low = np.minimum(at.astype(np.int64), size - 1)
    high = np.minimum(low + 1, size - 1)
    found = np.zeros((size, size))
    rows = begin + np.arange(short)
    np.add.at(found, (rows, low), 1 - (at - low))
    np.add.at(found, (rows, high), at - low)
    return found
