"""Surrogates that are made of a target's answers: how far attacks on them reach, beside attacks on the target itself.

python benchmarks/surrogates.py [--kind clean robust] [--recipe distilled substitute] [--parameters '{"width": 32}']

The bundled models; 200 of the bundled images are attacked, and the surrogate is made from the other 300. With
`--test-set FOLDER`, which holds Fashion-MNIST (Debian's package dataset-fashion-mnist), `--audited` images of its test
set are attacked in their place, those that are bundled left out.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import time
from pathlib import Path
from typing import Any

import torch
from common import attacked, correct_samples, empty_pool, fashion
from torch import Tensor
from train_demo import read_split, to_input

from robaudit.attacks.registry import make_attack, make_composed
from robaudit.engine.engine import Engine
from robaudit.engine.fitting import FitJob, Fitted
from robaudit.engine.job import Job
from robaudit.engine.oracle import Oracle
from robaudit.engine.units import Sample, plan_units
from robaudit.surrogates.base import Surrogate
from robaudit.surrogates.gray import Gray
from robaudit.surrogates.registry import make_recipe
from robaudit.target.target import Target
from robaudit.threat.model import ThreatModel
from robaudit.threat.norms import Norm

AUDITED = 200
TRANSFER = ("transfer-mi-fgsm", "transfer-mi-fgsm+di")
WHITE = "mi-fgsm"


def samples_of(target: Target, x: Tensor, y: Tensor, seed: int) -> tuple[dict[int, Sample], list[Sample]]:
    """Those to attack, of the ones that are answered correctly, and those to fit on, in the order of a fit."""
    order = torch.randperm(len(x), generator=torch.Generator().manual_seed(seed)).tolist()
    correct = {sample.index: sample for sample in correct_samples(target, x, y)}
    audited = {index: correct[index] for index in order[:AUDITED] if index in correct}
    scores = target.scores(x)
    others = [
        Sample(i, x[i].numpy(), int(scores[i].argmax()), scores[i].numpy(), hashlib.sha256(x[i].numpy()).hexdigest())
        for i in order[AUDITED:]
    ]
    return audited, sorted(others, key=lambda sample: sample.digest)


def of_test_set(target: Target, bundled: Tensor, folder: Path, count: int) -> dict[int, Sample]:
    """The first images of the test set that are answered correctly, those that are bundled left out."""
    images, labels = read_split(folder, "t10k")
    x, y = to_input(images), torch.from_numpy(labels)
    known = {hashlib.sha256(image.numpy()).digest() for image in bundled}
    left = [i for i in range(len(x)) if hashlib.sha256(x[i].numpy()).digest() not in known][:count]
    return {sample.index: sample for sample in correct_samples(target, x[left], y[left])}


def made(target: Target, recipe: Any, threat: ThreatModel, others: list[Sample], seed: int) -> tuple[Fitted, float]:
    """A surrogate's fit, and the CPU seconds that it took."""
    chosen = others[: recipe.fit_samples]
    places, digests = tuple(s.index for s in chosen), tuple(s.digest for s in chosen)
    pool = empty_pool(torch.empty(1, *target.spec.shape))
    start = time.process_time()
    job = FitJob(recipe, threat, places, digests, f"surrogate/{recipe.id}")
    fitted = Engine(Oracle(target), 64, seed, pool).fit(
        job, {s.index: s for s in chosen}.__getitem__, None, lambda _: None
    )
    assert fitted is not None
    return fitted, time.process_time() - start


def transferred(
    target: Target, surrogate: Surrogate, name: str, threat: ThreatModel, audited: dict[int, Sample], seed: int
) -> float:
    """Share of the samples that an attack on the surrogate alone moves to another class of the target."""
    attack, how = make_composed(name, {})
    oracle = Oracle(target)
    oracle.add_surrogate("made", surrogate)
    units = tuple(plan_units(attack, threat.goal, list(audited), target.num_classes))
    fallen: set[int] = set()
    Engine(oracle, 64, seed, empty_pool(torch.empty(1, *target.spec.shape))).run(
        Job(attack, threat, units, name, how),
        audited.__getitem__,
        lambda result: fallen.add(result.unit.sample) if result.success else None,
    )
    return len(fallen) / len(audited)


def row(kind: str, id: str, args: argparse.Namespace, eps: float, seed: int) -> None:
    parameters: dict[str, Any] = args.parameters
    target, x, y = fashion(kind)
    threat = ThreatModel(Norm.LINF, eps)
    audited, others = samples_of(target, x, y, 5 + seed)
    if args.test_set is not None:
        audited = of_test_set(target, x, args.test_set, args.audited)
    recipe = make_recipe(id, parameters)
    if isinstance(recipe, Gray):
        recipe = recipe.with_graph(target.pupil())
    fitted, seconds = made(target, recipe, threat, others, seed)
    surrogate = recipe.model(fitted.artefact, target.num_classes, target.spec.shape)
    results = attacked(target, make_attack(WHITE, {}), threat, audited)
    white = sum(result.success for result in results.values()) / len(audited)
    agreed, held = int(fitted.artefact["agreed"]), int(fitted.artefact["held_out"])
    rates = {name: transferred(target, surrogate, name, threat, audited, seed) for name in TRANSFER}
    told = " | ".join(f"{rate:.3f} ({rate / white:.2f})" for rate in rates.values())
    print(
        f"| {kind} | {id} {json.dumps(parameters)} | {eps} | {seed} | {fitted.cost.queries} | {agreed} of {held} | "
        f"{white:.3f} of {len(audited)} | {told} | {seconds:.0f} |",
        flush=True,
    )


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--kind", nargs="+", default=["clean", "robust"])
    parser.add_argument("--recipe", nargs="+", default=["distilled", "substitute"])
    parser.add_argument("--parameters", type=json.loads, default={})
    parser.add_argument("--eps", type=float, nargs="+", default=[0.1])
    parser.add_argument("--test-set", type=Path)
    parser.add_argument("--audited", type=int, default=1000)
    parser.add_argument("--seed", type=int, nargs="+", default=[0])
    args = parser.parse_args()
    torch.set_num_threads(1)
    print("| model | recipe | eps | seed | queries | agrees | white-box | " + " | ".join(TRANSFER) + " | CPU s |")
    print("| --- " * 10 + "|")
    for eps in args.eps:
        for seed in args.seed:
            for kind in args.kind:
                for id in args.recipe:
                    row(kind, id, args, eps, seed)


if __name__ == "__main__":
    main()
