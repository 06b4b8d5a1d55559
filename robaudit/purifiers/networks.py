"""Small networks from images to images, which torch trains and which are written as ONNX without an exporter."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import onnx
import torch
from onnx import TensorProto, helper, numpy_helper
from torch import Tensor, nn
from torch.nn import functional

__all__ = ["ImageNetwork", "Layer"]

OPSET, IR = 17, 9


@dataclass(frozen=True)
class Layer:
    """A step of a network.

    Args:
        kind: ``conv`` 3 x 3 with padding; ``relu``; ``halve``: the mean of each 2 x 2; ``double``: each value twice
            down and across, cut to ``size``; ``keep`` the values under a name; ``add`` what was kept; ``clip`` to
            [0, 1].
        channels: of a convolution: in and out.
        size: height and width after ``double``.
        name: of what is kept, or added; ``x`` is the image.
        idle: the convolution begins with weights of 0, so that what it is added to stays as it is.
    """

    kind: Literal["conv", "relu", "halve", "double", "keep", "add", "clip"]
    channels: tuple[int, int] = (0, 0)
    size: tuple[int, int] = (0, 0)
    name: str = ""
    idle: bool = False


class ImageNetwork(nn.Module):
    """Layers in a row, [N, C, H, W] to [N, C, H, W]; what is clipped is so in evaluation mode alone.

    Args:
        layers: of the network.
        shape: [C, H, W] of an image.
        seed: of the weights.
    """

    def __init__(self, layers: Sequence[Layer], shape: tuple[int, int, int], seed: int) -> None:
        super().__init__()
        self._layers, self._shape = tuple(layers), shape
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            made = [nn.Conv2d(*one.channels, 3, padding=1) for one in layers if one.kind == "conv"]
        for convolution, one in zip(made, [one for one in layers if one.kind == "conv"], strict=True):
            if one.idle:
                nn.init.zeros_(convolution.weight)
                nn.init.zeros_(convolution.bias)  # type: ignore[arg-type]
        self.convolutions = nn.ModuleList(made)

    def forward(self, x: Tensor) -> Tensor:
        """What it makes of images."""
        kept, place = {"x": x}, 0
        for one in self._layers:
            if one.kind == "conv":
                x, place = self.convolutions[place](x), place + 1
            elif one.kind == "relu":
                x = functional.relu(x)
            elif one.kind == "halve":
                x = functional.avg_pool2d(x, 2, ceil_mode=True)
            elif one.kind == "double":
                x = functional.interpolate(x, scale_factor=2.0, mode="nearest")[:, :, : one.size[0], : one.size[1]]
            elif one.kind == "keep":
                kept[one.name] = x
            elif one.kind == "add":
                x = x + kept[one.name]
            elif not self.training:  # beyond the box there is no gradient to learn from
                x = x.clamp(0, 1)
        return x

    def as_onnx(self) -> bytes:
        """The same as an ONNX file for any number of images, in float32."""
        writer = _Writer()
        weights = iter(self.convolutions)
        for one in self._layers:
            writer.add(one, next(weights) if one.kind == "conv" else None)
        shape: list[str | int | None] = ["n", *self._shape]
        writer.nodes[-1].output[0] = "y"
        graph = helper.make_graph(
            writer.nodes,
            "purifier",
            [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)],
            [helper.make_tensor_value_info("y", TensorProto.FLOAT, shape)],
            writer.weights,
        )
        model = helper.make_model(
            graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=IR, producer_name="robaudit"
        )
        onnx.checker.check_model(model)
        return bytes(model.SerializeToString(deterministic=True))


class _Writer:
    """Nodes and weights, layer by layer."""

    def __init__(self) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.weights: list[onnx.TensorProto] = []
        self._at, self._kept = "x", {"x": "x"}

    def add(self, one: Layer, weights: nn.Module | None) -> None:
        """A layer."""
        if one.kind == "keep":
            self._kept[one.name] = self._at
        elif one.kind == "conv":
            assert isinstance(weights, nn.Conv2d)
            assert weights.bias is not None
            self._node("Conv", [self._number(weights.weight), self._number(weights.bias)], pads=[1, 1, 1, 1])
        elif one.kind == "relu":
            self._node("Relu", [])
        elif one.kind == "halve":
            self._node("AveragePool", [], kernel_shape=[2, 2], strides=[2, 2], ceil_mode=1)
        elif one.kind == "double":
            scales = self._number(torch.tensor([1.0, 1.0, 2.0, 2.0]))
            how: dict[str, Any] = {
                "mode": "nearest",
                "coordinate_transformation_mode": "asymmetric",
                "nearest_mode": "floor",
            }
            self._node("Resize", ["", scales], **how)
            self._node("Slice", [self._number(torch.tensor(part)) for part in ([0, 0], [*one.size], [2, 3])])
        elif one.kind == "add":
            self._node("Add", [self._kept[one.name]])
        else:
            self._node("Clip", [self._number(torch.tensor(0.0)), self._number(torch.tensor(1.0))])

    def _node(self, operator: str, inputs: list[str], **attributes: Any) -> None:
        name = f"v{len(self.nodes)}"
        self.nodes.append(helper.make_node(operator, [self._at, *inputs], [name], **attributes))
        self._at = name

    def _number(self, value: Tensor) -> str:
        name = f"w{len(self.weights)}"
        self.weights.append(numpy_helper.from_array(value.detach().cpu().numpy(), name))
        return name
