"""Samples that are to be handled with care, as a process before this one ended on them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

__all__ = ["NO_CARE", "Care"]


@dataclass(frozen=True)
class Care:
    """How samples are to be handled.

    Args:
        lost: samples that the model hangs or crashes on, with the sentence that says so; they are not asked again.
        suspects: one of these is such a sample, so that each is asked alone.
    """

    lost: Mapping[int, str] = field(default_factory=dict)
    suspects: frozenset[int] = frozenset()


NO_CARE = Care()
