"""Image files: a folder with a subfolder a class, or a flat folder with a CSV of labels; the bundled images."""

from __future__ import annotations

import hashlib
from importlib import resources
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

from robaudit.data.labels import check_labels, name_index, read_csv
from robaudit.data.source import Dataset
from robaudit.errors import UnreadableSampleError, UsageError

__all__ = ["ImageDataset", "bundled", "open_folder"]

SUFFIXES = {".png", ".jpg", ".jpeg", ".bmp", ".gif", ".tif", ".tiff", ".webp", ".ppm", ".pgm"}
FILTERS = {
    "nearest": Image.Resampling.NEAREST,
    "bilinear": Image.Resampling.BILINEAR,
    "bicubic": Image.Resampling.BICUBIC,
    "lanczos": Image.Resampling.LANCZOS,
}


class ImageDataset(Dataset):
    """Image files, cut to C x H x W when they are loaded."""

    def __init__(
        self,
        files: list[Path] | list[Traversable],
        shape: tuple[int, int, int],
        crop: float,
        interpolation: str,
        **fields: Any,
    ) -> None:
        super().__init__(**fields)
        self._files = files
        self._shape = shape
        self._crop = crop
        self._filter = FILTERS[interpolation]

    def load(self, index: int) -> NDArray[Any]:
        """Read, resize and crop one image."""
        try:
            with self._files[index].open("rb") as file, Image.open(file) as opened:
                image = ImageOps.exif_transpose(opened)
                image = image.convert({1: "L", 3: "RGB", 4: "RGBA"}[self._shape[0]])
                image = _cut(image, self._shape[1], self._shape[2], self._crop, self._filter)
        except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
            reason = " ".join(str(error).split())[:160]
            raise UnreadableSampleError(f"the image {self.ids[index]} cannot be read: {reason}") from error
        pixels = np.asarray(image, dtype=np.float32) / np.float32(255)
        return np.ascontiguousarray(pixels[None] if pixels.ndim == 2 else np.moveaxis(pixels, -1, 0))


def _cut(image: Image.Image, height: int, width: int, crop: float, how: Image.Resampling) -> Image.Image:
    """Resize so that the centre crop covers ``crop`` of the tighter side; an exact fit is left alone."""
    if image.size == (width, height):
        return image
    factor = max(height / image.height, width / image.width) / crop
    size = (max(width, round(image.width * factor)), max(height, round(image.height * factor)))
    image = image.resize(size, how)
    left, top = round((size[0] - width) / 2), round((size[1] - height) / 2)
    return image.crop((left, top, left + width, top + height))


def _image_shape(shape: tuple[int, ...], where: str) -> tuple[int, int, int]:
    if len(shape) != 3 or shape[0] not in (1, 3, 4):
        words = "x".join(map(str, shape))
        raise UsageError(f"{where} holds images, and the model takes samples of {words}; give an .npz of arrays")
    return shape[0], shape[1], shape[2]


def _what_was_done(shape: tuple[int, int, int], crop: float, interpolation: str) -> list[str]:
    kind = {1: "grey", 3: "RGB", 4: "RGBA"}[shape[0]]
    return [
        f"images were converted to {kind}, resized ({interpolation}) and cut to the centre {shape[1]}x{shape[2]} "
        f"(crop {crop:g}) before the attack, unless they had that size"
    ]


def open_folder(
    folder: Path,
    *,
    shape: tuple[int, ...],
    crop: float,
    interpolation: str,
    num_classes: int | None,
    class_names: list[str] | None,
    labels: Path | None,
) -> Dataset:
    """Open an image folder.

    Args:
        folder: with a subfolder a class; or flat, with ``labels`` or a ``labels.csv`` of file,label.
        shape: C, H, W that the model takes.
        crop, interpolation: how images are cut.
        num_classes: of the model.
        class_names: declared, in the order of the model's outputs.
        labels: CSV file.

    Raises:
        UsageError: no images, or labels that do not fit.
    """
    size = _image_shape(shape, str(folder))
    csv_path = labels if labels is not None else folder / "labels.csv"
    files: list[Path]
    names: list[str] | None
    if csv_path.is_file():
        rows = read_csv(csv_path)
        files, names = [folder / name for name, _ in rows], [label for _, label in rows]
    elif labels is not None:
        raise UsageError(f"there is no labels file {labels}")
    else:
        files = sorted(p for p in folder.rglob("*") if p.suffix.lower() in SUFFIXES and p.is_file())
        flat = [p for p in files if p.parent == folder]
        names = None if flat else [p.relative_to(folder).parts[0] for p in files]
        if flat and len(flat) != len(files):
            raise UsageError(f"{folder} mixes images with class subfolders; give one or the other")
    if not files:
        raise UsageError(f"{folder} holds no images ({', '.join(sorted(SUFFIXES))})")
    classes, order, values = class_names, None, None
    if names is not None:
        index, order = name_index(names, class_names, num_classes, str(csv_path if csv_path.is_file() else folder))
        values = check_labels(np.array([index[n] for n in names]), num_classes, str(folder))
        if classes is None and order != "numeric":
            classes = sorted(index, key=index.__getitem__)
    notes = _what_was_done(size, crop, interpolation)
    if order == "sorted, assumed":
        notes.append("class numbers follow the sorted class names, which is assumed")
    return ImageDataset(
        files,
        size,
        crop,
        interpolation,
        source=str(folder),
        kind="image folder",
        ids=[_relative(p, folder) for p in files],
        labels=values,
        digest=_digest(files, folder),
        class_names=classes,
        class_order=order,
        notes=notes,
    )


def _relative(path: Path, folder: Path) -> str:
    return path.relative_to(folder).as_posix() if path.is_relative_to(folder) else path.as_posix()


def _digest(files: list[Path], folder: Path) -> str:
    """Over relative names and contents; a file that cannot be read counts as empty."""
    total = hashlib.sha256()
    for path in files:
        total.update(_relative(path, folder).encode() + b"\0")
        try:
            with path.open("rb") as file:
                total.update(hashlib.file_digest(file, "sha256").digest())
        except OSError:
            total.update(b"unreadable")
    return total.hexdigest()


def bundled(shape: tuple[int, ...]) -> Dataset:
    """The images that ship with robaudit, cut to the model's shape; they have no labels.

    Raises:
        UsageError: the model takes no images.
    """
    words = "x".join(map(str, shape))
    if len(shape) != 3 or shape[0] not in (1, 3, 4):
        raise UsageError(f"the model takes samples of {words}, no images; give --data FILE.npz with x and y")
    size = (shape[0], shape[1], shape[2])
    root = resources.files("robaudit") / "data" / "bundled"
    files = sorted((f for f in root.iterdir() if f.name.endswith(".jpg")), key=lambda f: f.name)
    digest = hashlib.sha256(b"".join(f.read_bytes() for f in files)).hexdigest()
    return ImageDataset(
        files,
        size,
        1.0,
        "bicubic",
        source="bundled images",
        kind="bundled",
        ids=[f.name for f in files],
        labels=None,
        digest=digest,
        notes=["no data was given: bundled images, cut to the model's input, stand in for it"],
    )
