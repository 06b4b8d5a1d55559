"""The contract of a transform: a change of the points at which an attack's gradients are taken."""

from __future__ import annotations

from abc import ABC
from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from robaudit.threat.random import Draws

__all__ = ["Copies", "Transform", "images_alone"]


@dataclass(frozen=True)
class Copies:
    """What a transform may know of the rows that it changes.

    Args:
        draws: keyed random numbers of the rows, this transform's own.
        step: [N] int64 number of each row's draw, another one for each copy at each evaluation.
        number: [N] int64 which of the copies that the transform asks for each row is, from 0.
        label: [N] int64 reference class of each row's sample.
        points: [M, *shape] other samples in u-space, in an order of their own; the sample itself may be among them.
        labels: [M] int64 their reference classes.
    """

    draws: Draws
    step: Tensor
    number: Tensor
    label: Tensor
    points: Tensor
    labels: Tensor

    def uniform(self, purpose: str, shape: tuple[int, ...]) -> Tensor:
        """[N, *shape] float32, uniform on [0, 1); two draws of one transform need two names."""
        return self.draws.uniform(purpose, self.step, shape)

    def normal(self, purpose: str, shape: tuple[int, ...]) -> Tensor:
        """[N, *shape] float32, standard normal; as :meth:`uniform`."""
        return self.draws.normal(purpose, self.step, shape)

    def others(self, purpose: str) -> tuple[Tensor, Tensor]:
        """A sample of another class for each row, at random.

        Returns:
            [N, *shape], and [N] bool whether there is one; void where there is none.
        """
        suits = self.labels != self.label[:, None]
        count = suits.sum(1)
        if len(self.labels) == 0:
            return self.points.new_zeros(len(self.label), *self.points.shape[1:]), count > 0
        rank = self.draws.integers(purpose, self.step, count.clamp_min(1))
        return self.points[(suits.cumsum(1) > rank[:, None]).int().argmax(1)], count > 0


class Transform(ABC):
    """A change of points, differentiable and mostly random. It composes by name with any attack that takes gradients.

    A subclass is a frozen pydantic dataclass whose fields are its parameters. The perturbation that counts is that of
    the point itself: the transform stands between it and the model only where a gradient is taken. It has
    :meth:`apply`, or :meth:`smoothed`, which changes the gradient and not the point.

    Class attributes:
        id: name after the attack's and a plus sign, and key of its parameters in a profile.
        straight_through: it has no gradient, or none of use: on the way back it is the identity (BPDA, Athalye,
            Carlini, Wagner 2018, section 4.1.1).
        moves: it changes points; otherwise gradients alone.
    """

    id: ClassVar[str]
    straight_through: ClassVar[bool] = False
    moves: ClassVar[bool] = True

    @property
    def copies(self) -> int:
        """Copies of each point that it asks for, a gradient each, whose mean is the answer. A field may be this."""
        return 1

    def apply(self, points: Tensor, copies: Copies) -> Tensor:
        """The points as the model is to see them.

        A pure function of its arguments, each row by itself: two rows with equal key, step and number are changed
        alike, whatever else is in the batch.

        Args:
            points: [N, *shape] in u-space.
            copies: what may be known of the rows, and their random numbers.

        Returns:
            [N, *shape]; it may leave the box.
        """
        return points

    def smoothed(self, gradient: Tensor) -> Tensor:
        """What becomes of gradients [N, *shape], after the way back through all transforms, whatever their order.

        Linear, and each row by itself.
        """
        return gradient

    def unsuited(self, shape: tuple[int, ...]) -> str | None:
        """Why it does not apply to samples of this shape, or None."""
        return None


def images_alone(does: str, shape: tuple[int, ...], smallest: int = 1) -> str | None:
    """Why a transform that is made for images [C, H, W] does not apply to samples of this shape, or None.

    Args:
        does: the transform and what it does, such as ``di resizes``.
        shape: of a sample.
        smallest: pixels that each side needs.
    """
    if len(shape) == 3 and min(shape[1:]) >= smallest:
        return None
    return f"{does} images, and samples of shape {'x'.join(map(str, shape))} are none"
