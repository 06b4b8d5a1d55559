"""Makes the corpus of timm classifiers: both exporters, several opsets, every precision and optimisation.

    python -m corpus.build OUT [NAME ...]

Each architecture is exported by torch's two exporters, at opsets and batch sizes (fixed, free) that rotate
through the list; the first export is then turned into every other kind. What exists is kept. One line of
OUT/manifest.jsonl a file says how it was made, or why it could not be.
"""

from __future__ import annotations

import json
import logging
import sys
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
import torch
from corpus.architectures import NAMES, build
from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_dynamic, quantize_static
from onnxruntime.quantization.shape_inference import quant_pre_process

SCRIPT_OPSETS = (17, 13, 11, 16, 18, 14, 20, 12, 15, 9)
DYNAMO_OPSETS = (18, 20, 21, 23, 22, 24)
LEVELS = {
    "basic": ort.GraphOptimizationLevel.ORT_ENABLE_BASIC,
    "extended": ort.GraphOptimizationLevel.ORT_ENABLE_EXTENDED,
    "all": ort.GraphOptimizationLevel.ORT_ENABLE_ALL,
}


class Noise(CalibrationDataReader):
    """Calibration on noise: the weights are random as well."""

    def __init__(self, size: int, name: str = "input") -> None:
        rng = np.random.default_rng(0)
        self._batches = iter([{name: rng.standard_normal((2, 3, size, size), np.float32)} for _ in range(4)])

    def get_next(self) -> dict[str, np.ndarray] | None:
        return next(self._batches, None)


class Maker:
    """Makes files into one folder, and notes what came of each."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        self._manifest = folder / "manifest.jsonl"
        lines = self._manifest.read_text().splitlines() if self._manifest.exists() else []
        self._known = {json.loads(line)["file"] for line in lines}

    def make(self, name: str, how: Callable[[Path], Any], **facts: Any) -> Path:
        """Make a file unless that was tried before; ``facts`` go into the manifest."""
        path = self.folder / f"{name}.onnx"
        if path.name in self._known:
            return path
        start, problem = time.perf_counter(), None
        try:
            how(path)
        except Exception as error:  # exporters and quantisers raise anything
            problem = f"{type(error).__name__}: {' '.join(str(error).split())[:200]}"
            path.unlink(missing_ok=True)
        seconds = round(time.perf_counter() - start, 1)
        with self._manifest.open("a") as manifest:
            manifest.write(json.dumps({"file": path.name, **facts, "problem": problem, "seconds": seconds}) + "\n")
        print(f"{path.name:60} {seconds:6} s  {problem or 'made'}", flush=True)
        return path


def make_timm(maker: Maker, name: str, index: int) -> None:
    """Every file of one architecture."""
    module, size = build(name)
    x = torch.randn(2, 3, size, size)
    script, dynamo = SCRIPT_OPSETS[index % len(SCRIPT_OPSETS)], DYNAMO_OPSETS[index % len(DYNAMO_OPSETS)]
    fixed = index % 3 == 2
    facts: dict[str, Any] = {"source": name, "kind": "fp32"}

    def by_script(path: Path) -> None:
        axes = None if fixed else {"input": {0: "N"}, "logits": {0: "N"}}
        torch.onnx.export(
            module,
            (x[: 1 if fixed else 2],),
            str(path),
            dynamo=False,
            opset_version=script,
            input_names=["input"],
            output_names=["logits"],
            dynamic_axes=axes,
        )

    def by_dynamo(path: Path) -> None:
        free = ({0: torch.export.Dim("N", min=1, max=4096)},)
        torch.onnx.export(
            module,
            (x[:1],) if fixed else (x,),
            str(path),
            dynamo=True,
            opset_version=dynamo,
            input_names=["input"],
            output_names=["logits"],
            dynamic_shapes=None if fixed else free,
            external_data=False,
            verbose=False,
        )

    def plain(path: Path) -> None:
        torch.onnx.export(
            module,
            (x,),
            str(path),
            dynamo=False,
            opset_version=17,
            input_names=["input"],
            output_names=["logits"],
            dynamic_axes={"input": {0: "N"}, "logits": {0: "N"}},
        )

    maker.make(f"{name}.script{script}{'f' if fixed else ''}", by_script, exporter="script", opset=script, **facts)
    graph = maker.make(f"{name}.dynamo{dynamo}{'f' if fixed else ''}", by_dynamo, exporter="dynamo", **facts)
    base = maker.make(f"{name}.base", plain, exporter="script", opset=17, **facts)
    if base.exists():
        make_variants(maker, base, name, size, index)
    if graph.exists() and not fixed:
        _optimised(maker, graph, f"{name}.dynamo", name, ("extended",))
        _half(maker, graph, f"{name}.dynamo", name)


def make_variants(maker: Maker, base: Path, name: str, size: int, index: int) -> None:
    """Other precisions and optimisations of one file."""
    static: dict[str, dict[str, Any]] = {
        "qdq": {"quant_format": QuantFormat.QDQ, "activation_type": QuantType.QUInt8},
        "qoperator": {"quant_format": QuantFormat.QOperator, "activation_type": QuantType.QUInt8},
    }
    more = (
        {"quant_format": QuantFormat.QDQ, "activation_type": QuantType.QInt8, "per_channel": True},
        {"quant_format": QuantFormat.QDQ, "activation_type": QuantType.QUInt16},
    )
    static[("qdq-s8-channel", "qdq-a16")[index % 2]] = more[index % 2]
    prepared = base.with_suffix(".prepared")

    def quantised(options: dict[str, Any]) -> Callable[[Path], None]:
        def how(path: Path) -> None:
            if not prepared.exists():
                quant_pre_process(str(base), str(prepared), skip_symbolic_shape=True)
            quantize_static(str(prepared), str(path), Noise(size), weight_type=QuantType.QInt8, **options)

        return how

    for kind, options in static.items():
        maker.make(f"{name}.{kind}", quantised(options), source=name, kind=kind)
    prepared.unlink(missing_ok=True)
    maker.make(
        f"{name}.dynamic",
        lambda path: quantize_dynamic(str(base), str(path), weight_type=QuantType.QInt8),
        source=name,
        kind="dynamic",
    )
    _half(maker, base, name, name)
    _optimised(maker, base, name, name, tuple(LEVELS))


def _half(maker: Maker, base: Path, stem: str, source: str) -> None:
    def how(path: Path) -> None:
        from onnxconverter_common import float16

        onnx.save(float16.convert_float_to_float16(onnx.load(str(base)), keep_io_types=True), str(path))
        ort.InferenceSession(str(path), providers=["CPUExecutionProvider"])  # the converter forgets some casts

    maker.make(f"{stem}.fp16", how, source=source, kind="fp16")


def _optimised(maker: Maker, base: Path, stem: str, source: str, levels: tuple[str, ...]) -> None:
    for level in levels:

        def how(path: Path, level: str = level) -> None:
            options = ort.SessionOptions()
            options.graph_optimization_level = LEVELS[level]
            options.optimized_model_filepath = str(path)
            options.log_severity_level = 3
            ort.InferenceSession(str(base), options, providers=["CPUExecutionProvider"])

        maker.make(f"{stem}.ort-{level}", how, source=source, kind=f"ort-{level}")


def main() -> None:
    warnings.filterwarnings("ignore")
    logging.disable(logging.WARNING)
    ort.set_default_logger_severity(4)
    maker = Maker(Path(sys.argv[1]))
    for name in sys.argv[2:] or NAMES:
        make_timm(maker, name, NAMES.index(name))


if __name__ == "__main__":
    main()
