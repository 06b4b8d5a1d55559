"""What the processes of an audit may take."""

from __future__ import annotations

import math
from pathlib import Path

from robaudit.audit.config.request import AuditRequest
from robaudit.audit.process.confinement import Confinement
from robaudit.memory import available_memory
from robaudit.target.files.remote.endpoint import is_endpoint, read_endpoint

__all__ = ["confinement_of", "memory_allowed"]

SHARE, LEAST = 0.95, 2**30
"""Of the free memory; below 1 GB no audit runs, and the system decides."""


def confinement_of(request: AuditRequest, *writable: Path) -> Confinement:
    """The limits of a process that loads the request's files; ``writable``: folders in which it works."""
    return Confinement(
        seconds=request.settings.load_timeout or None,
        call=request.settings.call_timeout or None,
        first=request.settings.load_timeout or math.inf,
        memory=memory_allowed(request.settings.memory_limit),
        gpu=_on_gpu(request.settings.device),
        sandbox=request.sandbox,
        ports=_ports(request.model),
        writable=tuple(str(folder.resolve()) for folder in writable),
    )


def memory_allowed(limit: float | None = None) -> int | None:
    """Bytes that a process may take: as the user says in GB, else what is free; None where that is unknown."""
    if limit is not None:
        return int(limit * 2**30)
    free = available_memory()
    return None if free is None else max(int(SHARE * free), LEAST)


def _ports(model: Path) -> tuple[int, ...]:
    """Of the machine that an endpoint is on; none where the model is a file."""
    return read_endpoint(model).ports if is_endpoint(model) else ()


def _on_gpu(device: str) -> bool:
    if device == "cpu":
        return False
    from robaudit.target.running.device import choose_device

    return choose_device(device).type == "cuda"
