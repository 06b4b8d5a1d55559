"""What recipes share that train on samples first, then again and again on their own adversarial points."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Iterator

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from robaudit.attacks.base import Problem
from robaudit.attacks.fitted import Artefact, FitSet
from robaudit.surrogates.growing import Grown, Parts, adversarial, asked, batched, partners_of, sizes, split, varied
from robaudit.surrogates.training import imitate, logits_of, size_of, train
from robaudit.threat.model import Access
from robaudit.threat.random import key_of

__all__ = ["Refined"]

FIRST = 0.4
"""Share of the queries that the first round spends, on samples and what lies around them."""
STEPS = 5
"""Of the ascent that makes adversarial points."""

Loss = Callable[[Tensor, Tensor], Tensor]


class Refined(Grown):
    """A network that learns the target's answers, logits or labels, in rounds.

    A subclass has the parameters ``queries``, ``samples``, ``rounds`` and ``epochs``, and says what the network is.
    """

    samples: int
    epochs: int

    @abstractmethod
    def fresh(self, fit: FitSet, size: float) -> nn.Module:
        """The network before training, from [N, *shape] to [N, K] in a unit: the size of the logits to learn."""

    @abstractmethod
    def empty(self, fit: FitSet) -> nn.Module:
        """The network, to take weights that were trained before."""

    def settled(self, network: nn.Module, points: Tensor) -> None:
        """What is to be done after a training on points [N, *shape]; nothing."""

    @property
    def fit_samples(self) -> int:
        return max(2, min(self.samples, self.queries // 2))

    @property
    def fit_needs(self) -> int:
        return min(20, self.fit_samples)

    def fit_start(self, fit: FitSet) -> Artefact:
        """Ask about the held-out samples."""
        held = fit.problem(split(fit).held)
        return {"held": asked(fit, held, held.x, self.access)}

    def fit_round(self, fit: FitSet, number: int, artefact: Artefact) -> Artefact:
        """Ask about the points of a round, and train on those of all rounds."""
        parts = split(fit)
        problem = fit.problem(parts.train)
        kept = dict(artefact)
        points, answers = [], []
        for place in range(number + 1):
            blocks = list(self._blocks(fit, parts, problem, place, kept))
            if place == number:
                new = [asked(fit, part, u, self.access) for part, u in blocks]
                kept[f"answers/{place}"] = torch.cat([kept["held"][:0], *new])  # a round may have no query left
            points += [u.float() for _, u in blocks]
            answers.append(kept[f"answers/{place}"])
        known, wanted, size, loss = self._lesson(fit, torch.cat(answers))
        network = self.fresh(fit, size) if number == 0 else self._network(fit, kept, number - 1)
        seed = key_of(int(fit.draws.keys[0]), "training", number) % 2**31
        epochs = self.epochs * (2 if number + 1 == self.rounds else 1)
        u = torch.cat(points)[known]
        train(network, u, wanted[known], loss, epochs, seed, fit.go_on)
        self.settled(network, u)
        return kept | self.after(fit, parts, number, network, kept["held"])

    def _lesson(self, fit: FitSet, answers: Tensor) -> tuple[Tensor, Tensor, float, Loss]:
        """Which of the answers say something, what is to be learned of them, its size, and how far off is bad."""
        if self.access is Access.LABELS:
            return answers >= 0, answers, 1.0, F.cross_entropy
        wanted = logits_of(answers, fit.scores)
        known = wanted.isfinite().all(1)
        size = size_of(wanted[known])
        return known, wanted, size, imitate(size)

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

    def _network(self, fit: FitSet, known: Artefact, number: int) -> nn.Module:
        """The network after a round."""
        network = self.empty(fit)
        network.load_state_dict(self.trained(known, number))
        return network.to(fit.zeros().device).eval()
