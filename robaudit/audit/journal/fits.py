"""The rounds of fits in a journal: an artefact is kept as the bytes of an ``.npz``, sealed like any point."""

from __future__ import annotations

import io
import zipfile
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray

from robaudit.attacks.cost import Cost
from robaudit.attacks.fitted import Artefact, Family
from robaudit.audit.journal.journal import Journal
from robaudit.audit.journal.records.attacks import FitRound
from robaudit.audit.result.archive import add_array
from robaudit.engine.fitting import Fitted

__all__ = ["SURROGATES", "Kept", "artefacts_in", "fit_done", "fit_record", "fitted_in"]

SURROGATES = "surrogate/"
"""Begins the keys of fits that are no attack's: of the surrogates that the audit makes, by name."""


@dataclass(frozen=True)
class Kept:
    """What a journal holds of a fit.

    Args:
        fitted: after its last round there; ``of`` the digest of what it was fitted on.
    """

    fitted: Fitted
    of: str


def fit_record(
    attack: str, family: Family | Literal["surrogate"], fitted: Fitted, rounds: int, samples: int, of: str
) -> tuple[FitRound, NDArray[Any]]:
    """The record of a round, and the artefact's bytes, which are passed to :meth:`Journal.append` beside it.

    Args:
        attack: its key, ``family`` of the perturbations that it tests.
        fitted: after the round.
        rounds: of the whole fit.
        samples: that it is fitted on, ``of`` the digest of their contents.
    """
    arrays = {name: value.numpy() for name, value in fitted.artefact.items()}
    cost = fitted.cost
    record = FitRound(
        attack=attack,
        round=fitted.rounds,
        rounds=rounds,
        samples=samples,
        of=of,
        forwards=cost.forwards,
        backwards=cost.backwards,
        queries=cost.queries,
        seconds=fitted.seconds,
        family=family,
        arrays={name: tuple(array.shape) for name, array in arrays.items()},
    )
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        for name, array in arrays.items():
            add_array(archive, name, array)
    return record, np.frombuffer(packed.getvalue(), dtype=np.uint8)


def fit_done(journal: Journal, attack: str) -> bool:
    """Whether the last round of an attack's fit is there."""
    record = journal.last(FitRound, attack=attack)
    return record is not None and record.round >= record.rounds


def fitted_in(journal: Journal, attack: str) -> Kept | None:
    """The last round of an attack's fit, None where there is none."""
    record = journal.last(FitRound, attack=attack)
    packed = None if record is None else journal.point(record)
    if record is None or packed is None:
        return None
    with np.load(io.BytesIO(packed.tobytes()), allow_pickle=False) as arrays:
        artefact: Artefact = {name: torch.from_numpy(arrays[name]) for name in arrays.files}
    cost = Cost(record.forwards, record.backwards, record.queries)
    return Kept(Fitted(artefact, record.round, cost, record.seconds), record.of)


def artefacts_in(journal: Journal) -> dict[str, Artefact]:
    """What the attacks of a journal were fitted to, by their keys, so far."""
    keys = (key for key in journal.keyed(FitRound, "attack") if not key.startswith(SURROGATES))
    found = {key: fitted_in(journal, key) for key in keys}
    return {key: kept.fitted.artefact for key, kept in found.items() if kept is not None}
