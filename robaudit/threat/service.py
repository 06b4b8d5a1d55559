"""What a service tells an outsider of a file's answers, and what it charges. Needs no torch."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["FILE", "Service"]


@dataclass(frozen=True)
class Service:
    """How attacks by queries meet the file; the judge sees the file itself, but for what the service rejects.

    Args:
        top: classes whose scores are told, the highest; the others are unknown. None: all are told.
        decimals: that scores are rounded to; None: they are told as they are.
        noise: standard deviation of the normal noise on each score.
        reject_below: inputs whose highest probability is below it are rejected; None: none is.
        free_repeats: a query that repeats an earlier one of its unit is not charged.
    """

    top: int | None = None
    decimals: int | None = None
    noise: float = 0.0
    reject_below: float | None = None
    free_repeats: bool = False

    @property
    def tells_all(self) -> bool:
        """Whether scores are told as the file gives them."""
        return self.top is None and self.decimals is None and self.noise == 0


FILE = Service()
"""The file itself."""
