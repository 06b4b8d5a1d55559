"""What the numbers of the output mean: raw outputs to class scores, and the twin's answers to logits."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from robaudit.target.head.answers import is_decided
from robaudit.target.head.rule import shortest
from robaudit.target.outputs.bounds import Interval
from robaudit.target.outputs.class_scores import against_the_rest, against_zero, ended, ruled, weakest
from robaudit.target.outputs.peel import Tail

__all__ = ["Head", "Kind"]

Kind = Literal["logits", "probabilities", "log-probabilities", "sigmoids", "labels"]
SLACK = 1e-6
"""How far outside of [0, 1] rounding may carry a probability."""


@dataclass(frozen=True)
class Head:
    """How raw outputs become scores.

    Args:
        output: name of the output.
        kind: what the numbers are; measured on real samples where the graph does not tell.
        single: one number a sample, the second of two classes.
        classes: K, for labels and for pairs.
        labelled: raw outputs end with the class that the file's label output says, -1 for none that is known. It
            decides; the scores rank the other classes.
        settled: the label output has told what one number means.
        turned: the smallest score wins.
        pairs: one number for each pair of classes i < j, positive for i (one against one, as in a support vector
            machine).
        threshold: above which one number says the second class, where that is not what its kind tells.
        signed: labels are -1 for the first of two classes and 1 for the second.
        tail: what the file does after the tensor that the twin returns; None: the twin returns the output.
    """

    output: str
    kind: Kind = "logits"
    single: bool = False
    classes: int = 0
    labelled: bool = False
    settled: bool = False
    turned: bool = False
    pairs: bool = False
    threshold: float | None = None
    signed: bool = False
    tail: Tail | None = None

    @property
    def peeled(self) -> bool:
        """Whether gradients are taken before the end of the file."""
        return self.tail is not None and self.tail.peeled

    @property
    def opposite(self) -> str:
        """The decision, as the user declares it, that is the other way round."""
        if not self.single:
            return "largest" if self.turned else "smallest"
        usual = {"probabilities": 0.5, "log-probabilities": math.log(0.5)}.get(self.kind, 0.0)
        middle = usual if self.threshold is None else self.threshold
        return f"{'above' if self.turned else 'below'}:{shortest(middle)}"

    def number(self, scores: NDArray[np.float64]) -> float:
        """The number that [2] scores were made of, where the file gives one."""
        first, second = scores[::-1] if self.turned else scores
        if self.kind != "logits":
            return float(second)
        lead = float(second) if math.isfinite(second) and second != 0 else float(second - first)
        return lead + (self.threshold or 0.0)

    def is_open(self, raw: Tensor, bounds: Interval | None) -> bool:
        """Whether nothing tells from where on one number says the second class: it is never below 0, nor at it.

        Args:
            raw: raw outputs [N, ...] of several inputs.
            bounds: as for :meth:`measured`.
        """
        if not self.single or self.labelled or self.settled or self.threshold is not None or self.kind != "logits":
            return False
        flat = self._numbers(raw)
        return bounds is not None and bounds[0] >= 0 and bool((flat[is_decided(flat)] > 0).all())

    def _measured_labels(self, raw: Tensor) -> Head:
        """The head with what labels [N, 1] of two classes show: -1 and 1 are the classes, where both occur."""
        said = set(raw.flatten().tolist())
        return replace(self, signed=True) if self.classes == 2 and {-1, 1} <= said <= {-1, 0, 1} else self

    @property
    def logarithms(self) -> bool:
        """Whether the scores are logarithms of probabilities."""
        return self.kind == "log-probabilities" or (self.tail is not None and self.tail.ending == "log-softmax")

    def scores(self, raw: Tensor) -> Tensor:
        """[N, ...] raw output to [N, K] scores whose argmax is the prediction.

        A label becomes 1 for its class and 0 for the others; one that is no known class, NaN.
        """
        if self.kind == "labels":
            said = raw.flatten(1)[:, 0]
            if self.signed:
                said = torch.where(said.abs() == 1, (said + 1) / 2, -1)
            label = said.long()
            known = (label >= 0) & (label < self.classes) & (label == said)  # an index may come as a float
            found = F.one_hot(torch.where(known, label, 0), self.classes).to(torch.float32)
            return found.masked_fill(~known[:, None], math.nan)
        scores = self.own_scores(raw)
        return ruled(scores, self.label(raw)) if self.labelled else scores

    def own_scores(self, raw: Tensor) -> Tensor:
        """[N, ...] raw output to [N, K] scores, whatever a label output beside them says."""
        return self._read(self._numbers(raw))

    def label(self, raw: Tensor) -> Tensor:
        """[N] classes that the label output says; -1 for none."""
        return raw.flatten(1)[:, -1].long()

    def _numbers(self, raw: Tensor) -> Tensor:
        flat = raw.flatten(1)
        return flat[:, :-1] if self.labelled else flat

    def _read(self, flat: Tensor) -> Tensor:
        if self.single:
            flat = self._both(flat)
        if self.pairs:
            return weakest(-flat if self.turned else flat, self.classes)
        return self._turned(flat)

    def _both(self, flat: Tensor) -> Tensor:
        """[N, 1] the second class's score to [N, 2]."""
        if self.threshold is not None:
            return against_zero(flat - self.threshold)
        if self.kind == "log-probabilities":
            other = (-torch.expm1(flat)).clamp_min(torch.finfo(flat.dtype).tiny).log()
            return torch.cat([other, flat], 1)
        return torch.cat([1 - flat, flat], 1) if self.kind == "probabilities" else against_zero(flat)

    def _turned(self, scores: Tensor) -> Tensor:
        """Two classes change places, so that probabilities stay such; of more, the signs change."""
        if not self.turned:
            return scores
        return scores.flip(1) if scores.shape[1] == 2 else -scores

    def logits(self, answer: Tensor) -> Tensor:
        """[N, ...] the twin's answer to [N, K] logits.

        Where the file's softmax or sigmoid could not be left out of the twin, it is undone.
        """
        if self.tail is None or not self.tail.peeled:
            return self.undone(self._read(answer.flatten(1)))
        z = answer.flatten(1)
        if self.pairs:
            return self._read(z)
        if self.tail.column is not None:
            return self._turned(against_the_rest(z, self.tail.column, self.tail.ending, self._start))
        if self.tail.ending == "sigmoid-share":
            z = F.logsigmoid(z)
        if self.tail.decision in ("above", "below"):
            z = z - self.tail.threshold if self.tail.decision == "above" else self.tail.threshold - z
        elif self.tail.decision == "argmin":
            z = -z
        elif self.single:
            z = z - self._start
        return self._turned(against_zero(z) if z.shape[1] == 1 else z)

    @property
    def _start(self) -> float:
        """The twin's number at which the file's is at the threshold."""
        if self.threshold is None or self.tail is None:
            return 0.0
        if self.tail.ending == "exp":
            return math.log(self.threshold)
        return math.log(self.threshold / (1 - self.threshold))

    def undone(self, scores: Tensor) -> Tensor:
        """[N, K] scores without the softmax or sigmoid that made probabilities of them."""
        if self.kind != "probabilities":
            return scores
        return scores.clamp_min(torch.finfo(scores.dtype).tiny).log()

    def replayed(self, answer: Tensor) -> Tensor:
        """[N, ...] the twin's answer to the [N, K] scores that the file would give: what parity compares."""
        if self.tail is None or not self.tail.peeled:
            return self._read(answer.flatten(1))
        if self.kind == "labels":
            logits = self.logits(answer)
            found = F.one_hot(logits.argmax(1), self.classes).to(torch.float32)
            return found.masked_fill(~is_decided(logits)[:, None], math.nan)
        z = answer.flatten(1)
        column = self.tail.column
        if column is None:
            return self._read(ended(z, self.tail.ending))
        if not -z.shape[1] <= column < z.shape[1] or (self.tail.ending == "softmax" and z.shape[1] == 1):
            return self._read(z)  # no such column, or nothing beside it: this is no proof
        return self._read(ended(z, self.tail.ending)[:, column, None])

    def measured(self, raw: Tensor, bounds: Interval | None = None) -> Head:
        """The head with its kind read off the raw outputs [N, ...] of several inputs.

        Args:
            raw: rows that name no class do not count.
            bounds: lowest and highest number that the file's last operators can give, where they tell: what they rule
                out is not believed of a few answers.
        """
        if self.kind == "labels":
            return self._measured_labels(raw)
        if self.settled:
            return self
        if self.threshold is not None:
            return replace(self, kind="logits")
        if self.pairs or (self.turned and self._numbers(raw).shape[1] > 2):
            return replace(self, kind="logits")
        ending = self.tail.ending if self.tail is not None else "none"
        if ending == "softmax" and not self.single:
            return replace(self, kind="probabilities")
        if ending == "log-softmax" and not self.single:
            return replace(self, kind="log-probabilities")
        flat = self._numbers(raw).double()
        finite = flat[is_decided(flat)]
        if bounds is not None and bounds[0] < 0 < bounds[1]:
            return replace(self, kind="logits")
        if self.single:
            return replace(self, kind=_single_kind(finite, bounds), threshold=_middle(finite, bounds))
        kind: Kind = "logits"
        if finite.numel() == 0:
            return replace(self, kind=kind)
        inside = _inside(finite)
        if inside and bool(((finite.sum(1) - 1).abs() < 5e-3).all()):  # half precision sums to 1 within 2e-3
            kind = "probabilities"
        elif _are_logarithms(finite):
            kind = "log-probabilities"
        elif _are_logarithms(-finite):  # negative log-likelihoods
            return replace(self, kind="logits", turned=not self.turned)
        elif ending == "sigmoid":
            kind = "sigmoids"
        return replace(self, kind=kind)


def _single_kind(finite: Tensor, bounds: Interval | None) -> Kind:
    """Of one number [M, 1] a sample: what the operators tell, else the answers."""
    if bounds is not None and bounds[1] <= SLACK and bounds[0] < -1:
        return "log-probabilities"
    if bounds is not None and bounds[0] >= -SLACK and bounds[1] <= 1 + SLACK:
        return "probabilities"
    return "probabilities" if finite.numel() > 0 and _inside(finite) else "logits"


def _middle(finite: Tensor, bounds: Interval | None) -> float | None:
    """The threshold of one number [M, 1] whose range 0 does not divide: the middle, as of a percentage.

    None where 0 or a half does, of logarithms, and of a range that an answer reaches an end of: a clipped number.
    """
    if bounds is None or not all(map(math.isfinite, bounds)) or bounds[0] == bounds[1]:
        return None
    if not (bounds[0] >= 0 and bounds[1] > 1 + SLACK) and not -1 <= bounds[0] < bounds[1] <= 0:
        return None
    return None if bool(((finite <= bounds[0]) | (finite >= bounds[1])).any()) else sum(bounds) / 2


def _are_logarithms(values: Tensor) -> bool:
    """Whether rows [M, K] are logarithms of probabilities."""
    return bool((values <= SLACK).all()) and bool(((values.exp().sum(1) - 1).abs() < 5e-3).all())


def _inside(values: Tensor) -> bool:
    return bool(((values >= -SLACK) & (values <= 1 + SLACK)).all())
