"""HopSkipJump (L2) of Foolbox on the EfficientNet-Lite0 photos, for comparison with ours.

    pip install foolbox==3.3.4    # beside torch, in an environment of its own
    python benchmarks/hopskipjump_foolbox.py MODEL.pt IMAGES --queries 5000

MODEL.pt and IMAGES are those of export_efficientnet.py and of Foolbox's own ImageNet photos in class
subfolders. Prints each distance and the median after at most that many queries; u-space is [0, 1].
"""

from __future__ import annotations

import argparse
import statistics
from pathlib import Path

import foolbox
import numpy as np
import torch
from PIL import Image


def load(path: Path) -> torch.Tensor:
    """Bicubic, shorter side 256, centre 224: as robaudit cuts images."""
    image = Image.open(path).convert("RGB")
    factor = 256 / min(image.size)
    image = image.resize((round(image.width * factor), round(image.height * factor)), Image.Resampling.BICUBIC)
    left, top = round((image.width - 224) / 2), round((image.height - 224) / 2)
    pixels = np.asarray(image.crop((left, top, left + 224, top + 224)), dtype=np.float32) / 255
    return torch.from_numpy(pixels).permute(2, 0, 1)


class BudgetError(Exception):
    pass


class Counted(torch.nn.Module):
    """The model; remembers the closest fooling point it was shown, and stops at the budget."""

    def __init__(self, module: torch.nn.Module, budget: int) -> None:
        super().__init__()
        self.module, self.budget = module, budget
        self.queries, self.best = 0, float("inf")
        self.origin, self.label = torch.zeros(()), 0

    def forward(self, u: torch.Tensor) -> torch.Tensor:
        self.queries += len(u)
        with torch.no_grad():
            logits = self.module((255 * u - 127) / 128)
        fooled = logits.argmax(1) != self.label
        if bool(fooled.any()):
            distance = (u - self.origin).flatten(1).norm(dim=1)[fooled].min()
            self.best = min(self.best, float(distance))
        if self.queries >= self.budget:
            raise BudgetError
        return logits


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path)
    parser.add_argument("images", type=Path)
    parser.add_argument("--queries", type=int, default=5000)
    options = parser.parse_args()
    model = torch.jit.load(str(options.model)).eval()
    distances = []
    for path in sorted(options.images.glob("*/*")):
        u, label = load(path)[None], int(path.parent.name)
        with torch.no_grad():
            if int(model((255 * u - 127) / 128).argmax()) != label:
                continue
        counted = Counted(model, options.queries).eval()
        counted.origin, counted.label = u, label
        wrapped = foolbox.PyTorchModel(counted, bounds=(0, 1), device="cpu")
        torch.manual_seed(0)
        np.random.seed(0)
        try:
            attack = foolbox.attacks.HopSkipJumpAttack(steps=1000, max_gradient_eval_steps=10_000)
            attack.run(wrapped, u, foolbox.criteria.Misclassification(torch.tensor([label])), early_stop=None)
        except BudgetError:
            pass
        distances.append(counted.best)
        print(f"{path.parent.name}/{path.name}: {counted.best:.3f} after {counted.queries} queries", flush=True)
    print(f"median over {len(distances)}: {statistics.median(distances):.3f}")


if __name__ == "__main__":
    main()
