"""Models around one of ONNX Runtime's own operators."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import onnx
from onnx import helper
from onnx_graphs import make_model

MS = "com.microsoft"
FLOAT = onnx.TensorProto.FLOAT
INT32 = onnx.TensorProto.INT32
CODES = {
    "float32": FLOAT,
    "float16": onnx.TensorProto.FLOAT16,
    "uint8": onnx.TensorProto.UINT8,
    "int8": onnx.TensorProto.INT8,
    "int32": INT32,
    "int64": onnx.TensorProto.INT64,
    "int16": onnx.TensorProto.INT16,
}


def f(*shape: int) -> np.ndarray:
    return np.random.default_rng(sum(shape) + len(shape)).standard_normal(shape).astype(np.float32)


def i32(*values: int) -> np.ndarray:
    return np.array(values, dtype=np.int32)


def i64(*values: int) -> np.ndarray:
    return np.array(values, dtype=np.int64)


def scalar(value: float, dtype: Any = np.float32) -> np.ndarray:
    return np.array(value, dtype=dtype)


@dataclass(frozen=True)
class Contrib:
    """One operator on x and constants; ``at`` is x's place among the inputs (None marks an absent one).

    ``out_type`` is the type of the first output, ``more`` those of the following ones.

    ``rarely_off``: whole numbers may differ by one step in one place of a hundred, where ONNX Runtime adds up in
    another order and a tie falls otherwise.

    ``reference`` is a function of x that spells the result out with ONNX's own operators, for those that
    ONNX Runtime does not run on a CPU: nodes from ``x`` to ``y``.
    """

    op: str
    shape: tuple[int, ...]
    constants: tuple[np.ndarray | None, ...] = ()
    attributes: dict[str, Any] = field(default_factory=dict)
    at: int = 0
    more: tuple[int, ...] = ()
    domain: str = MS
    opset: int = 17
    gradient: bool = True
    x: np.ndarray | None = None
    out_type: int = FLOAT
    reference: tuple[list[onnx.NodeProto], dict[str, np.ndarray]] | None = None
    tolerance: float = 1e-5
    rarely_off: bool = False

    def __str__(self) -> str:
        told = ",".join(f"{k}={v}" for k, v in self.attributes.items())
        return f"{self.op}({'x'.join(map(str, self.shape))};{len(self.constants)};{told})"

    def input(self) -> np.ndarray:
        if self.x is not None:
            return self.x
        return np.random.default_rng(5).standard_normal(self.shape).astype(np.float32)

    def model(self, shape: tuple[int | str, ...] | None = None) -> onnx.ModelProto:
        names = [None if value is None else f"c{i}" for i, value in enumerate(self.constants)]
        inputs = [name or "" for name in names]
        inputs.insert(self.at, "x")
        results = ["y"] + [f"y{i}" for i in range(len(self.more))]
        node = helper.make_node(self.op, inputs, results, domain=self.domain, **self.attributes)
        return self._around([node], dict(zip(names, self.constants, strict=True)), shape)

    def reference_model(self) -> onnx.ModelProto:
        if self.reference is None:
            return self.model()
        nodes, constants = self.reference
        return self._around(nodes, constants, None)

    def _around(
        self, nodes: list[onnx.NodeProto], constants: dict[Any, Any], shape: tuple[int | str, ...] | None
    ) -> onnx.ModelProto:
        held = {name: value for name, value in constants.items() if name is not None}
        return make_model(
            nodes,
            shape or self.shape,
            held,
            opset=self.opset,
            dtype=CODES[self.input().dtype.name],
            outputs={"y": self.out_type, **{f"y{i}": code for i, code in enumerate(self.more)}},
            domains={MS: 1},
        )
