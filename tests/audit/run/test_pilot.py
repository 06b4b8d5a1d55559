"""An expensive attack that tries the nearest samples first, and the others only where that pays."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from run_kit import make_data, make_onnx, make_profile, make_request, outcome, predict, records, run_here, weights

from robaudit.audit.journal.journal import Journal
from robaudit.audit.plan.validate import validate
from robaudit.audit.result.document import Result
from robaudit.errors import UsageError
from robaudit.report.sentences import attack_notes

COUNT = 24
ATTACKS = "\n  - {id: pgd, steps: 4, pilot: 5}\n  - {id: apgd-ce, steps: 4}\n"


def audited(folder: Path, eps: float, *, order: list[int] | None = None, **how: object) -> Result:
    folder.mkdir(exist_ok=True)
    profile = make_profile(folder / "p.yaml", ATTACKS, eps=eps)
    data = make_data(folder / "d.npz", COUNT, wrong=0, order=order)
    return run_here(make_request(make_onnx(folder / "m.onnx"), data, profile), folder / "run", **how)  # type: ignore[arg-type]


def nearest(data: Path, most: int) -> set[int]:
    """Places of the samples whose label leads least."""
    with np.load(data) as archive:
        x, y = archive["x"], archive["y"]
    w1, b1, w2, b2 = weights()
    logits = np.tanh(x.reshape(len(x), -1).astype(np.float64) @ w1.T + b1) @ w2.T + b2
    ordered = np.sort(logits, axis=1)
    assert (predict(x) == y).all()
    return set(np.argsort(ordered[:, -1] - ordered[:, -2])[:most].tolist())


def tried(folder: Path) -> set[int]:
    return {unit["sample"] for unit in records(folder / "run", "unit") if unit["attack"] == "pgd"}


def test_it_ends_with_the_nearest_where_none_of_them_fall(tmp_path: Path) -> None:
    result = audited(tmp_path, 2e-5)
    pgd, other = result.attacks
    said = "broke none of the 5 nearest to falling, so that it did not run on the other 19"
    assert (pgd.status, pgd.attempted, pgd.reason) == ("done", 5, said)
    assert (other.status, other.attempted, other.reason) == ("done", COUNT, None)
    assert f"pgd {said}" in attack_notes(result)
    assert tried(tmp_path) == nearest(tmp_path / "d.npz", 5)
    assert pgd.parameters["pilot"] == 5
    assert {gate.metric: gate.status for gate in result.gates} == {"validity": "pass", "coverage": "pass"}
    assert outcome(audited(tmp_path, 2e-5)) == outcome(result)  # the same run directory


def test_it_goes_on_where_they_fall(tmp_path: Path) -> None:
    pgd, _ = audited(tmp_path, 0.1).attacks
    assert (pgd.status, pgd.attempted, pgd.reason) == ("done", COUNT, None)
    assert pgd.broken > 5


def test_the_order_of_the_samples_is_of_no_account(tmp_path: Path) -> None:
    order = np.random.default_rng(3).permutation(COUNT).tolist()
    audited(tmp_path / "one", 2e-5)
    audited(tmp_path / "other", 2e-5, order=order)
    assert {order[place] for place in tried(tmp_path / "other")} == tried(tmp_path / "one")


class Stopper:
    """Stops once the journal holds so many units."""

    def __init__(self, run_dir: Path, units: int) -> None:
        self.run_dir, self.units = run_dir, units

    def __call__(self) -> bool:
        return len(records(self.run_dir, "unit")) >= self.units


@pytest.mark.parametrize("units", [1, 5, 12])
@pytest.mark.parametrize("eps", [2e-5, 0.1])
def test_what_was_stopped_in_it_goes_on(tmp_path: Path, units: int, eps: float) -> None:
    whole = audited(tmp_path / "whole", eps)
    part = audited(tmp_path / "part", eps, stop=Stopper(tmp_path / "part/run", units))
    assert not part.run.complete
    ended = audited(tmp_path / "part", eps, journal=Journal(tmp_path / "part/run"))
    assert outcome(ended) == outcome(whole)
    units_of = [(unit["attack"], unit["sample"]) for unit in records(tmp_path / "part/run", "unit")]
    assert len(units_of) == len(set(units_of))  # nothing twice


def test_an_attack_that_is_fitted_has_none(tmp_path: Path) -> None:
    profile = make_profile(tmp_path / "p.yaml", "\n  - {id: sgd-uap, pilot: 5}\n")
    with pytest.raises(
        UsageError, match=r"line \d.*sgd-uap is fitted for all samples at once, so that it has no pilot"
    ):
        validate(make_request(tmp_path / "m.onnx", tmp_path / "d.npz", profile))
