"""How much memory is free, and whether it suffices."""

from __future__ import annotations

import contextlib
from pathlib import Path

from robaudit.errors import UsageError

__all__ = ["afford", "available_memory"]


def afford(needed: int, what: str) -> None:
    """Refuse what would take more memory than there is, before it is taken.

    Args:
        needed: bytes.
        what: would take them, as the subject of a sentence.

    Raises:
        UsageError: they are not free.
    """
    free = available_memory()
    if free is not None and needed > free:
        raise UsageError(
            f"{what} would take about {needed / 2**30:.1f} GB of memory, of which {free / 2**30:.1f} GB are free"
        )


def available_memory() -> int | None:
    """Bytes of memory that are free for this process, those of its control group considered; None where unknown."""
    found = []
    with contextlib.suppress(OSError, ValueError, IndexError):
        for line in Path("/proc/meminfo").read_text().splitlines():
            if line.startswith("MemAvailable:"):
                found.append(int(line.split()[1]) * 1024)
    for limit, used in (
        ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory.current"),
        ("/sys/fs/cgroup/memory/memory.limit_in_bytes", "/sys/fs/cgroup/memory/memory.usage_in_bytes"),
    ):
        with contextlib.suppress(OSError, ValueError):  # "max": no limit
            found.append(max(int(Path(limit).read_text()) - int(Path(used).read_text()), 0))
    return min(found, default=None)
