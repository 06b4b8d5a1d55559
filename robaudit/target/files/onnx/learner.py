"""An ONNX file's graph as a function of its weights."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

from robaudit.errors import UnsupportedOperatorError
from robaudit.target.files.onnx.editing import joined, raw_scores
from robaudit.target.onnx.trainable import Network, untrained
from robaudit.target.outputs.peel import JOINED, Tail
from robaudit.target.outputs.wiring import Wiring
from robaudit.target.running.trainable import Learner, Untrainable

__all__ = ["onnx_learner"]


def onnx_learner(
    wiring: Wiring, tail: Tail | None, columns: tuple[str, ...], sample: Tensor, others: Mapping[str, Tensor]
) -> Learner:
    """The graph as a function of its weights, up to where its twin ends.

    Args:
        wiring: of the graph.
        tail: where the twin ends; None: there is no gradient to train with.
        columns: outputs of one score each.
        sample: [1, *file_shape] any input.
        others: the file's other inputs, by name.

    Raises:
        Untrainable: why it is none.
    """
    if tail is None:
        raise Untrainable("its input holds tokens, or it has no gradient")
    try:
        with raw_scores(wiring, tail), joined(wiring.model, columns if tail.tensor == JOINED else ()):
            graph = untrained(wiring.model, tail.tensor)
    except UnsupportedOperatorError as error:
        raise Untrainable(str(error)) from error
    return Network(graph, sample, others)
