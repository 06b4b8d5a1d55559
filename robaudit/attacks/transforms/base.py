"""The contract of a transform: a change of the points at which an attack's gradients are taken."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import ClassVar

from torch import Tensor

from robaudit.threat.random import Draws

__all__ = ["Transform"]


class Transform(ABC):
    """A change of points, differentiable and mostly random. It composes by name with any attack that takes gradients.

    A subclass is a frozen pydantic dataclass whose fields are its parameters. The perturbation that counts is that of
    the point itself: the transform stands between it and the model only where a gradient is taken.

    Class attributes:
        id: name after the attack's and a plus sign, and key of its parameters in a profile.
        straight_through: it has no gradient, or none of use: on the way back it is the identity (BPDA, Athalye,
            Carlini, Wagner 2018, section 4.1.1).
    """

    id: ClassVar[str]
    straight_through: ClassVar[bool] = False

    @abstractmethod
    def apply(self, points: Tensor, draws: Draws, step: Tensor) -> Tensor:
        """The points as the model is to see them.

        A pure function of its arguments, each row by itself: two rows with equal key and step are changed alike,
        whatever else is in the batch.

        Args:
            points: [N, *shape] in u-space.
            draws: keyed random numbers of the rows, this transform's own.
            step: [N] int64 number of each row's draw, another one at each evaluation.

        Returns:
            [N, *shape]; it may leave the box.
        """

    def unsuited(self, shape: tuple[int, ...]) -> str | None:
        """Why it does not apply to samples of this shape, or None."""
        return None
