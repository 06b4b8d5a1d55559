"""Names of attacks as they are written: short ones, and those with transforms, such as ``mi+di``. No torch."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

__all__ = ["SHORT", "SMOOTH", "canonical", "numbered", "parts"]

SHORT = {
    "mi": "transfer-mi-fgsm",
    "ni": "transfer-ni-fgsm",
    "vmi": "transfer-vmi-fgsm",
    "vni": "transfer-vni-fgsm",
    "mef": "transfer-mef",
}
"""Short names of attacks, as the literature on transfer writes them, and their ids."""

SMOOTH = "smooth"
"""Stands after an attack's id, as a transform does: its gradients are taken by a smooth backward."""


def parts(name: str) -> tuple[str, ...]:
    """The attack's id, and those of the transforms that its gradients are taken through, in order."""
    attack, *transforms = name.split("+")
    return SHORT.get(attack, attack), *transforms


def numbered(names: Iterable[str]) -> list[str]:
    """Names in order, one that comes again with its number: ``pgd``, ``pgd#2``."""
    seen: Counter[str] = Counter()
    found = []
    for name in names:
        seen[name] += 1
        found.append(name if seen[name] == 1 else f"{name}#{seen[name]}")
    return found


def canonical(name: str) -> str:
    """The name with the attack's id in place of its short name: ``transfer-mi-fgsm+di`` of ``mi+di``.

    What stands before a slash, the norm or ``curve``, stays.
    """
    before, slash, rest = name.rpartition("/")
    return before + slash + "+".join(parts(rest))
