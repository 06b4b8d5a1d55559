"""A file whose gradient alone is that of its twin with some nodes smooth."""

from __future__ import annotations

import torch
from models import FakeFile, network
from torch import Tensor

from robaudit.engine.smooth_parts import PartlySmoothFile
from robaudit.target.running.smooth import Smooth


class SmoothFile(FakeFile):
    """Its smooth backward is ten times its own, and the names asked for are kept."""

    def smoothly(self, u: Tensor, smooth: Smooth) -> Tensor:
        self.asked = smooth
        logits = self.logits(u)
        return logits.detach() + 10 * (logits - logits.detach())


def slope(file: PartlySmoothFile, u: Tensor) -> Tensor:
    point = u.clone().requires_grad_()
    return torch.autograd.grad(file.logits(point)[:, 0].sum(), point)[0]


def test_the_values_are_those_of_the_twin_and_the_gradient_that_of_the_named_nodes() -> None:
    plain = network((1, 4, 4), 5)
    file = SmoothFile(plain.module, 5, (1, 4, 4))
    true, smooth = (PartlySmoothFile(file, Smooth(0.3, nodes=frozenset(names))) for names in ((), ("relu",)))
    u = torch.rand(3, 1, 4, 4, dtype=file.dtype)
    torch.testing.assert_close(slope(smooth, u), 10 * slope(true, u))
    assert file.asked == Smooth(0.3, nodes=frozenset({"relu"}))
    for part in (true, smooth):
        torch.testing.assert_close(part.scores(u), plain.scores(u))
        torch.testing.assert_close(part.scores(u, alone=True), plain.scores(u))
        assert not part.answered(u).requires_grad
    assert torch.equal(true.snap(u, u), u)
