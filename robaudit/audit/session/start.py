"""How a process begins its part of an audit."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["Start"]


@dataclass(frozen=True)
class Start:
    """With what care a process begins.

    Args:
        halved: the one before it was killed, likely for its memory: batches are halved.
        deadline: of the system's monotonic clock, after which nothing new is begun; None: no limit.
        suspects: samples of which one hung or crashed the one before it.
    """

    halved: bool = False
    deadline: float | None = None
    suspects: frozenset[int] = frozenset()
