from __future__ import annotations

import pytest
import torch
from models import FakeFile, network, samples_for

from robaudit.attacks.base import StartingPool
from robaudit.attacks.registry import make_attack
from robaudit.engine.engine import Engine
from robaudit.engine.job import Job
from robaudit.engine.oracle import Oracle
from robaudit.engine.precision import Precision, check_precision, searching
from robaudit.engine.units import plan_units
from robaudit.errors import UsageError
from robaudit.threat.model import Goal, ThreatModel
from robaudit.threat.norms import Norm


class Watched(FakeFile):
    """Notes the arithmetic of searches and of the judge."""

    def __init__(self, inner: FakeFile) -> None:
        super().__init__(inner.module, inner.num_classes, inner.shape)
        self.module.float()
        self.dtype = torch.float32
        self.searched: set[torch.dtype] = set()
        self.judged: set[torch.dtype] = set()
        self.tf32: set[tuple[str, bool]] = set()

    def logits(self, u: torch.Tensor) -> torch.Tensor:
        z = self.module(u)
        self.searched.add(z.dtype)
        self.tf32.add(("search", torch.backends.cuda.matmul.allow_tf32))
        return z

    def scores(self, u: torch.Tensor, *, alone: bool = False) -> torch.Tensor:
        with torch.no_grad():
            z = self.module(u)
        self.judged.add(z.dtype)
        self.tf32.add(("judge", torch.backends.cuda.matmul.allow_tf32))
        return z


def broken(precision: Precision) -> tuple[Watched, set[int]]:
    target = Watched(network((1, 6, 6), 5))
    samples = samples_for(target, 12)
    target.judged.clear()
    target.tf32.clear()
    found: set[int] = set()
    pool = StartingPool(torch.zeros(0, 1, 6, 6), torch.zeros(0).long())
    engine = Engine(Oracle(target), 8, 0, pool, precision=precision)
    attack = make_attack("pgd", {"steps": 10})
    by_index = {s.index: s for s in samples}
    units = tuple(plan_units(attack, Goal.UNTARGETED, list(by_index), 5))
    engine.run(
        Job(attack, ThreatModel(Norm.LINF, 0.05), units, "pgd"),
        by_index.__getitem__,
        lambda result: found.add(result.unit.sample) if result.success else None,
    )
    return target, found


def test_a_search_in_bfloat16_is_judged_at_full_precision() -> None:
    whole, reference = broken(Precision.FLOAT32)
    half, found = broken(Precision.BFLOAT16)
    assert whole.searched == {torch.float32}
    assert half.searched == {torch.bfloat16}
    assert half.judged == {torch.float32}
    assert reference
    assert len(reference ^ found) <= 1


def test_tf32_is_on_while_searching_and_off_for_the_judge() -> None:
    target, found = broken(Precision.TF32)
    assert found
    assert target.tf32 == {("search", True), ("judge", False)}


def test_flags_come_back_after_an_error() -> None:
    with pytest.raises(KeyError), searching(Precision.TF32, torch.device("cpu")):
        raise KeyError
    assert not torch.backends.cuda.matmul.allow_tf32


def test_tf32_without_a_gpu_is_refused() -> None:
    with pytest.raises(UsageError, match="tf32 needs a CUDA GPU"):
        check_precision(Precision.TF32, torch.device("cpu"))
    check_precision(Precision.BFLOAT16, torch.device("cpu"))
    check_precision(Precision.TF32, torch.device("cuda"))
