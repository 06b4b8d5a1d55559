"""Transfer attacks against TransferAttack's, torchattacks' and torchattack's, on the same surrogate, images and radius.

    pip install torchattacks scipy; pip install --no-deps torchattack; git clone https://github.com/Trustworthy-AI-Group/TransferAttack
    python benchmarks/transfer.py --data FASHION --peers TransferAttack [--only mi+bsr] [--count 1000] [--seeds 2]

FASHION is the folder of the four Fashion-MNIST files, as Debian's package ``dataset-fashion-mnist`` installs it. Four
small classifiers are trained at first (a quarter of an hour on a core) and kept in ``--kept``; the surrogate is one of
them, the targets the others. Images are those that all four know. Prints a Markdown table: the share of images that
fool a target, mean over targets and seeds, the difference with its standard error over images, and gradients of the
surrogate an image. ``weaker`` marks a row that is more than a point behind, or takes more gradients.
"""

from __future__ import annotations

import argparse
import hashlib
import random
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from transfer_models import InMemory, images, trained
from transfer_peers import Peer, torchattack, transferattack
from transfer_torchattack import torchattack_peer

from robaudit.attacks.base import StartingPool
from robaudit.attacks.registry import make_composed
from robaudit.engine.evaluator import Evaluator
from robaudit.engine.oracle import Oracle
from robaudit.engine.problems import problem_at
from robaudit.engine.rows import Account
from robaudit.engine.units import Sample
from robaudit.threat.model import Access, ThreatModel
from robaudit.threat.norms import Norm
from robaudit.threat.random import key_of

SHAPE = (3, 28, 28)
POOL = 200
"""Other images that attacks may draw on."""


@dataclass(frozen=True)
class Row:
    """An attack of ours beside another's.

    Args:
        name: of ours.
        label: of theirs.
        peer: runs theirs.
        parameters: of ours.
    """

    name: str
    label: str
    peer: Peer
    parameters: dict[str, Any] = field(default_factory=dict)


def rows(folder: Path) -> list[Row]:
    """All pairs."""
    single = ["mi", "ni", "vmi", "vni", "mi+di", "mi+ti", "mi+si", "mi+admix", "mi+sia", "mi+bsr", "mef"]
    found = [Row(name, "TransferAttack", transferattack(folder, name)) for name in (*single, "mi+di+ti", "ni+si")]
    fewer = {"neighbours": 5, "bsr": {"copies": 4}}
    found.append(
        Row("vmi+bsr", "TransferAttack", transferattack(folder, "vmi+bsr", num_neighbor=5, num_scale=4), fewer)
    )
    found += [
        Row("mi", "torchattacks MIFGSM", torchattack("MIFGSM")),
        Row("ni", "torchattacks NIFGSM", torchattack("NIFGSM")),
        Row("ni+si", "torchattacks SINIFGSM", torchattack("SINIFGSM")),
        Row("vmi", "torchattacks VMIFGSM", torchattack("VMIFGSM")),
        Row("vni", "torchattacks VNIFGSM", torchattack("VNIFGSM")),
        Row("mi+di", "torchattacks DIFGSM", torchattack("DIFGSM", decay=1.0)),
        Row("mi+di+ti", "torchattacks TIFGSM", torchattack("TIFGSM", decay=1.0, diversity_prob=0.5)),
        Row("mi+ti", "torchattack TIFGSM", torchattack_peer("TIFGSM")),
        Row("mi+admix", "torchattack Admix", torchattack_peer("Admix", num_classes=10)),
        Row("mi+bsr", "torchattack BSR", torchattack_peer("BSR")),
    ]
    return found


def ours(surrogate: nn.Module, row: Row, x: Tensor, y: Tensor, eps: float, seed: int) -> tuple[Tensor, float]:
    """Points, and gradients an image: the engine's own evaluation, and every attack to its end."""
    model = InMemory(surrogate, 10, SHAPE)
    attack, how = make_composed(row.name, row.parameters)
    oracle, threat = Oracle(model, {"surrogate": model}), ThreatModel(Norm.LINF, eps)
    evaluator, pool = Evaluator(oracle, 64), StartingPool(x[:POOL], y[:POOL])
    points = []
    for part in torch.arange(len(x)).split(32):
        clean = model.scores(x[part])
        digests = [hashlib.sha256(x[i].numpy().tobytes()).hexdigest() for i in part.tolist()]
        samples = [
            Sample(i, x[i].numpy(), int(y[i]), z.numpy(), digest)
            for i, z, digest in zip(part.tolist(), clean, digests, strict=True)
        ]
        keys = torch.tensor([key_of(seed, digest, row.name) for digest in digests])
        problem = replace(problem_at(samples, threat, oracle, pool), keys=keys, max_points=64)
        state, account = attack.init(problem), Account.empty(len(part), torch.device("cpu"))
        while not bool(attack.done(problem, state).all()):
            request = attack.query(problem, state)
            request = replace(request, how=request.how.then(how))
            answer = evaluator.answer(request, problem, Access.TRANSFER, account, None)
            state = attack.update(problem, state, answer)
        points.append(attack.best(problem, state)[0])
    return torch.cat(points), model.gradients / len(x)


def theirs(surrogate: nn.Module, row: Row, x: Tensor, y: Tensor, eps: float, seed: int) -> tuple[Tensor, float]:
    """The same of the other implementation; brought back into the ball and the box, which some leave by rounding."""
    torch.manual_seed(seed)
    np.random.seed(seed)
    random.seed(seed)
    counter = Counted(surrogate)
    points = torch.cat([row.peer(counter, *part, eps).detach() for part in zip(x.split(32), y.split(32), strict=True)])
    return torch.clamp(points, x - eps, x + eps).clamp(0, 1), counter.gradients / len(x)


class Counted(nn.Module):
    """A model that counts the rows that gradients are taken of."""

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner, self.gradients = inner, 0
        self.unused = nn.Parameter(torch.zeros(0))  # some ask a parameter for its device

    def forward(self, x: Tensor) -> Tensor:
        self.gradients += len(x) if x.requires_grad else 0
        return self.inner(x)


def fooled(targets: list[nn.Module], points: Tensor, y: Tensor) -> Tensor:
    """[N, targets] bool."""
    with torch.no_grad():
        answers = [torch.cat([target(part) for part in points.split(256)]).argmax(1) for target in targets]
    return torch.stack([answer != y for answer in answers], 1)


def line(row: Row, models: dict[str, nn.Module], chosen: str, x: Tensor, y: Tensor, eps: float, seeds: int) -> str:
    """One row of the table."""
    targets = [model for name, model in models.items() if name != chosen]
    mine, other, spent = [], [], [0.0, 0.0]
    for seed in range(seeds):
        for side, (run, found) in enumerate(((ours, mine), (theirs, other))):
            points, gradients = run(models[chosen], row, x, y, eps, seed)
            assert float((points - x).abs().amax()) <= eps * (1 + 1e-5)
            found.append(fooled(targets, points, y).double().mean(1))
            spent[side] += gradients / seeds
    rates = [torch.stack(found).mean(0) * 100 for found in (mine, other)]
    difference = rates[0] - rates[1]
    error = float(difference.std() / len(x) ** 0.5)
    weak = float(difference.mean()) < -1 or spent[0] > spent[1] + 0.5
    return (
        f"| {row.name} | {row.label} | {rates[1].mean():.1f} % | {rates[0].mean():.1f} % | {difference.mean():+.1f} ± "
        f"{error:.1f} | {spent[1]:.0f} / {spent[0]:.0f} | {'weaker' if weak else ''} |"
    )


def main() -> None:
    """Parse arguments and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--peers", type=Path, required=True)
    parser.add_argument("--kept", type=Path, default=Path("build/transfer-models"))
    parser.add_argument("--surrogate", default="vgg")
    parser.add_argument("--eps", type=float, default=16 / 255)
    parser.add_argument("--count", type=int, default=1000)
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--only", default="", help="names of ours, with commas")
    chosen = parser.parse_args()
    torch.set_num_threads(1)
    models = trained(chosen.data, chosen.kept)
    x, y = images(chosen.data, "t10k")
    x = x.float().expand(-1, 3, -1, -1) / 255
    known = ~fooled(list(models.values()), x, y).any(1)
    x, y = x[known][: chosen.count].contiguous(), y[known][: chosen.count]
    print(f"{len(x)} images, surrogate {chosen.surrogate}, eps {chosen.eps:.4f}, {chosen.seeds} seed(s)\n")
    print("| ours | theirs | theirs | ours | points | gradients: theirs / ours | |\n|-|-|-|-|-|-|-|")
    for row in rows(chosen.peers):
        if not chosen.only or row.name in chosen.only.split(","):
            print(line(row, models, chosen.surrogate, x, y, chosen.eps, chosen.seeds), flush=True)


if __name__ == "__main__":
    main()
