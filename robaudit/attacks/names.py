"""Names of attacks as they are written: short ones, and those with transforms, such as ``mi+di``. No torch."""

from __future__ import annotations

__all__ = ["SHORT", "canonical", "parts"]

SHORT = {"mi": "transfer-mi-fgsm"}
"""Short names of attacks, as the literature on transfer writes them, and their ids."""


def parts(name: str) -> tuple[str, ...]:
    """The attack's id, and those of the transforms that its gradients are taken through, in order."""
    attack, *transforms = name.split("+")
    return SHORT.get(attack, attack), *transforms


def canonical(name: str) -> str:
    """The name with the attack's id in place of its short name: ``transfer-mi-fgsm+di`` of ``mi+di``.

    What stands before a slash, the norm or ``curve``, stays.
    """
    before, slash, rest = name.rpartition("/")
    return before + slash + "+".join(parts(rest))
