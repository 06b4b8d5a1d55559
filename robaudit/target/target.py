"""The file under audit: what it answers, and its input gradient."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from robaudit.errors import AuditError, ChangedFileError, UsageError, on_one_line
from robaudit.target.files.model_file import ModelFile
from robaudit.target.files.onnx.runtime import file_values
from robaudit.target.head.answers import is_decided, predictions
from robaudit.target.head.scores import Head
from robaudit.target.inputs.spec import InputSpec
from robaudit.target.measures.gradient import GradientStatus, tried_gradient
from robaudit.target.measures.parity import Parity, compare, difference, size_of
from robaudit.target.measures.steadiness import COMPARED, batch_effect, is_repeatable, keeps_state, repeat_deviation
from robaudit.target.onnx import OnnxModule
from robaudit.target.reading.readout import OVERRULED, Readout, heeded, probes
from robaudit.target.reading.ruling import disputed
from robaudit.target.running.attributed import Differentiable

__all__ = ["Target"]

OPEN = (
    "{path}: its output {name} is one number an input that is always above 0, and nothing tells from where on it "
    "means the second of two classes; give --decision above:NUMBER (or below:NUMBER)"
)


class Target:
    """A classifier file. Every method takes u-space.

    Args:
        path: of the file.
        file: loaded.
        spec: what its input means.
        readout: which output is read, and what it means.
        device: that tensors live on.
    """

    def __init__(
        self,
        path: Path,
        file: ModelFile,
        spec: InputSpec,
        readout: Readout,
        device: torch.device,
    ) -> None:
        self.path = path
        self.name = path.name
        self.sha256 = file.sha256
        self.file = file
        self.format = file.format
        self.spec = spec
        self.device = device
        self.dtype = torch.float64 if spec.dtype == "float64" else torch.float32
        self.stand_in: Target | None = None
        self._path: Differentiable | None = None
        self._no_gradient: str | None = None
        self._read_as(readout)
        self.batch_invariant: bool | None = None
        self.batch_deviation: float | None = None
        self.repeat_deviation = 0.0
        self._singly = False
        self.compiles = False
        self.notes: list[str] = [] if self.names.note is None else [self.names.note]
        self.keeps_state: bool | None = None
        self.undecided: str | None = None
        self.disputed: str | None = None
        self.facts = file.facts()
        if self.names.names is not None:
            self.facts["class names"] = self.names.origin

    def _read_as(self, readout: Readout) -> None:
        self.choice, self.head = readout.choice, readout.head
        self.num_classes, self.names = readout.classes, readout.names
        self.class_names = readout.names.names
        self._overruled, self._declared = readout.overruled, readout.declared
        if self.stand_in is not None:
            return
        reason = self._no_gradient or self.file.no_gradient
        self.gradient = GradientStatus(reason is None, reason, "exact" if reason is None else "none")

    @property
    def no_scores(self) -> str | None:
        """Why attacks on scores cannot run, or None."""
        if self.head.kind != "labels":
            return None
        return OVERRULED if self._overruled else "the file returns labels only"

    def _own_scores(self, u: Tensor) -> Tensor:
        """What the scores alone say, whatever a label beside them says."""
        width = self.spec.batch or (1 if self.batch_invariant is False else None)
        raw = self.file.run(self.spec.to_file(u), width=width)
        return self.head.own_scores(raw)

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

    def fed(self, u: NDArray[Any]) -> NDArray[Any]:
        """What the file is fed of one sample [*shape] in u-space, in its own type: inputs equal here are one to it."""
        values = self.spec.file_array(u[None])
        try:
            dtype = np.dtype(self.spec.dtype)
        except TypeError:  # NumPy has no bfloat16
            kind: torch.dtype = getattr(torch, self.spec.dtype)
            return torch.from_numpy(values).to(kind).float().numpy()
        return file_values(values, dtype)

    def answered(self, u: Tensor) -> Tensor:
        """The clean answers [N, K] that attacks start from.

        Scores; where the file returns labels, the twin's logits in so far as they say the same, which rank the classes.
        """
        scores = self.scores(u)
        if self.head.kind != "labels" or not self.gradient.available:
            return scores
        with torch.no_grad():
            logits = self.logits(u).to(scores.dtype)
        same = (predictions(logits) == predictions(scores)) & is_decided(scores)
        return torch.where(same[:, None], logits, scores)

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
        if self._path is None:
            return self.head.logits(self._answer(u))
        path = self._path.logits(u)
        with torch.no_grad():
            value = self.head.undone(self.scores(u)).to(path)
        return value + (path - path.detach())

    def use_no_gradient(self, reason: str) -> None:
        """Take no gradient, as the one that was wanted cannot be had."""
        self.stand_in = self._path = None
        self._no_gradient = reason
        self.gradient = GradientStatus(False, reason, "none")

    def use_stand_in(self, other: Target, path: Differentiable | None = None) -> None:
        """Take the gradient of another model at every point, for the values of the file.

        Backward pass differentiable approximation, for a file whose own gradient is missing or of no use (Athalye,
        Carlini, Wagner 2018, "Obfuscated Gradients Give a False Sense of Security", section 4.1.2).

        Args:
            other: the model; it is measured and made ready by the caller.
            path: what is asked in its place; default itself.

        Raises:
            UsageError: it takes other inputs or tells other classes, or has no gradient.
        """
        for what, own, its in (
            ("inputs", self.spec.shape, other.spec.shape),
            ("classes", self.num_classes, other.num_classes),
        ):
            if own != its:
                raise UsageError(f"the stand-in {other.name} has {its} {what} and the model {own}; they must be equal")
        if not other.gradient.available:
            raise UsageError(f"the stand-in {other.name} has no gradient ({other.gradient.reason})")
        self.stand_in, self._path = other, path or other
        self.gradient = GradientStatus(True, None, "stand-in")

    def _answer(self, u: Tensor) -> Tensor:
        """What the twin returns for [N, *shape]."""
        if self._singly and len(u) > 1:
            return torch.cat([self._answer(u[i : i + 1]) for i in range(len(u))])
        return self.file.differentiable(self.spec.to_file(u.to(self.dtype)))

    def snap(self, u: Tensor, origin: Tensor) -> Tensor:
        """See :meth:`InputSpec.snap`."""
        return self.spec.snap(u, origin)

    def calibrate(self) -> None:
        """Make the twin ready for batches; a twin that cannot run, or has no gradient, leaves black box alone."""
        if self.stand_in is not None:
            self.gradient = replace(self.stand_in.gradient, method="stand-in")
        if self.stand_in is not None or not self.gradient.available:
            return
        # A TorchScript module is its own twin: where its answers depend on the batch, so do its gradients.
        self._singly = self.format != "onnx" and self.batch_invariant is False
        points = probes(self.spec.shape)[1:].to(self.device, self.dtype)
        points[0] = 0.5
        points.requires_grad_()
        self.gradient = tried_gradient(self.gradient, self.file, points, self.logits, self._changes)
        twin = self.file.twin
        if self.gradient.available and twin is not None:
            self.facts["layout"] = twin.optimise(points, self.logits)
            if self.compiles:
                self._compile(twin, points)

    def _compile(self, twin: OnnxModule, points: Tensor) -> None:
        """Compile the twin, if torch can do so here."""
        twin.use_compiler()
        try:
            torch.autograd.grad(self.logits(points).sum(), points)
        except Exception as error:  # the compiler of C++ is missing or fails, in many ways
            twin.use_compiler(False)
            reason = on_one_line(error, 200)
            self.notes.append(f"torch.compile fails ({reason}); the twin runs uncompiled")

    def _changes(self, u: Tensor) -> bool:
        """Whether the file's scores differ between points."""
        scores = self.scores(u, alone=True).double()
        return difference(scores, scores[:1].expand_as(scores)) > 0

    def found_head(self, u: Tensor) -> Head:
        """The head with its kind read off the file's answers, as the input is read now; the target is left as it is.

        Args:
            u: [N, *shape], samples of all classes if possible.
        """
        points = torch.cat([u, probes(tuple(u.shape[1:])).to(u)])
        raw = self.file.run(self.spec.to_file(points), width=self.spec.batch or 1)
        return self.head.measured(raw, self.file.bounds)

    def measure(self, u: Tensor) -> None:
        """Find out on real samples what the output is, whether it repeats, and whether the batch matters.

        Black, white and noise join the samples: they widen the range of outputs, and a batch with them shows whether
        the answer to one input depends on the others.

        Args:
            u: [N, *shape], samples: all of them tell what one number is, the first few the rest.
        """
        few = u[:COMPARED]
        points = torch.cat([few, probes(tuple(u.shape[1:])).to(u)])
        raw = self._alone(points)
        self.head = self.found_head(u) if self.head.single else self.head.measured(raw, self.file.bounds)
        if self.head.labelled:
            now = Readout(self.choice, self.head, self.num_classes, self.names, declared=self._declared)
            readout = heeded(now, self.file, self.spec, self._alone, points, raw)
            if readout.overruled:
                self._read_as(readout)
            self.choice, self.head = readout.choice, readout.head
            raw = self._alone(points)
        elif self.choice.aside is not None:
            self.disputed = disputed(self.choice, self.head, self.file, self._alone, points)
        if self.head.is_open(raw, self.file.bounds):
            self.undecided = OPEN.format(path=self.path, name=self.choice.output.name)
        alone, u = self.head.scores(raw).double(), few
        size = size_of(alone) or 1.0
        self.repeat_deviation = repeat_deviation(alone[: len(u)], lambda: self.scores(u, alone=True), size)
        if not is_repeatable(self.repeat_deviation):
            self.keeps_state = self._keeps_state(u[:1], size)
        if self.spec.batch is not None:
            self.batch_invariant, self.batch_deviation = True if self.spec.batch == 1 else None, None
            return
        found = batch_effect(
            alone,
            lambda: self.head.scores(self.file.run(self.spec.to_file(points.flip(0)))),
            real=len(u),
            size=size,
            half=self.spec.dtype in ("float16", "bfloat16"),
        )
        self.batch_invariant, self.batch_deviation = found.invariant, found.deviation
        self.notes += [] if found.note is None else [found.note]

    def _keeps_state(self, u: Tensor, size: float) -> bool | None:
        """Whether the file keeps a state between calls; None where that was not found out."""
        try:
            return keeps_state(self.file, self.spec.to_file(u), self.spec.batch or 1, self.head.scores, size)
        except ChangedFileError:
            raise
        except Exception as error:  # loading again may fail in many ways, and costs the reason alone
            self.notes.append(f"the file could not be loaded again ({' '.join(str(error).split())[:120]})")
            return None

    def _alone(self, u: Tensor) -> Tensor:
        return self.file.run(self.spec.to_file(u), width=self.spec.batch or 1)

    def parity(self, u: Tensor, *, noise: bool = False) -> Parity:
        """Compare twin and file on [N, *shape] points; one to which both answers name no class counts as equal.

        Args:
            u: points.
            noise: measure the runtime's own noise on them as well, with a second session without optimisations.
        """
        plain = getattr(self.file, "plain", None) if noise else None
        width = None if self.spec.batch is None and self.batch_invariant else self.spec.batch or 1

        def unoptimised(part: Tensor) -> Tensor | None:
            raw = None if plain is None else plain(self.spec.to_file(part), width=width)
            return None if raw is None else self.head.own_scores(raw)

        twin = self.file.twin
        rounds = twin is not None and twin.is_quantised
        usual = unoptimised if plain is not None else None
        terms = [] if twin is None else list(twin.buffers())
        scores = self._own_scores if self.head.labelled else self.scores
        return compare(u, self.head, scores, self._answer, usual, rounds=rounds, terms=terms)
