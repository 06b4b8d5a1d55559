"""Detectors by name: ours, found by walking this package, and others', through entry points."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import robaudit.detectors
from robaudit.detectors.base import Detector
from robaudit.errors import UsageError
from robaudit.extensions import classes_by_id, made_of, parameters_of, words_of, written
from robaudit.target.inputs.meaning import InputMeaning

__all__ = [
    "detector_classes",
    "fitting",
    "make_detector",
    "named_files",
    "parse_detector",
    "rooted",
    "words_of_detector",
]

ENTRY_POINT = "robaudit.detectors"


@functools.cache
def detector_classes() -> dict[str, type[Detector]]:
    """Every detector by id, ours first.

    Raises:
        UsageError: an installed package's detector cannot be imported, is no detector, or takes a used id.
    """
    return classes_by_id(Detector, "detector", robaudit.detectors, ENTRY_POINT)


def make_detector(id: str, parameters: Mapping[str, Any]) -> Detector:
    """A detector with its parameters checked.

    Raises:
        UsageError: unknown detector or parameter, or a value out of range, in one sentence.
    """
    detector: Detector = made_of("detector", detector_classes(), id, parameters)
    return detector


def parse_detector(text: str) -> Detector:
    """A detector as settings name it: ``squeezing``, with its first parameter ``squeezing:4``, or with parameters by
    name ``dknn:neighbours=10``, several apart by commas.

    Raises:
        UsageError: as :func:`make_detector`, or it is written otherwise.
    """
    wanted = "a detector is written as squeezing, squeezing:4 or squeezing:bits=4"
    return make_detector(*written(text, wanted, lone=True))


def fitting(detector: Detector, meaning: InputMeaning, *, trust: bool = False) -> Detector:
    """A detector, ready for inputs of a meaning; ``trust``: see :meth:`Detector.ready`.

    Raises:
        UsageError: it does not apply to them, or needs what is not there.
    """
    if (why := detector.unsuited(meaning)) is not None:
        raise UsageError(f"the detector {detector.id} does not apply: {why}")
    return detector.ready(meaning, trust=trust)


def words_of_detector(detector: Detector, *, files: bool = True) -> str:
    """A detector as settings name it, with all parameters, or without those that name files."""
    kept = {name: value for name, value in parameters_of(detector).items() if files or name not in detector.files}
    return words_of(detector.id, kept)


def named_files(text: str | None) -> list[Path]:
    """The files that a detector names; none of none."""
    if text is None:
        return []
    detector = parse_detector(text)
    return [Path(getattr(detector, name)) for name in detector.files]


def rooted(text: str, folder: Path) -> str:
    """A detector whose files are named from a folder."""
    detector = parse_detector(text)
    places = {name: str(folder / Path(getattr(detector, name)).expanduser()) for name in detector.files}
    return words_of_detector(dataclasses.replace(detector, **places))  # type: ignore[type-var]
