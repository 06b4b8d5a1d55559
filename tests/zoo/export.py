"""A trained net as a file: ONNX, or TorchScript where it draws."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Protocol

import onnx
import torch
from torch import Tensor, nn

from .data import CLASSES
from .entry import Entry

__all__ = ["METADATA", "as_onnx", "as_torchscript", "shipped"]

METADATA = {
    "robaudit.domain": "0,1",
    "robaudit.layout": "nchw",
    "robaudit.mean": "0",
    "robaudit.std": "1",
    "robaudit.classes": ",".join(CLASSES),
}


class Shipped(Protocol):
    """What a file depends on besides the net; an entry of the zoo, or of another set of nets."""

    @property
    def head(self) -> str: ...


class Headed(nn.Module):
    """A net with what its file has behind the logits."""

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net, self.output = net, nn.Softmax(1)

    def forward(self, x: Tensor) -> Tensor:
        return self.output(self.net(x))


def shipped(entry: Shipped, net: nn.Module) -> nn.Module:
    """The net as its file computes it."""
    return Headed(net).eval() if entry.head else net.eval()


def as_onnx(entry: Shipped, net: nn.Module, x: Tensor, path: Path, metadata: Mapping[str, str] = METADATA) -> None:
    """Write the ONNX file: dynamic batch, opset 17, the input's meaning in its metadata."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(
            shipped(entry, net),
            (x[:2],),
            str(path),
            dynamo=False,
            opset_version=17,
            input_names=["image"],
            output_names=["probabilities" if entry.head else "logits"],
            dynamic_axes={"image": {0: "batch"}, "probabilities" if entry.head else "logits": {0: "batch"}},
        )
    proto = onnx.load(path)
    onnx.helper.set_model_props(proto, dict(metadata))
    onnx.checker.check_model(proto, full_check=True)
    onnx.save(proto, path)


def as_torchscript(entry: Entry, net: nn.Module, x: Tensor, path: Path) -> None:
    """Write the traced module, with the input's meaning in its extra files."""
    module = shipped(entry, net).requires_grad_(False)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        traced = torch.jit.trace(module, x[:2], check_trace=False)
        torch.jit.save(traced, str(path), _extra_files=METADATA)
