"""The class that the data gives with each sample for an attacker to reach, as it is written."""

from __future__ import annotations

import zipfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from robaudit.data.folder import FileIndex, relative, walk
from robaudit.data.images import labels_file
from robaudit.data.label_arrays import label_texts
from robaudit.data.labelfile import TARGET, read_label_file
from robaudit.data.npz import open_arrays
from robaudit.data.numbers import is_missing, whole
from robaudit.errors import UsageError, reason

__all__ = ["array_targets", "folder_targets"]


def folder_targets(
    folder: Path, ids: Sequence[str], labels: Path | None, *, label_column: str | None, target_column: str | None
) -> tuple[str, ...] | None:
    """Name or number of the class to reach for each image, empty where there is none; None where the data has none.

    Args:
        folder: of images.
        ids: names of the samples, in the order of the data.
        labels: CSV of file,label,target; default the folder's ``labels.csv``.
        label_column, target_column: names of columns of the CSV; default found by their names.

    Raises:
        UsageError: not readable.
    """
    path = labels_file(folder, labels)
    if path is None:
        return None
    index = FileIndex(folder, walk(folder).files, path.parent)
    told = read_label_file(path, index, column=label_column, target_column=target_column, targets=True)
    if told.targets is None:
        return None
    found = {relative(file, folder): target for file, target in zip(told.files, told.targets, strict=True)}
    return tuple(found.get(name, "") for name in ids)


def array_targets(path: Path, count: int) -> tuple[str, ...] | None:
    """The same of an ``.npz`` of so many samples, where a number below 0 is none.

    Raises:
        UsageError: not one for each sample, or not readable.
    """
    try:
        with open_arrays(path) as archive:
            if TARGET not in archive:
                return None
            found = np.atleast_1d(archive[TARGET])
    except (OSError, ValueError, zipfile.BadZipFile) as error:
        raise UsageError(f"the array {TARGET} in {path} cannot be read: {reason(error)}") from error
    texts = label_texts(found, count, f"the array {TARGET} of {path}", "target")
    return tuple("" if is_missing(text) or (whole(text) or 0) < 0 else text for text in texts)
