"""The kinds of things that ``explain`` explains: where each is registered, what it is called, and its page."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from robaudit.attacks.registry import attack_classes, make_composed, transform_classes
from robaudit.certificates.registry import certifier_classes
from robaudit.checks.registry import check_classes
from robaudit.cli.explain_attack import (
    attack_page,
    defense_page,
    detector_page,
    purifier_page,
    set_page,
    surrogate_page,
    transform_page,
)
from robaudit.cli.explain_check import check_page
from robaudit.defenses.registry import defense_classes
from robaudit.detectors.registry import detector_classes
from robaudit.purifiers.registry import purifier_classes
from robaudit.surrogates.registry import surrogate_classes
from robaudit.threat.sets.registry import chosen_classes

__all__ = ["Kind", "composed_page", "kinds"]


@dataclass(frozen=True)
class Kind:
    """One kind.

    Args:
        classes: by id.
        word: what one of them is called in a list.
        page: all that a user needs to know of one.
    """

    classes: Mapping[str, Any]
    word: Callable[[Any], str]
    page: Callable[[Any], str]


def kinds() -> list[Kind]:
    """All kinds, in the order of the list."""

    def called(word: str) -> Callable[[Any], str]:
        return lambda _: word

    return [
        Kind(attack_classes(), lambda cls: f"attack, {cls.access}", attack_page),
        Kind(transform_classes(), called("transform"), transform_page),
        Kind(surrogate_classes(), called("surrogate"), surrogate_page),
        Kind(check_classes(), called("check"), check_page),
        Kind(defense_classes(), called("defense"), defense_page),
        Kind(purifier_classes(), called("purifier"), purifier_page),
        Kind(detector_classes(), called("detector"), detector_page),
        Kind(chosen_classes(), called("perturbation set"), set_page),
        Kind(certifier_classes(), called("certificate"), _certificate_page),
    ]


def composed_page(name: str, attack: str, through: Sequence[str]) -> str:
    """The page of an attack through transforms.

    Raises:
        UsageError: they cannot be composed.
    """
    make_composed(name, {})
    pages = [attack_page(attack_classes()[attack]), *(transform_page(transform_classes()[one]) for one in through)]
    return "\n\n".join(pages)


def _certificate_page(cls: Any) -> str:
    norms = ", ".join(sorted(cls.norms))
    return (
        f"{cls.id}: certificate, in {norms}\n\n{inspect.getdoc(cls)}\n\n"
        f"In a profile: `certificates: [{cls.id}]`; as a gate: `certified_accuracy`."
    )
