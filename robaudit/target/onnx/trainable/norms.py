"""Batch norms put back where exporters multiplied them into the convolutions before them.

A deep network that was trained with batch norms (Ioffe and Szegedy 2015, arXiv:1502.03167) hardly trains without. Files
for inference have none: which convolutions had one is not told. Those that other normalisations follow had none, nor
had those on numbers that stand for a whole image (squeeze and excitation, Hu et al. 2018, arXiv:1709.01507).
"""

from __future__ import annotations

from dataclasses import replace

import torch

from robaudit.target.onnx.graph import Graph, Node

__all__ = ["has_norms", "with_norms"]

_CONVOLUTIONS = ("Conv", "ConvTranspose")
_OTHER_NORMS = ("LayerNormalization", "InstanceNormalization", "GroupNormalization", "RMSNormalization")
_WHOLE = ("GlobalAveragePool", "GlobalMaxPool", "ReduceMean", "ReduceMax")
_POINTWISE = (
    *("Relu", "LeakyRelu", "Clip", "Sigmoid", "HardSigmoid", "HardSwish", "Tanh", "Elu", "Mul", "Add", "Identity"),
    *("PRelu", "Swish", "Mish", "Gelu", "Selu", "Softplus"),
)


def has_norms(graph: Graph) -> bool:
    """Whether there are normalisations that no exporter leaves out."""
    return any(node.op in _OTHER_NORMS or "LayerNorm" in node.op or "GroupNorm" in node.op for node in graph.nodes)


def with_norms(graph: Graph) -> Graph:
    """The graph with a batch norm after each convolution that has none and is not the last layer."""
    readers: dict[str, list[Node]] = {}
    for node in graph.nodes:
        for name in node.inputs:
            readers.setdefault(name, []).append(node)
    pooled: set[str] = set()
    layers = [node for node in graph.nodes if node.op in (*_CONVOLUTIONS, "Linear", "Gemm", "MatMul")]
    nodes: list[Node] = []
    constants = dict(graph.constants)
    for node in graph.nodes:
        result = node.outputs[0]
        if node.op in _WHOLE or (node.op in (*_POINTWISE, *_CONVOLUTIONS) and node.inputs[0] in pooled):
            pooled.add(result)
        followed = any(reader.op == "BatchNormalization" for reader in readers.get(result, []))
        weight = constants.get(node.inputs[1]) if node.op in _CONVOLUTIONS and not node.domain else None
        if weight is None or followed or result in pooled or node is layers[-1]:
            nodes.append(node)
            continue
        channels = weight.shape[0] if node.op == "Conv" else weight.shape[1] * node.integer("group", 1)
        inner = f"{result}/before norm"
        names = [f"{result}/norm {part}" for part in ("gain", "bias", "mean", "variance")]
        for name, value in zip(names, (1.0, 0.0, 0.0, 1.0), strict=True):
            constants[name] = torch.full((channels,), value)
        nodes.append(replace(node, inputs=node.inputs[:2], outputs=(inner,)))  # the norm has a bias of its own
        nodes.append(Node("BatchNormalization", "", 15, f"{node.name}/norm", (inner, *names), (result,)))
    return graph.with_nodes(tuple(nodes), constants)
