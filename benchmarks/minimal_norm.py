"""Our minimal-norm attacks against adv-lib's and Foolbox's: median distances at the same number of gradients.

    pip install adv-lib foolbox
    python benchmarks/minimal_norm.py [--steps 100] [--count 100] [fashion-clean fashion-robust lenet5 | FILE DATA.npz]

FILE takes [0, 1] inputs; DATA.npz holds x (uint8 or float) and y. Points of both sides are judged on the file, one at a
time; a failure counts as an infinite distance. `per sample` is the geometric mean of ours over theirs where both found
a point, `failed` their failures and ours. adv-lib's import of torchvision and visdom, which these attacks do not use,
is served by empty modules where they are missing.
"""

from __future__ import annotations

import argparse
import importlib.util
import sys
import types
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from common import Counter, correct_samples, empty_pool, lenet5
from torch import Tensor

import robaudit
from robaudit.attacks.registry import make_attack
from robaudit.engine.engine import Engine
from robaudit.engine.job import Job
from robaudit.engine.oracle import Oracle
from robaudit.engine.units import Sample, UnitResult, plan_units
from robaudit.target.inputs.spec import SpecOverrides
from robaudit.target.load import open_target
from robaudit.target.reading.measured import measure
from robaudit.target.target import Target, ready
from robaudit.threat.model import Goal, ThreatModel
from robaudit.threat.norms import Norm, distance

Peer = Callable[[Counter, Tensor, Tensor], Tensor]
ORDER = {Norm.L0: 0, Norm.L1: 1, Norm.L2: 2, Norm.LINF: float("inf")}


def model_and_data(name: str, data: str | None, count: int) -> tuple[Target, Tensor, Tensor]:
    """A named pair, or a file with its data."""
    if name == "lenet5":
        return lenet5(count=count)
    demo = Path(robaudit.__file__).parent / "demo"
    path = demo / f"{name.replace('-', '_')}.onnx" if data is None else Path(name)
    target = open_target(path, overrides=SpecOverrides({"scale": 1.0}, {}), device="cpu")
    with np.load(demo / "fashion_test500.npz" if data is None else data) as archive:
        x, y = torch.from_numpy(archive["x"][:count]), torch.from_numpy(archive["y"][:count]).long()
    x = x.float() / 255 if x.dtype == torch.uint8 else x.float()
    x = x if x.dim() == 4 or data is not None else x[:, None]
    target = ready(measure(target, x[:8]))
    return target, x, y


def ours(target: Target, samples: list[Sample], norm: Norm, name: str, parameters: dict[str, Any]) -> np.ndarray:
    """[N] distances that the judge confirmed, and the mean number of gradients."""
    by_index = {s.index: s for s in samples}
    found: dict[int, list[UnitResult]] = {i: [] for i in by_index}
    pool = empty_pool(torch.from_numpy(np.stack([s.u for s in samples])))
    engine = Engine(Oracle(target), 64, 0, pool)
    attack = make_attack(name, parameters)
    units = tuple(plan_units(attack, Goal.UNTARGETED, list(by_index), target.num_classes))
    job = Job(attack, ThreatModel(norm, 1e9, minimal=True), units, name)
    engine.run(job, by_index.__getitem__, lambda r: found[r.unit.sample].append(r))
    best = [min((r.distance for r in rs if r.distance is not None), default=np.inf) for rs in found.values()]
    return np.array(best)


def theirs(target: Target, samples: list[Sample], norm: Norm, peer: Peer) -> tuple[np.ndarray, float]:
    """[N] distances by the same judge, and the mean number of gradients."""
    x = torch.from_numpy(np.stack([s.u for s in samples]))
    y = torch.tensor([s.label for s in samples])
    counter = Counter(target)
    points = peer(counter, x, y).detach().clamp(0, 1)
    fooled = torch.cat([target.scores(p[None], alone=True) for p in points]).argmax(1) != y
    size = torch.where(fooled, distance(norm, points - x), float("inf"))
    return size.numpy(), counter.backwards / len(x)


def peers(norm: Norm, steps: int) -> Iterator[tuple[str, str, dict[str, Any], Peer]]:
    """(name, ours, our parameters, theirs) of one norm."""
    for missing in ("torchvision", "visdom"):
        if missing not in sys.modules and importlib.util.find_spec(missing) is None:
            sys.modules[missing] = types.ModuleType(missing)
            vars(sys.modules[missing])["models"] = types.ModuleType("models")
    import foolbox
    from adv_lib import attacks as adv

    p, same = ORDER[norm], {"steps": steps}
    yield "adv-lib fmn", "fmn", same, lambda m, x, y: adv.fmn(m, x, y, p, steps=steps)
    operator = 23 if norm is Norm.L0 else None  # what its authors prefer in L0

    def primal_dual(m: Counter, x: Tensor, y: Tensor) -> Tensor:
        return adv.pdpgd(m, x, y, p, num_steps=steps, proximal_operator=operator)

    yield "adv-lib pdpgd", "pdpgd", same, primal_dual
    if norm is Norm.L2:
        yield "adv-lib ddn", "ddn", same, lambda m, x, y: adv.ddn(m, x, y, steps=steps, levels=None)
    if norm is Norm.L0:
        yield "adv-lib sigma_zero", "sigma-zero", same, lambda m, x, y: adv.sigma_zero(m, x, y, num_steps=steps)

    def foolbox_run(attack: Any) -> Peer:
        def run(m: Counter, x: Tensor, y: Tensor) -> Tensor:
            model = foolbox.PyTorchModel(m.eval(), bounds=(0, 1), device="cpu")
            points: Tensor = attack(model, x, y, epsilons=None)[0]
            return points

        return run

    names = {Norm.L0: "L0FMNAttack", Norm.L1: "L1FMNAttack", Norm.L2: "L2FMNAttack", Norm.LINF: "LInfFMNAttack"}
    yield "Foolbox FMN", "fmn", same, foolbox_run(getattr(foolbox.attacks, names[norm])(steps=steps))
    if norm is Norm.L2:
        yield "Foolbox DDN", "ddn", same, foolbox_run(foolbox.attacks.DDNAttack(steps=steps))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="*", default=["fashion-clean", "fashion-robust"])
    parser.add_argument("--steps", type=int, default=100)
    parser.add_argument("--count", type=int, default=100)
    options = parser.parse_args()
    given = options.models
    pairs = [(given[0], given[1])] if len(given) == 2 and given[1].endswith(".npz") else [(m, None) for m in given]
    print("| model | norm | theirs | ours | theirs, median | ours, median | ratio | per sample | failed | gradients |")
    print("|-|-|-|-|-|-|-|-|-|-|")
    for name, data in pairs:
        target, x, y = model_and_data(name, data, options.count)
        samples = correct_samples(target, x, y)
        for norm in (Norm.LINF, Norm.L2, Norm.L1, Norm.L0):
            done: dict[str, np.ndarray] = {}
            for title, attack, parameters, peer in peers(norm, options.steps):
                try:
                    other, gradients = theirs(target, samples, norm, peer)
                except Exception as error:  # a peer that breaks is a row of the table, not the end of it
                    print(f"| {name} | {norm} | {title} | {attack} | {type(error).__name__} | | | | | |", flush=True)
                    continue
                if attack not in done:
                    done[attack] = ours(target, samples, norm, attack, parameters)
                own = done[attack]
                both = np.isfinite(own) & np.isfinite(other)
                mean = np.exp(np.mean(np.log(own[both] / other[both]))) if both.any() else np.nan
                print(
                    f"| {name} | {norm} | {title} | {attack} | {np.median(other):.4g} | {np.median(own):.4g} | "
                    f"{np.median(own) / np.median(other):.3f} | {mean:.3f} | "
                    f"{np.isinf(other).sum()} / {np.isinf(own).sum()} | {gradients:.0f} / {options.steps} |",
                    flush=True,
                )


if __name__ == "__main__":
    main()
