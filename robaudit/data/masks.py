"""Masks: files that say which features of a sample may change."""

from __future__ import annotations

import io
import math
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from robaudit.data.npz import open_arrays, read_npy
from robaudit.data.pixels import read_grey, read_header
from robaudit.errors import RobauditError, UsageError, on_one_line
from robaudit.files import MIB, read_regular
from robaudit.plural import counted

__all__ = ["read_mask"]

LARGEST = 64 * MIB
"""Bytes of an image."""
ARRAYS = (".npy", ".npz")


def read_mask(path: Path, shape: tuple[int, ...], *, image: bool, channels_last: bool) -> NDArray[np.bool_]:
    """[*shape] what may change, of one sample in u-space.

    Args:
        path: an ``.npy``, an ``.npz`` with one array (or one called ``mask``), or an image.
        shape: of a sample.
        image: the model takes images, channels first.
        channels_last: arrays of the ambiguous shape N x N x N have channels last, as the model's file.

    Raises:
        UsageError: there is no such file, it cannot be read, holds something else than a mask, or has another size.
    """
    if not path.is_file():
        raise UsageError(f"there is no mask {path}")
    try:
        found = _array(path) if path.suffix.lower() in ARRAYS else _image(path, shape, image=image)
    except RobauditError:
        raise
    except Exception as error:  # of decoders and of NumPy, each their own
        why = on_one_line(error, 160)
        raise UsageError(f"the mask {path} cannot be read: {why}") from error
    return np.ascontiguousarray(_fit(path, found, shape, image=image, channels_last=channels_last))


def _array(path: Path) -> NDArray[np.bool_]:
    if path.suffix.lower() == ".npy":
        values = read_npy(path)
    else:
        with open_arrays(path) as arrays:
            names = arrays.files
            name = "mask" if "mask" in arrays else names[0] if len(names) == 1 else None
            if name is None:
                told = ", ".join(names[:8]) or "none"
                raise UsageError(f"the mask {path} must hold one array, or one called mask; it holds {told}")
            values = arrays[name]
    if values.dtype.kind not in "biuf":
        raise UsageError(f"the mask {path} has type {values.dtype}; it must hold 0 and 1, or false and true")
    return _two(path, values, 1, "neither 0 nor 1")


def _two(path: Path, values: NDArray[Any], high: int, neither: str) -> NDArray[np.bool_]:
    """Whether values are the high one.

    Raises:
        UsageError: some are neither that nor 0.
    """
    on = values == high
    other = ~(on | (values == 0))
    if other.any():
        place = tuple(int(i) for i in np.argwhere(other)[0])
        raise UsageError(
            f"the mask {path} holds {counted(int(other.sum()), 'value')} {neither}, such as {values[place]} at "
            f"{place if len(place) > 1 else place[0]}"
        )
    return np.asarray(on, dtype=np.bool_)


def _image(path: Path, shape: tuple[int, ...], *, image: bool) -> NDArray[np.bool_]:
    """[H, W]: white pixels."""
    if not image:
        raise UsageError(
            f"the mask {path} is an image, and the model takes samples of {_words(shape)}; give an .npy or .npz array "
            "of 0 and 1"
        )
    content = io.BytesIO(read_regular(path, LARGEST))
    header = read_header(content)
    if header is not None and header.size != (shape[2], shape[1]):
        raise _misfit(path, header.size[::-1], shape, image=True)  # before its pixels are unpacked
    grey = read_grey(content)
    return _two(path, grey, 255, "neither black nor white")


def _fit(
    path: Path, mask: NDArray[np.bool_], shape: tuple[int, ...], *, image: bool, channels_last: bool
) -> NDArray[np.bool_]:
    """Of a sample's shape: that of an image's pixels counts for all channels."""
    swapped = mask.ndim == 3 and image and (*mask.shape[2:], *mask.shape[:2]) == shape
    if swapped and (mask.shape != shape or channels_last):
        return np.moveaxis(mask, -1, 0)
    if mask.shape == shape:
        return mask
    if image and mask.ndim == 2 and mask.shape == shape[1:]:
        return np.broadcast_to(mask, shape)
    if not image and mask.shape == (math.prod(shape),):
        return mask.reshape(shape)
    raise _misfit(path, mask.shape, shape, image=image)


def _misfit(path: Path, found: tuple[int, ...], shape: tuple[int, ...], *, image: bool) -> UsageError:
    wanted = f"{_words(shape[1:])} pixels" if image else f"{_words(shape)} features"
    or_more = f" (or {_words(shape)} values)" if image else ""
    return UsageError(
        f"the mask {path} has the size {_words(found) or 'of one number'}, and the model takes {wanted}{or_more}; "
        "masks are not resized"
    )


def _words(shape: tuple[int, ...]) -> str:
    return "x".join(map(str, shape))
