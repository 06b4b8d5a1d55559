"""The pixels of one image file, as the model takes them."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError

from robaudit.data.folder import formats

__all__ = ["MODES", "Header", "read_grey", "read_header", "read_pixels"]

ORIENTATION = 0x0112
"""EXIF tag; 5 to 8 mean that width and height are swapped."""
PHOTOMETRIC = 262
"""TIFF tag; 0 means that white is 0."""
SIXTEEN = ("PNG", "PPM", "JPEG2000")
"""Formats whose mode I is 16 bits without a sign."""
MODES = {1: "L", 3: "RGB", 4: "RGBA"}
MOST_PIXELS = 2**26
"""Of an image after resizing and before the crop."""
PART = 2**20
"""Pixels converted together."""
FILTERS = {
    "nearest": Image.Resampling.NEAREST,
    "bilinear": Image.Resampling.BILINEAR,
    "bicubic": Image.Resampling.BICUBIC,
    "lanczos": Image.Resampling.LANCZOS,
}


def read_pixels(file: IO[bytes], shape: tuple[int, int, int], crop: float, interpolation: str) -> NDArray[Any]:
    """Read, resize and crop an image: [C, H, W] float32 in [0, 1].

    Raises:
        Exception: any, for a file that is damaged.
    """
    with _opened(file) as opened:
        deep = _deep(opened)
        image = _converted(ImageOps.exif_transpose(opened), MODES[shape[0]], deep)
        image = _cut(image, shape[1], shape[2], crop, FILTERS[interpolation])
    pixels = np.asarray(image, dtype=np.float32) / np.float32(255)
    return np.ascontiguousarray(pixels[None] if pixels.ndim == 2 else np.moveaxis(pixels, -1, 0))


def read_grey(file: IO[bytes]) -> NDArray[np.uint8]:
    """[H, W] grey values of an image as it is, neither resized nor blended.

    Raises:
        ValueError: it has colours, is transparent in places, or holds several frames.
        Exception: any, for a file that is damaged.
    """
    with _opened(file) as opened:
        if getattr(opened, "is_animated", False):
            raise ValueError("it holds several frames")
        deep = _deep(opened)
        clear = opened.has_transparency_data
        values = np.asarray(_converted(ImageOps.exif_transpose(opened), "RGBA", deep))
    if clear and (values[..., 3] < 255).any():
        raise ValueError("it is transparent in places")
    if (values[..., :3] != values[..., :1]).any():
        raise ValueError("it has colours, and a mask is black and white")
    return np.ascontiguousarray(values[..., 0])


@contextmanager
def _opened(file: IO[bytes]) -> Iterator[Image.Image]:
    """An image, without Pillow's remarks on damaged metadata: it raises where it matters."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            opened = Image.open(file, formats=formats())
        except UnidentifiedImageError:
            raise ValueError("it is no image of a format that is read here") from None
        with opened as image:
            yield image


def _deep(image: Image.Image) -> tuple[int, int] | None:
    """Black and white of an image of 16 bits, which Pillow does not put in order; None for other images.

    Raises:
        ValueError: nothing says which value is white.
    """
    if image.mode == "F":
        raise ValueError("its grey values are floating-point numbers of unknown range")
    if not image.mode.startswith("I"):
        return None
    if image.mode == "I" and image.format not in SIXTEEN:
        raise ValueError("its grey values are signed or have 32 bits, in an unknown range")
    tags = getattr(image, "tag_v2", {})
    return (65535, 0) if tags.get(PHOTOMETRIC) == 0 else (0, 65535)


def _converted(image: Image.Image, mode: str, deep: tuple[int, int] | None) -> Image.Image:
    """In 8 bits a channel. Pillow clips 16 bits; here they are scaled from black to white."""
    if deep is not None:
        values = np.asarray(image)
        if values.size and not 0 <= values.min() <= values.max() < 2**16:
            raise ValueError("its grey values need more than 16 bits")
        grey = np.empty(values.shape, dtype=np.uint8)
        step = max(1, PART // max(1, image.width))
        for start in range(0, len(values), step):  # of a large image wider numbers would take gigabytes
            part = values[start : start + step].astype(np.int32)
            grey[start : start + step] = (abs(part - deep[0]) + 128) // 257
        image = Image.fromarray(grey)
    return image if image.mode == mode else image.convert(mode)


def _cut(image: Image.Image, height: int, width: int, crop: float, how: Image.Resampling) -> Image.Image:
    """Resize so that the centre crop covers ``crop`` of the tighter side; an exact fit is left alone."""
    if image.size == (width, height):
        return image
    factor = max(height / image.height, width / image.width) / crop
    size = (max(width, round(image.width * factor)), max(height, round(image.height * factor)))
    if size[0] * size[1] > MOST_PIXELS:
        raise ValueError(f"{image.width}x{image.height} pixels are too far from the model's {width}x{height} in shape")
    image = image.resize(size, how)
    left, top = round((size[0] - width) / 2), round((size[1] - height) / 2)
    return image.crop((left, top, left + width, top + height))


@dataclass(frozen=True)
class Header:
    """Of an image file: (width, height) as it is shown, mode, whether it has several frames, and transparency."""

    size: tuple[int, int]
    mode: str
    frames: bool
    clear: bool


def read_header(file: IO[bytes]) -> Header | None:
    """None where it is no image that can be read."""
    file.seek(0)
    try:
        with _opened(file) as image:
            turned = image.getexif().get(ORIENTATION) in (5, 6, 7, 8)
            several = bool(getattr(image, "is_animated", False)) and image.format != "MPO"  # a photo and its preview
            size = image.size[::-1] if turned else image.size
            return Header(size, image.mode, several, image.has_transparency_data)
    except Exception:  # loading it says what is wrong
        return None
