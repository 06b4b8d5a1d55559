"""Makes the nets that a folder lacks: NAME-SEED.onnx, .npz with the held-out rows, and .json with the figures."""

from __future__ import annotations

import json
import logging
import time
import zlib
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from torch import nn

from tests.zoo.data import Data
from tests.zoo.entry import Making
from tests.zoo.export import METADATA, as_onnx
from tests.zoo.measuring import accuracy

from .data import Source
from .entry import Net
from .registry import NETS
from .training import attacked, trained

__all__ = ["fill"]

CALIBRATING = 256
"""Rows that the ranges of an int8 net are taken from."""


def fill(
    nets: Iterable[Net],
    source: Source,
    cache: Path,
    *,
    seed: int = 0,
    effort: float = 1.0,
    say: Callable[[str], None] = lambda _: None,
) -> None:
    """Make what the folder lacks.

    Args:
        nets: which; those that int8 ones are made of are made too.
        source: of their data.
        cache: folder of the files.
        seed: of the training.
        effort: factor on the numbers of epochs.
        say: told of each net.
    """
    cache.mkdir(parents=True, exist_ok=True)
    asked = list(dict.fromkeys(n for net in nets for n in ([NETS[net.base]] if net.base else []) + [net]))
    for net in asked:
        stem = cache / f"{net.name}-{seed}"
        record = stem.with_name(f"{stem.name}.json")
        how = made_how(net, source, effort)
        if record.is_file() and json.loads(record.read_text())["how"] == how:
            say(f"{stem.name}: there already")
            continue
        record.unlink(missing_ok=True)  # written last: what is half made is made again
        start = time.process_time()
        data = source.data(net.data)
        path = cache / f"{net.name}-{seed}.onnx"
        if net.base:
            quantised(cache / f"{net.base}-{seed}.onnx", path, data)
            figures: dict[str, Any] = {"clean": by_file(path, data)}
        else:
            torch.manual_seed(1000 * seed + zlib.crc32(net.name.encode()) % 1000)
            model = trained(net, Making(data, seed, effort))
            as_onnx(net, model, data.test_x, path, metadata(data))
            figures = measured(net, model, data)
        np.savez_compressed(stem.with_name(f"{stem.name}.npz"), x=data.test_x.numpy(), y=data.test_y.numpy())
        figures["seconds"] = round(time.process_time() - start, 1)
        record.write_text(json.dumps({"how": how} | figures))
        say(f"{stem.name}: {figures}")


def made_how(net: Net, source: Source, effort: float) -> list[Any]:
    """What a net depends on besides the seed and the code."""
    base = made_how(NETS[net.base], source, effort) if net.base else []
    return [net.data, net.training, net.eps, net.epochs, net.rate, net.version, source.images, effort, base]


def metadata(data: Data) -> dict[str, str]:
    """What the file says of its input."""
    keys = ("domain", "mean", "std") + (("layout",) if data.x.dim() == 4 else ())
    return {f"robaudit.{key}": METADATA[f"robaudit.{key}"] for key in keys}


def measured(net: Net, model: nn.Module, data: Data) -> dict[str, float]:
    """Accuracy on the held-out rows, and under 20 steps in the ball of its training."""
    x, y = data.test_x, data.test_y
    found = {"clean": round(accuracy(model, x, y), 3)}
    if net.eps:
        found["own"] = round(accuracy(model, attacked(net, model, x, y, net.eps, 20), y), 3)
    return found


def by_file(path: Path, data: Data) -> float:
    """Accuracy of a file on the held-out rows."""
    import onnxruntime as ort

    session = ort.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    (scores,) = session.run(None, {session.get_inputs()[0].name: data.test_x.numpy()})
    return round(float((scores.argmax(1) == data.test_y.numpy()).mean()), 3)


def quantised(base: Path, path: Path, data: Data) -> None:
    """Write the file in eight bits: quantise and dequantise nodes, static ranges, one scale a tensor."""
    from onnxruntime import quantization

    rows = iter([{"image": data.x[:CALIBRATING].numpy()}])

    class Rows(quantization.CalibrationDataReader):
        def get_next(self) -> dict[str, Any] | None:
            return next(rows, None)

    logging.disable(logging.WARNING)  # that the graph could be simplified first
    try:
        quantization.quantize_static(
            str(base), str(path), Rows(), quant_format=quantization.QuantFormat.QDQ, per_channel=False
        )
    finally:
        logging.disable(logging.NOTSET)
    proto = onnx.load(path)
    del proto.metadata_props[:]
    onnx.helper.set_model_props(proto, metadata(data))
    onnx.checker.check_model(proto)
    onnx.save(proto, path)
