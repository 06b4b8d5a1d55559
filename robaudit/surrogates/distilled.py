"""A surrogate distilled from the target's scores, and refined on its own adversarial points."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor, nn

from robaudit.attacks.base import Problem
from robaudit.attacks.cost import Cost
from robaudit.attacks.fitted import Artefact, FitSet
from robaudit.attacks.parameters import Count, attack_parameters
from robaudit.surrogates.base import WEIGHTS, Surrogate, SurrogateRecipe, weights_of
from robaudit.surrogates.growing import Parts, adversarial, asked, batched, partners_of, sizes, split, varied
from robaudit.surrogates.networks import Fixed, network_for, scaled_to
from robaudit.surrogates.training import agreement, imitate, logits_of, size_of, train
from robaudit.threat.model import Access
from robaudit.threat.random import key_of

__all__ = ["Distilled"]

FIRST = 0.4
"""Share of the queries that the first round spends, on samples and what lies around them."""
STEPS = 5
"""Of the ascent that makes adversarial points."""


@attack_parameters
class Distilled(SurrogateRecipe):
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

    queries: Count = 2000
    samples: Count = 500
    rounds: Count = 4
    epochs: Count = 20
    width: Annotated[int, Field(ge=16, le=256, multiple_of=16)] = 16

    @property
    def fit_samples(self) -> int:
        return max(2, min(self.samples, self.queries // 2))

    @property
    def fit_needs(self) -> int:
        return min(20, self.fit_samples)

    @property
    def fit_rounds(self) -> int:
        return self.rounds

    def most(self, samples: int) -> Cost:
        """All queries."""
        return Cost(queries=self.queries)

    def fit_start(self, fit: FitSet) -> Artefact:
        """Ask about the held-out samples."""
        held = fit.problem(split(fit).held)
        return {"held": asked(fit, held, held.x, self.access)}

    def fit_round(self, fit: FitSet, number: int, artefact: Artefact) -> Artefact:
        """Ask about the points of a round, and train on those of all rounds."""
        parts = split(fit)
        problem = fit.problem(parts.train)
        kept = dict(artefact)
        points, wanted = [], []
        for place in range(number + 1):
            blocks = list(self._blocks(fit, parts, problem, place, kept))
            if place == number:
                kept[f"scores/{place}"] = torch.cat([asked(fit, part, u, self.access) for part, u in blocks])
            points += [u.float() for _, u in blocks]
            wanted.append(kept[f"scores/{place}"])
        answers = logits_of(torch.cat(wanted), fit.scores)
        finite = answers.isfinite().all(1)
        size = size_of(answers[finite])
        network = self._network(fit, kept, number - 1)
        if number == 0:
            scaled_to(network, size)
        seed = key_of(int(fit.draws.keys[0]), "training", number) % 2**31
        epochs = self.epochs * (2 if number + 1 == self.rounds else 1)
        train(network, torch.cat(points)[finite], answers[finite], imitate(size), epochs, seed, fit.go_on)
        kept |= {f"{WEIGHTS}{number}/{name}": value.detach() for name, value in network.state_dict().items()}
        known = kept["held"].isfinite().all(1)
        agreed = agreement(network, fit.problem(parts.held).x.float()[known], kept["held"][known].argmax(1))
        counts = {"agreed": agreed, "held_out": int(known.sum()), "trained_on": len(parts.train)}
        return kept | {name: torch.tensor(count) for name, count in counts.items()}

    def fit_end(self, artefact: Artefact) -> Artefact:
        """The last weights, and the counts."""
        last = f"{WEIGHTS}{self.rounds - 1}/"
        kept = {WEIGHTS + name.removeprefix(last): value for name, value in artefact.items() if name.startswith(last)}
        return kept | {name: artefact[name] for name in ("agreed", "held_out", "trained_on")}

    def model(self, artefact: Artefact, classes: int, shape: tuple[int, ...]) -> Surrogate:
        return Fixed(network_for(classes, shape, 0, self.width), weights_of(artefact))

    def _points(self, parts: Parts, number: int) -> int:
        """Points of a round."""
        budget = self.queries - len(parts.held)
        first = budget if self.rounds == 1 else max(min(len(parts.train), budget), int(FIRST * budget))
        if number == 0:
            return first
        ends = [(budget - first) * place // (self.rounds - 1) for place in (number - 1, number)]
        return ends[1] - ends[0]

    def _blocks(
        self, fit: FitSet, parts: Parts, problem: Problem, number: int, known: Artefact
    ) -> Iterator[tuple[Problem, Tensor]]:
        """The points of a round, at most one a sample at a time; made again in later rounds, as keeping them is
        expensive."""
        network = None if number == 0 else batched(self._network(fit, known, number - 1))
        for place, size in enumerate(sizes(self._points(parts, number), len(parts.train))):
            part = problem.take(torch.arange(size, device=problem.x.device))
            step, point = number * 1000 + place, part.x
            if number or place:
                partners = fit.problem(partners_of(fit, parts.train, step)[:size]).x
                point = varied(part, partners, step)
            if network is not None:
                point = adversarial(part, point, network, step, STEPS)
            yield part, point

    def _network(self, fit: FitSet, known: Artefact, number: int) -> nn.Sequential:
        """The network after a round; -1: with fresh weights."""
        network = network_for(fit.classes, fit.shape, key_of(int(fit.draws.keys[0]), "weights") % 2**31, self.width)
        if number >= 0:
            mine = f"{WEIGHTS}{number}/"
            network.load_state_dict({n.removeprefix(mine): v for n, v in known.items() if n.startswith(mine)})
        return network.to(fit.zeros().device)
