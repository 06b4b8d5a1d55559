"""What the C library is told to do with memory that was freed."""

from __future__ import annotations

import ctypes
import platform

import pytest

from robaudit.memory import keep_freed_memory


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="mallopt is of the C library of GNU")
def test_the_library_takes_the_limits() -> None:
    """It refuses a block that is larger than it allows."""
    assert keep_freed_memory()


def test_a_library_without_such_limits_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ctypes, "CDLL", lambda name: object())
    assert not keep_freed_memory()
