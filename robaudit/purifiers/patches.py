"""A database of clean patches, for quilting."""

from __future__ import annotations

import io
from typing import Annotated

import numpy as np
import torch
from pydantic import Field

from robaudit.attacks.parameters import attack_parameters
from robaudit.errors import AuditError
from robaudit.purifiers.base import Lessons, PurifierRecipe, Schedule
from robaudit.purifiers.training import seed_of

__all__ = ["Patches"]


@attack_parameters
class Patches(PurifierRecipe):
    """Patches of clean images at random places, for the defense quilting, which builds images of them.

    Source: Guo, Rana, Cisse, van der Maaten 2018, "Countering Adversarial Images using Input Transformations" (image
    quilting).

    Args:
        count: of patches.
        size: width and height of a patch in pixels.
    """

    id = "patches"
    defense = "quilting"
    suffix = ".npz"

    count: Annotated[int, Field(ge=10, le=1_000_000)] = 20_000
    size: Annotated[int, Field(ge=2, le=64)] = 5

    def unsuited(self, shape: tuple[int, ...]) -> str | None:
        """Images that are smaller than a patch."""
        if self.size <= min(shape[1:]):
            return None
        return f"its patches of {self.size} are larger than the model's images, {shape[1]}x{shape[2]}"

    def make(self, lessons: Lessons, schedule: Schedule) -> bytes:
        """Draw an image and a place for each patch."""
        schedule.rounds = 1
        if not schedule.go_on():
            raise AuditError("the time budget was over before any patch was cut")
        images = lessons.images.cpu().numpy()
        generator = torch.Generator().manual_seed(seed_of(lessons, self.id))
        drawn = torch.rand((3, self.count), generator=generator, dtype=torch.float64).numpy()
        rooms = (len(images), images.shape[2] - self.size + 1, images.shape[3] - self.size + 1)
        index, down, across = ((part * room).astype(np.int64) for part, room in zip(drawn, rooms, strict=True))
        step = np.arange(self.size)
        patches = images[index[:, None, None], :, down[:, None, None] + step[:, None], across[:, None, None] + step]
        file = io.BytesIO()
        np.savez_compressed(file, patches=np.ascontiguousarray(np.moveaxis(patches, -1, 1)))
        schedule.finished(0.0)
        return file.getvalue()
