"""The drawn samples as the engine sees them, loaded when they are needed."""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from robaudit.engine.units import Sample

__all__ = ["CleanAnswer", "SampleStore", "content_digest"]

CACHE_BYTES = 256 * 2**20


class Source(Protocol):
    """Data in u-space."""

    def load(self, index: int) -> NDArray[Any]:
        """[*shape] float32 in [0, 1]; raises UnreadableSampleError."""
        ...


@dataclass(frozen=True)
class CleanAnswer:
    """The file's answer to an unperturbed sample: reference class and scores [K]."""

    index: int
    label: int
    scores: NDArray[Any]

    @property
    def prediction(self) -> int:
        """Predicted class."""
        return int(self.scores.argmax())

    @property
    def correct(self) -> bool:
        """Whether it is the reference class."""
        return self.prediction == self.label


def content_digest(u: NDArray[Any]) -> str:
    """Digest of a sample's content, which keys its random numbers whatever its place in the data."""
    return hashlib.blake2b(np.ascontiguousarray(u).tobytes(), digest_size=16).hexdigest()


class SampleStore:
    """Samples by index, with a bounded cache.

    Args:
        source: the data.
        answers: clean answers by index.
    """

    def __init__(self, source: Source, answers: dict[int, CleanAnswer]) -> None:
        self._source = source
        self.answers = answers
        self._cache: OrderedDict[int, Sample] = OrderedDict()
        self._bytes = 0

    def __call__(self, index: int) -> Sample:
        """Load a sample.

        Raises:
            UnreadableSampleError: it cannot be read.
        """
        if index in self._cache:
            self._cache.move_to_end(index)
            return self._cache[index]
        u = self._source.load(index)
        answer = self.answers[index]
        sample = Sample(index, u, answer.label, answer.scores, content_digest(u))
        self._cache[index] = sample
        self._bytes += u.nbytes
        while self._bytes > CACHE_BYTES and len(self._cache) > 1:
            _, dropped = self._cache.popitem(last=False)
            self._bytes -= dropped.u.nbytes
        return sample

    def standing(self, broken: Callable[[int], bool] = lambda _: False) -> list[int]:
        """Indices answered correctly and not broken, in data order."""
        return [i for i in sorted(self.answers) if self.answers[i].correct and not broken(i)]
