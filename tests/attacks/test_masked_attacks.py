"""A mask on images: whatever an attack does, no pixel outside of it moves, and what is asked about lies in it."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from attack_cases import BY_NORM, CASES
from models import FakeFile, attack_all, network, samples_for

from robaudit.attacks.registry import make_attack
from robaudit.target.inputs.meaning import InputMeaning
from robaudit.threat.model import ThreatModel
from robaudit.threat.norms import Norm
from robaudit.threat.sets.mask import Mask

SHAPE = (3, 6, 5)
PLACE = np.zeros(SHAPE[1:], dtype=bool)
PLACE[2:6, 1:4] = True
FULL = {Norm.LINF: 1.0, Norm.L2: 6.0, Norm.L1: 36.0, Norm.L0: 36.0}
"""Radii that reach all of the mask: anything within it."""


class Watched(FakeFile):
    """Notes whether all points that it is asked about are one of the samples outside of the mask."""

    held: torch.Tensor | None = None
    moved = False

    def _watch(self, u: torch.Tensor) -> None:
        if self.held is not None:
            outside = u.detach().flatten(2)[:, :, torch.from_numpy(~PLACE.ravel())].flatten(1)
            self.moved |= not bool((outside[:, None] == self.held).all(2).any(1).all())

    def logits(self, u: torch.Tensor) -> torch.Tensor:
        self._watch(u)
        return super().logits(u)

    def scores(self, u: torch.Tensor, *, alone: bool = False) -> torch.Tensor:
        self._watch(u)
        return super().scores(u, alone=alone)


@pytest.fixture(scope="module")
def mask(tmp_path_factory: pytest.TempPathFactory) -> Mask:
    path = tmp_path_factory.mktemp("mask") / "m.npy"
    np.save(path, PLACE)
    return Mask(str(path)).fitted(InputMeaning("x", SHAPE, SHAPE, "image", "nchw"))


@pytest.mark.parametrize("anything", [True, False], ids=["anything", "within eps"])
@pytest.mark.parametrize(("name", "norm"), BY_NORM)
def test_no_pixel_outside_of_it_moves(name: str, norm: Norm, anything: bool, mask: Mask) -> None:
    target = Watched(network(SHAPE, 4).module, 4, SHAPE, torch.float32)
    samples = samples_for(target, 6)
    points = torch.stack([torch.from_numpy(s.u) for s in samples])
    target.held = points.flatten(2)[:, :, torch.from_numpy(~PLACE.ravel())].flatten(1)
    eps = FULL[norm] if anything else {Norm.LINF: 0.3, Norm.L2: 1.5, Norm.L1: 6.0, Norm.L0: 10.0}[norm]
    attack, threat = make_attack(name, CASES[name].parameters), ThreatModel(norm, eps, sets=(mask,))
    results = attack_all(
        target,
        attack,
        threat,
        samples,
        surrogates=FakeFile(target.module, target.num_classes, target.shape, target.dtype),
    )
    assert not target.moved, "not even asked about"
    assert any(r.success for r in results.values()) or not anything
    for sample in samples:
        point = results[sample.index].point
        if point is not None:
            assert np.array_equal(point[:, ~PLACE], sample.u[:, ~PLACE])
            assert not np.array_equal(point, sample.u)
