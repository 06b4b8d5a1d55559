"""The evidence: adversarial examples with their originals, in one NumPy archive."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from robaudit.audit.journal import Journal
from robaudit.audit.rundir import sha256_file
from robaudit.audit.samples import SampleStore
from robaudit.checks.base import Breach

__all__ = ["write_evidence"]

NAME = "evidence.npz"


def write_evidence(folder: Path, journal: Journal, store: SampleStore, breaches: Sequence[Breach]) -> dict[str, Any]:
    """Write the archive: ``adversarial`` and ``original`` [N, *shape] in u-space, ``index``, ``label``,
    ``prediction`` [N] int64, ``attack`` [N] strings.

    Returns:
        Its path relative to the folder, SHA-256 and count; no path where there is nothing to keep or the
        disk does not take it (then ``failure`` says why).
    """
    if not breaches:
        return {"path": None, "sha256": None, "count": 0}
    samples = [store(b.sample) for b in breaches]
    temporary = folder / f".{NAME}.part"
    try:
        with temporary.open("wb") as file:
            np.savez_compressed(
                file,
                adversarial=np.stack([b.point for b in breaches]),
                original=np.stack([s.u for s in samples]),
                index=np.array([b.sample for b in breaches], dtype=np.int64),
                label=np.array([s.label for s in samples], dtype=np.int64),
                prediction=np.array([b.prediction for b in breaches], dtype=np.int64),
                attack=np.array([b.attack for b in breaches]),
            )
        os.replace(temporary, folder / NAME)
    except OSError as error:
        journal.failure = journal.failure or (error.strerror or str(error))
        temporary.unlink(missing_ok=True)
        return {"path": None, "sha256": None, "count": 0, "failure": journal.failure}
    return {"path": NAME, "sha256": sha256_file(folder / NAME), "count": len(breaches)}
