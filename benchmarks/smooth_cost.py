"""What a smooth backward costs: forward and backward by it over those by the true gradient, in both kinds of file.

    python benchmarks/smooth_cost.py [--models FILE.onnx ...] [--batch 64] [--repeats 40]

The ONNX twin, laid out in memory as an audit has it, and the same net as a TorchScript module that is traced from it.
Plain and smooth passes take turns in one process; the median of the ratios is printed, beside the median times. With
OMP_NUM_THREADS=1 the processor's time is taken. It also says how far the two kinds' smooth gradients are apart, over
the largest number in them.
"""

from __future__ import annotations

import argparse
import statistics
import time
import warnings
from collections.abc import Callable
from pathlib import Path

import torch
from common import MODELS
from torch import Tensor, nn

from robaudit.memory import keep_freed_memory
from robaudit.target.files.torchscript.smoothing import smoothed
from robaudit.target.load import open_target
from robaudit.target.running.smooth import Smooth

clock = time.process_time if torch.get_num_threads() == 1 else time.perf_counter
Model = Callable[[Tensor], Tensor]


class Net(nn.Module):
    """The program of a twin as a module to be traced."""

    def __init__(self, program: nn.Module) -> None:
        super().__init__()
        self.program = program

    def forward(self, x: Tensor) -> Tensor:
        """[N, *file_shape] to [N, K]."""
        found: Tensor = self.program(x)[0]
        return found


def gradient(model: Model, x: Tensor) -> Tensor:
    """Of a mixture of all scores at [N, ...]."""
    point = x.clone().requires_grad_()
    scores = model(point)
    return torch.autograd.grad((scores * torch.linspace(-1, 1, scores.shape[1])).sum(), point)[0]


def compared(plain: Model, smooth: Model, x: Tensor, repeats: int) -> tuple[float, float, float]:
    """(median ratio, plain ms, smooth ms)."""
    times: dict[Model, list[float]] = {plain: [], smooth: []}
    for turn in range(repeats + 5):
        for model in (plain, smooth):
            start = clock()
            gradient(model, x)
            if turn >= 5:  # code is made ready for what it is given, and memory taken
                times[model].append((clock() - start) * 1e3)
    ratio = statistics.median(b / a for a, b in zip(times[plain], times[smooth], strict=True))
    return ratio, statistics.median(times[plain]), statistics.median(times[smooth])


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    default = [MODELS / "resnet_2b.onnx", MODELS / "mnist_lenet5_adv.onnx"]
    parser.add_argument("--models", type=Path, nargs="+", default=default)
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--repeats", type=int, default=40)
    arguments = parser.parse_args()
    keep_freed_memory()
    print("| model | kind | plain ms | smooth ms | ratio | kinds apart |\n|---|---|---|---|---|---|")
    for path in arguments.models:
        target = open_target(path)
        twin = target.file.twin
        assert twin is not None
        generator = torch.Generator().manual_seed(0)
        x = torch.rand(arguments.batch, *target.spec.shape, generator=generator)
        twin.optimise(x)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            script = torch.jit.trace(Net(twin.graph_module(x.shape)), x)
        smooth = twin.smoothed()
        assert smooth is not None
        rewritten = smoothed(script, Smooth())
        pairs: dict[str, tuple[Model, Model]] = {"ONNX": (twin, smooth), "TorchScript": (script, rewritten)}
        found = {kind: gradient(pair[1], x) for kind, pair in pairs.items()}
        apart = float((found["ONNX"] - found["TorchScript"]).abs().amax() / found["ONNX"].abs().amax())
        for kind, pair in pairs.items():
            ratio, before, after = compared(*pair, x, arguments.repeats)
            print(f"| {path.stem} | {kind} | {before:.1f} | {after:.1f} | {ratio:.2f} | {apart:.0e} |", flush=True)


if __name__ == "__main__":
    main()
