"""What a process may take."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from robaudit.audit.process.sandbox import Mode

__all__ = ["Confinement"]

LOAD_SECONDS = 300.0


CALL_SECONDS = 60.0


@dataclass(frozen=True)
class Confinement:
    """What a process may take.

    Args:
        seconds: for loading and the first run; None: no limit.
        call: seconds for one call of the model, unless it is known to be slow; None: no limit.
        first: seconds for the first call of each kind; None: as any other.
        memory: bytes; None: no limit. ``gpu``: it cannot be set in the kernel, because CUDA maps more than it uses.
        sandbox: whether it is without network but for ``ports``, and without write access outside of ``writable``.
        writable: folders.
        ports: of other machines that may be connected to; none: the process is without network.
        scratch: for temporary files and the account of a crash.
    """

    seconds: float | None = LOAD_SECONDS
    call: float | None = CALL_SECONDS
    first: float | None = None
    memory: int | None = None
    gpu: bool = False
    sandbox: Mode = "off"
    writable: tuple[str, ...] = ()
    ports: tuple[int, ...] = ()
    scratch: str = ""

    @property
    def crash(self) -> Path:
        """Where a crash is put down."""
        return Path(self.scratch) / "crash.txt"

    @property
    def pulse(self) -> Path:
        """Where the process says which call of the model is at work."""
        return Path(self.scratch) / "pulse"
