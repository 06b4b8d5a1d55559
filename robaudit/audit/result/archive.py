"""Reading the evidence of a run: a few rows of its archive, without loading the rest."""

from __future__ import annotations

import hashlib
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from robaudit.audit.result.document import Evidence
from robaudit.errors import AuditError

__all__ = ["EVIDENCE", "NEAREST", "Example", "read_examples"]

EVIDENCE = "evidence.npz"
NEAREST = "nearest_"
"""Begins the arrays of what a curve rests on."""

LARGEST_ROW = 2**30
"""Bytes that one row may take."""


@dataclass(frozen=True)
class Example:
    """An adversarial example with its original.

    Args:
        index: of the sample in the data source.
        label, prediction: class that is right, and what the file answers to the adversarial example.
        attack: that found it.
        original, adversarial: [*shape] in u-space.
        target: class to be answered, or None.
        confidence: share of the answer to the original, and to the adversarial example; None where not known.
    """

    index: int
    label: int
    prediction: int
    attack: str
    original: NDArray[Any]
    adversarial: NDArray[Any]
    target: int | None = None
    confidence: tuple[float, float] | None = None


def read_examples(folder: Path, evidence: Evidence, most: int, prefix: str = "") -> list[Example]:
    """The first examples of a result's archive.

    Args:
        folder: that the archive's path is relative to.
        evidence: what the result says of it.
        most: examples read.
        prefix: of the arrays' names.

    Raises:
        AuditError: it is missing, not the one that the result names, or damaged.
    """
    path = folder / (evidence.path or "")
    if evidence.path is None or not path.is_file():
        raise AuditError(f"the archive {evidence.path or 'of the evidence'} is not beside the result")
    try:
        with path.open("rb") as file:
            found = hashlib.file_digest(file, "sha256").hexdigest()
        if found != evidence.sha256:
            raise AuditError(f"the archive {evidence.path} has another SHA-256 than the result names: it was changed")
        with zipfile.ZipFile(path) as archive:
            columns = {name: _rows(archive, prefix + name, most) for name in _names(archive, prefix)}
        return _examples(columns) if columns else []
    except (OSError, ValueError, LookupError, EOFError, zipfile.BadZipFile) as error:
        raise AuditError(f"the archive {evidence.path} cannot be read: {error}") from error


def _names(archive: zipfile.ZipFile, prefix: str) -> list[str]:
    known = ("original", "adversarial", "index", "label", "prediction", "attack", "target", "confidence")
    return [name for name in known if f"{prefix}{name}.npy" in archive.namelist()]


def _examples(columns: dict[str, NDArray[Any]]) -> list[Example]:
    found = []
    for row in range(len(columns["original"])):
        shares = tuple(map(float, columns["confidence"][row])) if "confidence" in columns else ()
        found.append(
            Example(
                index=int(columns["index"][row]),
                label=int(columns["label"][row]),
                prediction=int(columns["prediction"][row]),
                attack=str(columns["attack"][row]),
                original=columns["original"][row],
                adversarial=columns["adversarial"][row],
                target=int(columns["target"][row]) if "target" in columns else None,
                confidence=(shares[0], shares[1]) if shares else None,
            )
        )
    return found


def _rows(archive: zipfile.ZipFile, name: str, most: int) -> NDArray[Any]:
    """The first rows of an array; the rest is not unpacked."""
    with archive.open(f"{name}.npy") as file:
        shape, fortran, dtype = _header(file)
        if fortran or dtype.hasobject or not shape:
            raise ValueError(f"{name} is no plain array")
        count = min(shape[0], most)
        row = int(np.prod(shape[1:], dtype=object)) * dtype.itemsize
        if row > LARGEST_ROW:
            raise ValueError(f"a row of {name} has {row} bytes")
        data = file.read(count * row)
        return np.frombuffer(data, dtype=dtype).reshape(count, *shape[1:])


def _header(file: IO[bytes]) -> tuple[tuple[int, ...], bool, np.dtype[Any]]:
    version = np.lib.format.read_magic(file)
    read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    return read(file)
