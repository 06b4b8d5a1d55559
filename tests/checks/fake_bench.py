"""A bench over a fake file, for checks without an audit."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from models import FakeFile, attack_all, network, samples_for
from torch import nn

from robaudit.attacks.base import StartingPool
from robaudit.attacks.registry import make_attack
from robaudit.audit.plan.attacks import Planned
from robaudit.audit.session.planting import planted_file, search_planted
from robaudit.checks.base import Breach, Finding, Planted, Ran
from robaudit.checks.registry import check_classes
from robaudit.engine.engine import Engine
from robaudit.engine.executor import LocalExecutor
from robaudit.engine.oracle import Oracle
from robaudit.engine.units import Sample
from robaudit.target.inputs.meaning import InputMeaning
from robaudit.threat.losses import Loss, loss_named
from robaudit.threat.model import Access, ThreatModel
from robaudit.threat.norms import Norm


@dataclass
class FakeTarget:
    """What checks ask of a target, as told."""

    file: FakeFile
    head_kind: str = "logits"
    head_peeled: bool = False
    noise: float | None = None
    has_gradient: bool = True
    is_its_own_twin: bool = False
    eight_bit: bool = False
    repeat: float = 0.0
    state: bool | None = None
    fresh_state: bool = False
    opposite: str = "smallest"
    batch: float | None = 0.0
    parity_answers: list[tuple[float, float]] = field(default_factory=list)
    compared: list[int] = field(default_factory=list)

    unsmooth: str | None = "the file is fake"
    smoothable: Mapping[str, Sequence[str]] = field(default_factory=dict)
    cuts: tuple[str, ...] = ()
    drawing: tuple[str, ...] = ()
    is_random: bool = False
    is_random_itself: bool = False
    zeros: dict[str, tuple[int, int]] = field(default_factory=dict)

    @property
    def meaning(self) -> InputMeaning:
        shape = self.file.shape
        kind = "image" if len(shape) == 3 else "vector"
        return InputMeaning("x", shape, shape, kind, "nchw" if kind == "image" else "none")

    def zero_weights(self) -> Mapping[str, tuple[int, int]]:
        return self.zeros

    def repeat_deviation(self) -> float:
        return self.repeat

    def keeps_state(self) -> bool | None:
        return self.state

    def batch_deviation(self) -> float | None:
        return self.batch

    def parity(self, points: Any) -> tuple[int, float, float, float | None]:
        self.compared.append(len(points))
        agreement, difference = self.parity_answers.pop(0) if self.parity_answers else (1.0, 0.0)
        return len(points), agreement, difference, self.noise


class FakeBench:
    """A bench over a fake file."""

    def __init__(self, count: int = 12, **target: Any) -> None:
        self.file = network((1, 4, 4), 5)
        self.samples = samples_for(self.file, count) if count else []
        self.target = FakeTarget(self.file, **target)
        self.threat = ThreatModel(Norm.LINF, 0.1)
        self.classes = 5
        self.stability = False
        self.declared_accuracy: float | None = None
        self.fallen: list[Breach] = []
        self.near: list[Breach] = []
        self.bounds: dict[str, tuple[int, int]] | str = {}
        self.transfers: dict[str, tuple[int, int]] = {}
        self.done: dict[str, Access] = {}
        self.hows: list[Any] = []
        self.proofs: dict[str, set[int]] = {}
        self.planned = {"pgd": Planned("pgd", make_attack("pgd", {"steps": 20}))}
        self.asked: list[tuple[str, int]] = []
        self.plants: list[Planted] = []
        self.runs: list[Ran] = []
        self.used: dict[str, dict[str, Loss]] = {"pgd": {"ce": loss_named("ce")}}

    def correct(self, most: int | None = None) -> Sequence[Sample]:
        return self.samples[:most]

    def sample(self, index: int) -> Sample:
        return self.samples[index]

    def clean_counts(self) -> tuple[int, int]:
        return len(self.samples), len(self.samples) + 2

    def clean_shifts(self) -> tuple[int, int]:
        return 1, 1

    def clean_smallest(self) -> int:
        return 1

    def clean_answers(self) -> tuple[list[int], list[int]]:
        return [s.label for s in self.samples], [s.label for s in self.samples]

    def clean_numbers(self) -> tuple[list[float], list[int]]:
        return [], []

    def run(self, attack: Any, threat: ThreatModel, samples: Sequence[Sample], how: Any = None, **_: Any) -> Any:
        self.hows.append(how)
        return attack_all(self.file, attack, threat, list(samples))

    def gradients(self, loss: Loss, samples: Sequence[Sample]) -> Any:
        u = torch.stack([torch.from_numpy(s.u) for s in samples]).requires_grad_()
        label = torch.tensor([s.label for s in samples])
        value = loss(self.file.logits(u), label, torch.full_like(label, -1))
        return torch.autograd.grad(value.sum(), u)[0].flatten(1).abs().amax(1).numpy()

    def slopes(self, loss: Loss, samples: Sequence[Sample], directions: Any) -> Any:
        u = torch.stack([torch.from_numpy(s.u) for s in samples]).requires_grad_()
        label = torch.tensor([s.label for s in samples])
        value = loss(self.file.logits(u), label, torch.full_like(label, -1))
        gradient = torch.autograd.grad(value.sum(), u)[0]
        return gradient.flatten(1).numpy() @ np.asarray(directions).reshape(len(directions), -1).T

    def logits(self, points: Any) -> Any:
        with torch.no_grad():
            return self.file.logits(torch.from_numpy(np.asarray(points))).double().numpy()

    def pulled(self, points: Any, weights: Any) -> Any:
        u = torch.from_numpy(np.asarray(points)).requires_grad_()
        logits = self.file.logits(u)
        found = logits.detach().double().numpy()
        (slope,) = torch.autograd.grad((logits * torch.from_numpy(np.array(weights(found)))).sum(), u)
        return found, slope.numpy()

    def unstable(self, samples: Sequence[Sample]) -> Mapping[str, tuple[int, int]] | str:
        return self.bounds

    def transferred(self) -> Mapping[str, tuple[int, int]]:
        return self.transfers

    guarded = False

    def rejects(self, scores: Any, point: Any = None) -> bool:
        return False

    def scores(self, points: Any, *, alone: bool = False) -> Any:
        return self.file.scores(torch.from_numpy(np.asarray(points))).numpy()

    def draws(self, point: Any, numbers: range) -> Any:
        raise AssertionError("nothing here is random")

    def search_frozen(self, attack: Any, samples: Sequence[Sample]) -> dict[int, bool]:
        raise AssertionError("nothing here is random")

    def proved(self) -> Mapping[str, set[int]]:
        return self.proofs

    def index_of(self, case: int) -> int:
        return case

    def tries(self) -> Sequence[Breach]:
        return []

    def nearest(self) -> Sequence[Breach]:
        return self.near

    def breaches(self) -> Sequence[Breach]:
        return self.fallen

    def finished(self) -> Mapping[str, Access]:
        return self.done

    def ran(self) -> Sequence[Ran]:
        return self.runs

    def search_smoothed(self, one: Ran, samples: Sequence[Sample], nodes: Collection[str]) -> dict[int, bool]:
        raise AssertionError("nothing here has a smooth backward")

    def losses(self) -> Mapping[str, Mapping[str, Loss]]:
        return self.used

    def attacks(self) -> Sequence[str]:
        return list(self.planned)

    @property
    def cut(self) -> bool:
        return isinstance(self.file.module, nn.Sequential) and isinstance(self.file.module[-1], nn.Linear)

    def map(self, u: torch.Tensor) -> torch.Tensor:
        return (self.file.module[:-1] if self.cut else self.file.module)(u).flatten(1)

    def features(self, points: Any) -> tuple[Any, bool]:
        with torch.no_grad():
            return self.map(torch.from_numpy(np.asarray(points))).double().numpy(), self.cut

    def search_planted(
        self, attack: str, planted: Sequence[Planted], among: Collection[int] | None = None
    ) -> dict[int, bool]:
        pool = StartingPool(torch.zeros(1, *self.file.shape, dtype=self.file.dtype), torch.zeros(1, dtype=torch.int64))
        executor = LocalExecutor(Engine(Oracle(self.file), 8, 0, pool))
        model = planted_file(self.file, self.map, planted)
        samples = [one.sample for one in planted if among is None or one.sample.index in among]
        self.asked.append((attack, len(samples)))
        self.plants = list(planted)
        found, cost = search_planted(executor, model, self.planned[attack], self.threat, samples)
        assert cost.forwards >= len(samples)
        return found


def standing_less(bench: FakeBench, *fallen: int) -> FakeBench:
    """A bench on which these samples fell."""
    bench.fallen = [Breach(i, "pgd", Access.WHITE_BOX, 0, 0.0, lambda: np.zeros((1, 4, 4))) for i in fallen]
    return bench


def find(name: str, bench: FakeBench) -> Finding:
    """Measure and judge, the measurement taken through JSON as in an audit."""
    check = check_classes()[name]()
    return check.verdict(json.loads(json.dumps(check.measure(bench))))


def verdict(name: str, **measured: Any) -> Finding:
    return check_classes()[name]().verdict(measured)
