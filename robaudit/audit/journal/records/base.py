"""What the records of a journal share.

A record is a frozen dataclass with a ``kind``, which tells it from the others on disk. Its fields are checked when a
journal is read back; what this program writes, the type checker has checked.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Literal

from pydantic import ConfigDict, Field

__all__ = ["Content", "Count", "Digest", "InMemory", "Outcome", "Point", "Pointed", "Record"]

Count = Annotated[int, Field(ge=0)]
Digest = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
Content = Mapping[str, Any]
"""JSON values of which others know what they mean."""
Outcome = Literal["done", "skipped", "partial", "failed"]
"""``skipped``: what it waits for broke nothing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """What happened."""

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(strict=True, extra="forbid")


@dataclass(frozen=True, slots=True, kw_only=True)
class Point(Record):
    """Where an array lies in the file of points, and the SHA-256 of its bytes."""

    shape: tuple[Count, ...]
    dtype: Annotated[str, Field(pattern=r"^(float|int|uint)(8|16|32|64)$")]
    offset: Count
    bytes: Count
    sha256: str


@dataclass(frozen=True, slots=True)
class InMemory(Record):
    """The place of an array among those that a journal could not write; never on disk."""

    place: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Pointed(Record):
    """A record that may have a point beside it."""

    point: Point | InMemory | None = None
