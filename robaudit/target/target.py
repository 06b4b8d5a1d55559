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
INVARIANT = 1e-3
BATCH = 64


class ModelFile(Protocol):
    """A loaded file; x has the file's layout and units."""

    format: str
    no_gradient: str | None

    def run(self, x: Tensor) -> Tensor:
        """The output at file precision, without gradient."""
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
        x = self.spec.to_file(u)
        fixed = self.spec.batch
        if fixed is not None and fixed > 1:
            rows = [self.file.run(row[None].expand(fixed, *row.shape))[:1] for row in x]
        elif alone or fixed == 1 or self.batch_invariant is False:
            rows = [self.file.run(row[None]) for row in x]
        else:
            rows = [self.file.run(x)]
        return self.head.scores(rows[0] if len(rows) == 1 else torch.cat(rows))

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
        return self.head.logits(self.file.differentiable(self.spec.to_file(u)))

    def snap(self, u: Tensor, origin: Tensor) -> Tensor:
        """See :meth:`InputSpec.snap`."""
        return self.spec.snap(u, origin)

    def calibrate(self) -> None:
        """Make the twin ready for batches; a twin that cannot run leaves black box alone."""
        probe = torch.rand(2, *self.spec.shape, device=self.device, dtype=self.dtype, requires_grad=True)
        try:
            with torch.enable_grad():
                (gradient,) = torch.autograd.grad(self.logits(probe).sum(), probe, allow_unused=True)
        except Exception as error:  # torch raises many types for a graph that does not run
            reason = " ".join(str(error).split())[:200]
            self.gradient = GradientStatus(False, f"unavailable: the torch twin does not run ({reason})")
            return
        if gradient is None:
            self.gradient = GradientStatus(False, "unavailable: the input does not reach the output")
        twin = getattr(self.file, "twin", None)
        if twin is not None:
            self.facts["batching"] = twin.batching
            self.facts["cuts"] = list(twin.cuts)

    def measure(self, u: Tensor) -> None:
        """Find out on real samples what the output is, whether it repeats, and whether the batch matters.

        Args:
            u: [N, *shape], a few samples.
        """
        self.head = self.head.measured(torch.cat([self._raw(row[None]) for row in u]))
        alone = self.scores(u, alone=True).double()
        size = alone[alone.isfinite()].abs().amax().clamp_min(1e-12) if alone.isfinite().any() else 1.0
        first = self.scores(u[:1], alone=True).double()
        repeats = [self.scores(u[:1], alone=True).double() for _ in range(REPEATS - 1)]
        self.repeat_deviation = max(_difference(first, again) for again in repeats) / float(size)
        if self.spec.batch is not None:
            self.batch_invariant, self.batch_deviation = True if self.spec.batch == 1 else None, None
            return
        order = torch.arange(len(u) - 1, -1, -1, device=u.device)
        try:
            together = self.scores(torch.cat([u[order], u[order]]))[: len(u)].double()
        except Exception as error:  # a runtime may refuse batches that the file declares free
            self.notes.append(f"batches fail ({' '.join(str(error).split())[:120]}); inputs run one at a time")
            self.batch_invariant = False
            return
        self.batch_deviation = _difference(together, alone[order]) / float(size)
        same = bool((together.argmax(1) == alone[order].argmax(1)).all())
        self.batch_invariant = self.batch_deviation <= INVARIANT and same

    def _raw(self, u: Tensor) -> Tensor:
        x = self.spec.to_file(u)
        batch = self.spec.batch or 1
        return self.file.run(x.expand(batch, *x.shape[1:]))[:1]

    def parity(self, u: Tensor) -> Parity:
        """Compare twin and file on [N, *shape] points."""
        equal, worst, largest = 0, 0.0, 1e-12
        for start in range(0, len(u), BATCH):
            part = u[start : start + BATCH]
            expected = self.scores(part).double()
            with torch.no_grad():
                found = self.head.scores(self.file.differentiable(self.spec.to_file(part))).double()
            finite = expected.isfinite().all(1)
            equal += int((expected.argmax(1) == found.argmax(1))[finite].sum()) + int((~finite).sum())
            if bool(finite.any()):
                worst = max(worst, _difference(expected[finite], found[finite]))
                largest = max(largest, float(expected[finite].abs().amax()))
        return Parity(len(u), equal / len(u), worst / largest)


def _difference(a: Tensor, b: Tensor) -> float:
    both = a.isfinite() & b.isfinite()
    if bool((a.isfinite() != b.isfinite()).any()):
        return float("inf")
    return float((a - b)[both].abs().amax()) if bool(both.any()) else 0.0
