"""Train and export the two classifiers of `robaudit demo`, and cut its 500 test images.

What it does
    Trains one small CNN architecture (two strided convolutions and a linear layer, about 29,000
    parameters) twice on Fashion-MNIST: plainly, and by PGD adversarial training (Madry et al., "Towards
    Deep Learning Models Resistant to Adversarial Attacks", ICLR 2018) in the L-infinity ball. Both are
    exported to ONNX with their input specification in the file's metadata, measured with ONNX Runtime,
    and attacked with a plain PGD of this script's own, so that the figures do not lean on robaudit.

What it needs
    torch, onnx, onnxruntime, numpy and Fashion-MNIST as Debian's package `dataset-fashion-mnist` installs
    it (`--data` names another folder with the same four .gz files). Runs on one CPU thread.

How to run it
    python benchmarks/train_demo.py                   # about 15 minutes on one core; writes robaudit/demo/
    python benchmarks/train_demo.py --measure-only    # measures the files that are already there

The same seed, torch version and processor family give the same files; across processors the weights may
differ in their last bits, and the accuracies by a few tenths of a per cent.
"""

from __future__ import annotations

import argparse
import gzip
import json
import math
import time
import warnings
from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
import torch
from onnx import numpy_helper
from torch import Tensor, nn
from torch.nn import functional as F

CLASSES = (
    "T-shirt/top",
    "Trouser",
    "Pullover",
    "Dress",
    "Coat",
    "Sandal",
    "Shirt",
    "Sneaker",
    "Bag",
    "Ankle boot",
)
METADATA = {
    "robaudit.domain": "0,1",
    "robaudit.layout": "nchw",
    "robaudit.mean": "0",
    "robaudit.std": "1",
    "robaudit.classes": ",".join(CLASSES),
}
OPSET = 17
MODELS = ("clean", "robust")


def read_idx(path: Path) -> np.ndarray:
    """Read one gzipped IDX file of unsigned bytes (the format of MNIST)."""
    with gzip.open(path, "rb") as f:
        raw = f.read()
    if raw[:3] != b"\x00\x00\x08":
        raise SystemExit(f"{path}: not an IDX file of unsigned bytes")
    rank = raw[3]
    shape = np.frombuffer(raw, ">i4", count=rank, offset=4)
    return np.frombuffer(raw, np.uint8, offset=4 + 4 * rank).reshape(shape)


def read_split(folder: Path, split: str) -> tuple[np.ndarray, np.ndarray]:
    """Images (uint8, N x 28 x 28) and labels (int64) of the split `train` or `t10k`."""
    x = read_idx(folder / f"{split}-images-idx3-ubyte.gz")
    y = read_idx(folder / f"{split}-labels-idx1-ubyte.gz")
    return x, y.astype(np.int64)


def to_input(x: np.ndarray) -> Tensor:
    """Turn uint8 images into the models' input: N x 1 x 28 x 28, float32 in [0, 1]."""
    return torch.from_numpy(x.astype(np.float32) / np.float32(255.0)).unsqueeze(1)


def build() -> nn.Sequential:
    """Build the architecture that both models share."""
    return nn.Sequential(
        nn.Conv2d(1, 16, 5, stride=2, padding=2),
        nn.ReLU(),
        nn.Conv2d(16, 32, 5, stride=2, padding=2),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(32 * 7 * 7, 10),
    )


def pgd(model: nn.Module, x: Tensor, y: Tensor, eps: float, step: float, steps: int, g: torch.Generator) -> Tensor:
    """Run L-infinity PGD on the cross-entropy from a uniform random start; the last iterate."""
    delta = (torch.rand(x.shape, generator=g) * 2 - 1) * eps
    adv = (x + delta).clamp_(0, 1)
    for _ in range(steps):
        adv.requires_grad_(True)
        loss = F.cross_entropy(model(adv), y, reduction="sum")
        (grad,) = torch.autograd.grad(loss, adv)
        with torch.no_grad():
            adv = adv + step * grad.sign()
            adv = torch.minimum(torch.maximum(adv, x - eps), x + eps).clamp_(0, 1)
    return adv.detach()


def learning_rate(progress: float, peak: float, warmup: float = 0.1) -> float:
    """Linear warm-up followed by a cosine to zero; `progress` runs from 0 to 1."""
    if progress < warmup:
        return peak * progress / warmup
    return peak * 0.5 * (1 + math.cos(math.pi * (progress - warmup) / (1 - warmup)))


def train(
    x: Tensor, y: Tensor, *, eps: float, epochs: int, args: argparse.Namespace, g: torch.Generator
) -> nn.Sequential:
    """Train one model; with `eps` > 0 every batch is replaced by its PGD examples (Madry)."""
    torch.manual_seed(args.seed)
    model = build()
    optimiser = torch.optim.Adam(model.parameters(), lr=args.lr, weight_decay=0.0)
    per_epoch = len(x) // args.batch
    total, done = epochs * per_epoch, 0
    for epoch in range(epochs):
        start, correct = time.perf_counter(), 0
        order = torch.randperm(len(x), generator=g)
        for b in range(per_epoch):
            index = order[b * args.batch : (b + 1) * args.batch]
            xb, yb = x[index], y[index]
            flip = torch.rand(len(xb), generator=g) < 0.5
            xb = torch.where(flip[:, None, None, None], xb.flip(3), xb)
            if eps > 0:
                now = eps * min(1.0, done / max(1.0, args.warmup_epochs * per_epoch))
                xb = pgd(model, xb, yb, now, 2.5 * now / args.train_steps, args.train_steps, g)
            for group in optimiser.param_groups:
                group["lr"] = learning_rate(done / total, args.lr)
            logits = model(xb)
            optimiser.zero_grad(set_to_none=True)
            F.cross_entropy(logits, yb).backward()
            optimiser.step()
            correct += int((logits.argmax(1) == yb).sum())
            done += 1
        print(
            f"  epoch {epoch + 1}/{epochs}: accuracy on the training batches"
            f" {correct / (per_epoch * args.batch):.4f}, {time.perf_counter() - start:.0f} s",
            flush=True,
        )
    return model.eval()


def export(model: nn.Module, path: Path) -> None:
    """Write the ONNX file: dynamic batch, opset 17, input specification in `metadata_props`."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        # The TorchScript exporter: it needs no package besides onnx.
        torch.onnx.export(
            model,
            (torch.zeros(1, 1, 28, 28),),
            str(path),
            dynamo=False,
            opset_version=OPSET,
            input_names=["image"],
            output_names=["logits"],
            dynamic_axes={"image": {0: "batch"}, "logits": {0: "batch"}},
        )
    proto = onnx.load(path)
    onnx.helper.set_model_props(proto, METADATA)
    onnx.checker.check_model(proto, full_check=True)
    onnx.save(proto, path)


def weights_of(path: Path) -> nn.Sequential:
    """Build the architecture with the weights of an exported file, matched by name."""
    state = {t.name: torch.from_numpy(numpy_helper.to_array(t).copy()) for t in onnx.load(path).graph.initializer}
    model = build()
    model.load_state_dict(state)
    return model.eval()


def runtime_logits(path: Path, x: Tensor, batch: int = 500) -> np.ndarray:
    """Logits of the file itself, by ONNX Runtime on the CPU."""
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    session = ort.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    return np.concatenate(
        [session.run(["logits"], {"image": x[i : i + batch].numpy()})[0] for i in range(0, len(x), batch)]
    )


def torch_logits(model: nn.Module, x: Tensor, batch: int = 500) -> np.ndarray:
    """Logits of the torch model."""
    with torch.no_grad():
        return torch.cat([model(x[i : i + batch]) for i in range(0, len(x), batch)]).numpy()


def attacked_correct(
    path: Path, model: nn.Module, x: Tensor, y: Tensor, args: argparse.Namespace, g: torch.Generator
) -> np.ndarray:
    """Which samples stay correct, judged by ONNX Runtime, under PGD with restarts (worst case a sample)."""
    standing = runtime_logits(path, x).argmax(1) == y.numpy()
    for _ in range(args.restarts):
        index = np.flatnonzero(standing)
        for i in range(0, len(index), 500):
            part = torch.from_numpy(index[i : i + 500])
            adv = pgd(model, x[part], y[part], args.eps, args.eps / 4, args.attack_steps, g)
            standing[part.numpy()] = runtime_logits(path, adv).argmax(1) == y[part].numpy()
    return standing


def measure(path: Path, x: Tensor, y: Tensor, subset: np.ndarray, args: argparse.Namespace) -> dict[str, float]:
    """Accuracies of one exported file on the whole test set and on the 500 shipped images."""
    model = weights_of(path)
    by_runtime, by_torch = runtime_logits(path, x), torch_logits(model, x)
    label = y.numpy()
    clean = by_runtime.argmax(1) == label
    standing = attacked_correct(path, model, x, y, args, torch.Generator().manual_seed(args.seed + 1))
    return {
        "parameters": sum(p.numel() for p in model.parameters()),
        "bytes": path.stat().st_size,
        "clean_test": float(clean.mean()),
        "clean_test_by_torch": float((by_torch.argmax(1) == label).mean()),
        "largest_logit_difference": float(np.abs(by_runtime - by_torch).max()),
        "pgd_test": float(standing.mean()),
        "clean_500": float(clean[subset].mean()),
        "pgd_500": float(standing[subset].mean()),
    }


def first_of_each_class(y: np.ndarray, each: int) -> np.ndarray:
    """Positions of the first `each` images of every class, in data set order."""
    return np.sort(np.concatenate([np.flatnonzero(y == c)[:each] for c in range(len(CLASSES))]))


def parse() -> argparse.Namespace:
    """Read the command line."""
    root = Path(__file__).resolve().parents[1]
    p = argparse.ArgumentParser(
        description=__doc__.splitlines()[0], formatter_class=argparse.ArgumentDefaultsHelpFormatter
    )
    p.add_argument("--data", type=Path, default=Path("/usr/share/datasets/fashion-mnist"), help="the .gz files")
    p.add_argument("--out", type=Path, default=root / "robaudit" / "demo", help="where the three files go")
    p.add_argument("--seed", type=int, default=0)
    p.add_argument("--eps", type=float, default=0.1, help="L-infinity radius, of training and of the attack")
    p.add_argument("--clean-epochs", type=int, default=8)
    p.add_argument("--robust-epochs", type=int, default=20)
    p.add_argument("--warmup-epochs", type=float, default=5.0, help="epochs over which eps grows from 0")
    p.add_argument("--train-steps", type=int, default=7, help="PGD steps in training, of 2.5 eps / steps")
    p.add_argument("--batch", type=int, default=128)
    p.add_argument("--lr", type=float, default=3e-3)
    p.add_argument("--attack-steps", type=int, default=40, help="PGD steps in measuring, of eps / 4")
    p.add_argument("--restarts", type=int, default=5)
    p.add_argument("--limit", type=int, default=None, help="train on this many images only (a smoke test)")
    p.add_argument("--measure-only", action="store_true", help="train nothing, measure the files in --out")
    return p.parse_args()


def main() -> None:
    """Train, export, measure."""
    args = parse()
    torch.set_num_threads(1)
    torch.set_flush_denormal(True)
    torch.use_deterministic_algorithms(True)
    args.out.mkdir(parents=True, exist_ok=True)
    raw_test, label_test = read_split(args.data, "t10k")
    subset = first_of_each_class(label_test, 50)

    if not args.measure_only:
        raw_train, label_train = read_split(args.data, "train")
        x, y = to_input(raw_train[: args.limit]), torch.from_numpy(label_train[: args.limit])
        plan = {"clean": (0.0, args.clean_epochs), "robust": (args.eps, args.robust_epochs)}
        for name in MODELS:
            eps, epochs = plan[name]
            print(f"training {name} (eps {eps:g}, {epochs} epochs)", flush=True)
            g = torch.Generator().manual_seed(args.seed)
            export(train(x, y, eps=eps, epochs=epochs, args=args, g=g), args.out / f"fashion_{name}.onnx")
        np.savez_compressed(args.out / "fashion_test500.npz", x=raw_test[subset], y=label_test[subset])

    x, y = to_input(raw_test), torch.from_numpy(label_test)
    attack = f"PGD-{args.attack_steps}, step eps/4, {args.restarts} restarts, L-infinity eps {args.eps:g}"
    figures = {name: measure(args.out / f"fashion_{name}.onnx", x, y, subset, args) for name in MODELS}
    print(json.dumps({"attack": attack, **figures}, indent=2))


if __name__ == "__main__":
    main()
