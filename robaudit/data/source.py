"""Where samples come from: arrays, image folders, the bundled images. All are read lazily, in u-space."""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from robaudit.errors import UnreadableSampleError

__all__ = ["Dataset", "keyed_draw", "keyed_order"]


@dataclass
class Dataset(ABC):
    """Samples.

    Args:
        source: path as given, or a name.
        kind: image folder, array or bundled.
        ids: name of each sample.
        labels: [N] int64, or None.
        digest: SHA-256 of the content.
        class_names: in the order of the model's outputs, or None.
        class_order: declared, numeric, ``column order, assumed`` or ``sorted, assumed``; None where nothing tells.
        notes: what was done to the data, a sentence each.
        problems: sentences about samples that cannot be used, such as one without a label.
    """

    source: str
    kind: str
    ids: Sequence[str]
    labels: NDArray[np.int64] | None
    digest: str
    class_names: list[str] | None = None
    class_order: str | None = None
    notes: list[str] = field(default_factory=list)
    problems: dict[int, str] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.ids)

    def load(self, index: int) -> NDArray[Any]:
        """A sample in u-space, [*shape] float32; of a table's row float64.

        Raises:
            UnreadableSampleError: this one cannot be read or used; the others can.
        """
        if index in self.problems:
            raise UnreadableSampleError(self.problems[index])
        return self.read(index)

    @abstractmethod
    def read(self, index: int) -> NDArray[Any]:
        """A sample as :meth:`load` gives it, whatever else is wrong with it.

        Raises:
            UnreadableSampleError: it cannot be read.
        """

    def stored(self, index: int) -> bytes | None:
        """What a sample's source holds of it, to tell copies that cannot be read; None where it holds nothing."""
        del index
        return None

    def draw(self, count: int | None, seed: int) -> list[int]:
        """Indices of a random subset, in data order; all where ``count`` is None or not below the size."""
        return keyed_draw(len(self), count, seed)

    def spread(self, seed: int) -> list[int]:
        """All indices in a keyed order of their names in which the labelled classes take turns, unlabelled ones last.

        A few from its beginning show as many classes as they can, however rare; the data's own order does not matter.
        """
        ranks = _ranks("spread", seed, self.ids)
        order: list[int] = np.argsort(ranks, kind="stable").tolist()
        if self.labels is None:
            return order
        keyed = np.lexsort((ranks, self.labels))  # stable: each class by itself, in the keyed order
        labels = self.labels[keyed]
        begins = np.flatnonzero(np.r_[True, labels[1:] != labels[:-1]]) if len(labels) else keyed
        turns = np.arange(len(labels)) - np.repeat(begins, np.diff(np.r_[begins, len(labels)]))
        in_turn: NDArray[np.intp] = keyed[np.lexsort((keyed, ranks[keyed], turns, labels < 0))]
        return list(map(int, in_turn))


def _ranks(purpose: str, seed: int, names: Iterable[object]) -> NDArray[np.uint64]:
    """[N] keyed hash of each name."""
    start = f"{purpose}/{seed}/"
    digests = b"".join(hashlib.blake2b(f"{start}{name}".encode(), digest_size=8).digest() for name in names)
    return np.frombuffer(digests, dtype=">u8").astype(np.uint64)


def keyed_draw(size: int, count: int | None, seed: int) -> list[int]:
    """The ``count`` indices with the lowest keyed hash, sorted."""
    if count is None or count >= size:
        return list(range(size))
    return sorted(keyed_order(range(size), seed)[:count])


def keyed_order(indices: Sequence[int], seed: int) -> list[int]:
    """Indices by their keyed hash: a random order that looks at nothing else."""
    places = np.argsort(_ranks("draw", seed, indices), kind="stable")
    order: list[int] = np.asarray(indices, dtype=np.int64)[places].tolist()
    return order
