"""The model under audit as detectors see it, in torch: the file's answers, and the twin's with a gradient."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from robaudit.detectors._answers import NodesOfFile, shares
from robaudit.errors import UsageError
from robaudit.target.files.onnx.features import tensors_named
from robaudit.target.files.onnx.file import OnnxFile
from robaudit.target.inputs.meaning import InputMeaning
from robaudit.target.onnx import OnnxModule, import_onnx
from robaudit.target.target import Target

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["FileView", "TwinView", "nodes_of"]


def nodes_of(target: Target, custom_ops: Sequence[Path] = ()) -> NodesOfFile:
    """The features of a target's file."""
    fixed = tuple(target.file.fixed) if isinstance(target.file, OnnxFile) else ()
    names, threads = target.choice.names, torch.get_num_threads()
    return NodesOfFile(
        target.path, names[0], target.spec, target.spec.batch, fixed, threads=threads, custom_ops=custom_ops
    )


@dataclass(frozen=True)
class FileView:
    """What the file answers; ``alone``: one input a run."""

    target: Target
    nodes: NodesOfFile
    alone: bool

    @property
    def meaning(self) -> InputMeaning:
        """Of its input."""
        return self.target.spec

    def probabilities(self, u: NDArray[Any]) -> NDArray[np.float64]:
        """[N, K]; see :meth:`robaudit.detectors.base.View.probabilities`."""
        points = torch.from_numpy(np.ascontiguousarray(u)).to(self.target.device, self.target.dtype)
        with torch.no_grad():
            scores = self.target.scores(points, alone=self.alone)
        return shares(scores.cpu().numpy(), self.target.score_kind)

    def features(self, u: NDArray[Any], nodes: Sequence[str]) -> list[NDArray[np.float64]]:
        """See :meth:`robaudit.detectors.base.View.features`."""
        return self.nodes(u, nodes, alone=self.alone or self.target.batch_invariant is False)


class TwinView:
    """What the twin answers.

    Args:
        target: whose it is; it has a gradient.
    """

    def __init__(self, target: Target) -> None:
        self._target = target
        self._twins: dict[str, OnnxModule] = {}

    def log_probabilities(self, u: Tensor) -> Tensor:
        """[N, K]; see :meth:`robaudit.detectors.base.SlopeView.log_probabilities`."""
        target = self._target
        logits = target.logits(u.to(target.device))
        if target.score_kind == "sigmoids":
            logits = F.logsigmoid(logits)
        return logits.log_softmax(1)

    def features(self, u: Tensor, nodes: Sequence[str]) -> list[Tensor]:
        """See :meth:`robaudit.detectors.base.SlopeView.features`."""
        target, file = self._target, self._target.file
        if not isinstance(file, OnnxFile):
            raise UsageError(f"features of named nodes are taken of ONNX files, and {target.path} is none")
        x = target.spec.to_file(u.to(target.device, target.dtype))
        if target.spec.integer:
            x = x + (x.round() - x).detach()
        found = []
        for name in tensors_named(file.wiring, nodes, target.choice.names[0], target.path):
            if name not in self._twins:
                twin = import_onnx(file.model, name)
                narrow = any(b.dtype in (torch.float16, torch.bfloat16) for b in twin.buffers())
                self._twins[name] = (twin.float_twin() if narrow else twin).to(target.device)
            answer = self._twins[name](x, **file.other_inputs())
            assert isinstance(answer, Tensor)
            found.append(answer.flatten(1).to(u.dtype))
        return found
