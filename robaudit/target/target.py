"""The file under audit: what it answers, and its input gradient."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor

from robaudit.errors import AuditError
from robaudit.target.head import Head
from robaudit.target.spec import InputSpec

__all__ = ["GradientStatus", "Parity", "Target"]

REPEATS = 5
"""Answers to the same input that are compared."""
INVARIANT, INVARIANT_HALF = 1e-4, 5e-3
"""Largest difference between an input alone and in a batch, over the largest score; for files in half precision."""
BATCH = 64
"""Points that parity compares at once."""


class ModelFile(Protocol):
    """A loaded file; x has the file's layout and units."""

    format: str
    no_gradient: str | None

    @property
    def unbounded(self) -> bool:
        """Whether the output is known to be of a linear operator, hence logits."""
        ...

    def run(self, x: Tensor, *, width: int | None = None) -> Tensor:
        """[N, ...] output at file precision, without gradient.

        ``width``: rows of one call, each of which holds one input repeated; None: all inputs in one call.
        """
        ...

    def differentiable(self, x: Tensor) -> Tensor:
        """The output with a gradient."""
        ...

    def facts(self) -> dict[str, Any]:
        """What ``inspect`` shows."""
        ...


@dataclass(frozen=True)
class GradientStatus:
    """Whether white-box attacks can run, and why not."""

    available: bool
    reason: str | None = None


@dataclass(frozen=True)
class Parity:
    """Twin against file: inputs compared, share of equal argmax, largest difference over the largest score."""

    n: int
    argmax_agreement: float
    relative_difference: float


class Target:
    """A classifier file. Every method takes u-space.

    Args:
        path: of the file.
        sha256: of its content.
        file: loaded.
        spec: what its input means.
        head: what its output means.
        num_classes: K.
        class_names: declared names, or None.
        device: that tensors live on.
    """

    def __init__(
        self,
        path: Path,
        sha256: str,
        file: ModelFile,
        spec: InputSpec,
        head: Head,
        num_classes: int,
        class_names: list[str] | None,
        device: torch.device,
    ) -> None:
        self.path = path
        self.name = path.name
        self.sha256 = sha256
        self.file = file
        self.format = file.format
        self.spec = spec
        self.head = head
        self.num_classes = num_classes
        self.class_names = class_names
        self.device = device
        self.dtype = torch.float64 if spec.dtype == "float64" else torch.float32
        self.gradient = GradientStatus(file.no_gradient is None, file.no_gradient)
        self.batch_invariant: bool | None = None
        self.batch_deviation: float | None = None
        self.repeat_deviation = 0.0
        self._singly = False
        self.notes: list[str] = []
        self.facts = file.facts()

    def scores(self, u: Tensor, *, alone: bool = False) -> Tensor:
        """Scores by the shipped file.

        Args:
            u: [N, *shape].
            alone: one input a run; also done where the answers were found to depend on the batch.

        Returns:
            [N, K] at file precision; NaN where the file says so.
        """
        width = self.spec.batch
        if width is None and (alone or self.batch_invariant is False):
            width = 1
        return self.head.scores(self.file.run(self.spec.to_file(u), width=width))

    def labels(self, u: Tensor) -> Tensor:
        """[N] predicted classes of the shipped file."""
        return self.scores(u).argmax(1)

    def logits(self, u: Tensor) -> Tensor:
        """[N, *shape] to [N, K] logits with a gradient; a softmax or sigmoid at the end is undone.

        Raises:
            AuditError: the file has no gradient.
        """
        if not self.gradient.available:
            raise AuditError(f"{self.name} has no gradient ({self.gradient.reason})")
        if self._singly and len(u) > 1:
            return torch.cat([self.logits(u[i : i + 1]) for i in range(len(u))])
        return self.head.logits(self.file.differentiable(self.spec.to_file(u.to(self.dtype))))

    def snap(self, u: Tensor, origin: Tensor) -> Tensor:
        """See :meth:`InputSpec.snap`."""
        return self.spec.snap(u, origin)

    def calibrate(self) -> None:
        """Make the twin ready for batches; a twin that cannot run leaves black box alone."""
        if not self.gradient.available:
            return
        # A TorchScript module is its own twin: where its answers depend on the batch, so do its gradients.
        self._singly = self.format == "torchscript" and self.batch_invariant is False
        probe = torch.rand(2, *self.spec.shape, device=self.device, dtype=self.dtype, requires_grad=True)
        try:
            with torch.enable_grad():
                logits = self.logits(probe)
                gradient = torch.autograd.grad(logits.sum(), probe, allow_unused=True)[0] if logits.grad_fn else None
        except Exception as error:  # torch raises many types for a graph that does not run
            reason = " ".join(str(error).split())[:200]
            self.gradient = GradientStatus(False, f"unavailable: the torch twin does not run ({reason})")
            return
        if gradient is None:
            self.gradient = GradientStatus(False, "unavailable: no gradient path leads from the input to the output")
            return
        twin = getattr(self.file, "twin", None)
        if twin is not None:
            self.facts["batching"] = twin.batching
            self.facts["cuts"] = [str(cut) for cut in twin.cuts]

    def measure(self, u: Tensor) -> None:
        """Find out on real samples what the output is, whether it repeats, and whether the batch matters.

        Black, white and noise join the samples: they widen the range of outputs, and a batch with them shows whether
        the answer to one input depends on the others.

        Args:
            u: [N, *shape], a few samples.
        """
        points = torch.cat([u, _synthetic(u)])
        raw = self.file.run(self.spec.to_file(points), width=self.spec.batch or 1)
        self.head = self.head.measured(raw, unbounded=self.file.unbounded)
        alone = self.head.scores(raw).double()
        size = float(alone[alone.isfinite()].abs().amax().clamp_min(1e-12)) if alone.isfinite().any() else 1.0
        repeats = [self.scores(u, alone=True).double() for _ in range(REPEATS - 1)]
        self.repeat_deviation = max(_difference(alone[: len(u)], again) for again in repeats) / size
        if self.spec.batch is not None:
            self.batch_invariant, self.batch_deviation = True if self.spec.batch == 1 else None, None
            return
        try:
            together = self.head.scores(self.file.run(self.spec.to_file(points.flip(0)))).flip(0).double()
        except Exception as error:  # a runtime may refuse batches that the file declares free
            self.notes.append(f"batches fail ({' '.join(str(error).split())[:120]}); inputs run one at a time")
            self.batch_invariant, self.batch_deviation = False, None
            return
        self.batch_deviation = _difference(together, alone) / size
        # Where scores tie to the last bit, batches may break the tie otherwise; labels of real samples must agree.
        same = bool((together.argmax(1) == alone.argmax(1))[: len(u)].all())
        limit = INVARIANT_HALF if self.spec.dtype == "float16" else INVARIANT
        self.batch_invariant = self.batch_deviation <= limit and same

    def parity(self, u: Tensor) -> Parity:
        """Compare twin and file on [N, *shape] points; one that neither answers with finite numbers counts as equal."""
        equal, worst, largest = 0, 0.0, 1e-12
        for start in range(0, len(u), BATCH):
            part = u[start : start + BATCH]
            expected = self.scores(part).double()
            with torch.no_grad():
                found = self.head.scores(self.file.differentiable(self.spec.to_file(part))).double()
            finite = expected.isfinite().all(1)
            both_not = ~finite & ~found.isfinite().all(1)
            equal += int((expected.argmax(1) == found.argmax(1))[finite].sum()) + int(both_not.sum())
            if bool(finite.any()):
                worst = max(worst, _difference(expected[finite], found[finite]))
                largest = max(largest, float(expected[finite].abs().amax()))
        return Parity(len(u), equal / len(u), worst / largest)


def _synthetic(u: Tensor) -> Tensor:
    """[4, *shape]: black, white, and uniform noise, always the same."""
    generator = torch.Generator().manual_seed(0)
    noise = torch.rand((2, *u.shape[1:]), generator=generator).to(u)
    return torch.cat([torch.zeros_like(noise[:1]), torch.ones_like(noise[:1]), noise])


def _difference(a: Tensor, b: Tensor) -> float:
    both = a.isfinite() & b.isfinite()
    if bool((a.isfinite() != b.isfinite()).any()):
        return float("inf")
    return float((a - b)[both].abs().amax()) if bool(both.any()) else 0.0
