"""ART's preprocessor defenses with BPDA beside ours, on the same model, images, radius and steps.

    pip install adversarial-robustness-toolbox
    python benchmarks/defenses_art.py [--count 100] [--eps 0.02] [--steps 40] [jpeg:75 jpeg:50 bits:3 bits:5]

For each defense the samples are those that the file answers correctly behind it. ART's PGD goes through ART's own
`JpegCompression` or `FeatureSqueezing` (identity on the way back) to the torch twin of the file; ours through our
defense. Both take 40 steps of 2.5 eps / steps from the sample. All points are judged alike: the file in ONNX Runtime
behind *our* defense, one at a time; ART's also behind ART's own, as it counts itself.
"""

from __future__ import annotations

import argparse
import dataclasses
from typing import Any

import numpy as np
import torch
from common import attacked, correct_samples, fashion
from torch import Tensor, nn

from robaudit.attacks.registry import make_attack
from robaudit.defenses.registry import fitted, parse_defense
from robaudit.target.target import Target
from robaudit.threat.model import ThreatModel
from robaudit.threat.norms import Norm, distance


class Twin(nn.Module):
    """The twin of a file, as ART takes it."""

    def __init__(self, target: Target) -> None:
        super().__init__()
        self.target = target

    def forward(self, u: Tensor) -> Tensor:
        """[N, *shape] to logits."""
        return self.target.logits(u)


def peer(defense: str, channels: int) -> Any:
    """ART's defense of our name."""
    from art.defences.preprocessor import FeatureSqueezing, JpegCompression

    name, _, value = defense.partition(":")
    if name == "jpeg":
        return JpegCompression((0, 1), quality=int(value), channels_first=True)
    return FeatureSqueezing((0, 1), bit_depth=int(value))


def theirs(bare: Target, defense: str, x: Tensor, y: Tensor, eps: float, steps: int) -> tuple[Tensor, Tensor]:
    """[N, *shape] points of ART's PGD, and [N] whether they fool the twin behind ART's own defense."""
    from art.attacks.evasion import ProjectedGradientDescentNumpy
    from art.estimators.classification import PyTorchClassifier

    classifier = PyTorchClassifier(
        Twin(bare),
        nn.CrossEntropyLoss(),
        tuple(x.shape[1:]),
        bare.num_classes,
        clip_values=(0, 1),
        preprocessing_defences=[peer(defense, x.shape[1])],
        device_type="cpu",
    )
    attack = ProjectedGradientDescentNumpy(
        classifier, norm=np.inf, eps=eps, eps_step=2.5 * eps / steps, max_iter=steps, batch_size=len(x), verbose=False
    )
    points = attack.generate(x.numpy(), y.numpy())
    fooled = classifier.predict(points).argmax(1) != y.numpy()
    return torch.from_numpy(points), torch.from_numpy(fooled)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("defenses", nargs="*", default=["jpeg:75", "jpeg:50", "bits:3", "bits:5"])
    parser.add_argument("--count", type=int, default=100)
    parser.add_argument("--eps", type=float, default=0.02)
    parser.add_argument("--steps", type=int, default=40)
    options = parser.parse_args()
    bare, x, y = fashion("clean")
    print(f"fashion_clean.onnx, {options.count} images, linf {options.eps}, {options.steps} steps; broken of correct")
    print("| defense | correct | ART's, behind ART's | ART's, behind ours | ours | ours alone / ART's alone |")
    print("|-|-|-|-|-|-|")
    threat = ThreatModel(Norm.LINF, options.eps)
    for text in options.defenses:
        spec = dataclasses.replace(bare.spec, defenses=(fitted(parse_defense(text), bare.spec),))
        target = bare.reread(bare.opened.reread(spec=spec))
        samples = {s.index: s for s in correct_samples(target, x[: options.count], y[: options.count])}
        rows = list(samples)
        points, own = theirs(bare, text, x[rows], y[rows], options.eps, options.steps)
        assert float(distance(Norm.LINF, points - x[rows]).max()) <= options.eps * (1 + 1e-5)
        said = torch.cat([target.scores(point[None], alone=True) for point in points]).argmax(1)
        other = said != y[rows]
        pgd = make_attack("pgd", {"steps": options.steps, "random_start": False})
        found = attacked(target, pgd, threat, samples)
        mine = torch.tensor([found[index].success for index in rows])
        print(
            f"| `{text}` | {len(rows)} | {int(own.sum())} | {int(other.sum())} | {int(mine.sum())} | "
            f"{int((mine & ~other).sum())} / {int((other & ~mine).sum())} |",
            flush=True,
        )


if __name__ == "__main__":
    main()
