"""Queries of hybrid attacks beside square and rays: the bundled undefended model, with one surrogate of another kind.

    python benchmarks/hybrid.py [--samples 60] [--queries 1000] [--eps 0.05]

The surrogate is distilled from the model's scores with another architecture than the model's; its bill is shown beside,
and not counted in the medians. The bundled robust model is the second surrogate. Equal samples, radius and budget; a
failure counts as the budget.
"""

from __future__ import annotations

import argparse
import statistics
from importlib.resources import files

import numpy as np
import torch
from common import correct_samples

from robaudit.attacks.base import StartingPool
from robaudit.attacks.registry import make_composed
from robaudit.engine.engine import Engine
from robaudit.engine.fitting import FitJob
from robaudit.engine.job import Job
from robaudit.engine.oracle import Oracle
from robaudit.engine.units import UnitResult, plan_units
from robaudit.surrogates.registry import make_recipe
from robaudit.target.inputs.spec import SpecOverrides
from robaudit.target.load import open_target
from robaudit.target.reading.measured import measure
from robaudit.target.target import ready
from robaudit.threat.model import Goal, ThreatModel
from robaudit.threat.norms import Norm

DEMO = files("robaudit") / "demo"
CASES = {Norm.LINF: ("square", "gfcs", "rays", "prior-rays"), Norm.L2: ("square", "gfcs")}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--samples", type=int, default=60)
    parser.add_argument("--queries", type=int, default=1000)
    parser.add_argument("--eps", type=float, default=0.05)
    parser.add_argument("--eps-l2", type=float, default=1.0)
    options = parser.parse_args()
    data = np.load(str(DEMO / "fashion_test500.npz"))
    x = torch.from_numpy(data["x"].astype(np.float32)) / (255 if data["x"].max() > 1 else 1)
    targets = {}
    for name in ("clean", "robust"):
        opened = open_target(
            DEMO / f"fashion_{name}.onnx", overrides=SpecOverrides({}, {}), device="cpu", sample_shape=(1, 28, 28)
        )
        x = x.reshape(len(x), *opened.spec.shape)
        targets[name] = ready(measure(opened, x[:4]))
    target, y = targets["clean"], torch.from_numpy(data["y"])
    count = options.samples
    samples = {s.index: s for s in correct_samples(target, x[:count], y[:count])}
    others = sorted(correct_samples(target, x[200:], target.scores(x[200:]).argmax(1)), key=lambda s: s.digest)
    oracle = Oracle(target, {"robust": targets["robust"]})
    engine = Engine(oracle, 64, 0, StartingPool(x[200:224], y[200:224]))
    recipe = make_recipe("distilled", {})
    fitted = engine.fit(
        FitJob(
            recipe,
            ThreatModel(Norm.LINF, options.eps),
            tuple(s.index for s in others),
            tuple(s.digest for s in others),
            "surrogate/distilled",
        ),
        {s.index: s for s in others}.__getitem__,
        None,
        lambda _: None,
    )
    oracle.add_surrogate("distilled", recipe.model(fitted.artefact, target.num_classes, target.spec.shape))
    print(
        f"distilled: {fitted.cost.queries} queries, agrees on {int(fitted.artefact['agreed'])} of "
        f"{int(fitted.artefact['held_out'])}"
    )
    print("norm  attack      surrogate   broken  median  mean  gradients")
    for norm, names in CASES.items():
        threat = ThreatModel(norm, options.eps if norm is Norm.LINF else options.eps_l2)
        for name in names:
            for surrogate in ("distilled", "robust") if name in ("gfcs", "prior-rays") else ("-",):
                attack, how = make_composed(name, {"queries": options.queries})
                how = how if surrogate == "-" else how.__class__(members=(surrogate,))
                units = tuple(plan_units(attack, Goal.UNTARGETED, list(samples), target.num_classes))
                found: list[UnitResult] = []
                engine.run(Job(attack, threat, units, attack.id, how), samples.__getitem__, found.append)
                spent = [r.queries if r.success else options.queries for r in found]
                print(
                    f"{norm!s:<5} {name:<11} {surrogate:<10} {sum(r.success for r in found):>3}/{len(found):<3}"
                    f" {statistics.median(spent):7.1f} {statistics.fmean(spent):7.1f}"
                    f" {statistics.fmean(r.backwards for r in found):7.1f}",
                    flush=True,
                )


if __name__ == "__main__":
    main()
