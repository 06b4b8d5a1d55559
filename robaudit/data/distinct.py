"""Draws distinct inputs: the copies of one input answer, and fall, together, so that they are the evidence of one.

Copies are found among what is read for the draw, however large the data; nothing else is read for it, and no more than
:data:`PATIENCE` samples after the last that was new.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from robaudit.data.source import Dataset, keyed_order
from robaudit.errors import UnreadableSampleError
from robaudit.plural import counted

__all__ = ["PATIENCE", "DistinctDraw", "values_key"]

PATIENCE = 10_000
"""Samples in a row without a new input after which no more is read. In a random order fewer than one sample in 1,000
then holds one that was not seen, but for a chance of 5e-5.
"""


def values_key(values: NDArray[Any]) -> bytes:
    """Key of what a model is fed: the same for the same values, 0 and -0 alike."""
    plain = np.ascontiguousarray(values + 0 if values.dtype.kind == "f" else values)
    return hashlib.blake2b(plain.tobytes(), digest_size=16).digest()


class DistinctDraw:
    """Samples in the order of their keyed hash, of equal inputs the first alone.

    Where no input occurs twice it is the draw of :func:`robaudit.data.source.keyed_draw`, and the first n are those of
    a draw of n in any case. A sample that cannot be read is one of its own, unless its stored bytes occurred before.

    Args:
        data: the samples.
        seed: of the order.
        fed: what the model is fed of a sample [*shape] in u-space, by which inputs are told apart.
        labels: whether copies with different labels are counted.
    """

    def __init__(
        self, data: Dataset, seed: int, fed: Callable[[NDArray[Any]], NDArray[Any]], *, labels: bool = True
    ) -> None:
        self._data, self._fed = data, fed
        self.seed = seed
        self._labels = data.labels if labels else None
        self._rest: Iterator[int] = iter(keyed_order(range(len(data)), seed))
        self._found: list[int] = []
        self._first: dict[bytes, int] = {}
        self._disputed: set[bytes] = set()
        self._exhausted = False
        self._in_vain = 0
        self._copies: list[int] = []
        self.repeats = 0
        """Samples passed over so far, as copies of one before them in the order."""

    @property
    def contradictions(self) -> int:
        """Inputs that occurred, so far, with different labels."""
        return len(self._disputed)

    def first(self, count: int) -> list[int]:
        """The first ``count`` samples in the keyed order, fewer where the data hold, or seem to hold, no more distinct
        inputs.
        """
        while len(self._found) < count and self._in_vain < PATIENCE:
            index = next(self._rest, None)
            if index is None:
                self._exhausted = True
                break
            self._take(index)
        return self._found[:count]

    def _take(self, index: int) -> None:
        key = self._key(index)
        known = index if key is None else self._first.setdefault(key, index)
        if known == index:
            self._found.append(index)
            self._in_vain = 0
            return
        assert key is not None
        self.repeats += 1
        self._in_vain += 1
        if self._labels is not None and self._labels[index] != self._labels[known]:
            self._disputed.add(key)
        else:
            self._copies.append(known)

    def copies(self, asked: int) -> dict[int, int]:
        """Copies, by what they copy, that fill up a draw of ``asked`` where the data hold too few distinct inputs.

        They are samples of the data like others, so that clean accuracy counts them, and are no further evidence.
        Copies with another label are not among them.
        """
        return dict(Counter(self._copies[: max(0, asked - len(self._found))]))

    def _key(self, index: int) -> bytes | None:
        try:
            return values_key(self._fed(self._data.load(index)))
        except UnreadableSampleError:
            stored = self._data.stored(index)
            return None if stored is None else b"unreadable" + hashlib.blake2b(stored, digest_size=16).digest()

    def notes(self, asked: int) -> list[str]:
        """What was passed over, a sentence each.

        Args:
            asked: samples that the audit asked for.
        """
        if not self.repeats:
            return []
        told = (
            f"{counted(self.repeats, 'sample', 'repeats an input/repeat inputs')} drawn before, which is no further "
            "evidence: each distinct input is attacked once, and counts once in robust accuracy and in every interval"
        )
        if not self._exhausted and self._in_vain >= PATIENCE:
            told += (
                f"; no more of the {len(self._data):,} samples were looked at, as the last {PATIENCE:,} brought no new "
                f"input: {counted(len(self._found), 'distinct input')} {'was' if len(self._found) == 1 else 'were'} "
                f"found, and {asked:,} were asked for"
            )
        elif self._exhausted:
            told += f"; the data hold {counted(len(self._found), 'distinct input')}, and {asked} were asked for"
        found = [told]
        if self.contradictions:
            many = self.contradictions != 1
            found.append(
                f"{self.contradictions} input{'s occur' if many else ' occurs'} with different labels, of which at "
                f"most one can be right; {'each' if many else 'it'} counts once, with the label of the copy that the "
                "seed puts first"
            )
        return found
