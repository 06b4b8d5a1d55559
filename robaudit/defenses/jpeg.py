"""JPEG compression."""

from __future__ import annotations

import functools
import io
from typing import TYPE_CHECKING, Annotated, Any, Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from pydantic import Field

from robaudit.attacks.parameters import attack_parameters
from robaudit.defenses.base import Defense
from robaudit.defenses.suited import no_eight_bits, no_images
from robaudit.target.inputs.meaning import InputMeaning

if TYPE_CHECKING:  # replays of ONNX files do without torch
    from torch import Tensor

__all__ = ["Jpeg"]


@attack_parameters
class Jpeg(Defense):
    """Compresses the image as a JPEG file and opens it again, which rounds away fine detail.

    The codec is the real one (Pillow's), on 8 bits. Its rounding has no gradient; on the way back a differentiable copy
    of the codec stands for it, whose rounding is averaged over noise of 5/255. Sources: Dziugaite, Ghahramani, Roy
    2016, "A Study of the Effect of JPG Compression on Adversarial Images"; Guo, Rana, Cisse, van der Maaten 2018,
    "Countering Adversarial Images using Input Transformations"; a differentiable codec is of Shin, Song 2017,
    "JPEG-resistant Adversarial Images", with another rounding.

    Args:
        quality: as Pillow counts it, 1 the smallest file and 100 the best image.
        subsampling: of the colours: at full size, at half the width, or at half the width and height.
    """

    id = "jpeg"

    quality: Annotated[int, Field(ge=1, le=100)] = 75
    subsampling: Literal["4:4:4", "4:2:2", "4:2:0"] = "4:2:0"

    def unsuited(self, meaning: InputMeaning) -> str | None:
        """It takes grey and colour images of 8 bits."""
        return no_images(meaning, (1, 3)) or no_eight_bits(meaning)

    def shown(self, u: NDArray[Any]) -> NDArray[Any]:
        """Each image [C, H, W], C = 1 or 3, through a file in memory; rounded to 8 bits, half up."""
        pixels = np.floor(np.clip(u.astype(np.float64), 0, 1) * 255 + 0.5).astype(np.uint8)
        rows = [np.asarray(self._coded(np.moveaxis(image, 0, -1))) for image in pixels]
        found = np.moveaxis(np.stack(rows).reshape(len(u), *u.shape[2:], u.shape[1]), -1, 1) / 255
        return np.ascontiguousarray(found, dtype=u.dtype)

    def _coded(self, pixels: NDArray[np.uint8]) -> Image.Image:
        """[H, W, C] through the codec."""
        return _through_file(pixels, self.quality, self.subsampling)

    def backward_path(self, u: Tensor) -> Tensor:
        """The codec with soft rounding; its values are close to the codec's, and not the same."""
        import torch

        from robaudit.defenses._soft_jpeg import soft_jpeg

        tables = [torch.tensor(t, dtype=u.dtype, device=u.device) for t in _tables(self.quality, u.shape[1])]
        across, down = {"4:4:4": (1, 1), "4:2:2": (2, 1), "4:2:0": (2, 2)}[self.subsampling]
        return soft_jpeg(u, tables, (down, across))


def _through_file(pixels: NDArray[np.uint8], quality: int, subsampling: str) -> Image.Image:
    image, file = Image.fromarray(pixels[:, :, 0] if pixels.shape[2] == 1 else pixels), io.BytesIO()
    image.save(file, "JPEG", quality=quality, subsampling=subsampling)
    found = Image.open(file)
    found.load()
    return found


@functools.lru_cache(maxsize=32)
def _tables(quality: int, channels: int) -> tuple[tuple[tuple[int, ...], ...], ...]:
    """The codec's own tables [8, 8] at a quality: of brightness, and of colours where there are any."""
    found = _through_file(np.zeros((8, 8, channels), dtype=np.uint8), quality, "4:4:4")
    quantization: dict[int, list[int]] = found.quantization  # type: ignore[attr-defined]
    rows = [np.array(table).reshape(8, 8) for _, table in sorted(quantization.items())]
    return tuple(tuple(tuple(map(int, row)) for row in table) for table in rows)
