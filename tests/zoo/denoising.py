"""Feature denoising."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional as F

from .entry import Entry, Making
from .training import fit, pgd, small

__all__ = ["NETS"]

EPS = 0.1


class Denoise(nn.Module):
    """Non-local means of features, weighted by a softmax of their products, through a 1 x 1 convolution, and added."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.mix = nn.Conv2d(channels, channels, 1)
        self.scale = channels**-0.5

    def forward(self, x: Tensor) -> Tensor:
        flat = x.flatten(2)  # [N, C, P]
        weights = (self.scale * flat.transpose(1, 2) @ flat).softmax(2)  # [N, P, P]
        mean = flat @ weights.transpose(1, 2)
        return x + self.mix(mean.reshape(x.shape))


def make(making: Making) -> nn.Module:
    net = small(extra=Denoise(32))
    fit(
        making,
        lambda x, y, share: F.cross_entropy(net(pgd(net, x, y, EPS * min(1.0, 3 * share), 3)), y),
        net.parameters(),
        epochs=5,
    )
    return net


NETS = (
    Entry(
        name="feature-denoising",
        defense="feature denoising, with PGD adversarial training",
        source="Xie, Wu, van der Maaten, Yuille, He 2019, Feature Denoising for Improving Adversarial Robustness",
        claim="adds to the robustness of adversarial training",
        verdict="holds near its eps, as PGD training does; no check fails",
        make=make,
    ),
)
