"""Losses: some files end in one, computed from scores and labels."""

from __future__ import annotations

import torch
from torch import Tensor

from robaudit.target.onnx.graph import Node
from robaudit.target.onnx.registry import Result, operator


def _likelihood_loss(node: Node, log_p: Tensor, target: Tensor, weight: Tensor | None) -> Tensor:
    """Minus the target's entry of [batch, classes, ...], weighted by class, reduced as the node says."""
    ignored = node.attributes.get("ignore_index")
    target = target.to(torch.int64)
    counted = None if ignored is None else target != int(ignored)
    # An ignored label may lie outside the classes: it reads some entry that is then multiplied by zero.
    index = torch.clamp(target, 0, log_p.shape[1] - 1)
    loss = -torch.squeeze(torch.gather(log_p, 1, torch.unsqueeze(index, 1)), 1)
    share: Tensor | None = None
    if weight is not None:
        share = torch.reshape(torch.index_select(weight, 0, torch.reshape(index, [-1])), list(index.shape))
    if counted is not None:
        share = counted.to(log_p.dtype) if share is None else torch.where(counted, share, 0.0)
        loss = torch.where(counted, loss, 0.0)
    if share is not None:
        loss = loss * share
    match node.text("reduction", "mean"):
        case "none":
            return loss
        case "sum":
            return torch.sum(loss)
    return torch.mean(loss) if share is None else torch.sum(loss) / torch.sum(share)


@operator("NegativeLogLikelihoodLoss")
def _negative_log_likelihood(node: Node, log_p: Tensor, target: Tensor, weight: Tensor | None = None) -> Tensor:
    return _likelihood_loss(node, log_p, target, weight)


@operator("SoftmaxCrossEntropyLoss")
def _cross_entropy(node: Node, scores: Tensor, target: Tensor, weight: Tensor | None = None) -> Result:
    log_p = torch.log_softmax(scores, 1)
    return _likelihood_loss(node, log_p, target, weight), log_p
