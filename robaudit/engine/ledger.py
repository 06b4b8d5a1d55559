"""What was asked in each unit: which queries repeat an earlier one, and what a monitor of the service sees of them."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass, field
from typing import Any, Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from robaudit.attacks.base import Slots
from robaudit.engine.blacklight import WATCHED, Detector

__all__ = ["NOTHING_SEEN", "Ledger", "Ledgers", "Seen"]

ANSWER_BYTES = 2**18
"""Most memory of the answers that are kept of a unit; the oldest go first, and their inputs are asked again."""
PRINTS = 2**16
"""Most queries of a unit that are remembered; later ones that repeat one another are not told from new ones."""
RECENT = 512
"""Fingerprints that are held one by one, before they are sorted in among the others."""


@dataclass(frozen=True)
class Seen:
    """What a monitor sees of the queries of a unit, or of several.

    Args:
        repeated: queries that are identical to an earlier one of their unit.
        bad: queries whose answer is no success: still the reference class, or not the goal; rejected, or without a
            class (Debenedetti, Carlini, Tramer 2023, "Evading Black-box Classifiers Without Breaking Eggs").
        watched: queries that the detector looked at, the first ones of each unit.
        flagged: of those, queries that it flagged.
        first_flagged: number of the first of them in its unit, from 1; None: none was. Of several units the smallest.
        burst: the longest run of flagged queries that follow each other. Of several units the longest.
    """

    repeated: int = 0
    bad: int = 0
    watched: int = 0
    flagged: int = 0
    first_flagged: int | None = None
    burst: int = 0

    def __add__(self, other: Seen) -> Seen:
        first = [number for number in (self.first_flagged, other.first_flagged) if number is not None]
        return Seen(
            self.repeated + other.repeated,
            self.bad + other.bad,
            self.watched + other.watched,
            self.flagged + other.flagged,
            min(first, default=None),
            max(self.burst, other.burst),
        )


NOTHING_SEEN = Seen()


@dataclass
class Ledger:
    """The queries of one unit.

    Args:
        detector: looks at its first queries; None: they are no images.
    """

    detector: Detector | None = None
    repeated: int = 0
    bad: int = 0
    watched: int = 0
    flagged: int = 0
    first_flagged: int | None = None
    burst: int = 0
    _run: int = 0
    _recent: set[int] = field(default_factory=set)
    _sorted: NDArray[np.int64] = field(default_factory=lambda: np.empty(0, np.int64))
    _answers: OrderedDict[int, NDArray[Any]] = field(default_factory=OrderedDict)
    _bytes: int = 0

    def knows(self, print_: int) -> bool:
        """Whether a query with this fingerprint was asked before."""
        if print_ in self._recent:
            return True
        if not self._sorted.size:
            return False
        place = int(self._sorted.searchsorted(print_))
        return place < self._sorted.size and int(self._sorted[place]) == print_

    def note(self, print_: int) -> None:
        """A new query is asked."""
        if self._sorted.size + len(self._recent) >= PRINTS:
            return
        self._recent.add(print_)
        if len(self._recent) == RECENT:
            recent = np.fromiter(self._recent, np.int64, RECENT)
            self._sorted, self._recent = np.sort(np.concatenate([self._sorted, recent])), set()

    def keep(self, print_: int, scores: NDArray[Any]) -> None:
        """Keep the answer [K] to a query."""
        if print_ in self._answers:
            return
        self._answers[print_] = scores
        self._bytes += scores.nbytes
        while self._bytes > ANSWER_BYTES and len(self._answers) > 1:
            self._bytes -= self._answers.popitem(last=False)[1].nbytes

    def answer(self, print_: int) -> NDArray[Any] | None:
        """The answer [K] to a query, if it is still kept."""
        return self._answers.get(print_)

    @property
    def is_watching(self) -> bool:
        """Whether the detector looks at the next query."""
        return self.detector is not None and self.watched < WATCHED

    def watch(self, image: NDArray[Any]) -> None:
        """The detector looks at a query [*shape]."""
        assert self.detector is not None
        self.watched += 1
        if not self.detector.flags(image):
            self._run = 0
            return
        self.flagged += 1
        self._run += 1
        self.burst = max(self.burst, self._run)
        self.first_flagged = self.first_flagged or self.watched

    def seen(self) -> Seen:
        """What a monitor has seen of them."""
        return Seen(self.repeated, self.bad, self.watched, self.flagged, self.first_flagged, self.burst)


@dataclass
class Ledgers(Slots):
    """The ledgers of some slots, in their order."""

    of: list[Ledger]

    @classmethod
    def empty(cls, slots: int, *, watched: bool) -> Ledgers:
        """Of new slots; ``watched``: their samples are images that a detector looks at."""
        return cls([Ledger(Detector() if watched else None) for _ in range(slots)])

    @property
    def repeated(self) -> Tensor:
        """[S] int64 repeats of each."""
        return torch.tensor([ledger.repeated for ledger in self.of], dtype=torch.int64)

    def count_bad(self, slots: Tensor, bad: Tensor) -> None:
        """Count the bad ones ([M] bool) of queries by these slots [M], one each."""
        for slot, is_bad in zip(slots.tolist(), bad.tolist(), strict=True):
            self.of[slot].bad += is_bad

    def take(self, index: Tensor) -> Self:
        """Those at ``index`` ([M] int64), in that order."""
        return type(self)([self.of[i] for i in index.tolist()])

    def join(self, other: Self) -> Self:
        """These followed by the other's."""
        return type(self)(self.of + other.of)
