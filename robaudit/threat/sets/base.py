"""What a perturbation set is: a part of the threat model beside the ball, such as a mask.

Judges and replays ask it in NumPy, so that evidence can be checked where no torch is installed.
"""

from __future__ import annotations

import hashlib
import json
import math
from abc import ABC
from collections.abc import Mapping
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import TypeAdapter

from robaudit.target.inputs.meaning import InputMeaning
from robaudit.threat.arrays import TOLERANCE

__all__ = ["NORMS", "PerturbationSet", "Witness"]

NORMS = frozenset({"linf", "l2", "l1", "l0"})
Witness = Mapping[str, NDArray[Any]]
"""Parameters, [N, ...] each, with which an attack claims to have made its points."""


class PerturbationSet(ABC):
    """What may be changed beside the ball. A subclass is a frozen pydantic dataclass whose fields are its parameters.

    It restricts features (:meth:`fixed`), or how they change together (:meth:`project` and :meth:`contains`). An
    adversarial example lies in the box, in the ball and in every set of the threat model.

    Class attributes:
        id: name in profiles and results.
        norms: balls that it may be joined with.
        files: parameters that name files, whose content is part of a run's identity.
        inherent: it belongs to the input, such as immutable features, and is not the user's choice.
    """

    id: ClassVar[str]
    norms: ClassVar[frozenset[str]] = NORMS
    files: ClassVar[tuple[str, ...]] = ()
    inherent: ClassVar[bool] = False

    def fitted(self, meaning: InputMeaning) -> Self:
        """The set for an input, with what its files hold; without paths, as results keep it.

        Raises:
            UsageError: it does not suit the input, or a file cannot be used.
        """
        return self

    def fixed(self, shape: tuple[int, ...]) -> NDArray[np.bool_] | None:
        """[*shape] features that stay as they are in each sample, where attacks spend nothing; None: all may change."""
        return None

    def project(self, point: NDArray[Any], origin: NDArray[Any]) -> NDArray[Any]:
        """[N, *shape] points brought into the set, those in it left alone; ``origin`` [N, *shape] in u-space.

        Points of the box and a ball around the origin must stay in both.
        """
        still = self.fixed(point.shape[1:])
        return point if still is None else np.where(still, origin, point)

    def contains(self, point: NDArray[Any], origin: NDArray[Any], witness: Witness | None = None) -> NDArray[np.bool_]:
        """[N] whether float64 points lie in the set, to within 1e-6 of the domain's width: the judge asks this.

        Args:
            point: [N, *shape] in u-space; ``origin``: [N, *shape].
            witness: with which the attack claims to have made the points; None: it names none.
        """
        still = self.fixed(point.shape[1:])
        inside = np.ones(len(point), dtype=np.bool_)
        if still is not None and still.any():
            inside &= np.abs(point[:, still] - origin[:, still]).max(1) <= TOLERANCE
        return inside

    @property
    def joint(self) -> bool:
        """Whether it says how features change together, so that a gradient step has to be projected on it."""
        return type(self).project is not PerturbationSet.project

    def measure(self, shape: tuple[int, ...]) -> int:
        """How many features of a sample may change."""
        still = self.fixed(shape)
        return math.prod(shape) - (0 if still is None else int(still.sum()))

    def words(self, shape: tuple[int, ...]) -> str:
        """What it allows, as the end of a sentence that begins with "where"."""
        free, count = self.measure(shape), math.prod(shape)
        return (
            f"only {free:,} of {count:,} features may change" if free < count else f"all {count:,} features may change"
        )

    def notes(self, shape: tuple[int, ...]) -> list[str]:
        """What a user should know of it, a sentence each."""
        return []

    def content(self) -> dict[str, Any]:
        """Its parameters as JSON holds them; the registry makes the same set of them again."""
        found: dict[str, Any] = TypeAdapter(type(self)).dump_python(self, mode="json")
        return found

    def digest(self) -> str:
        """SHA-256 of what it allows: sets with the same digest are the same."""
        return hashlib.sha256(json.dumps([self.id, self.content()], sort_keys=True).encode()).hexdigest()
