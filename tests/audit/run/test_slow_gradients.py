"""Models whose backward pass never ends on one input: it costs that sample alone, as a forward pass does."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from run_kit import load, scan
from slow_gradients import SlowGradient, save, slow_gradient

LIMITS = ("--trust-model", "--call-timeout", "1", "--load-timeout", "90")
TRANSFER = "\n  - {id: transfer-mi-fgsm, steps: 2}\n"


@pytest.mark.slow
def test_a_gradient_without_end_costs_that_sample(tmp_path: Path) -> None:
    """At a corner of the ball of the sample on which the batch size is chosen."""
    model, data, profile = slow_gradient(tmp_path, 0, 0.03)
    done = scan(model, data, profile, tmp_path / "run", *LIMITS, timeout=300)
    assert done.returncode == 3, done.stderr
    result = load(tmp_path / "run")
    (error,) = (error for error in result.errors if error.where == "model")
    assert error.sample == result.samples[0].id
    assert f"the gradient of the model was not computed within 5 s on the sample {error.sample}" in error.message
    assert "5 times --call-timeout SECONDS" in error.message
    assert error.message in result.verdict.reasons
    assert [sample.index for sample in result.samples if sample.error] == [0]
    assert [attack.status for attack in result.attacks] == ["done"]
    assert result.run.failed is None
    assert result.evidence.count > 0


@pytest.mark.slow
def test_a_surrogate_whose_gradient_has_no_end_costs_itself_and_no_sample(tmp_path: Path) -> None:
    model, data, profile = slow_gradient(tmp_path, 2, attacks=TRANSFER)
    with np.load(data) as arrays:
        value = float(arrays["x"].reshape(8, -1)[2, 0])
    surrogate = save(tmp_path / "s.pt", SlowGradient(value, seed=1))
    save(model, SlowGradient(-1.0))
    done = scan(model, data, profile, tmp_path / "run", "--surrogate", str(surrogate), *LIMITS, timeout=300)
    assert done.returncode == 3, done.stderr
    result = load(tmp_path / "run")
    assert not [sample.index for sample in result.samples if sample.error]
    assert "the gradient of the surrogate s.pt was not computed within 5 s" in str(result.attacks[0].reason)
    assert [attack.status for attack in result.attacks] == ["failed"]
    assert result.run.failed is None


def test_the_kit_is_quick_ahead() -> None:
    module = torch.jit.script(SlowGradient(0.5).eval())
    with torch.no_grad():
        assert module(torch.full((1, 1, 6, 6), 0.5)).isfinite().all()
