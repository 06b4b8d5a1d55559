"""Where samples come from: arrays, image folders, the bundled images. All are read lazily, in u-space."""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

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
        class_order: declared, numeric, or ``sorted, assumed``; None where there are no names.
        notes: what was done to the data, a sentence each.
    """

    source: str
    kind: str
    ids: Sequence[str]
    labels: NDArray[np.int64] | None
    digest: str
    class_names: list[str] | None = None
    class_order: str | None = None
    notes: list[str] = field(default_factory=list)

    def __len__(self) -> int:
        return len(self.ids)

    @abstractmethod
    def load(self, index: int) -> NDArray[Any]:
        """A sample in u-space, [*shape] float32; of a table's row float64.

        Raises:
            UnreadableSampleError: this one cannot be read; the others can.
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
        keyed = sorted(range(len(self)), key=lambda i: (_rank("spread", seed, self.ids[i]), i))
        if self.labels is None:
            return keyed
        seen: Counter[int] = Counter()
        turns = []
        for index in keyed:
            label = int(self.labels[index])
            turns.append((label < 0, seen[label], index))
            seen[label] += 1
        order = sorted(range(len(keyed)), key=lambda place: (turns[place][:2], place))
        return [keyed[place] for place in order]


def _rank(*parts: object) -> bytes:
    return hashlib.blake2b("/".join(map(str, parts)).encode(), digest_size=8).digest()


def keyed_draw(size: int, count: int | None, seed: int) -> list[int]:
    """The ``count`` indices with the lowest keyed hash, sorted."""
    if count is None or count >= size:
        return list(range(size))
    return sorted(keyed_order(range(size), seed)[:count])


def keyed_order(indices: Iterable[int], seed: int) -> list[int]:
    """Indices by their keyed hash: a random order that looks at nothing else."""
    return sorted(indices, key=lambda index: _rank("draw", seed, index))
