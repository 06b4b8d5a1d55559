"""How much memory is free, and whether it suffices."""

from __future__ import annotations

import contextlib
import ctypes
from pathlib import Path

from robaudit.errors import UsageError

__all__ = ["afford", "available_memory", "keep_freed_memory"]

KEPT = 512 * 2**20
"""Most bytes of freed memory that the C library keeps at the end of its heap."""
LARGEST = 32 * 2**20
"""Most bytes of a block that is taken from the heap: the most that the GNU C library allows."""
TRIM_THRESHOLD, MMAP_THRESHOLD = -1, -3
"""Parameters of its ``mallopt``."""


def keep_freed_memory() -> bool:
    """Have the C library keep memory that was freed for what is taken next, in the place of giving it back at once.

    A batch of images is taken and freed several times in each step of a search, and the kernel clears every page of it
    each time. Returns whether the library can be told so: that of GNU can.
    """
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, TypeError, AttributeError):  # TypeError: there is no library without a name on Windows
        return False
    return bool(mallopt(MMAP_THRESHOLD, LARGEST)) and bool(mallopt(TRIM_THRESHOLD, KEPT))


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
