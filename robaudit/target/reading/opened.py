"""A model file that is opened and read, of which nothing was measured yet."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from robaudit.errors import UsageError
from robaudit.target.files.model_file import ModelFile
from robaudit.target.files.onnx.runtime import file_values
from robaudit.target.head.answers import is_decided, predictions
from robaudit.target.head.scores import Head, Kind
from robaudit.target.inputs.drawing import keys_at
from robaudit.target.inputs.spec import InputSpec
from robaudit.target.outputs.declared import Choice
from robaudit.target.reading.class_names import ClassNames
from robaudit.target.reading.pupil import Pupil
from robaudit.target.reading.readout import OVERRULED, Readout, probes
from robaudit.target.running.smooth import Smooth
from robaudit.target.running.trainable import Untrainable

__all__ = ["OpenedTarget", "ranked"]


@dataclass(frozen=True)
class OpenedTarget:
    """A classifier file as its declarations and some probes tell to read it. Every method takes u-space.

    Args:
        path: of the file.
        file: loaded.
        spec: what its input means.
        readout: which output is read, and what it means.
        device: that tensors live on.
        dtype: of samples in u-space.
        facts: what is known of the file, for people.
    """

    path: Path
    file: ModelFile
    spec: InputSpec
    readout: Readout
    device: torch.device
    dtype: torch.dtype
    facts: Mapping[str, Any]

    @classmethod
    def of(cls, path: Path, file: ModelFile, spec: InputSpec, readout: Readout, device: torch.device) -> OpenedTarget:
        """A file that is read so."""
        names = readout.names
        said = {} if names.names is None else {"class names": names.origin}
        dtype = torch.float64 if spec.dtype == "float64" else torch.float32
        return cls(path, file, spec, readout, device, dtype, {**file.facts(), **said})

    def reread(self, *, spec: InputSpec | None = None, head: Head | None = None) -> OpenedTarget:
        """The same file, with its input or its scores read otherwise."""
        readout = self.readout if head is None else replace(self.readout, head=head)
        return replace(self, spec=spec or self.spec, readout=readout)

    @property
    def name(self) -> str:
        """Of the file."""
        return self.path.name

    @property
    def sha256(self) -> str:
        """Of the file."""
        return self.file.sha256

    @property
    def format(self) -> str:
        """Of the file."""
        return self.file.format

    @property
    def choice(self) -> Choice:
        """The output that is read."""
        return self.readout.choice

    @property
    def head(self) -> Head:
        """What that output means."""
        return self.readout.head

    @property
    def num_classes(self) -> int:
        """K."""
        return self.readout.classes

    @property
    def names(self) -> ClassNames:
        """Of the classes, and where they are from."""
        return self.readout.names

    @property
    def class_names(self) -> list[str] | None:
        """Names of the classes alone."""
        return self.readout.names.names

    @property
    def no_scores(self) -> str | None:
        """Why attacks on scores cannot run, or None."""
        if self.head.kind != "labels":
            return None
        return OVERRULED if self.readout.overruled else "the file returns labels only"

    def alone(self, u: Tensor) -> Tensor:
        """What the chosen output gives to [N, *shape], each input alone."""
        return self.file.run(self.spec.to_file(u), width=self.spec.batch or 1)

    def scores(self, u: Tensor, *, alone: bool = False) -> Tensor:
        """[N, *shape] to [N, K] by the shipped file, at its precision; ``alone``: one input a run.

        Whether the batch matters to the answers is not known yet.
        """
        width = self.spec.batch or (1 if alone else None)
        return self._voted(self.head.scores(self.file.run(self.spec.to_file(u), width=width)))

    def _voted(self, scores: Tensor) -> Tensor:
        """[N * M, K] scores of M inputs for each to [N, K]: the shares of the votes, as the scores say such things.

        Logits are logarithms of shares, with half a vote more for each class. NaN where the votes name no class.
        """
        voting = self.spec.voting
        if voting is None:
            return scores
        classes = predictions(scores).reshape(-1, voting.copies).cpu().numpy()
        votes, named = self.spec.voted(classes, scores.shape[1])
        shares = torch.from_numpy(votes).to(scores)
        if self.head.kind in ("logits", "log-probabilities"):
            shares = ((shares + 0.5) / (voting.copies + 0.5 * scores.shape[1])).log()
        else:
            shares = shares / voting.copies
        return shares.masked_fill(~torch.from_numpy(named).to(scores.device)[:, None], torch.nan)

    def draws(self, u: Tensor, numbers: range) -> Tensor:
        """[N, *shape] to [N, M, K] scores of M draws of a random target, each input alone.

        Args:
            u: points.
            numbers: of the draws. What a random defense draws follows from its number and the point; what a file draws
                of itself is anew each time.
        """
        keys = np.stack([keys_at(u.detach().cpu().numpy(), number) for number in numbers], 1).reshape(-1)
        each = u.repeat_interleave(len(numbers), 0)
        scores = self._voted(self.head.scores(self.file.run(self.spec.to_file(each, keys), width=self.spec.batch or 1)))
        return scores.reshape(len(u), len(numbers), -1)

    def labels(self, u: Tensor) -> Tensor:
        """[N] predicted classes of the shipped file."""
        return self.scores(u).argmax(1)

    def answered(self, u: Tensor) -> Tensor:
        """[N, K] the scores; of labels, what ranks the classes, see :func:`ranked`."""
        scores = self.scores(u)
        if self.head.kind != "labels" or self.file.no_gradient is not None:
            return scores
        with torch.no_grad():
            return ranked(scores, self.logits(u))

    def logits(self, u: Tensor, *, singly: bool = False, smooth: Smooth | None = None) -> Tensor:
        """[N, *shape] to the twin's logits [N, K], before a softmax, sigmoid or ArgMax at the end; see ``twin``. Where
        many answers vote: the logarithm of their mean softmax."""
        logits = self.head.logits(self.twin(u, singly=singly, smooth=smooth))
        voting = self.spec.voting
        if voting is None:
            return logits
        each = logits.log_softmax(1).reshape(-1, voting.copies, logits.shape[1])
        return each.logsumexp(1) - math.log(voting.copies)

    def twin(self, u: Tensor, *, singly: bool = False, smooth: Smooth | None = None) -> Tensor:
        """What the twin returns for [N, *shape], with a gradient. Where M answers vote: [N * M, ...].

        Args:
            u: points.
            singly: one input a run.
            smooth: the gradient is that of the twin with this smooth backward; None: the true one.
        """
        if singly and len(u) > 1:
            return torch.cat([self.twin(u[i : i + 1], smooth=smooth) for i in range(len(u))])
        x = self.spec.to_file(u.to(self.dtype))
        return self.file.smoothly(x, smooth) if smooth else self.file.differentiable(x)

    def pupil(self) -> Pupil:
        """The file's network as a function of its weights, which keeps none of those that the file holds.

        Raises:
            UsageError: it has none that can be trained.
        """
        spec = self.spec.without_votes()
        sample = spec.to_file(torch.full((1, *spec.shape), 0.5, device=self.device))
        try:
            return Pupil(self.file.learner(sample), spec, self.head)
        except Untrainable as error:
            raise UsageError(f"{self.name} cannot be made anew and trained: {error}") from error

    def snap(self, u: Tensor, origin: Tensor) -> Tensor:
        """See :meth:`InputSpec.snap`."""
        return self.spec.snap(u, origin)

    @property
    def score_kind(self) -> Kind:
        """What its scores are."""
        return self.head.kind

    @property
    def repeats_itself(self) -> bool:
        """Whether the same input has the same answer each time: not known yet."""
        return True

    @property
    def whole(self) -> bool:
        """Whether some features hold whole numbers alone."""
        return self.spec.whole

    def as_input(self, u: Tensor) -> Tensor:
        """See :meth:`InputSpec.as_input`."""
        return self.spec.as_input(u)

    def fed(self, u: NDArray[Any]) -> NDArray[Any]:
        """What the file is fed of one sample [*shape] in u-space, in its own type: inputs equal here are one to it."""
        values = self.spec.file_array(u[None])
        try:
            dtype = np.dtype(self.spec.dtype)
        except TypeError:  # NumPy has no bfloat16
            kind: torch.dtype = getattr(torch, self.spec.dtype)
            return torch.from_numpy(values).to(kind).float().numpy()
        return file_values(values, dtype)

    def found_head(self, u: Tensor) -> Head:
        """The head with its kind read off the file's answers.

        Args:
            u: [N, *shape], samples of all classes if possible.
        """
        points = torch.cat([u, probes(tuple(u.shape[1:])).to(u)])
        return self.head.measured(self.alone(points), self.file.bounds)


def ranked(scores: Tensor, logits: Tensor) -> Tensor:
    """Labels [N, K], ranked by the twin's logits [N, K] in so far as both say the same."""
    logits = logits.to(scores.dtype)
    same = (predictions(logits) == predictions(scores)) & is_decided(scores)
    return torch.where(same[:, None], logits, scores)
