"""A surrogate distilled from the target's scores, and refined on its own adversarial points."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field
from torch import nn

from robaudit.attacks.fitted import Artefact, FitSet
from robaudit.attacks.parameters import Count, attack_parameters
from robaudit.surrogates.base import Surrogate, weights_of
from robaudit.surrogates.networks import Fixed, network_for, scaled_to
from robaudit.surrogates.refined import Refined
from robaudit.threat.model import Access
from robaudit.threat.random import key_of

__all__ = ["Distilled"]


@attack_parameters
class Distilled(Refined):
    """A small network that learns the target's logits, then again and again on its own adversarial points.

    It is shallow, and learns by the mean square between logits (Ba and Caruana 2014, equation 1). Distillation as a
    black-box attack, and the rounds of retraining on the attack's own points (dynamic distillation): Xiao, Li, Zhu, He,
    Liu, Song 2018, "Generating Adversarial Examples with Adversarial Networks", section 3.3. The points here are those
    of a momentum attack on the network, in place of their generator's, which begins at samples that were moved, blended
    with others and put under noise.

    Args:
        queries: asked of the target at most, those of the held-out samples among them.
        samples: of the data at most, held-out ones among them.
        rounds: the first on samples and what lies around them, each other one on adversarial points too.
        epochs: of training in each round at most, of twice as many in the last.
        width: channels of the network's first layers.
    """

    id = "distilled"
    access = Access.SCORES

    queries: Annotated[int, Field(ge=20)] = 2000
    samples: Count = 500
    rounds: Count = 4
    epochs: Count = 20
    width: Annotated[int, Field(ge=16, le=256, multiple_of=16)] = 16

    def fresh(self, fit: FitSet, size: float) -> nn.Module:
        return scaled_to(self.empty(fit), size)

    def empty(self, fit: FitSet) -> nn.Sequential:
        network = network_for(fit.classes, fit.shape, key_of(int(fit.draws.keys[0]), "weights") % 2**31, self.width)
        return network.to(fit.zeros().device)

    def model(self, artefact: Artefact, classes: int, shape: tuple[int, ...]) -> Surrogate:
        return Fixed(network_for(classes, shape, 0, self.width), weights_of(artefact))
