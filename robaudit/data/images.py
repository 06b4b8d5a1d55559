"""Image files: a folder with a subfolder a class, or a flat folder with a CSV of labels; the bundled images."""

from __future__ import annotations

import hashlib
import io
import os
from collections.abc import Sequence
from importlib import resources
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from robaudit.data.folder import LABELS, FileIndex, Folder, relative, walk
from robaudit.data.image_survey import digest_of_all, opened, survey
from robaudit.data.label_arrays import lost_note
from robaudit.data.labelfile import LabelFile, read_label_file
from robaudit.data.labels import Labels, resolve_labels
from robaudit.data.pixels import read_pixels
from robaudit.data.reader import Fit, Wanted
from robaudit.data.source import Dataset
from robaudit.errors import ChangedFileError, UnreadableSampleError, UsageError, on_one_line
from robaudit.files import text_of
from robaudit.plural import part_of

__all__ = ["ImageDataset", "bundled_dataset", "labels_file", "open_folder"]


NAMED = 8
"""Folders named in a note."""


class ImageDataset(Dataset):
    """Image files, cut to C x H x W when they are loaded."""

    def __init__(
        self,
        files: list[Path] | list[Traversable],
        shape: tuple[int, int, int],
        crop: float,
        interpolation: str,
        digests: Sequence[bytes | None] = (),
        **fields: Any,
    ) -> None:
        super().__init__(**fields)
        self._files = files
        self._digests = digests
        self._shape = shape
        self._crop = crop
        self._interpolation = interpolation

    def read(self, index: int) -> NDArray[Any]:
        """Read, resize and crop one image.

        Raises:
            UnreadableSampleError: the file is missing or damaged.
            ChangedFileError: it is not what it was when the data were opened.
        """
        try:
            content = self._content(index)
            return read_pixels(io.BytesIO(content), self._shape, self._crop, self._interpolation)
        except ChangedFileError:
            raise
        except Exception as error:  # a damaged file may break its decoder anywhere; it costs this sample alone
            reason = getattr(error, "strerror", None) or on_one_line(error, 160)
            raise UnreadableSampleError(f"the image {self.ids[index]} cannot be read: {reason}") from error

    def stored(self, index: int) -> bytes | None:
        """The file's bytes, where there is one that can be opened."""
        try:
            return self._content(index)
        except (OSError, UsageError):
            return None

    def _content(self, index: int) -> bytes:
        """The file's bytes.

        Raises:
            ChangedFileError: they are not those that the data's digest is of.
        """
        with opened(self._files[index]) as file:
            content = file.read()
        was = self._digests[index] if self._digests else None
        if was is not None and hashlib.sha256(content).digest() != was:
            raise ChangedFileError(
                f"the image {self.ids[index]} was changed since the audit began (its SHA-256 differs); run the command "
                "again"
            )
        return content


def _image_shape(shape: tuple[int, ...], where: str) -> tuple[int, int, int]:
    if len(shape) != 3 or shape[0] not in (1, 3, 4):
        words = "x".join(map(str, shape))
        raise UsageError(f"{where} holds images, and the model takes samples of {words}; give an .npz of arrays")
    return shape[0], shape[1], shape[2]


def open_folder(folder: Path, fit: Fit, wanted: Wanted) -> Dataset:
    """Open an image folder. Every file is read once, for the digest and to note what will be done to the images.

    Args:
        folder: with a subfolder a class; or flat, with a CSV of file,label that is named, or ``labels.csv`` in it.
        fit: what the model takes.
        wanted: where the labels are; without labels, names of folders and ``labels.csv`` say nothing.

    Raises:
        UsageError: no images, or labels that do not fit.
    """
    size, class_names = _image_shape(fit.shape, str(folder)), fit.class_names
    csv_path = labels_file(folder, wanted.labels)
    found = walk(folder, [] if csv_path is None else [csv_path])
    resolved: Labels | None = None
    files, notes = found.files, found.notes()
    if wanted.labelled and csv_path is not None:
        index = FileIndex(folder, found.files, csv_path.parent)
        told = read_label_file(csv_path, index, column=wanted.label_column, declared=class_names)
        files, notes = told.files, [*notes, *told.notes, *_unnamed(found, told, csv_path)]
        resolved = _told_labels(told, fit, str(csv_path))
    elif wanted.label_column is not None:
        raise UsageError(
            f"--label-column {wanted.label_column} is for tables and CSV files of labels; give --labels FILE.csv"
        )
    if not files:
        what = f" (but {found.skipped_words()})" if found.skipped.total() else ""
        raise UsageError(f"{folder} holds no images that can be read here{what}")
    if wanted.labelled and resolved is None:
        resolved = _folder_labels(found, class_names, fit.num_classes, notes)
    ids = [relative(path, folder) for path in files]
    problems = {} if resolved is None else resolved.problems
    digests, told_of_images = survey(files, size, fit.crop, fit.interpolation)
    notes += [*lost_note(problems, ids), *told_of_images, *([] if resolved is None else resolved.notes)]
    return ImageDataset(
        files,
        size,
        fit.crop,
        fit.interpolation,
        digests,
        source=str(folder),
        kind="image folder",
        ids=ids,
        labels=None if resolved is None else resolved.index,
        digest=digest_of_all(ids, digests),
        class_names=class_names if resolved is None else resolved.names,
        class_order=None if resolved is None else resolved.order,
        notes=notes,
        problems={i: f"the image {ids[i]} {reason}" for i, reason in problems.items()},
    )


def _told_labels(told: LabelFile, fit: Fit, where: str) -> Labels:
    """The classes that a CSV of labels gives."""
    resolved = resolve_labels(
        told.labels,
        declared=fit.class_names,
        num_classes=fit.num_classes,
        where=where,
        columns=told.columns,
    )
    resolved.problems.update(told.problems)
    return resolved


def labels_file(folder: Path, labels: Path | None) -> Path | None:
    """The CSV with the labels of a folder: the one that is named, else the ``labels.csv`` in it; None without one.

    Raises:
        UsageError: there is none of that name, or it is no ordinary file.
    """
    path = labels if labels is not None else folder / LABELS
    if path.is_file():
        return path
    if os.path.lexists(path):
        raise UsageError(f"the labels file {path} is no ordinary file, or a link that leads nowhere")
    if labels is not None:
        raise UsageError(f"there is no labels file {labels}")
    return None


def _unnamed(found: Folder, told: LabelFile, path: Path) -> list[str]:
    """Images that a CSV of labels does not name."""
    count = len(set(found.files) - set(told.files))
    some = part_of(count, len(found.files), "image", "in the folder is/in the folder are")
    return [f"{some} not named by {path.name} and not used"] * (count > 0)


def _folder_labels(
    found: Folder, class_names: list[str] | None, num_classes: int | None, notes: list[str]
) -> Labels | None:
    """The names of the subfolders as labels; None in a flat folder.

    Raises:
        UsageError: there are images beside subfolders of images, the subfolders are no classes, or do not fit.
    """
    if found.flat and len(found.flat) != len(found.files):
        raise UsageError(f"{found.path} mixes images with class subfolders; give one or the other")
    if found.flat:
        return None
    found.check_splits(class_names)
    names = [text_of(path.relative_to(found.path).parts[0]) for path in found.files]
    empty = [name for name in found.classes if name not in set(names)]
    if empty:
        more = ", ..." if len(empty) > NAMED else ""
        notes.append(f"class folders without an image: {', '.join(empty[:NAMED])}{more}")
    return resolve_labels(names, declared=class_names, num_classes=num_classes, where=str(found.path), empty=empty)


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
