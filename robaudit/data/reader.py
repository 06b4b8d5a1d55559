"""What reads data: a reader says what it takes, and opens it once; its source gives samples as a model takes them."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from numpy.typing import NDArray

from robaudit.data.ranges import Ranges
from robaudit.data.source import Dataset
from robaudit.data.table import Table
from robaudit.errors import UsageError

__all__ = ["Fit", "Reader", "Source", "Wanted"]


@dataclass(frozen=True)
class Wanted:
    """What the user says of the data.

    Args:
        labels: file with the labels (``--labels``); a source that has its own refuses it.
        label_column: name of the column with the labels, and ``target_column`` of that with the classes to reach.
        labelled: the labels are used, if there are any; else the model's own answers are the reference.
        classes: declared names of the classes.
    """

    labels: Path | None = None
    label_column: str | None = None
    target_column: str | None = None
    labelled: bool = True
    classes: tuple[str, ...] | None = None


@dataclass(frozen=True)
class Fit:
    """What the samples have to fit, which shows once the model is loaded.

    Args:
        shape: of a sample, as the model takes it: C x H x W, or the model's own.
        lo, hi: the domain, in which values lie, unless ``ranges`` says it for each feature.
        crop, interpolation: how image files are cut.
        num_classes: of the model.
        class_names: in the order of the model's outputs.
        ranges: of each feature of a table.
    """

    shape: tuple[int, ...]
    lo: float = 0.0
    hi: float = 1.0
    crop: float = 1.0
    interpolation: str = "bicubic"
    num_classes: int | None = None
    class_names: list[str] | None = None
    ranges: Ranges | None = None


class Source(ABC):
    """Data that was opened. What is not known stays None."""

    shape: tuple[int, ...] | None = None
    """Of a sample, where the data alone decides it: a model that leaves its own open takes it."""
    classes: int | None = None
    """How many the labels tell."""
    table: Table | None = None
    """The rows, where it is a table of named features."""
    values: NDArray[Any] | None = None
    """[N, ...] the samples' own values, where it is an array."""
    doubt: UsageError | None = None
    """What is wrong with it unless the model takes all of its features: one of them may hold the labels."""
    ranged: bool = False
    """Each feature may have its own range: :attr:`Fit.ranges` counts."""
    labels_go: str = "in the data"
    """Where labels are put, for whoever has given none."""

    @abstractmethod
    def samples(self, fit: Fit) -> Dataset:
        """The samples as the model takes them, each read when it is asked for.

        Raises:
            UsageError: they do not fit, in one sentence that says what to do.
        """

    def size(self) -> tuple[int, int] | None:
        """(height, width) that images have in common, for a model that takes any."""
        return None

    def targets(self, ids: Sequence[str]) -> tuple[str, ...] | None:
        """Name or number of the class that each sample is to be made to answer, empty where there is none; None where
        the data says none.

        Raises:
            UsageError: not one for each sample, or not readable.
        """
        del ids
        return None


class Reader(ABC):
    """A kind of data. Its file declares it; nothing else names it.

    An instance is made without arguments.
    """

    name: ClassVar[str]
    """What it takes, with its article, for messages: ``an image folder``."""
    suffixes: ClassVar[tuple[str, ...]] = ()
    """Of files, in lower case with the dot."""
    columns: ClassVar[bool] = False
    """Labels stand in a column that can be named (``--label-column``, ``--target-column``)."""
    tabular: ClassVar[bool] = False
    """It is a table of named features, whose ranges may lie beside the model."""

    def takes(self, path: Path) -> bool:
        """Whether this is such data, which the path, or a look at a folder, tells at once; it must not raise."""
        return path.name.lower().endswith(self.suffixes) and not path.is_dir()

    def check(self, path: Path) -> None:
        """Refuse what cannot be used, or is too large, without reading it.

        Raises:
            UsageError: in one sentence.
        """
        del path

    @abstractmethod
    def open(self, path: Path, wanted: Wanted) -> Source:
        """Open data that it takes.

        Raises:
            UsageError: it cannot be read, or is not what the user says it is.
        """
