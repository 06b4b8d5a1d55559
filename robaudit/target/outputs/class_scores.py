"""Arithmetic that makes one score a class of other numbers."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from robaudit.target.outputs.peel import Ending

__all__ = ["against_the_rest", "against_zero", "ended", "ruled", "weakest"]


def against_zero(z: Tensor) -> Tensor:
    """[N, 1] logits of the second of two classes to [N, 2]; +inf, beside which nothing counts, as its equal -inf."""
    certain = z == math.inf
    return torch.cat([torch.where(certain, -math.inf, 0.0).to(z), z.masked_fill(certain, 0.0)], 1)


def ruled(scores: Tensor, label: Tensor) -> Tensor:
    """[N, K] scores of which the label's is the largest, by the last bit where it was not; NaN where it is no class."""
    known = (label >= 0) & (label < scores.shape[1])
    place = torch.where(known, label, 0)[:, None]
    above = torch.nextafter(scores.detach().amax(1, keepdim=True), scores.new_tensor(math.inf))
    if scores.requires_grad:
        own = scores.gather(1, place)
        above = above + (own - own.detach())
    other = (scores.argmax(1, keepdim=True) != place) & ~scores.isnan().any(1, keepdim=True)
    found = torch.where(other, scores.scatter(1, place, above), scores)
    return found.masked_fill(~known[:, None], math.nan)


def weakest(pairs: Tensor, classes: int) -> Tensor:
    """[N, K (K - 1) / 2] one against one to [N, K]: how clearly each class beats its strongest rival.

    Where each class loses to one, that with the most votes wins, the first of equals (as in LIBSVM).
    """
    first, second = torch.triu_indices(classes, classes, 1, device=pairs.device)
    duels = pairs.new_full((len(pairs), classes, classes), math.inf)
    duels[:, first, second], duels[:, second, first] = pairs, -pairs
    return ruled(duels.amin(2), (duels > 0).sum(2).argmax(1))


def against_the_rest(z: Tensor, column: int, ending: Ending, start: float = 0.0) -> Tensor:
    """[N, K] logits to those of two classes, all others and the one in a column, which leads from ``start`` on."""
    mine = z[:, column] - start
    if ending == "sigmoid":
        return torch.stack([torch.zeros_like(mine), mine], 1)
    column %= z.shape[1]
    rest = torch.cat([z[:, :column], z[:, column + 1 :]], 1)
    return torch.stack([rest.logsumexp(1), mine], 1)


def ended(z: Tensor, ending: Ending) -> Tensor:
    """What the file makes of the twin's tensor."""
    if ending == "softmax":
        return z.softmax(1)
    if ending == "log-softmax":
        return z.log_softmax(1)
    if ending == "exp":
        return z.exp()
    share = z.sigmoid() if ending in ("sigmoid", "sigmoid-share") else z
    return share / share.sum(1, keepdim=True) if ending == "sigmoid-share" else share
