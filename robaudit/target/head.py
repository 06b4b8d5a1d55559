"""The output: which one holds the class scores, and what they are."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import torch
from torch import Tensor

from robaudit.errors import UsageError

__all__ = ["FileOutput", "Head", "choose_output"]

Kind = Literal["logits", "probabilities", "log-probabilities"]
LIKELY = ("logit", "prob", "score", "output", "class")
LOCATES = re.compile(r"box|anchor|mask|segm|keypoint|landmark|heatmap|num_det|det_|detections", re.IGNORECASE)
"""Names of outputs that say where things are: the file is a detector or segmenter."""


@dataclass(frozen=True)
class FileOutput:
    """An output as the file declares it, the batch first; None where a dimension is free."""

    name: str
    shape: tuple[int | None, ...] | None
    dtype: str


@dataclass(frozen=True)
class Head:
    """How raw outputs become scores.

    Args:
        output: name of the output.
        kind: what the numbers are; measured on real samples.
        single: one number a sample, the second of two classes.
    """

    output: str
    kind: Kind = "logits"
    single: bool = False

    def scores(self, raw: Tensor) -> Tensor:
        """[N, ...] raw output to [N, K] scores whose argmax is the prediction."""
        flat = raw.flatten(1)
        if not self.single:
            return flat
        other = 1 - flat if self.kind == "probabilities" else torch.zeros_like(flat)
        return torch.cat([other, flat], 1)

    def logits(self, raw: Tensor) -> Tensor:
        """[N, ...] raw output to [N, K] logits: the softmax or sigmoid is undone for the gradient."""
        scores = self.scores(raw)
        if self.kind != "probabilities":
            return scores
        return scores.clamp_min(torch.finfo(scores.dtype).tiny).log()

    def measured(self, raw: Tensor, *, unbounded: bool = False) -> Head:
        """The head with its kind read off the raw outputs [N, ...] of several inputs.

        Args:
            raw: rows that are not finite do not count.
            unbounded: the file's last operator can give any number, so that these are logits wherever they lie.
        """
        flat = raw.flatten(1).double()
        finite = flat[flat.isfinite().all(1)]
        kind: Kind = "logits"
        if finite.numel() == 0 or unbounded:
            return replace(self, kind=kind)
        inside = bool(((finite >= -1e-6) & (finite <= 1 + 1e-6)).all())
        if self.single:
            kind = "probabilities" if inside else "logits"
        elif inside and bool(((finite.sum(1) - 1).abs() < 5e-3).all()):  # half precision sums to 1 within 2e-3
            kind = "probabilities"
        elif bool((finite <= 1e-6).all()) and bool(((finite.exp().sum(1) - 1).abs() < 5e-3).all()):
            kind = "log-probabilities"
        return replace(self, kind=kind)


def choose_output(outputs: Sequence[FileOutput]) -> FileOutput:
    """The output that holds class scores: the likeliest name among those of the right shape.

    Raises:
        UsageError: no output is [N, K], [N, 1] or [N, K, 1, 1] of floats, or one says where things are; the file is no
            classifier.
    """
    fitting = [o for o in outputs if o.dtype.startswith(("float", "bfloat", "double")) and _is_scores(o.shape)]
    locating = len(outputs) > 1 and any(LOCATES.search(o.name) for o in outputs)
    if not fitting or locating:
        listing = ", ".join(f"{o.name} {_words(o.shape)} {o.dtype}" for o in outputs)
        hint = "detectors, segmenters and label-only outputs are not supported"
        if any(o.dtype.startswith("seq(map") for o in outputs):
            hint = "convert scikit-learn models with the option zipmap=False"
        raise UsageError(
            f"this is no classifier that robaudit can audit: no output holds one score a class (outputs: {listing}); "
            + hint
        )
    for word in LIKELY:
        for output in fitting:
            if word in output.name.lower():
                return output
    return fitting[0]


def _is_scores(shape: tuple[int | None, ...] | None) -> bool:
    if shape is None:
        return True
    return len(shape) == 2 or (len(shape) > 2 and all(d == 1 for d in shape[2:]))


def _words(shape: tuple[int | None, ...] | None) -> str:
    return "?" if shape is None else "x".join("N" if d is None else str(d) for d in shape)
