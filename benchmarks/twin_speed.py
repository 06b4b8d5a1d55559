"""The twin's speed: forward and backward over the PyTorch module that the ONNX file was exported from.

    python benchmarks/twin_speed.py [--models resnet18,...] [--exports ts17,dyn18] [--batches 1,8] [--folder DIR]

Needs timm and onnxscript. The architectures have random weights; both sides are frozen, in eval mode and float32, and
run alternately in one process. Printed are medians over pairs of adjacent runs: the ratio of wall time and of the
process's CPU time, of peak memory, and the largest relative differences of scores and input gradients.
``ts17`` is the TorchScript-based exporter with opset 17, ``dyn20`` the dynamo-based with opset 20; ``dyn18+ort`` is
the file after ONNX Runtime's own optimisation, ``dyn18+qdq`` after its static quantisation (dynamic: ``+dq``).
"""

from __future__ import annotations

import argparse
import itertools
import logging
import statistics
import time
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import torch
from corpus.architectures import build
from torch import Tensor, nn
from torch.profiler import ProfilerActivity, profile

from robaudit.target.onnx import OnnxModule, import_onnx

MODELS = [
    "resnet18",
    "resnet50",
    "efficientnet_b0",
    "mobilenetv3_large_100",
    "vit_tiny_patch16_224",
    "vit_small_patch16_224",
    "convnext_atto",
    "convnext_tiny",
    "swin_tiny_patch4_window7_224",
    "densenet121",
    "mixer_s32_224",
]


def export(module: nn.Module, side: int, how: str, path: Path) -> None:
    """Write the ONNX file of one variant; a base file is written first where the variant needs it."""
    kind, _, change = how.partition("+")
    if change:
        base = path.with_name(path.name.replace(f"+{change}", ""))
        if not base.exists():
            export(module, side, kind, base)
        _change(base, path, change, side)
        return
    opset = int(kind[2:] if kind.startswith("ts") else kind[3:])
    x = torch.randn(2, 3, side, side)
    names = {"input_names": ["input"], "output_names": ["logits"], "opset_version": opset}
    if kind.startswith("ts"):
        axes = {"input": {0: "N"}, "logits": {0: "N"}}
        torch.onnx.export(module, (x,), str(path), dynamo=False, dynamic_axes=axes, **names)
        return
    shapes = ({0: torch.export.Dim("N", min=1, max=4096)},)
    options = {"dynamic_shapes": shapes, "external_data": False, "verbose": False}
    torch.onnx.export(module, (x,), str(path), dynamo=True, **options, **names)


def _change(base: Path, path: Path, change: str, side: int) -> None:
    import onnxruntime
    from onnxruntime import quantization

    if change == "ort":
        options = onnxruntime.SessionOptions()
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_EXTENDED
        options.optimized_model_filepath = str(path)
        onnxruntime.InferenceSession(str(base), options, providers=["CPUExecutionProvider"])
    elif change == "dq":
        quantization.quantize_dynamic(base, path)
    elif change == "qdq":

        class Reader(quantization.CalibrationDataReader):
            rows = iter(
                [{"input": np.random.default_rng(i).standard_normal((1, 3, side, side), np.float32)} for i in (0, 1)]
            )

            def get_next(self) -> dict[str, np.ndarray] | None:
                return next(self.rows, None)

        quantization.quantize_static(base, path, Reader(), quant_format=quantization.QuantFormat.QDQ, per_channel=True)
    else:
        raise SystemExit(f"unknown variant +{change}")


def gradient(module: Callable[[Tensor], Tensor], x: Tensor) -> tuple[Tensor, Tensor]:
    """Scores, and the gradient of an uneven sum of them."""
    leaf = x.detach().requires_grad_()
    scores = module(leaf)
    weights = torch.linspace(-1, 1, scores.shape[1])
    (slope,) = torch.autograd.grad((scores * weights).sum(), leaf)
    return scores.detach(), slope


def peak_memory(module: Callable[[Tensor], Tensor], x: Tensor) -> float:
    """The most that one forward and backward holds at once, in MB."""
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as seen:
        gradient(module, x)
    events = sorted(seen.profiler.kineto_results.events(), key=lambda e: e.start_ns())
    sizes = (event.nbytes() for event in events if event.name() == "[memory]")
    return max(itertools.accumulate(sizes), default=0) / 1e6


def compare(source: nn.Module, twin: OnnxModule, x: Tensor, seconds: float) -> tuple[float, float, float]:
    """Ratio of wall time, ratio of CPU time, milliseconds of the source; the two run alternately."""
    sides = (source, twin)
    for side in sides * 2:
        gradient(side, x)
    pairs: list[tuple[tuple[float, float], ...]] = []
    until = time.perf_counter() + seconds
    while len(pairs) < 5 or (time.perf_counter() < until and len(pairs) < 400):
        seen = {}
        for side in sides if len(pairs) % 2 else sides[::-1]:
            wall, cpu = time.perf_counter(), time.process_time()
            gradient(side, x)
            seen[side] = (time.perf_counter() - wall, time.process_time() - cpu)
        pairs.append((seen[source], seen[twin]))
    wall, cpu = (statistics.median(b[i] / a[i] for a, b in pairs) for i in (0, 1))
    return wall, cpu, 1e3 * statistics.median(a[0] for a, _ in pairs)


def relative(expected: Tensor, found: Tensor) -> float:
    return float((expected - found).abs().max() / expected.abs().max())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", default=",".join(MODELS))
    parser.add_argument("--exports", default="ts17,dyn18")
    parser.add_argument("--batches", default="1,8")
    parser.add_argument("--seconds", type=float, default=6.0, help="of measuring, a model and batch size")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--folder", type=Path, default=Path("twin_speed"), help="where the ONNX files are kept")
    parser.add_argument(
        "--layout", choices=["measured", "exported"], default="measured", help="memory layout of the twin"
    )
    arguments = parser.parse_args()
    warnings.filterwarnings("ignore")
    logging.disable(logging.WARNING)
    torch.set_num_threads(arguments.threads)
    arguments.folder.mkdir(parents=True, exist_ok=True)
    print(f"{'model':<29}{'export':<10}{'MB':>5}{'load s':>7}{'trace s':>8} {'layout':<14}", end="")
    print(f"{'batch':>5}{'source ms':>10}{'wall':>6}{'cpu':>6}{'memory':>7}{'scores':>9}{'slope':>9}")
    for name in arguments.models.split(","):
        module, side = build(name)
        for how in arguments.exports.split(","):
            path = arguments.folder / f"{name}__{how}.onnx"
            if not path.exists():
                export(module, side, how, path)
            _report(name, how, module, path, side, arguments)


def _report(name: str, how: str, module: nn.Module, path: Path, side: int, arguments: argparse.Namespace) -> None:
    started = time.perf_counter()
    twin = import_onnx(onnx.load(path), "logits")
    loaded = time.perf_counter() - started
    started = time.perf_counter()
    twin.calibrate_batching((3, side, side))
    traced = time.perf_counter() - started
    layout = "as exported"
    torch.manual_seed(1)
    sizes = [int(b) for b in arguments.batches.split(",")]
    x = torch.randn(max(sizes), 3, side, side)
    if arguments.layout == "measured" and hasattr(twin, "optimise"):
        layout = twin.optimise(x[:2])
    megabytes = path.stat().st_size / 1e6
    head = f"{name:<29}{how:<10}{megabytes:>5.0f}{loaded:>7.2f}{traced:>8.2f} {layout:<14}"
    for batch in sizes:
        expected, found = gradient(module, x[:batch]), gradient(twin, x[:batch])
        memory = peak_memory(twin, x[:batch]) / peak_memory(module, x[:batch])
        wall, cpu, source_ms = compare(module, twin, x[:batch], arguments.seconds)
        differences = "".join(f"{relative(a, b):>9.0e}" for a, b in zip(expected, found, strict=True))
        print(f"{head}{batch:>5}{source_ms:>10.1f}{wall:>6.2f}{cpu:>6.2f}{memory:>7.2f}{differences}", flush=True)


if __name__ == "__main__":
    main()
