"""The evidence: adversarial examples with their originals, in one NumPy archive, the first of images as PNG too."""

from __future__ import annotations

import contextlib
import os
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from robaudit.attacks.fitted import Artefact
from robaudit.audit.journal.journal import Journal
from robaudit.audit.journal.records.findings import CheckEnded, EvidenceKept
from robaudit.audit.journal.records.session import TargetFacts
from robaudit.audit.result.archive import EVIDENCE, NEAREST, add_array, artefact_names
from robaudit.audit.result.pictures import MOST, SIDES, clear_pictures, eight_bit_pair, is_picture, picture_path, png
from robaudit.audit.result.sections.findings import Evidence
from robaudit.audit.session.samples import SampleStore
from robaudit.checks.base import Breach
from robaudit.engine.units import sample_of
from robaudit.files import sha256_file

__all__ = ["Rows", "write_evidence"]


@dataclass(frozen=True)
class Rows:
    """What the archive is to hold.

    Args:
        breaches: what broke samples.
        nearest: what the curve rests on.
        artefacts: of fitted attacks, by their keys.
    """

    breaches: Sequence[Breach]
    nearest: Sequence[Breach] = ()
    artefacts: Mapping[str, Artefact] = field(default_factory=dict)

    @property
    def some(self) -> bool:
        """Whether there is anything to keep."""
        return bool(self.breaches or self.nearest or self.artefacts)


def write_evidence(folder: Path, journal: Journal, store: SampleStore, rows: Rows) -> EvidenceKept:
    """Write the archive: ``adversarial`` and ``original`` [N, *shape] in u-space, ``index``, ``label``,
    ``prediction`` [N] int64, ``attack`` [N] strings; with a goal the class to reach, ``target`` [N] int64, and a row
    for each class that a sample was made to answer; ``confidence`` [N, 2] float64 of the answers to original and
    adversarial example, where the evidence check found them. With a curve the same once more, of the nearest
    adversarial example of each sample and norm, as ``nearest_adversarial`` [M, *shape] and so on. What attacks
    were fitted to, as ``artefact/ATTACK/NAME``. Equal content makes equal bytes.
    Of images the first rows are written as pairs of PNG files too.

    Args:
        folder: the run directory.
        journal: of the run.
        store: its samples.
        rows: what to keep.

    Returns:
        Its path relative to the folder, SHA-256 and counts; no path where there is nothing to keep or the
        disk does not take it.
    """
    temporary = folder / f".{EVIDENCE}.part"
    try:
        for path in (folder / EVIDENCE, temporary):
            path.unlink(missing_ok=True)
        clear_pictures(folder)
        if not rows.some or journal.failure is not None:
            return EvidenceKept(section=Evidence())
        _write_archive(temporary, journal, store, rows)
        os.replace(temporary, folder / EVIDENCE)
    except OSError as error:
        journal.failure = error.strerror or str(error)
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)
        return EvidenceKept(section=Evidence())
    target = journal.last(TargetFacts)
    if target is not None and target.section.input.channels is not None:
        try:
            _write_pictures(folder, store, rows.breaches)
        except OSError as error:  # the archive is there all the same
            journal.failure = error.strerror or str(error)
    digest, counts = sha256_file(folder / EVIDENCE), {"count": len(rows.breaches), "nearest": len(rows.nearest)}
    return EvidenceKept(section=Evidence(path=EVIDENCE, sha256=digest, **counts), artefacts=tuple(rows.artefacts))


def _write_archive(path: Path, journal: Journal, store: SampleStore, rows: Rows) -> None:
    with path.open("xb") as file, zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        _add_rows(archive, "", store, rows.breaches)
        shares = _confidences(journal, len(rows.breaches))
        if shares is not None:
            _add(archive, "confidence", len(shares), iter(shares))
        _add_rows(archive, NEAREST, store, rows.nearest)
        for key, artefact in rows.artefacts.items():
            shapes = {name: tuple(value.shape) for name, value in artefact.items()}
            for name, value in zip(artefact_names(key, shapes), artefact.values(), strict=True):
                add_array(archive, name, value.numpy())


def _add_rows(archive: zipfile.ZipFile, prefix: str, store: SampleStore, breaches: Sequence[Breach]) -> None:
    """The arrays of some adversarial examples; none of none."""
    if not breaches:
        return
    labels = [store.answers[sample_of(b.sample)].label for b in breaches]
    targets = [store.goal(b.sample) for b in breaches]
    _add(archive, f"{prefix}adversarial", len(breaches), (b.point for b in breaches))
    _add(archive, f"{prefix}original", len(breaches), (store(b.sample).u for b in breaches))
    for name, values in (
        ("index", np.array([sample_of(b.sample) for b in breaches], dtype=np.int64)),
        ("label", np.array(labels, dtype=np.int64)),
        ("prediction", np.array([b.prediction for b in breaches], dtype=np.int64)),
        ("attack", np.array([b.attack for b in breaches])),
        ("target", np.array(targets, dtype=np.int64)),
    ):
        if name != "target" or min(targets) >= 0:
            _add(archive, prefix + name, len(values), iter(values), values.dtype)


def _write_pictures(folder: Path, store: SampleStore, breaches: Sequence[Breach]) -> None:
    for row, breach in enumerate(breaches[:MOST]):
        origin, point = store(breach.sample).u, breach.point
        if not is_picture(origin.shape):
            return
        picture_path(folder, row, SIDES[0]).parent.mkdir(exist_ok=True)
        for side, levels in zip(SIDES, eight_bit_pair(origin, point), strict=True):
            picture_path(folder, row, side).write_bytes(png(levels))


def _confidences(journal: Journal, count: int) -> NDArray[np.float64] | None:
    """[N, 2] as the evidence check measured them; None where it did not run, or the file tells labels alone."""
    record = journal.last(CheckEnded, id="evidence")
    shares = None if record is None else (record.measured or {}).get("confidence")
    return np.array(shares, dtype=np.float64) if shares and len(shares) == count else None


def _add(
    archive: zipfile.ZipFile,
    name: str,
    count: int,
    rows: Iterator[NDArray[Any]],
    dtype: np.dtype[Any] | None = None,
) -> None:
    """Write an array row by row, so that it need not fit into memory; ``dtype``: of all rows, else the first's.

    A text's own type is as wide as that text, and would cut longer ones off.
    """
    first = np.asarray(next(rows), dtype=dtype)
    header = {"descr": first.dtype.str, "fortran_order": False, "shape": (count, *first.shape)}
    entry = zipfile.ZipInfo(f"{name}.npy", date_time=(1980, 1, 1, 0, 0, 0))
    entry.compress_type = zipfile.ZIP_DEFLATED
    with archive.open(entry, "w", force_zip64=True) as file:
        np.lib.format.write_array_header_2_0(file, header)
        file.write(np.ascontiguousarray(first).tobytes())
        for row in rows:
            file.write(np.ascontiguousarray(row, dtype=first.dtype).tobytes())
