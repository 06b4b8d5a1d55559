"""Image files: a folder with a subfolder a class, or a flat folder with a CSV of labels; the bundled images."""

from __future__ import annotations

import hashlib
import warnings
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import resources
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

from robaudit.data.labels import check_labels, name_index, read_csv
from robaudit.data.source import Dataset
from robaudit.errors import UnreadableSampleError, UsageError

__all__ = ["ImageDataset", "bundled_dataset", "open_folder"]

SUFFIXES = {".png", ".jpg", ".jpeg", ".bmp", ".gif", ".tif", ".tiff", ".webp", ".ppm", ".pgm"}
ORIENTATION = 0x0112
"""EXIF tag; 5 to 8 mean that width and height are swapped."""
MODES = {1: "L", 3: "RGB", 4: "RGBA"}
MOST_PIXELS = 2**26
"""Of an image after resizing and before the crop."""
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
        """Read, resize and crop one image.

        Raises:
            UnreadableSampleError: the file is missing or damaged.
        """
        try:
            with self._files[index].open("rb") as file, _opened(file) as opened:
                image = _converted(ImageOps.exif_transpose(opened), MODES[self._shape[0]])
                image = _cut(image, self._shape[1], self._shape[2], self._crop, self._filter)
        except Exception as error:  # a damaged file may break its decoder anywhere; it costs this sample alone
            reason = getattr(error, "strerror", None) or " ".join(str(error).split())[:160] or type(error).__name__
            raise UnreadableSampleError(f"the image {self.ids[index]} cannot be read: {reason}") from error
        pixels = np.asarray(image, dtype=np.float32) / np.float32(255)
        return np.ascontiguousarray(pixels[None] if pixels.ndim == 2 else np.moveaxis(pixels, -1, 0))

    def stored(self, index: int) -> bytes | None:
        """The file's bytes, where there is one that can be opened."""
        try:
            return self._files[index].read_bytes()
        except OSError:
            return None


@contextmanager
def _opened(file: IO[bytes]) -> Iterator[Image.Image]:
    """An image, without Pillow's remarks on damaged metadata: it raises where it matters."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with Image.open(file) as image:
            yield image


def _converted(image: Image.Image, mode: str) -> Image.Image:
    """In 8 bits a channel. Pillow clips 16 bits; here they are scaled."""
    if image.mode.startswith("I"):
        values = np.asarray(image).astype(np.int64)
        if values.size and not 0 <= values.min() <= values.max() < 2**16:
            raise ValueError("its grey values need more than 16 bits")
        image = Image.fromarray(((values + 128) // 257).astype(np.uint8))
    elif image.mode == "F":
        raise ValueError("its grey values are floating-point numbers of unknown range")
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


def _image_shape(shape: tuple[int, ...], where: str) -> tuple[int, int, int]:
    if len(shape) != 3 or shape[0] not in (1, 3, 4):
        words = "x".join(map(str, shape))
        raise UsageError(f"{where} holds images, and the model takes samples of {words}; give an .npz of arrays")
    return shape[0], shape[1], shape[2]


def open_folder(
    folder: Path,
    *,
    shape: tuple[int, ...],
    crop: float,
    interpolation: str,
    num_classes: int | None,
    class_names: list[str] | None,
    labels: Path | None,
    labelled: bool = True,
) -> Dataset:
    """Open an image folder. Every file is read once, for the digest and to note what will be done to the images.

    Args:
        folder: with a subfolder a class; or flat, with ``labels`` or a ``labels.csv`` of file,label.
        shape: C, H, W that the model takes.
        crop, interpolation: how images are cut.
        num_classes: of the model.
        class_names: declared, in the order of the model's outputs.
        labels: CSV file.
        labelled: read the labels, if there are any; else names of folders and ``labels.csv`` say nothing.

    Raises:
        UsageError: no images, or labels that do not fit.
    """
    size = _image_shape(shape, str(folder))
    csv_path = labels if labels is not None else folder / "labels.csv"
    files: list[Path]
    names: list[str] | None = None
    if labels is not None and not labels.is_file():
        raise UsageError(f"there is no labels file {labels}")
    if labelled and csv_path.is_file():
        rows = read_csv(csv_path)
        files, names = [folder / name for name, _ in rows], [label for _, label in rows]
        if not any(path.is_file() for path in files):
            raise UsageError(f"none of the {len(files)} files that {csv_path} names is in {folder}")
    else:
        files = sorted(p for p in folder.rglob("*") if _is_image(p, folder))
        flat = [p for p in files if p.parent == folder]
        if labelled and flat and len(flat) != len(files):
            raise UsageError(f"{folder} mixes images with class subfolders; give one or the other")
        if labelled and not flat:
            names = [p.relative_to(folder).parts[0] for p in files]
    if not files:
        raise UsageError(f"{folder} holds no images ({', '.join(sorted(SUFFIXES))})")
    classes, order, values = class_names, None, None
    if names is not None:
        index, order = name_index(names, class_names, num_classes, str(csv_path if csv_path.is_file() else folder))
        where = str(csv_path if csv_path.is_file() else folder)
        values = check_labels(np.array([index[n] for n in names]), num_classes, where)
        if classes is None and order != "numeric":
            classes = sorted(index, key=index.__getitem__)
    digest, notes = _survey(files, folder, size, crop, interpolation)
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
        digest=digest,
        class_names=classes,
        class_order=order,
        notes=notes,
    )


def _relative(path: Path, folder: Path) -> str:
    return path.relative_to(folder).as_posix() if path.is_relative_to(folder) else path.as_posix()


def _is_image(path: Path, folder: Path) -> bool:
    """By its suffix; what is hidden, or left by macOS, is no data."""
    hidden = any(part.startswith((".", "__MACOSX")) for part in path.relative_to(folder).parts)
    return path.suffix.lower() in SUFFIXES and not hidden and path.is_file()


def _survey(
    files: list[Path], folder: Path, shape: tuple[int, int, int], crop: float, interpolation: str
) -> tuple[str, list[str]]:
    """Digest over relative names and contents, and what will be done to the images, in sentences.

    A file that cannot be read counts as empty.
    """
    total = hashlib.sha256()
    resized, modes = 0, Counter[str]()
    wanted = MODES[shape[0]]
    for path in files:
        total.update(_relative(path, folder).encode() + b"\0")
        try:
            with path.open("rb") as file:
                total.update(hashlib.file_digest(file, "sha256").digest())
                size, mode = _header(file)
        except OSError:
            total.update(b"unreadable")
            continue
        resized += size not in (None, (shape[2], shape[1]))
        if mode not in (None, wanted):
            modes[str(mode)] += 1
    notes = []
    if modes:
        found = ", ".join(f"{mode} {count}" for mode, count in sorted(modes.items()))
        name = {"L": "grey"}.get(wanted, wanted)
        notes.append(f"{sum(modes.values())} of {len(files)} images were converted to {name} (from {found})")
    if resized:
        notes.append(
            f"{resized} of {len(files)} images were resized ({interpolation}) and cut to the centre "
            f"{shape[1]}x{shape[2]} (crop {crop:g}) before the attack"
        )
    return total.hexdigest(), notes


def _header(file: IO[bytes]) -> tuple[tuple[int, int] | None, str | None]:
    """Width and height as the image is shown, and mode; None where it is no image that can be read."""
    file.seek(0)
    try:
        with _opened(file) as image:
            turned = image.getexif().get(ORIENTATION) in (5, 6, 7, 8)
            return (image.size[::-1] if turned else image.size), image.mode
    except Exception:  # loading it says what is wrong
        return None, None


def bundled_dataset(shape: tuple[int, ...]) -> Dataset:
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
