"""Trains a purifier on the data of an audit, apart from the samples that are audited; in a process of its own."""

from __future__ import annotations

import hashlib
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from robaudit.audit.config.request import AuditRequest
from robaudit.audit.config.specs import parse_eps
from robaudit.audit.defenses.document import TrainedPurifier
from robaudit.audit.session.loaded import Loaded
from robaudit.audit.session.loading import load
from robaudit.audit.session.preparing import measure
from robaudit.audit.session.samples import content_digest
from robaudit.defenses.base import Defense
from robaudit.defenses.registry import fitted, make_defense
from robaudit.defenses.suited import no_images
from robaudit.errors import UnreadableSampleError, UsageError
from robaudit.plural import counted
from robaudit.purifiers.base import Lessons, PurifierRecipe, Schedule
from robaudit.purifiers.registry import parse_recipe
from robaudit.target.inputs.spec import InputSpec
from robaudit.target.running.watch import UNWATCHED, Watch
from robaudit.threat.random import key_of

__all__ = ["Progress", "Training", "train_purifier"]

NORMS = ("linf", "l2")
LEAST = 10
"""Fewest samples that a purifier is made of."""
HELD, MOST_HELD = 0.1, 100
"""Share of the samples, and most, that it is measured on and not made of."""
BYTES = 2**29
"""Most of the images that are held in memory."""
PART = 32


@dataclass(frozen=True)
class Training:
    """What is asked.

    Args:
        request: the model, the data, the threat, and which samples are audited.
        recipe: as settings name it.
        samples: most to make it of.
    """

    request: AuditRequest
    recipe: str
    samples: int


@dataclass(frozen=True)
class Progress:
    """Where the training is: rounds done, of how many, and the loss of the last."""

    done: int
    rounds: int
    loss: float


def train_purifier(
    asked: Training,
    tell: Callable[[Progress], None] = lambda _: None,
    watch: Watch = UNWATCHED,
) -> tuple[bytes, TrainedPurifier]:
    """The purifier's file, and what is known of it.

    Raises:
        UsageError: it cannot be made for this model, or of these data, in one sentence.
        AuditError: there was no time for it, or its training failed.
    """
    recipe, request = parse_recipe(asked.recipe), asked.request
    budget = request.time_budget
    deadline = None if budget is None else time.monotonic() + budget
    loaded = _loaded(recipe, request, watch)
    target = loaded.target
    logits = target.logits if target.gradient.available else None
    if logits is None and recipe.needs_gradient:
        raise UsageError(
            f"the purifier {recipe.id} learns from adversarial examples of the model, which has no gradient "
            f"({target.gradient.reason})"
        )
    if request.profile.threat.norm not in NORMS:
        raise UsageError(
            f"purifiers learn to remove perturbations in {' or '.join(NORMS)}, and the norm is "
            f"{request.profile.threat.norm}; give --norm"
        )
    eps = parse_eps(request.profile.threat.eps, request.profile.threat.norm)
    indices, images = _images(loaded, asked.samples)
    held, learned = _parted(images)
    late = False

    def go_on() -> bool:
        nonlocal late
        late = late or (deadline is not None and time.monotonic() > deadline)
        return not late

    schedule = Schedule(go_on, lambda done, of, loss: tell(Progress(done, of, loss)))
    with watch.about("a purifier was trained", indices):
        lessons = Lessons(images[learned], logits, request.profile.threat.norm, eps, request.settings.seed)
        content = recipe.make(lessons, schedule)
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder) / f"purifier{recipe.suffix}"
            file.write_bytes(content)
            measured = _measured(loaded, _defense(recipe, file, target.spec), lessons, images[held])
    return content, TrainedPurifier(
        recipe=recipe.id,
        defense=recipe.defense,
        sha256=hashlib.sha256(content).hexdigest(),
        model_sha256=target.sha256,
        norm=lessons.norm,
        eps=eps,
        seed=lessons.seed,
        guided=logits is not None,
        trained_on=len(learned),
        held_out=len(held),
        audited=loaded.asked,
        rounds=schedule.done,
        planned=schedule.rounds,
        complete=not late,
        **measured,
    )


def _loaded(recipe: PurifierRecipe, request: AuditRequest, watch: Watch) -> Loaded:
    """The model, measured, with the data.

    Raises:
        UsageError: the model takes no images that the recipe suits, or there are no data.
    """
    if request.data is None:
        raise UsageError("a purifier is made of images like those that the model meets; name them with --data")
    opened = load(request, watch=watch)
    spec = opened.opened.spec
    if (why := no_images(spec) or recipe.unsuited(spec.shape)) is not None:
        raise UsageError(f"the purifier {recipe.id} cannot be made: {why}")
    return measure(opened, watch)[0]


def _images(loaded: Loaded, most: int) -> tuple[list[int], Tensor]:
    """Samples apart from the audited ones, by index, in an order that follows from their content."""
    size = 4 * int(np.prod(loaded.target.spec.shape))
    found: list[tuple[int, NDArray[Any]]] = []
    for index in loaded.others(max(LEAST, min(most, BYTES // size))):
        try:
            found.append((index, loaded.data.load(index)))
        except UnreadableSampleError:
            continue
    if len(found) < LEAST:
        raise UsageError(
            f"the data hold {counted(len(found), 'readable sample')} apart from the {loaded.asked} that are audited, "
            f"and a purifier needs at least {LEAST}; give more data, or audit fewer with --samples"
        )
    found.sort(key=lambda one: content_digest(one[1]))
    images = torch.from_numpy(np.stack([image for _, image in found]).astype(np.float32))
    return [index for index, _ in found], images.to(loaded.target.device)


def _parted(images: Tensor) -> tuple[list[int], list[int]]:
    """Places of those that it is measured on, and of those that it is made of."""
    held = min(MOST_HELD, max(1, round(HELD * len(images))))
    return list(range(held)), list(range(held, len(images)))


def _defense(recipe: PurifierRecipe, file: Path, spec: InputSpec) -> Defense:
    return fitted(make_defense(recipe.defense, {"file": str(file)}), spec)


def _measured(loaded: Loaded, defense: Defense, lessons: Lessons, held: Tensor) -> dict[str, int]:
    """How often the model answers held-out images as it answers them clean: behind the purifier, and disturbed without
    and behind it."""
    generator = torch.Generator().manual_seed(key_of(lessons.seed, "purifier", "held out") % 2**31)
    clean = _labels(loaded, held)
    disturbed = torch.cat([lessons.disturbed(part, generator) for part in torch.split(held, PART)])
    counts = {
        "clean_behind": _labels(loaded, defense.forward(held)),
        "disturbed_without": _labels(loaded, disturbed),
        "disturbed_behind": _labels(loaded, defense.forward(disturbed)),
    }
    return {name: int((labels == clean).sum()) for name, labels in counts.items()}


def _labels(loaded: Loaded, images: Tensor) -> Tensor:
    target = loaded.target
    return torch.cat([target.labels(part.to(target.dtype)) for part in torch.split(images, PART)])
