"""A network trained on its interval bounds: a good share is proved, and attacks agree with every proof."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from run_kit import make_request, run_here
from sklearn.datasets import load_digits
from torch import nn

EPS = 0.06


def trained(steps: int = 500) -> tuple[nn.Sequential, np.ndarray, np.ndarray]:
    """Gowal et al. 2018, eq. 12: cross-entropy of the sample and of the worst logits, the radius rising."""
    digits = load_digits()
    x, y = torch.tensor(digits.images / 16, dtype=torch.float32)[:, None], torch.tensor(digits.target)
    torch.manual_seed(0)
    net = nn.Sequential(nn.Flatten(), nn.Linear(64, 48), nn.ReLU(), nn.Linear(48, 10))
    optimiser = torch.optim.Adam(net.parameters(), 5e-3)
    for step in range(steps):
        rows = torch.randint(0, 1400, (256,))
        share = min(1.0, step / (0.6 * steps))
        low, high = (x[rows] - share * EPS).clamp(0, 1), (x[rows] + share * EPS).clamp(0, 1)
        middle, radius = (low + high).flatten(1) / 2, (high - low).flatten(1) / 2
        for layer in net[1:]:
            if isinstance(layer, nn.Linear):
                middle, radius = layer(middle), radius @ layer.weight.abs().T
            else:
                ends = (middle - radius).relu(), (middle + radius).relu()
                middle, radius = (ends[0] + ends[1]) / 2, (ends[1] - ends[0]) / 2
        own = F.one_hot(y[rows], 10).bool()
        worst = torch.where(own, middle - radius, middle + radius)
        loss = (1 - share / 2) * F.cross_entropy(net(x[rows]), y[rows]) + share / 2 * F.cross_entropy(worst, y[rows])
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    return net.eval(), x[1400:].numpy(), y[1400:].numpy()


def test_proofs_and_attacks_leave_little_between_them(tmp_path: Path) -> None:
    net, x, y = trained()
    example = (torch.zeros(1, 1, 8, 8),)
    torch.onnx.export(net, example, str(tmp_path / "m.onnx"), dynamo=False, input_names=["x"],
                      dynamic_axes={"x": {0: "n"}})  # fmt: skip
    np.savez(tmp_path / "m.npz", x=x[:60], y=y[:60])
    (tmp_path / "p.yaml").write_text(
        f"name: p\nthreat: {{norm: linf, eps: {EPS}}}\n"
        "attacks: [{id: apgd-ce, steps: 15}, {id: apgd-t, steps: 10}]\n"
        "checks: [clean, parity, evidence]\ncertificates: [interval]\ngates: [{metric: certified_accuracy, min: 0.3}]\n"
    )
    request = make_request(tmp_path / "m.onnx", tmp_path / "m.npz", tmp_path / "p.yaml")
    found = run_here(request, tmp_path / "run")
    proved, stands, drawn = found.certified.lower_bound.k, found.worst_case.robust_accuracy.k, len(found.samples)
    assert 0.5 * drawn < proved <= stands < drawn
    assert stands - proved < 0.25 * drawn
    assert found.certified.contradicted == ()
    assert found.gates[0].status == "pass"
    assert found.verdict.exit_code == 0
