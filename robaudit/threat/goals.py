"""What fools and what is right: the one rule, for tensors, arrays and single classes alike. Needs no torch."""

from __future__ import annotations

from typing import Any

__all__ = ["is_right", "reached"]


def reached(prediction: Any, label: Any, goal: Any = -1, rejected: Any = None) -> Any:
    """Whether answers fool: they name the class to reach where there is one, else any class but the label.

    An answer that names no class fools nobody, nor does one to an input that a detector rejects.

    Args:
        prediction: [...] classes answered, -1 where an answer names none.
        label: [...] reference classes.
        goal: [...] classes to reach, -1 for any wrong one.
        rejected: [...] bool, whether a detector rejects the input; None: there is none.

    Returns:
        [...] bool, of the type that comparing the arguments gives: tensors, arrays or a plain bool.
    """
    hit = (prediction == goal) | ((goal < 0) & (prediction != label))
    hit = hit & (prediction >= 0)
    return hit if rejected is None else hit & (rejected ^ True)


def is_right(prediction: Any, label: Any, rejected: Any = None) -> Any:
    """Whether answers to unperturbed samples are right: of the label, and not rejected. As :func:`reached`."""
    hit = (prediction == label) & (prediction >= 0)
    return hit if rejected is None else hit & (rejected ^ True)
