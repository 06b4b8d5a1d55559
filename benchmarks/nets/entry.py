"""What is said of one of the nets."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias

__all__ = ["HALVES", "MASKED", "Half", "Net", "Threat"]

Half: TypeAlias = Literal["choose", "report"]
HALVES: tuple[Half, ...] = ("choose", "report")
MASKED = ("kwta", "distilled", "capped", "linf-large")
CLASSES = {"mnist-3-8": 2, "breast-cancer": 2, "wine": 3, "pairs": 100}


@dataclass(frozen=True)
class Threat:
    """A threat model of an audit: norm and radius, as a profile writes them."""

    norm: str
    eps: str


@dataclass(frozen=True)
class Net:
    """One of the nets.

    Attributes:
        family: dense, deep (six hidden layers), conv, residual, vit, or int8: another net in eight bits.
        data: what it classifies; see data.py.
        training: plain; linf, l2, l1: adversarial in that norm; or what masks it: kwta (k winners take all), distilled
            (at a high temperature: logits of hundreds), capped (activations cut at both ends), linf-large
            (adversarial at a radius that is too large to learn well).
        half: on which attacks are chosen, or reported.
        eps: radius of adversarial training, as a fraction of the domain's width; 0: none.
        threats: to be audited.
        epochs: of training.
        rate: the highest learning rate.
        base: the net that an int8 one is made of.
        version: raised when the net changes, so that it is made again.
    """

    family: str
    data: str
    training: str
    half: Half
    eps: float = 0.0
    threats: tuple[Threat, ...] = ()
    epochs: int = 6
    rate: float = 3e-3
    base: str = ""
    version: int = 1
    head: str = ""

    @property
    def name(self) -> str:
        return f"{self.family}-{self.base or f'{self.data}-{self.training}'}"

    @property
    def classes(self) -> int:
        return CLASSES.get(self.data, 10)

    @property
    def masked(self) -> bool:
        """Its gradient is made to mislead, or to vanish."""
        return self.training in MASKED

    @property
    def norm(self) -> str:
        """Of its adversarial training; "" without."""
        norm = self.training.removesuffix("-large")
        return norm if norm in ("linf", "l2", "l1") else ""
