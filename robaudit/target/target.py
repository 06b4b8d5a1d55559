"""The file under audit: what it answers, and its input gradient."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, Final

import torch
from torch import Tensor

from robaudit.errors import AuditError, UsageError, on_one_line
from robaudit.target.head.scores import Kind
from robaudit.target.measures.gradient import GradientStatus, tried_gradient
from robaudit.target.measures.parity import Parity, compare, difference
from robaudit.target.measures.steadiness import is_repeatable
from robaudit.target.onnx import OnnxModule
from robaudit.target.reading.measured import Measured
from robaudit.target.reading.opened import OpenedTarget, ranked
from robaudit.target.reading.pupil import Pupil
from robaudit.target.reading.readout import probes
from robaudit.target.running.attributed import Differentiable
from robaudit.target.running.smooth import Smooth

__all__ = ["Slope", "StandIn", "Target", "declared_gradient", "ready", "stand_in_for"]


@dataclass(frozen=True)
class StandIn:
    """Another model whose gradient is taken at every point, for the values of the file.

    Backward pass differentiable approximation, for a file whose own gradient is missing or of no use (Athalye, Carlini,
    Wagner 2018, "Obfuscated Gradients Give a False Sense of Security", section 4.1.2).

    Args:
        name: of its file.
        gradient: what is known of it.
        path: what is asked for it.
    """

    name: str
    gradient: GradientStatus
    path: Differentiable


@dataclass(frozen=True)
class Slope:
    """Where the gradient of a target comes from, and what is known of it.

    Args:
        status: whether there is one.
        stand_in: whose it is; None: that of the file's own twin.
        facts: what is known of the twin, for people; ``notes`` likewise.
    """

    status: GradientStatus
    stand_in: StandIn | None = None
    facts: Mapping[str, Any] = field(default_factory=dict)
    notes: tuple[str, ...] = ()


class Target:
    """A classifier file that was measured and whose gradient was tried, and that stays so. All methods take u-space.

    Args:
        measured: the file.
        slope: its gradient.
    """

    def __init__(self, measured: Measured, slope: Slope) -> None:
        opened, steadiness = measured.opened, measured.steadiness
        self.opened: Final = opened
        self.path: Final = opened.path
        self.name: Final = opened.name
        self.file: Final = opened.file
        self.sha256: Final = opened.sha256
        self.format: Final = opened.format
        self.spec: Final = opened.spec
        self.device: Final = opened.device
        self.dtype: Final = opened.dtype
        self.choice: Final = opened.choice
        self.head: Final = opened.head
        self.num_classes: Final = opened.num_classes
        self.names: Final = opened.names
        self.class_names: Final = opened.class_names
        self.no_scores: Final = opened.no_scores
        self.batch_invariant: Final = steadiness.batch_invariant
        self.batch_deviation: Final = steadiness.batch_deviation
        self.repeat_deviation: Final = steadiness.repeat_deviation
        self.keeps_state: Final = steadiness.keeps_state
        self.undecided: Final = measured.undecided
        self.disputed: Final = measured.disputed
        self.gradient: Final = slope.status
        self.stand_in: Final = slope.stand_in
        self.facts: Final = {**opened.facts, **slope.facts}
        self.notes: Final = (*measured.notes, *slope.notes)
        self._measured, self._slope = measured, slope
        self._singly = _singly(measured)

    def reread(self, opened: OpenedTarget) -> Target:
        """The same measured file with the same gradient, with its input read otherwise."""
        return Target(replace(self._measured, opened=opened), self._slope)

    def scores(self, u: Tensor, *, alone: bool = False) -> Tensor:
        """Scores by the shipped file.

        Args:
            u: [N, *shape].
            alone: one input a run; also done where the answers were found to depend on the batch.

        Returns:
            [N, K] at file precision; NaN where the file says so.
        """
        return self.opened.scores(u, alone=alone or self.batch_invariant is False)

    def answered(self, u: Tensor) -> Tensor:
        """The clean answers [N, K] that attacks start from.

        Scores; where the file returns labels, the twin's logits in so far as they say the same, which rank the classes.
        """
        scores = self.scores(u)
        if self.head.kind != "labels" or not self.gradient.available:
            return scores
        with torch.no_grad():
            return ranked(scores, self.logits(u))

    def labels(self, u: Tensor) -> Tensor:
        """[N] predicted classes of the shipped file."""
        return self.scores(u).argmax(1)

    def logits(self, u: Tensor) -> Tensor:
        """[N, *shape] to [N, K] logits with a gradient, taken before a softmax, sigmoid or ArgMax at the end.

        Raises:
            AuditError: the file has no gradient.
        """
        if not self.gradient.available:
            raise AuditError(f"{self.name} has no gradient ({self.gradient.reason})")
        if self.stand_in is None:
            smooth = Smooth() if self.gradient.method == "smoothed" else None
            return self.opened.logits(u, singly=self._singly, smooth=smooth)
        path = self.stand_in.path.logits(u)
        with torch.no_grad():
            value = self.head.undone(self.scores(u)).to(path)
        return value + (path - path.detach())

    @property
    def unsmooth(self) -> str | None:
        """Why its gradient cannot be taken by a smooth backward, as a clause; None: it can."""
        if self.stand_in is not None:
            return "the gradient is that of a stand-in"
        return self.gradient.reason if not self.gradient.available else self.opened.file.unsmooth

    def smoothly(self, u: Tensor, smooth: Smooth) -> Tensor:
        """As :meth:`logits`, with a smooth backward."""
        return self.opened.logits(u, singly=self._singly, smooth=smooth)

    @property
    def smoothable(self) -> Mapping[str, tuple[str, ...]]:
        """Names of the nodes that can have a smooth backward, by operator; none where no graph is differentiated."""
        twin = self.file.twin
        return {} if twin is None or self.unsmooth is not None else twin.smoothable

    def features(self) -> Callable[[Tensor], Tensor] | None:
        """[N, *shape] to what the last linear layer of the twin is given, [N, F] with a gradient.

        None where no such layer ends the twin, or its gradient is not that of the file's own graph, batch by batch.
        """
        if not self.gradient.available or self.stand_in is not None or self._singly:
            return None
        found, spec = self.file.features(smooth=self.gradient.method == "smoothed"), self.spec
        return None if found is None else lambda u: found(spec.to_file(u.to(self.dtype))).flatten(1)

    def pupil(self) -> Pupil:
        """See :meth:`OpenedTarget.pupil`."""
        return self.opened.pupil()

    @property
    def score_kind(self) -> Kind:
        """What its scores are."""
        return self.head.kind

    @property
    def repeats_itself(self) -> bool:
        """Whether the same input has the same answer each time."""
        return is_repeatable(self.repeat_deviation) and not self.spec.draws

    @property
    def is_random(self) -> bool:
        """Whether it answers by chance, so that it is judged on many draws: the file itself, or a defense before it."""
        return self.spec.draws or self.is_random_itself

    @property
    def is_random_itself(self) -> bool:
        """Whether the file does, whatever stands before it."""
        return not is_repeatable(self.repeat_deviation) and self.keeps_state is False

    def draws(self, u: Tensor, numbers: range) -> Tensor:
        """See :meth:`OpenedTarget.draws`."""
        return self.opened.draws(u, numbers)

    @property
    def whole(self) -> bool:
        """Whether some features hold whole numbers alone."""
        return self.spec.whole

    def as_input(self, u: Tensor) -> Tensor:
        """See :meth:`InputSpec.as_input`."""
        return self.spec.as_input(u)

    def snap(self, u: Tensor, origin: Tensor) -> Tensor:
        """See :meth:`InputSpec.snap`."""
        return self.spec.snap(u, origin)

    def parity(self, u: Tensor, *, noise: bool = False) -> Parity:
        """Compare twin and file on [N, *shape] points; one to which both answers name no class counts as equal.

        Args:
            u: points.
            noise: measure the runtime's own noise on them as well, with a second session without optimisations.
        """
        if self.spec.draws or self.spec.voting is not None:  # twin and file would draw apart, or vote alike
            still = self.reread(self.opened.reread(spec=self.spec.without_draws().without_votes()))
            return still.parity(u, noise=noise)
        width = None if self.spec.batch is None and self.batch_invariant else self.spec.batch or 1

        def unoptimised(part: Tensor) -> Tensor | None:
            raw = self.file.plain(self.spec.to_file(part), width=width)
            return None if raw is None else self.head.own_scores(raw)

        def own_scores(part: Tensor) -> Tensor:
            """What the scores alone say, whatever a label beside them says."""
            width = self.spec.batch or (1 if self.batch_invariant is False else None)
            return self.head.own_scores(self.file.run(self.spec.to_file(part), width=width))

        twin = self.file.twin
        return compare(
            u,
            self.head,
            own_scores if self.head.labelled else self.scores,
            partial(self.opened.twin, singly=self._singly),
            unoptimised if noise else None,
            rounds=twin is not None and twin.is_quantised,
            terms=[] if twin is None else list(twin.buffers()),
        )


def stand_in_for(opened: OpenedTarget, other: Target, path: Differentiable | None = None) -> StandIn:
    """A model that stands in for a file's own gradient.

    Args:
        opened: the file.
        other: the model.
        path: what is asked in its place; default itself.

    Raises:
        UsageError: it takes other inputs or tells other classes, or has no gradient.
    """
    for what, own, its in (
        ("inputs", opened.spec.shape, other.spec.shape),
        ("classes", opened.num_classes, other.num_classes),
    ):
        if own != its:
            raise UsageError(f"the stand-in {other.name} has {its} {what} and the model {own}; they must be equal")
    if not other.gradient.available:
        raise UsageError(f"the stand-in {other.name} has no gradient ({other.gradient.reason})")
    return StandIn(other.name, other.gradient, path or other)


def declared_gradient(
    opened: OpenedTarget, *, stand_in: StandIn | None = None, no_gradient: str | None = None
) -> Slope:
    """The gradient of a target as it is said to be, untried; the arguments are those of :func:`ready`."""
    if stand_in is not None and no_gradient is None:
        return Slope(GradientStatus(True, None, "stand-in"), stand_in)
    reason = no_gradient or opened.file.no_gradient
    return Slope(GradientStatus(reason is None, reason, "exact" if reason is None else "none"))


def ready(
    measured: Measured, *, stand_in: StandIn | None = None, no_gradient: str | None = None, compiles: bool = False
) -> Target:
    """A target, its gradient tried and made ready for batches; one that fails leaves black box alone.

    Args:
        measured: the file.
        stand_in: the model whose gradient is taken in place of its own.
        no_gradient: why none is to be taken, as the one that was wanted cannot be had.
        compiles: compile the twin, if torch can do so here.
    """
    opened = measured.opened
    slope = declared_gradient(opened, stand_in=stand_in, no_gradient=no_gradient)
    if slope.stand_in is not None:
        slope = replace(slope, status=replace(slope.stand_in.gradient, method="stand-in"))
    if slope.stand_in is not None or not slope.status.available:
        return Target(measured, slope)
    points = probes(opened.spec.shape)[1:].to(opened.device, opened.dtype)
    points[0] = 0.5
    points.requires_grad_()
    logits = partial(opened.logits, singly=_singly(measured))
    changes = partial(_changes, opened)
    status = tried_gradient(slope.status, opened.file, points, logits, changes)
    twin = opened.file.twin
    if not status.available and opened.file.unsmooth is None:
        smooth = tried_gradient(slope.status, opened.file, points, partial(logits, smooth=Smooth()), changes)
        status = replace(smooth, method="smoothed") if smooth.available else status
        logits = partial(logits, smooth=Smooth())
    if not status.available or twin is None:
        return Target(measured, Slope(status))
    facts = {"layout": twin.optimise(points, logits)}
    return Target(measured, Slope(status, facts=facts, notes=_compiled(twin, points, logits) if compiles else ()))


def _singly(measured: Measured) -> bool:
    """A TorchScript module is its own twin: where its answers depend on the batch, so do its gradients."""
    return measured.opened.format != "onnx" and measured.steadiness.batch_invariant is False


def _changes(opened: OpenedTarget, u: Tensor) -> bool:
    """Whether the file's scores differ between points."""
    scores = opened.scores(u, alone=True).double()
    return difference(scores, scores[:1].expand_as(scores)) > 0


def _compiled(twin: OnnxModule, points: Tensor, logits: Callable[[Tensor], Tensor]) -> tuple[str, ...]:
    """Compile the twin, if torch can do so here; what is to be noted."""
    twin.use_compiler()
    try:
        torch.autograd.grad(logits(points).sum(), points)
    except Exception as error:  # the compiler of C++ is missing or fails, in many ways
        twin.drop_compiler()
        return (f"torch.compile fails ({on_one_line(error, 200)}); the twin runs uncompiled",)
    return ()
