"""A few transforms, drawn at random from a pool."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from robaudit.attacks.parameters import attack_parameters
from robaudit.defenses.base import Defense, RandomDefense
from robaudit.defenses.registry import make_defense
from robaudit.defenses.suited import no_images
from robaudit.target.inputs.drawing import of_place
from robaudit.target.inputs.meaning import InputMeaning

if TYPE_CHECKING:  # replays of ONNX files do without torch
    from torch import Tensor

__all__ = ["Barrage"]

POOL: tuple[Callable[[float], tuple[str, dict[str, Any]]], ...] = (
    lambda x: ("bits", {"depth": 3 + int(4 * x)}),
    lambda x: ("jpeg", {"quality": 55 + int(41 * x)}),
    lambda _: ("median", {"size": 3}),
    lambda x: ("gaussian", {"sigma": 0.3 + 0.7 * x}),
    lambda x: ("noise", {"sigma": 0.01 + 0.04 * x}),
    lambda x: ("resize-pad", {"least": 0.8 + 0.15 * x}),
)
"""Transforms by their strengths, uniform in [0, 1)."""


@attack_parameters
class Barrage(RandomDefense):
    """Passes the image through a few transforms, each with a random strength, drawn from a pool in a random order.

    The pool: bits, jpeg, median, gaussian, noise, resize-pad, as far as they apply to the model's images. They are
    drawn anew for each answer. The gradient goes back through the stand-in of each, and attacks take means over draws.
    Source: Raff, Sylvester, Forsyth, McLean 2019, "Barrage of Random Transforms for Adversarially Robust Defense",
    whose pool is of 25 transforms.

    Args:
        count: of transforms; at most as many as the pool has for the model's images.
    """

    id = "barrage"

    count: Annotated[int, Field(ge=1, le=len(POOL))] = 3

    def unsuited(self, meaning: InputMeaning) -> str | None:
        """It takes images, and as many transforms as apply to them."""
        if (why := no_images(meaning)) is not None:
            return why
        there = len(_pool(meaning))
        return (
            f"{there} of its transforms apply to these images, and its count is {self.count}"
            if there < self.count
            else None
        )

    def ready(self, meaning: InputMeaning, *, trust: bool = False) -> Defense:
        """The same with the pool that applies."""
        return Pooled(_pool(meaning), self.count)

    def drawn(self, u: NDArray[Any], keys: NDArray[np.uint64]) -> NDArray[Any]:
        """From the whole pool."""
        return Pooled(tuple(range(len(POOL))), self.count).drawn(u, keys)


@dataclass(frozen=True)
class _Step:
    """A transform of one image, with the key of what it draws."""

    defense: Defense
    key: NDArray[np.uint64]

    def shown(self, u: NDArray[Any]) -> NDArray[Any]:
        if isinstance(self.defense, RandomDefense):
            return self.defense.drawn(u, self.key)
        return self.defense.shown(u)

    def path(self, u: Tensor) -> Tensor:
        if isinstance(self.defense, RandomDefense):
            return self.defense.drawn_path(u, self.key)
        return self.defense.backward_path(u)


class Pooled(RandomDefense):
    """A barrage with its pool.

    Args:
        pool: places in ``POOL``.
        count: of transforms.
    """

    def __init__(self, pool: tuple[int, ...], count: int) -> None:
        self._pool, self._count = pool, count

    def drawn(self, u: NDArray[Any], keys: NDArray[np.uint64]) -> NDArray[Any]:
        """Each image through its own."""
        found = []
        for one, key in zip(u, keys, strict=True):
            x = one[None]
            for step in self._steps(key):
                x = step.shown(x)
            found.append(x)
        return np.concatenate(found)

    def drawn_path(self, u: Tensor, keys: NDArray[np.uint64]) -> Tensor:
        """The same, each with the gradient of its stand-in at the values that it gives."""
        import torch

        found = []
        for one, key in zip(u, keys, strict=True):
            x = one[None]
            for step in self._steps(key):
                path = step.path(x)
                with torch.no_grad():
                    shown = x.new_tensor(step.shown(x.detach().cpu().numpy()))
                x = shown + (path - path.detach())
            found.append(x)
        return torch.cat(found)

    def _steps(self, key: np.uint64) -> list[_Step]:
        draw = np.random.Generator(np.random.Philox(key))
        chosen = draw.permutation(len(self._pool))[: self._count]
        strengths = draw.random(self._count)
        keys = (of_place(np.array([key], dtype=np.uint64), place + 1) for place in range(self._count))
        return [
            _Step(make_defense(*POOL[self._pool[int(place)]](float(strength))), own)
            for place, strength, own in zip(chosen, strengths, keys, strict=True)
        ]


def _pool(meaning: InputMeaning) -> tuple[int, ...]:
    return tuple(place for place, make in enumerate(POOL) if make_defense(*make(0.5)).unsuited(meaning) is None)
