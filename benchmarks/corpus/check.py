"""Checks robaudit's twin of every file of a corpus against ONNX Runtime and the module it was made from.

    python -m corpus.check FOLDER RESULTS.jsonl [PATTERN] [SHARD/SHARDS]

For each file: share of equal argmax and largest difference of the logits, on noise, and on points that an
attack ends at; both beside the file's own noise floors: ``floor``, ONNX Runtime with and without optimisations,
and ``ulp_floor``, ONNX Runtime on inputs that differ in the last place of every float32. Input
gradient against the source module's, whose own float32-to-float64 difference is given too, and against
central differences on ONNX Runtime. What has been checked is not checked again. Architectures come in a mixed order, so
that a run that is broken off has seen some of every kind.
"""

from __future__ import annotations

import fnmatch
import functools
import hashlib
import json
import sys
import time
import warnings
from pathlib import Path
from typing import Any

import torch
from corpus.architectures import build
from torch import Tensor

from robaudit.target.inputs.spec import SpecOverrides
from robaudit.target.load import Allowed, open_target
from robaudit.target.reading.interface import Interface
from robaudit.target.reading.measured import measure
from robaudit.target.target import Target, ready

POINTS = 4
MOVES = 2
STEPS = 2
SOURCE_POINTS = 1
SILERO: dict[str, Any] = {
    "interface": Interface(input="input", fixed={"state": "zeros", "sr": "16000"}),
    "overrides": SpecOverrides({"domain": (-1.0, 1.0)}),
    "sample_shape": (512,),
}
SETTINGS: dict[str, dict[str, Any]] = {
    "package.ch_ppocr_mobile_v2.0_cls_infer.onnx": {"overrides": SpecOverrides({"resize": "48x192"})},
    "package.silero_vad.onnx": SILERO,
    "package.silero_vad_16k_op15.onnx": SILERO,
}
"""What a user would say of files that leave it open."""


def check(path: Path, source: str | None) -> dict[str, Any]:
    """Figures of one file."""
    start = time.perf_counter()
    target = open_target(path, device="cpu", allowed=Allowed(tokens=True), **SETTINGS.get(path.name, {}))
    found: dict[str, Any] = {"load_s": round(time.perf_counter() - start, 2), "classes": target.num_classes}
    u = _points(target.spec.shape)
    measured = measure(target, u[:2])
    start = time.perf_counter()
    target = ready(measured)
    found["calibrate_s"] = round(time.perf_counter() - start, 2)
    found["gradient"] = target.gradient.reason or "available"
    if not target.gradient.available:
        return found
    if target.no_scores:
        labels = target.labels(u) == target.logits(u).argmax(1)
        return found | {"labels_equal": float(labels.double().mean())}
    found |= {"batching": target.gradient.batching, "cuts": len(target.gradient.cuts)}
    found["noise"] = _compare(target, u)
    g = _gradient(target, u)
    found["gradient_norm"] = float(g.norm())
    found["central"] = _central(target, u[:1], g[:1])
    found["attacked"] = _compare(target, _attacked(target, u))
    if source is not None:
        found |= _against_source(source, target, u[:SOURCE_POINTS])
    return found


def _compare(target: Target, u: Tensor) -> dict[str, float]:
    """Twin against file, beside the file against itself."""
    expected = target.scores(u, alone=True).double()
    with torch.no_grad():
        twin = _replayed(target, u).double()
    raw = target.file.plain(target.spec.to_file(u), width=target.spec.batch or 1)
    plain = None if raw is None else target.head.scores(raw).double()
    scale = float(expected.abs().amax().clamp_min(1e-12))
    floor = float((plain - expected).abs().amax()) / scale if plain is not None else 0.0
    ulp_floor = max([float((moved - expected).abs().amax()) / scale for moved in _moved(target, u)], default=0.0)
    difference = float((twin - expected).abs().amax()) / scale
    margins = expected.topk(2, 1).values
    ties = (margins[:, 0] - margins[:, 1]) <= 2 * scale * max(floor, ulp_floor, 1e-5)
    equal = twin.argmax(1) == expected.argmax(1)
    return {
        "argmax": float((equal | ties).double().mean()),
        "argmax_strict": float(equal.double().mean()),
        "relative": difference,
        "floor": floor,
        "ulp_floor": ulp_floor,
    }


def _moved(target: Target, u: Tensor) -> list[Tensor]:
    """A quantised file's scores of inputs whose every float32 is one unit in the last place off, at random."""
    x = target.spec.to_file(u)
    if x.dtype != torch.float32 or not getattr(target.file.twin, "is_quantised", False):
        return []
    generator, found = torch.Generator().manual_seed(5), []
    for _ in range(MOVES):
        up = torch.rand(x.shape, generator=generator) < 0.5
        moved = torch.nextafter(x, torch.where(up, torch.inf, -torch.inf).to(x.dtype))
        raw = target.file.run(moved, width=target.spec.batch or 1)
        found.append(target.head.scores(raw).double())
    return found


def _replayed(target: Target, u: Tensor) -> Tensor:
    """The twin's answers as the file gives them: a softmax taken off for the gradient is put back."""
    return target.head.replayed(target.file.differentiable(target.spec.to_file(u)))


def _direction(target: Target) -> Tensor:
    return torch.randn(target.num_classes, generator=torch.Generator().manual_seed(3))


def _gradient(target: Target, u: Tensor) -> Tensor:
    """Of a random combination of the file's scores."""
    x = u.clone().requires_grad_()
    scores = _replayed(target, x)
    return torch.autograd.grad((scores * _direction(target).to(scores)).sum(), x)[0]


def _central(target: Target, u: Tensor, g: Tensor) -> float:
    """Relative error of the slope along the gradient against differences on the file, at the best step.

    Large steps drown rounding; small ones leave out kinks: MobileOne's slope bends by 2.5 % within 1e-3.
    """
    unit = (g / g.norm().clamp_min(1e-30)).double()
    weights = _direction(target).double()
    errors = []
    for step in (1e-4, 3e-4, 1e-3, 3e-3, 1e-2, 3e-2, 1e-1, 3e-1, 1.0, 3.0, 10.0):
        ends = [
            float((target.scores((u.double() + sign * step * unit).float(), alone=True).double() * weights).sum())
            for sign in (1, -1)
        ]
        slope = (ends[0] - ends[1]) / (2 * step)
        errors.append(abs(slope - float(g.norm())) / max(float(g.norm()), 1e-12))
    return min(errors)


def _attacked(target: Target, u: Tensor) -> Tensor:
    """Where a few signed steps against the first answer end."""
    label = target.labels(u)
    x = u.clone()
    for _ in range(STEPS):
        point = x.clone().requires_grad_()
        loss = torch.nn.functional.cross_entropy(target.logits(point), label)
        x = (x + 0.01 * torch.autograd.grad(loss, point)[0].sign()).clamp(0, 1)
    return x


def _against_source(name: str, target: Target, u: Tensor) -> dict[str, float]:
    """Gradient of twin and source module, relative in L2; ``floor``: of the module in float32 and float64."""
    twin = _gradient(target, u).double()
    single, double, sound = _source_gradients(name)
    return {
        "source": float((twin - single).norm() / single.norm()),
        "source_cosine": float((twin * single).sum() / (twin.norm() * single.norm()).clamp_min(1e-30)),
        "source_floor": float((single - double).norm() / double.norm()),
        "source_sound": sound,
    }


@functools.lru_cache(maxsize=1)
def _source_gradients(name: str) -> tuple[Tensor, Tensor, bool]:
    """The module's own, in float32 and float64, at the points that every file of it is checked at.

    And whether it agrees with differences of the module itself: those of timm's LeViT, EfficientViT and iFormer do not.
    """
    module, size = build(name)

    def of(dtype: torch.dtype) -> Tensor:
        x = _points((3, size, size))[:SOURCE_POINTS].to(dtype).requires_grad_()
        result = module.to(dtype)(x)
        weights = torch.randn(result.shape[1], generator=torch.Generator().manual_seed(3)).to(dtype)
        return torch.autograd.grad((result * weights).sum(), x)[0].double()

    single, double = of(torch.float32), of(torch.float64)
    x, unit = _points((3, size, size))[:SOURCE_POINTS].double(), double / double.norm()
    with torch.no_grad():
        change = module(x + 1e-7 * unit) - module(x - 1e-7 * unit)
    weights = torch.randn(change.shape[1], generator=torch.Generator().manual_seed(3)).double()
    slope = float((change * weights).sum() / 2e-7)
    return single, double, abs(slope / float(double.norm()) - 1) < 1e-3


def _points(shape: tuple[int, ...]) -> Tensor:
    return torch.rand((POINTS, *shape), generator=torch.Generator().manual_seed(0))


def _order(file: str) -> int:
    """The same for all files of an architecture."""
    return int.from_bytes(hashlib.sha256(file.split(".")[0].encode()).digest()[:4])


def main() -> None:
    warnings.filterwarnings("ignore")
    folder, results = Path(sys.argv[1]), Path(sys.argv[2])
    pattern = sys.argv[3] if len(sys.argv) > 3 else "*"
    shard, shards = map(int, sys.argv[4].split("/")) if len(sys.argv) > 4 else (0, 1)
    known = {json.loads(line)["file"] for line in results.read_text().splitlines()} if results.exists() else set()
    files = [json.loads(line) for line in (folder / "manifest.jsonl").read_text().splitlines()]
    for made in sorted(files, key=lambda made: _order(made["file"])):
        if _order(made["file"]) % shards != shard:
            continue
        path = folder / made["file"]
        if made["problem"] or made["file"] in known or not fnmatch.fnmatch(path.name, pattern):
            continue
        start = time.perf_counter()
        try:
            found = check(path, made.get("source"))
        except Exception as error:
            found = {"error": f"{type(error).__name__}: {' '.join(str(error).split())[:300]}"}
        found = {"file": path.name, "kind": made["kind"], **found, "seconds": round(time.perf_counter() - start, 1)}
        with results.open("a") as file:
            file.write(json.dumps(found) + "\n")
        print(json.dumps(found), flush=True)


if __name__ == "__main__":
    main()
