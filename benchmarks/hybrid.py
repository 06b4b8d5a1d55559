"""Queries of hybrid attacks beside square and rays: the bundled undefended model, with surrogates of other kinds.

    python benchmarks/hybrid.py [--samples 100] [--queries 1000] [--eps 0.05] [--eps-l2 1.0] [--kept FOLDER]

Three surrogates of other architectures are trained on the data set's own training images (transfer_models.py), and
kept; ``robust`` is the bundled robust model, of the target's architecture; ``distilled`` was trained on 2,000 of the
target's answers, which are not counted in the medians; ``blind`` is a network whose weights are random, of no use.
Equal samples, radius and budget; a failure counts as the budget. Needs Fashion-MNIST as train_demo.py does.
"""

from __future__ import annotations

import argparse
import statistics
from importlib.resources import files
from pathlib import Path

import numpy as np
import torch
from common import correct_samples
from transfer_models import Grey, InMemory, bodies, trained

from robaudit.attacks.base import StartingPool
from robaudit.attacks.registry import attack_classes, make_composed
from robaudit.engine.engine import Engine
from robaudit.engine.fitting import FitJob
from robaudit.engine.job import Job
from robaudit.engine.oracle import Oracle
from robaudit.engine.units import Sample, UnitResult, plan_units
from robaudit.surrogates.registry import make_recipe
from robaudit.target.inputs.spec import SpecOverrides
from robaudit.target.load import open_target
from robaudit.target.reading.measured import measure
from robaudit.target.target import Target, ready
from robaudit.threat.model import Goal, ThreatModel
from robaudit.threat.norms import Norm

DEMO = files("robaudit") / "demo"
PLAIN = ("square", "rays", "surfree")
HYBRIDS = ("gfcs", "p-rgf", "bases", "prior-rays", "curls-whey")
TRAINED = ("vgg", "separable", "strided")
FEW = {"bases": 10}
"""Most queries of attacks that take hundreds of gradients for each."""
ALONE = (*TRAINED, "robust", "distilled", "blind")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--samples", type=int, default=100)
    parser.add_argument("--queries", type=int, default=1000)
    parser.add_argument("--eps", type=float, default=0.05)
    parser.add_argument("--eps-l2", type=float, default=1.0)
    parser.add_argument("--data", type=Path, default=Path("/usr/share/datasets/fashion-mnist"))
    parser.add_argument("--kept", type=Path, default=Path("build/transfer-models"))
    parser.add_argument("--attacks", nargs="*", default=[*PLAIN, *HYBRIDS])
    parser.add_argument(
        "--surrogates", nargs="*", default=[*ALONE, "+".join(TRAINED)], help="names joined by + go together"
    )
    parser.add_argument("--norms", nargs="*", default=["linf", "l2"])
    options = parser.parse_args()
    data = np.load(str(DEMO / "fashion_test500.npz"))
    x, y = torch.from_numpy(data["x"].astype(np.float32) / 255)[:, None], torch.from_numpy(data["y"])
    target, robust = (_opened(name, x) for name in ("clean", "robust"))
    samples = {s.index: s for s in correct_samples(target, x[: options.samples], y[: options.samples])}
    oracle = Oracle(target, {"robust": robust})
    engine = Engine(oracle, 64, 0, StartingPool(x[-24:], y[-24:]))
    named = {name for entry in options.surrogates for name in entry.split("+")}
    if named & set(TRAINED):
        for name, module in trained(options.data, options.kept, names=named).items():
            oracle.add_surrogate(name, InMemory(module, 10, (1, 28, 28)))
    if "blind" in named:
        torch.manual_seed(1)
        body = bodies()["vgg"].eval().requires_grad_(False)
        oracle.add_surrogate("blind", InMemory(Grey(body), 10, (1, 28, 28)))
    if "distilled" in named:
        _distil(engine, oracle, target, x[options.samples :], options.eps)
    print("norm  attack      surrogate                     broken  median    mean  gradients")
    for norm in map(Norm, options.norms):
        threat = ThreatModel(norm, options.eps if norm is Norm.LINF else options.eps_l2)
        for name in options.attacks:
            if norm not in attack_classes()[name].norms:
                continue
            for surrogate in options.surrogates if attack_classes()[name].prior else ["-"]:
                found = _run(engine, name, options.queries, surrogate, threat, samples)
                spent = [r.queries if r.success else options.queries for r in found]
                print(
                    f"{norm!s:<5} {name:<11} {surrogate:<29} {sum(r.success for r in found):>3}/{len(found):<3}"
                    f" {statistics.median(spent):6.1f} {statistics.fmean(spent):7.1f}"
                    f" {statistics.fmean(r.backwards for r in found):7.1f}",
                    flush=True,
                )


def _opened(name: str, x: torch.Tensor) -> Target:
    path = DEMO / f"fashion_{name}.onnx"
    opened = open_target(path, overrides=SpecOverrides({}, {}), device="cpu", sample_shape=(1, 28, 28))
    return ready(measure(opened, x[:4]))


def _distil(engine: Engine, oracle: Oracle, target: Target, x: torch.Tensor, eps: float) -> None:
    """Add a surrogate that is trained on the target's answers, and tell what it cost."""
    others = sorted(correct_samples(target, x, target.scores(x).argmax(1)), key=lambda s: s.digest)
    recipe = make_recipe("distilled", {})
    indices, digests = tuple(s.index for s in others), tuple(s.digest for s in others)
    job = FitJob(recipe, ThreatModel(Norm.LINF, eps), indices, digests, "surrogate/distilled")
    fitted = engine.fit(job, {s.index: s for s in others}.__getitem__, None, lambda _: None)
    oracle.add_surrogate("distilled", recipe.model(fitted.artefact, target.num_classes, target.spec.shape))
    agreed, held_out = int(fitted.artefact["agreed"]), int(fitted.artefact["held_out"])
    print(f"distilled: {fitted.cost.queries} queries, agrees on {agreed} of {held_out}")


def _run(
    engine: Engine, name: str, queries: int, surrogate: str, threat: ThreatModel, samples: dict[int, Sample]
) -> list[UnitResult]:
    attack, how = make_composed(name, {"queries": min(queries, FEW.get(name, queries))})
    if surrogate != "-":
        how = how.__class__(members=tuple(surrogate.split("+")))
    units = tuple(plan_units(attack, Goal.UNTARGETED, list(samples), 10))
    found: list[UnitResult] = []
    engine.run(Job(attack, threat, units, attack.id, how), samples.__getitem__, found.append)
    return found


if __name__ == "__main__":
    main()
