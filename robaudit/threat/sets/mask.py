"""A mask: only some features may change, such as a sticker's place in an image."""

from __future__ import annotations

import base64
import binascii
import functools
import hashlib
import json
import math
import zlib
from dataclasses import replace
from pathlib import Path
from typing import Self

import numpy as np
from numpy.typing import NDArray
from pydantic.dataclasses import dataclass

from robaudit.errors import UsageError
from robaudit.files import text_of
from robaudit.printable import plain
from robaudit.target.inputs.meaning import InputMeaning
from robaudit.threat.sets.base import PerturbationSet

__all__ = ["Mask"]


@dataclass(frozen=True)
class Mask(PerturbationSet):
    """Only the features that a file marks may change; the others stay as they are in each sample.

    A mask says where an attacker can put something: a sticker on a sign, a part of a screen, the columns of a form.
    With L-infinity and eps 1 everything is allowed there. The mask is the same for all samples: where the place
    moves from image to image, the figures hold for this place alone.

    Args:
        file: an image of the model's size in black and white, white where pixels may change (in all channels); or an
            .npy or .npz array of 0 and 1 (or false and true), H x W or of a sample's shape, 1 where values may change.
        shape: of a sample; a result keeps it, with the mask itself, so that a replay needs no file.
        bits: the mask, one bit a feature, compressed, in base64.
    """

    id = "mask"
    files = ("file",)

    file: str
    shape: tuple[int, ...] = ()
    bits: str = ""

    def fitted(self, meaning: InputMeaning) -> Self:
        """With the content of its file, of which the name is kept.

        Raises:
            UsageError: the file cannot be read, holds no mask of the input's size, or leaves nothing to change.
        """
        from robaudit.data.masks import read_mask  # reads images, which a replay does not need

        path = Path(self.file)
        free = read_mask(path, meaning.shape, image=meaning.kind == "image", channels_last=meaning.layout == "nhwc")
        if not free.any():
            colour = "black, and white" if path.suffix.lower() not in (".npy", ".npz") else "0, and 1"
            raise UsageError(f"the mask {path} lets nothing change: all of it is {colour} is what may change")
        packed = zlib.compress(np.packbits(free).tobytes(), 9)
        bits = base64.b64encode(packed).decode("ascii")
        return replace(self, file=text_of(path.name), shape=meaning.shape, bits=bits)

    def fixed(self, shape: tuple[int, ...]) -> NDArray[np.bool_] | None:
        """[*shape], set where the mask is not.

        Raises:
            ValueError: it is not of this shape, or damaged.
        """
        if tuple(shape) != self.shape:
            raise ValueError(f"the mask is of shape {self.shape}, not {tuple(shape)}")
        return _fixed(self.bits, self.shape)

    def words(self, shape: tuple[int, ...]) -> str:
        """How much may change, and the file that says where."""
        return f"{super().words(shape)} (mask {plain(self.file, 40)})"

    def notes(self, shape: tuple[int, ...]) -> list[str]:
        """That it restricts nothing, where it does not."""
        if self.measure(shape) < math.prod(shape):
            return []
        return [f"the mask {plain(self.file, 40)} lets everything change, as if there were none"]

    def digest(self) -> str:
        """SHA-256 of the shape and the mask, whatever its file is called and however it was compressed."""
        still = np.packbits(_fixed(self.bits, self.shape)).tobytes()
        return hashlib.sha256(json.dumps([self.id, self.shape]).encode() + still).hexdigest()


@functools.lru_cache(maxsize=8)
def _fixed(bits: str, shape: tuple[int, ...]) -> NDArray[np.bool_]:
    count = math.prod(shape)
    size = (count + 7) // 8
    try:
        opened = zlib.decompressobj()
        packed = opened.decompress(base64.b64decode(bits, validate=True), size + 1)
    except (binascii.Error, zlib.error, ValueError) as error:
        raise ValueError(f"the mask is damaged: {error}") from error
    if len(packed) != size or min(shape, default=1) < 1:
        raise ValueError(f"the mask is damaged: it has {len(packed)} bytes, and {count} features need {size}")
    free = np.unpackbits(np.frombuffer(packed, dtype=np.uint8), count=count).astype(np.bool_)
    still = ~free.reshape(shape)
    still.flags.writeable = False
    return still
