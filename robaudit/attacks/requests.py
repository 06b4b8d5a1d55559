"""What an attack may ask, and what it gets back. The request's type is the capability that it needs."""

from __future__ import annotations

import dataclasses
import enum
import math
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

from torch import Tensor

from robaudit.attacks.transforms.base import Transform
from robaudit.target.running.smooth import Smooth
from robaudit.threat.losses import Loss
from robaudit.threat.model import Access

__all__ = [
    "TRUE",
    "Answer",
    "Differentiated",
    "Fusion",
    "Gradient",
    "How",
    "Jacobian",
    "Labels",
    "Logits",
    "ModelRef",
    "Request",
    "Scores",
]


class ModelRef(enum.StrEnum):
    """Which model a request is for."""

    TARGET = "target"
    SURROGATES = "surrogates"
    """All surrogates, or those that a gradient names, as one model."""


Fusion = Literal["logits", "predictions", "losses"]
"""What is averaged over several surrogates (Dong et al. 2018, "Boosting Adversarial Attacks with Momentum"): logits,
probabilities or losses."""


@dataclass(frozen=True)
class How:
    """How gradients are taken. What the model answers at the point itself does not depend on it.

    Args:
        through: what the points go through before the model, in order; nothing: the true gradient.
        copies: how often a gradient is taken at each point, each time with other draws of the transforms and of a
            random model. The mean is the answer: expectation over transformation (Athalye, Engstrom, Ilyas, Kwok 2018,
            section 2.2). Copies that transforms ask for come on top, as many as the product of all.
        members: names of the surrogates whose gradients are taken; none: all.
        fusion: what is averaged over them.
        smooth: through operators that hide it, such as ReLUs that are off, by a smooth backward of a target whose graph
            has one, see :mod:`robaudit.target.running.standins`; None: by the true one.
    """

    through: tuple[Transform, ...] = ()
    copies: int = 1
    members: tuple[str, ...] = ()
    fusion: Fusion = "logits"
    smooth: Smooth | None = None

    @property
    def gradients(self) -> int:
        """Gradients that are taken at each point."""
        return self.copies * math.prod(transform.copies for transform in self.through)

    @property
    def apart(self) -> bool:
        """Whether a model whose gradient is taken does not see the point itself."""
        return any(transform.moves for transform in self.through)

    @property
    def looks(self) -> int:
        """Forwards at a point itself: of a random model as many as its gradients take, which go through nothing."""
        return 1 if self.apart else self.copies

    def then(self, other: How) -> How:
        """Through this and then through the other, as often as both ask for, of the surrogates that either names."""
        fusion = other.fusion if self.fusion == "logits" else self.fusion
        members = self.members or other.members
        return How(
            self.through + other.through, self.copies * other.copies, members, fusion, self.smooth or other.smooth
        )


TRUE = How()
"""The gradient of the model at the point itself, once."""


@dataclass(frozen=True)
class Request:
    """Points to evaluate, one or several for each slot.

    Args:
        points: [S, *shape], or [S, P, *shape] for several points a slot, in u-space.
        rows: [S, P] bool ([S] for one point): which points are wanted; None means all.
        model: the model asked.
        candidates: [S] bool, slots whose points count where they fool, or [S, P] bool, which of them do; None: all.
            What is asked on the way, outside of the ball, need not be judged.
    """

    access: ClassVar[frozenset[Access]] = frozenset()
    points: Tensor
    rows: Tensor | None = None
    model: ModelRef = ModelRef.TARGET
    candidates: Tensor | None = None


@dataclass(frozen=True)
class Differentiated(Request):
    """A request to a differentiable model.

    Args:
        how: how its gradients are taken. A job may add to what the attack asks for.
    """

    access: ClassVar[frozenset[Access]] = frozenset({Access.WHITE_BOX, Access.TRANSFER})
    how: How = TRUE


@dataclass(frozen=True)
class Logits(Differentiated):
    """Logits of the differentiable model, a forward a point."""


@dataclass(frozen=True)
class Gradient(Differentiated):
    """Logits and the input gradient of a loss, a forward and a backward a point, or a copy of it.

    Through a transform, loss and gradient are the mean over the copies of what the model says of the changed points,
    while labels, logits and ``fooled`` are those of the point itself, at a forward more. Of surrogates, whose answer
    decides nothing, they are the copies' too.

    Where it has no slope, as the only rival that it looks at moves with the label (a twin of the class), loss and
    gradient are those of the next rival's lead that has one, which costs a forward and a few backwards more.

    Args:
        loss: see :mod:`robaudit.threat.losses`; several where slots maximise different ones.
        choice: [S] int64, which of several losses each slot maximises.
        target_class: [S] int64 class that each slot's loss aims at, -1: none; None: the problem's.
        shares: [S, M] what the loss of each of M surrogates counts for in the loss; None: they count as ``How`` has it.
        suspicion: the suspicion of the detector beside the target, and its gradient, are wanted too; a forward and a
            backward more a point. Of one point a slot, and the target alone.
        plain: the first so many of a slot's several points are asked for logits and loss alone, at no backward; their
            gradient is zero. One loss for all slots then.
    """

    loss: Loss | tuple[Loss, ...] | None = None
    choice: Tensor | None = None
    target_class: Tensor | None = None
    shares: Tensor | None = None
    suspicion: bool = False
    plain: int = 0


@dataclass(frozen=True)
class Jacobian(Differentiated):
    """Logits and the input gradient of the logits of some classes: a forward, and a backward a class.

    Through a transform as a :class:`Gradient` is.

    With a ``base``, a row that is nothing but rounding is answered as 0; where all of a slot's rows are, the next rival
    with a slope takes the place of the first class, or in a targeted audit, asked for its goal alone, of the base. It
    costs a forward and a few backwards more, and ``Answer.classes`` and ``Answer.base`` tell.

    Args:
        classes: [S, C] int64, the rows wanted (at most ten are sensible), -1: the sum of all classes; one point a
            slot.
        base: [S] int64 class whose logit is taken off every row, so that a boundary's gradient costs one backward.
        slopes: [S] bool, slots that want their rows; the others are asked for logits alone. None: all.
    """

    classes: Tensor | None = None
    base: Tensor | None = None
    slopes: Tensor | None = None


@dataclass(frozen=True)
class Scores(Request):
    """Class scores of the shipped file: a query a point."""

    access: ClassVar[frozenset[Access]] = frozenset({Access.SCORES})


@dataclass(frozen=True)
class Labels(Request):
    """The predicted class of the shipped file: a query a point."""

    access: ClassVar[frozenset[Access]] = frozenset({Access.LABELS, Access.SCORES})


@dataclass(frozen=True)
class Answer:
    """The answer to a request; every tensor has the request's leading dimensions, [S] or [S, P].

    Args:
        points: the request's points; where the output names no class, the point nearby that answers in its place
            (:mod:`robaudit.engine.standin`). What fools is to be kept from here, not from the state.
        answered: bool; a budget or ``rows`` may leave points unanswered, whose other values are then void.
        fooled: bool; the goal is reached at that point. For a first-success attack the judge has confirmed
            it on the file, and ``refused`` tells where it denied what the model said.
        refused: bool, see ``fooled``.
        labels: int64 predicted classes, -1 where the answer leaves the class open.
        logits: [..., K] logits or scores, none of them -inf (:mod:`robaudit.threat.masked`); None for label requests.
        loss: value of the loss; for gradient requests.
        gradient: [..., *shape] gradient of the loss; [S, C, *shape] for a Jacobian, zero where no row was wanted.
        steep: [S] or [S, P] sum of the absolute entries of a point's gradient, of all rows of a Jacobian.
        rejected: bool, inputs that the service rejects; their label is -1 and their scores are all equal. None: it
            rejects none.
        suspicion: [S] what the detector's differentiable stand-in says, less the threshold: above 0 it rejects; None:
            it was not asked for, or there is no detector, or it has no gradient. ``suspicion_gradient``: [S, *shape].
        classes: for a Jacobian: [S, C] classes of the rows, and ``base`` [S] the class taken off (None: none was). They
            are those of the request, unless none of a slot's rows had a slope.
    """

    points: Tensor
    answered: Tensor
    fooled: Tensor
    refused: Tensor
    labels: Tensor
    logits: Tensor | None = None
    loss: Tensor | None = None
    gradient: Tensor | None = None
    classes: Tensor | None = None
    base: Tensor | None = None
    steep: Tensor | None = None
    rejected: Tensor | None = None
    suspicion: Tensor | None = None
    suspicion_gradient: Tensor | None = None

    def at(self, place: int) -> Answer:
        """The answer at one of several points a slot."""
        parts: dict[str, Any] = {}
        for field in dataclasses.fields(self):
            value = getattr(self, field.name)
            parts[field.name] = None if value is None else value[:, place]
        return Answer(**parts)
