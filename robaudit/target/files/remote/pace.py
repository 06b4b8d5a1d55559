"""How fast requests are sent to an endpoint, so that it is not asked for more than it gives."""

from __future__ import annotations

import asyncio
import time

__all__ = ["Pace"]


class Pace:
    """Lets inputs go at a rate.

    Args:
        per_second: inputs a second; None: as fast as they come.
    """

    def __init__(self, per_second: float | None) -> None:
        self._per_second = per_second
        self._free = 0.0

    async def wait(self, rows: int) -> None:
        """Wait until a request with so many inputs may be sent; the first may at once."""
        if self._per_second is None:
            return
        now = time.monotonic()
        start = max(now, self._free)
        self._free = start + rows / self._per_second
        await asyncio.sleep(start - now)
