"""Train a classifier of Fashion-MNIST by ensemble adversarial training, as ONNX: it withstands transfer alone.

    python benchmarks/train_ensemble.py FOLDER -o ensemble.onnx

FOLDER holds Fashion-MNIST (Debian's package dataset-fashion-mnist). Source: Tramèr, Kurakin, Papernot, Goodfellow,
Boneh, McDaniel 2018, "Ensemble Adversarial Training: Attacks and Defenses": half of each batch's loss is of single-step
examples (here ε = 0.1) that are made on static models of other architectures and on the model itself in turn.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from train_demo import read_split, to_input

EPS, BATCH, RATE, IMAGES = 0.1, 128, 2e-3, 30_000


def pooled(width: int) -> nn.Sequential:
    return nn.Sequential(
        *(nn.Conv2d(1, width, 3, 1, 1), nn.ReLU(), nn.MaxPool2d(2)),
        *(nn.Conv2d(width, 2 * width, 3, 1, 1), nn.ReLU(), nn.MaxPool2d(2)),
        *(nn.Flatten(), nn.Linear(2 * width * 49, 10)),
    )


def strided() -> nn.Sequential:
    return nn.Sequential(
        *(nn.Conv2d(1, 16, 5, 2, 2), nn.Tanh(), nn.Conv2d(16, 32, 5, 2, 2), nn.Tanh()),
        *(nn.Flatten(), nn.Linear(32 * 49, 64), nn.Tanh(), nn.Linear(64, 10)),
    )


def dense() -> nn.Sequential:
    return nn.Sequential(
        *(nn.Flatten(), nn.Linear(784, 128), nn.ReLU(), nn.Linear(128, 128), nn.ReLU(), nn.Linear(128, 10))
    )


def stepped(model: nn.Module, x: Tensor, y: Tensor) -> Tensor:
    """[N, 1, 28, 28] one step of length ε in L-infinity up the cross-entropy."""
    x = x.clone().requires_grad_()
    (slope,) = torch.autograd.grad(F.cross_entropy(model(x), y), x)
    return (x + EPS * slope.sign()).clamp(0, 1).detach()


def trained(model: nn.Module, images: Tensor, labels: Tensor, epochs: int, static: Sequence[nn.Module]) -> nn.Module:
    """The model, after training on images, and where there are static models on examples too."""
    optimiser = torch.optim.Adam(model.parameters(), RATE)
    for epoch in range(epochs):
        for number, part in enumerate(torch.randperm(len(images)).split(BATCH)):
            x, y = images[part], labels[part]
            loss = F.cross_entropy(model(x), y)
            if static:
                source = [*static, model][number % (len(static) + 1)]
                loss = 0.5 * loss + 0.5 * F.cross_entropy(model(stepped(source, x, y)), y)
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
        print(f"epoch {epoch}: loss {float(loss.detach()):.3f}", flush=True)
    return model.eval()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("-o", "--output", type=Path, required=True)
    args = parser.parse_args()
    torch.manual_seed(0)
    images, labels = read_split(args.folder, "train")
    x, y = to_input(images)[:IMAGES], torch.from_numpy(labels)[:IMAGES]
    static = [trained(model, x, y, 2, []) for model in (strided(), dense(), pooled(12))]
    model = trained(pooled(16), x, y, 4, static)
    torch.onnx.export(model, x[:2], str(args.output), dynamo=False, input_names=["x"], dynamic_axes={"x": {0: "batch"}})


if __name__ == "__main__":
    main()
