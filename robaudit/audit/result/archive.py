"""Reading the evidence of a run: a few rows of its archive, without loading the rest."""

from __future__ import annotations

import contextlib
import math
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from robaudit.audit.result.document import Evidence
from robaudit.errors import AuditError
from robaudit.files import open_regular, sha256_of
from robaudit.memory import afford

__all__ = [
    "ARTEFACT",
    "EVIDENCE",
    "NEAREST",
    "Example",
    "add_array",
    "artefact_names",
    "check_artefacts",
    "read_artefacts",
    "read_examples",
]

EVIDENCE = "evidence.npz"
NEAREST = "nearest_"
"""Begins the arrays of what a curve rests on."""

ARTEFACT = "artefact/"
"""Begins the arrays of what fitted attacks were fitted to; the attack's id and the array's name follow."""

LARGEST_ROW = 2**30
"""Bytes that one row may take."""
LONGEST_NAME = 1024
"""Characters of an attack's name."""
KINDS = {"original": "f", "adversarial": "f", "confidence": "f", "attack": "U"}
"""Kinds of the arrays' types, as NumPy names them; the others are whole numbers."""


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


def artefact_names(attack: str, shapes: Mapping[str, Sequence[int]]) -> dict[str, tuple[int, ...]]:
    """Names in the archive of an artefact's arrays, with their shapes."""
    return {f"{ARTEFACT}{attack}/{name}": tuple(shape) for name, shape in shapes.items()}


def add_array(archive: zipfile.ZipFile, name: str, array: NDArray[Any]) -> None:
    """Write a whole array as NumPy does, without the time of day."""
    entry = zipfile.ZipInfo(f"{name}.npy", date_time=(1980, 1, 1, 0, 0, 0))
    entry.compress_type = zipfile.ZIP_DEFLATED
    with archive.open(entry, "w", force_zip64=True) as file:
        np.lib.format.write_array(file, np.asarray(array, order="C"), allow_pickle=False)


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
    with _opened(folder, evidence) as archive:
        columns = {name: _rows(archive, prefix, name, most) for name in _names(archive, prefix)}
        return _examples(columns) if columns else []


def check_artefacts(folder: Path, evidence: Evidence, shapes: Mapping[str, Sequence[int]]) -> None:
    """Check that the archive holds arrays of these names and shapes; they are not unpacked.

    Raises:
        AuditError: it does not, or as :func:`read_examples`.
    """
    with _opened(folder, evidence) as archive:
        for name, shape in shapes.items():
            with archive.open(f"{name}.npy") as file:
                found, _, dtype = _header(file)
            if found != tuple(shape) or dtype.kind not in "fiub":
                raise ValueError(f"{name} is not the array that the result tells of")


def read_artefacts(folder: Path, evidence: Evidence, shapes: Mapping[str, Sequence[int]]) -> dict[str, NDArray[Any]]:
    """Arrays of the archive by the last part of their names, which an audit wrote with these shapes.

    Raises:
        AuditError: as :func:`check_artefacts`.
    """
    check_artefacts(folder, evidence, shapes)
    found = {}
    with _opened(folder, evidence) as archive:
        for name in shapes:
            afford(archive.getinfo(f"{name}.npy").file_size, f"{name} of the evidence")
            with archive.open(f"{name}.npy") as file:
                found[name.rpartition("/")[2]] = np.lib.format.read_array(file, allow_pickle=False)
    return found


@contextlib.contextmanager
def _opened(folder: Path, evidence: Evidence) -> Iterator[zipfile.ZipFile]:
    """The archive, for the block; whatever fails to be read there is an :class:`AuditError`."""
    path = folder / (evidence.path or "")
    if evidence.path is not None and (Path(evidence.path).is_absolute() or ".." in Path(evidence.path).parts):
        raise AuditError(f"the result names evidence outside of its own folder ({evidence.path}); refused")
    try:
        there = evidence.path is not None and path.is_file()
    except (OSError, ValueError):  # no path that there can be
        there = False
    if not there:
        raise AuditError(f"the archive {evidence.path or 'of the evidence'} is not beside the result")
    try:
        with open_regular(path) as file:
            if sha256_of(file) != evidence.sha256:
                raise AuditError(
                    f"the archive {evidence.path} has another SHA-256 than the result names: it was changed"
                )
            with zipfile.ZipFile(file) as archive:
                yield archive
    except AuditError:
        raise
    except Exception as error:  # of the readers of the archive, its compression and its arrays, each their own
        why = str(error) or type(error).__name__
        raise AuditError(f"the archive {evidence.path} cannot be read: {why}") from error


def _names(archive: zipfile.ZipFile, prefix: str) -> list[str]:
    known = ("original", "adversarial", "index", "label", "prediction", "attack", "target", "confidence")
    entries = archive.namelist()
    if len(entries) != len(set(entries)):
        raise ValueError("it holds two arrays of one name")
    return [name for name in known if f"{prefix}{name}.npy" in entries]


def _examples(columns: dict[str, NDArray[Any]]) -> list[Example]:
    found = []
    if len({len(column) for column in columns.values()}) > 1:
        raise ValueError("its arrays differ in length")
    if columns["original"].shape != columns["adversarial"].shape:
        raise ValueError("originals and adversarial examples differ in shape")
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


def _rows(archive: zipfile.ZipFile, prefix: str, name: str, most: int) -> NDArray[Any]:
    """The first rows of an array; the rest is not unpacked."""
    with archive.open(f"{prefix}{name}.npy") as file:
        shape, fortran, dtype = _header(file)
        if fortran or dtype.kind not in KINDS.get(name, "iu") or not shape or min(shape) < 0:
            raise ValueError(f"{name} is no plain array of what it should hold")
        if name not in ("original", "adversarial") and shape[1:] != ((2,) if name == "confidence" else ()):
            raise ValueError(f"{name} is no plain array of what it should hold")
        if dtype.kind == "U" and dtype.itemsize > 4 * LONGEST_NAME:
            raise ValueError(f"{name} holds texts of {dtype.itemsize // 4} characters")
        count = min(shape[0], most)
        row = math.prod(shape[1:]) * dtype.itemsize
        if row > LARGEST_ROW:
            raise ValueError(f"a row of {name} has {row} bytes")
        if row * count > (size := archive.getinfo(f"{prefix}{name}.npy").file_size):
            raise ValueError(f"{name} has {row * count} bytes, and {size} are there")
        afford(2 * row * count, f"{name} of the evidence")
        return np.frombuffer(file.read(count * row), dtype=dtype).reshape(count, *shape[1:])


def _header(file: IO[bytes]) -> tuple[tuple[int, ...], bool, np.dtype[Any]]:
    version = np.lib.format.read_magic(file)
    read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    return read(file)
