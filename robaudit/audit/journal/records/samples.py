"""Records of samples: what the model answers to them as they are, and what became of those that it does not answer."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from robaudit.audit.journal.records.base import Count, Pointed, Record

__all__ = ["CertifiedSample", "CleanSample", "LostSample", "Retry"]


@dataclass(frozen=True, slots=True, kw_only=True)
class CleanSample(Pointed):
    """The model's answer to a sample as it is; ``point`` are its scores.

    ``label``: the reference class. ``smallest``: the class with the smallest score. ``unlabelled``: the data gives it
    no label, where it gives others one. ``goals``: classes to reach, none where the goal leaves it out for the reason
    ``left_out``; null: any. ``error``: why there is no answer. ``rejected``: the service rejects it.
    ``wrong``: of a random model, how many of its draws are not the reference class; null: it is not random.
    """

    kind: Literal["clean"] = "clean"
    index: Count
    id: str
    label: int | None
    prediction: int | None
    digest: str | None
    error: str | None
    unlabelled: bool = False
    smallest: Count | None = None
    goals: tuple[int, ...] | None = None
    left_out: str | None = None
    rejected: bool = False
    wrong: Count | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class LostSample(Record):
    """A sample that the model hung or crashed on; of a hang the seconds that a forward call might take."""

    kind: Literal["lost"] = "lost"
    sample: Count
    name: str
    message: str
    limit: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Retry(Record):
    """Lost samples that are asked again, and checks that are carried out again: what is said of them counts no more."""

    kind: Literal["retry"] = "retry"
    samples: tuple[Count, ...]
    checks: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class CertifiedSample(Record):
    """What a certifier found of a sample; ``margin`` null where nothing bounds it."""

    kind: Literal["certificate"] = "certificate"
    id: str
    sample: Count
    proved: bool
    margin: float | None
    seconds: float
    error: str | None
