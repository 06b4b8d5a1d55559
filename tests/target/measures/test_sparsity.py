"""Zero weights, as files of each kind hold them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper
from torch import nn

from robaudit.target.load import open_target
from robaudit.target.measures.sparsity import zero_weights

RANDOM = np.random.default_rng(0)


def model(
    path: Path, nodes: list[onnx.NodeProto], held: dict[str, np.ndarray], sparse: list[onnx.SparseTensorProto] = ()
) -> Path:
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", 6])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["N", 4])],
        [numpy_helper.from_array(value, name) for name, value in held.items()],
        sparse_initializer=list(sparse),
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)
    return path


def matrix(rows: int, columns: int, zeros: int) -> np.ndarray:
    """With exactly so many zeros."""
    value = RANDOM.uniform(0.5, 1, size=rows * columns).astype(np.float32)
    value[RANDOM.permutation(value.size)[:zeros]] = 0
    return value.reshape(rows, columns)


def found(path: Path) -> dict[str, tuple[int, int]]:
    return zero_weights(open_target(path, device="cpu", sample_shape=(6,)).file)


def test_zeros_of_matrices_count_and_those_of_biases_do_not(tmp_path: Path) -> None:
    nodes = [
        helper.make_node("MatMul", ["x", "w"], ["a"]),
        helper.make_node("Add", ["a", "b"], ["c"]),
        helper.make_node("Gemm", ["c", "v", "bias"], ["y"]),
    ]
    held = {"w": matrix(6, 4, 6), "b": np.zeros(4, np.float32), "v": matrix(4, 4, 1), "bias": np.zeros(4, np.float32)}
    assert found(model(tmp_path / "m.onnx", nodes, held)) == {"w": (6, 24), "v": (1, 16)}


def test_a_weight_that_is_used_twice_counts_once_through_other_operators(tmp_path: Path) -> None:
    nodes = [
        helper.make_node("Transpose", ["w"], ["t"]),
        helper.make_node("MatMul", ["x", "t"], ["a"]),
        helper.make_node("MatMul", ["a", "w"], ["b"]),
        helper.make_node("MatMul", ["b", "t"], ["y"]),
    ]
    assert found(model(tmp_path / "m.onnx", nodes, {"w": matrix(4, 6, 5)})) == {"w": (5, 24)}


@pytest.mark.parametrize("points", [np.int8(7), np.array([7, -3, 0, 5], np.int8)])
def test_whole_numbers_are_zero_at_their_zero_point(tmp_path: Path, points: np.ndarray) -> None:
    whole = np.tile(np.arange(10, 14, dtype=np.int8), (6, 1)) + np.arange(6, dtype=np.int8)[:, None] * 10
    point = np.broadcast_to(points, 4)
    for column, row in enumerate((1, 3, 4, 5)):
        whole[row, column] = point[column]
    scale = np.float32(0.1) if points.ndim == 0 else np.full(4, 0.1, np.float32)
    nodes = [
        helper.make_node("DequantizeLinear", ["w", "s", "z"], ["d"], axis=1),
        helper.make_node("MatMul", ["x", "d"], ["y"]),
    ]
    assert found(model(tmp_path / "m.onnx", nodes, {"w": whole, "s": scale, "z": points})) == {"w": (4, 24)}


def test_what_is_held_as_sparse_is_sparse(tmp_path: Path) -> None:
    values = numpy_helper.from_array(np.array([1, 2, 3], np.float32), "w")
    places = numpy_helper.from_array(np.array([0, 9, 23], np.int64), "w_places")
    sparse = helper.make_sparse_tensor(values, places, [6, 4])
    path = model(tmp_path / "m.onnx", [helper.make_node("MatMul", ["x", "w"], ["y"])], {}, [sparse])
    assert found(path) == {"w": (21, 24)}


@pytest.mark.parametrize("frozen", [False, True])
def test_parameters_of_torchscript_count(tmp_path: Path, frozen: bool) -> None:
    module = nn.Sequential(nn.Flatten(), nn.Linear(6, 5), nn.ReLU(), nn.Linear(5, 4)).eval()
    with torch.no_grad():
        module[1].weight[:2] = 0
    script = torch.jit.script(module)
    (torch.jit.freeze(script) if frozen else script).save(str(tmp_path / "m.pt"))
    counts = found(tmp_path / "m.pt")
    assert sorted(counts.values()) == [(0, 20), (12, 30)]  # freezing leaves no order
    assert ("1.weight" in counts) != frozen
