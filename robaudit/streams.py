"""The standard streams of a process, where its caller closed them."""

from __future__ import annotations

import os

__all__ = ["hold_standard"]


def hold_standard() -> None:
    """Open those of the descriptors 0, 1 and 2 that are closed on the null device.

    Else the next pipe or file takes their number, and whoever writes to the standard streams writes into it.
    """
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            opened = os.open(os.devnull, os.O_RDWR)  # the lowest number that is free
            if opened == number:
                os.set_inheritable(opened, True)
            else:  # Windows may choose another
                os.dup2(opened, number)
                os.close(opened)
