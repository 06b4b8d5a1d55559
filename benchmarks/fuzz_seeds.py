"""Small classifiers from which the fuzzer's files are made: ONNX graphs of several kinds, TorchScript archives."""

from __future__ import annotations

import io
import warnings
from collections.abc import Callable

import numpy as np
import onnx
import torch
from onnx import TensorProto, helper, numpy_helper
from torch import Tensor, nn

NODE = helper.make_node
FLOAT = TensorProto.FLOAT
SHAPE = (3, 8, 8)
CLASSES = 4


def _model(
    nodes: list[onnx.NodeProto],
    constants: dict[str, np.ndarray],
    batch: str | int = "N",
    functions: list[onnx.FunctionProto] | None = None,
    output: int = FLOAT,
    domains: tuple[str, ...] = ("ai.onnx.ml", "local"),
) -> onnx.ModelProto:
    graph = helper.make_graph(
        nodes,
        "seed",
        [helper.make_tensor_value_info("x", FLOAT, [batch, *SHAPE])],
        [helper.make_tensor_value_info("y", output, None)],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    imports = [helper.make_opsetid("", 17), *(helper.make_opsetid(d, 3 if "ml" in d else 1) for d in domains)]
    return helper.make_model(graph, opset_imports=imports, ir_version=9, functions=functions or [])


def _numbers(*shape: int, scale: float = 0.3) -> np.ndarray:
    return (np.random.default_rng(sum(shape)).normal(size=shape) * scale).astype(np.float32)


def _convolution() -> onnx.ModelProto:
    nodes = [
        NODE("Conv", ["x", "k", "b"], ["c"], strides=[2, 2], pads=[1, 1, 1, 1]),
        NODE("BatchNormalization", ["c", "s", "b", "m", "v"], ["n"]),
        NODE("Relu", ["n"], ["r"]),
        NODE("GlobalAveragePool", ["r"], ["g"]),
        NODE("Flatten", ["g"], ["f"]),
        NODE("Gemm", ["f", "w", "z"], ["y"], transB=1),
    ]
    constants = {"k": _numbers(6, 3, 3, 3), "b": _numbers(6), "s": np.ones(6, np.float32), "m": _numbers(6)}
    return _model(nodes, constants | {"v": np.ones(6, np.float32), "w": _numbers(4, 6), "z": _numbers(4)})


def _attention() -> onnx.ModelProto:
    nodes = [
        NODE("Shape", ["x"], ["size"]),
        NODE("Gather", ["size", "zero"], ["n"]),
        NODE("Concat", ["n", "rest"], ["target"], axis=0),
        NODE("Reshape", ["x", "target"], ["t"]),
        NODE("MatMul", ["t", "wq"], ["q"]),
        NODE("MatMul", ["t", "wk"], ["k"]),
        NODE("Transpose", ["k"], ["kt"], perm=[0, 2, 1]),
        NODE("MatMul", ["q", "kt"], ["a"]),
        NODE("Softmax", ["a"], ["p"], axis=-1),
        NODE("MatMul", ["p", "t"], ["o"]),
        NODE("LayerNormalization", ["o", "s"], ["l"], axis=-1),
        NODE("ReduceMean", ["l"], ["mean"], axes=[1], keepdims=0),
        NODE("MatMul", ["mean", "w"], ["logits"]),
        NODE("Softmax", ["logits"], ["y"], axis=-1),
    ]
    constants = {"wq": _numbers(16, 8), "wk": _numbers(16, 8), "w": _numbers(16, 4), "s": np.ones(16, np.float32)}
    return _model(nodes, constants | {"zero": np.array([0]), "rest": np.array([12, 16])})


def _quantised() -> onnx.ModelProto:
    nodes = [
        NODE("QuantizeLinear", ["x", "s", "zp"], ["q"]),
        NODE("DequantizeLinear", ["q", "s", "zp"], ["d"]),
        NODE("DequantizeLinear", ["k8", "ks", "kz"], ["k"], axis=0),
        NODE("Conv", ["d", "k"], ["c"]),
        NODE("Relu", ["c"], ["r"]),
        NODE("Flatten", ["r"], ["f"]),
        NODE("DynamicQuantizeLinear", ["f"], ["fq", "fs", "fz"]),
        NODE("MatMulInteger", ["fq", "w8", "fz"], ["i"]),
        NODE("Cast", ["i"], ["v"], to=FLOAT),
        NODE("Mul", ["v", "fs"], ["y"]),
    ]
    whole = np.random.default_rng(0).integers(-90, 90, (2, 3, 3, 3)).astype(np.int8)
    constants = {"s": np.array(0.01, np.float32), "zp": np.array(3, np.uint8), "k8": whole}
    constants |= {"ks": np.full(2, 0.01, np.float32), "kz": np.zeros(2, np.int8)}
    return _model(nodes, constants | {"w8": np.random.default_rng(1).integers(-9, 9, (72, 4)).astype(np.int8)})


def _branch() -> onnx.ModelProto:
    def side(name: str, op: str) -> onnx.GraphProto:
        result = [helper.make_tensor_value_info(name, FLOAT, None)]
        return helper.make_graph(
            [NODE(op, ["f"], [f"{name}h"]), NODE("Mul", [f"{name}h", "two"], [name])], name, [], result
        )

    nodes = [
        NODE("Flatten", ["x"], ["f"]),
        NODE("ReduceSum", ["x"], ["sum"], keepdims=0),
        NODE("Greater", ["sum", "zero"], ["c"]),
        NODE("If", ["c"], ["h"], then_branch=side("t", "Tanh"), else_branch=side("e", "Sigmoid")),
        NODE("MatMul", ["h", "w"], ["y"]),
    ]
    constants = {"zero": np.array(0, np.float32), "two": np.array(2, np.float32), "w": _numbers(192, 4)}
    return _model(nodes, constants)


def _loop() -> onnx.ModelProto:
    body = helper.make_graph(
        [NODE("Mul", ["h", "half"], ["h1"]), NODE("Tanh", ["h1"], ["h2"]), NODE("Identity", ["cond"], ["cond1"])],
        "body",
        [
            helper.make_tensor_value_info("i", TensorProto.INT64, []),
            helper.make_tensor_value_info("cond", TensorProto.BOOL, []),
            helper.make_tensor_value_info("h", FLOAT, None),
        ],
        [
            helper.make_tensor_value_info("cond1", TensorProto.BOOL, []),
            helper.make_tensor_value_info("h2", FLOAT, None),
        ],
    )
    nodes = [
        NODE("Flatten", ["x"], ["f"]),
        NODE("Loop", ["trips", "go", "f"], ["h3"], body=body),
        NODE("Gemm", ["h3", "w"], ["y"]),
    ]
    constants = {"trips": np.array(3), "go": np.array(True), "half": np.array(0.5, np.float32), "w": _numbers(192, 4)}
    return _model(nodes, constants)


def _trees() -> onnx.ModelProto:
    attributes = {
        "n_targets": CLASSES,
        "nodes_treeids": [0, 0, 0, 1, 1, 1],
        "nodes_nodeids": [0, 1, 2, 0, 1, 2],
        "nodes_featureids": [3, 0, 0, 7, 0, 0],
        "nodes_modes": ["BRANCH_LEQ", "LEAF", "LEAF"] * 2,
        "nodes_values": [0.5, 0, 0, 0.3, 0, 0],
        "nodes_truenodeids": [1, 0, 0, 1, 0, 0],
        "nodes_falsenodeids": [2, 0, 0, 2, 0, 0],
        "nodes_missing_value_tracks_true": [0] * 6,
        "nodes_hitrates": [1.0] * 6,
        "target_treeids": [0, 0, 1, 1],
        "target_nodeids": [1, 2, 1, 2],
        "target_ids": [0, 1, 2, 3],
        "target_weights": [0.6, 0.4, 0.7, 0.2],
    }
    nodes = [
        NODE("Flatten", ["x"], ["f"]),
        NODE("TreeEnsembleRegressor", ["f"], ["y"], domain="ai.onnx.ml", **attributes),
    ]
    return _model(nodes, {})


def _functions() -> onnx.ModelProto:
    imports = [helper.make_opsetid("", 17), helper.make_opsetid("local", 1)]
    inner = helper.make_function("local", "Act", ["a"], ["b"], [NODE("Tanh", ["a"], ["b"])], imports)
    body = [NODE("MatMul", ["a", "w"], ["m"]), NODE("Act", ["m"], ["b"], domain="local")]
    outer = helper.make_function("local", "Layer", ["a", "w"], ["b"], body, imports)
    nodes = [
        NODE("Flatten", ["x"], ["f"]),
        NODE("Layer", ["f", "u"], ["h"], domain="local"),
        NODE("MatMul", ["h", "w"], ["y"]),
    ]
    return _model(nodes, {"u": _numbers(192, 8), "w": _numbers(8, 4)}, functions=[inner, outer])


def _fixed_batch() -> onnx.ModelProto:
    nodes = [
        NODE("Resize", ["x", "", "scales"], ["up"], mode="linear"),
        NODE("Slice", ["up", "from", "to", "axes"], ["s"]),
        NODE("Pad", ["s", "pads"], ["p"]),
        NODE("MaxPool", ["p"], ["m"], kernel_shape=[4, 4], strides=[4, 4]),
        NODE("Reshape", ["m", "target"], ["f"]),
        NODE("MatMul", ["f", "w"], ["logits"]),
        NODE("TopK", ["logits", "k"], ["best", "order"]),
        NODE("Identity", ["logits"], ["y"]),
    ]
    constants = {"scales": np.array([1, 1, 2, 2], np.float32), "from": np.array([0]), "to": np.array([14])}
    constants |= {"axes": np.array([2]), "pads": np.array([0, 0, 1, 0, 0, 0, 1, 0]), "target": np.array([1, 48])}
    return _model(nodes, constants | {"w": _numbers(48, 4), "k": np.array([2])}, batch=1)


def _labels() -> onnx.ModelProto:
    nodes = [
        NODE("Flatten", ["x"], ["f"]),
        NODE("Gemm", ["f", "w"], ["h"]),
        NODE("ArgMax", ["h"], ["y"], axis=1, keepdims=0),
    ]
    return _model(nodes, {"w": _numbers(192, 4)}, output=TensorProto.INT64)


def _external() -> onnx.ModelProto:
    model = _convolution()
    for tensor in model.graph.initializer:
        onnx.external_data_helper.set_external_data(tensor, "weights.bin", offset=0, length=len(tensor.raw_data))
        tensor.ClearField("raw_data")
    return model


ONNX_SEEDS: dict[str, Callable[[], onnx.ModelProto]] = {
    "convolution": _convolution,
    "attention": _attention,
    "quantised": _quantised,
    "branch": _branch,
    "loop": _loop,
    "trees": _trees,
    "functions": _functions,
    "fixed batch": _fixed_batch,
    "labels": _labels,
    "external": _external,
}


class _Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.conv = nn.Conv2d(3, 4, 3, stride=2)
        self.norm = nn.BatchNorm2d(4)
        self.last = nn.Linear(36, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        h = torch.relu(self.norm(self.conv(x))).flatten(1)
        if h.shape[0] > 1000:
            h = h * 2
        return self.last(h)


class _Pair(_Net):
    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        h = torch.tanh(self.conv(x)).flatten(1)
        for _ in range(2):
            h = torch.nn.functional.dropout(h, 0.1, self.training)
        return torch.softmax(self.last(h), 1), h


class _Held(_Net):
    """Holds lists, dictionaries, half precision, a view, and a part without gradient."""

    def __init__(self) -> None:
        super().__init__()
        self.names, self.table, self.sizes = ["a", "b"], {"x": [1, 2]}, [0.5, 1.5]
        self.register_buffer("low", torch.ones(4).half())
        self.register_buffer("view", torch.rand(8, 8)[::2, 1:5])
        self.place = torch.device("cpu")

    def forward(self, x: Tensor) -> Tensor:
        with torch.no_grad():
            shift = self.view.sum(0) * self.sizes[0] + self.low.float()
        h = torch.relu(self.norm(self.conv(x))).flatten(1)
        return self.last(h) + shift.to(self.place) * float(self.table["x"][1] + len(self.names))


class _Integer(_Net):
    def __init__(self) -> None:
        super().__init__()
        self.enter, self.leave = torch.ao.quantization.QuantStub(), torch.ao.quantization.DeQuantStub()

    def forward(self, x: Tensor) -> Tensor:
        return self.leave(self.last(torch.relu(self.conv(self.enter(x))).flatten(1)))


def _quantised_script() -> nn.Module:
    net = _Integer().eval()
    net.qconfig = torch.ao.quantization.get_default_qconfig(torch.backends.quantized.engine)
    prepared = torch.ao.quantization.prepare(net)
    prepared(torch.rand(8, *SHAPE))
    return torch.ao.quantization.convert(prepared)


def torchscript_seeds() -> dict[str, bytes]:
    """Archives of traced, scripted, frozen and quantised modules."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        example = torch.rand(2, *SHAPE)
        made = {
            "traced": torch.jit.trace(_Net().eval(), example),
            "scripted": torch.jit.script(_Pair().eval()),
            "frozen": torch.jit.freeze(torch.jit.script(_Net().eval())),
            "held": torch.jit.script(_Held().eval()),
            "quantised": torch.jit.script(_quantised_script()),
        }
        found = {}
        for name, module in made.items():
            buffer = io.BytesIO()
            torch.jit.save(module, buffer)
            found[name] = buffer.getvalue()
    return found
