"""Calls of ONNX Runtime's own operators over quantised values and weights."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
from contrib_graphs import CODES, FLOAT, INT32, Contrib, f, i32, i64, scalar
from onnx import helper

UINT8, INT8 = onnx.TensorProto.UINT8, onnx.TensorProto.INT8
Array = np.ndarray


def whole(dtype: Any, *shape: int) -> Array:
    """Any values of a type."""
    limits = np.iinfo(dtype)
    return np.random.default_rng(sum(shape)).integers(limits.min, limits.max + 1, shape).astype(dtype)


def weights(dtype: Any, *shape: int) -> Array:
    """Any values of a type, if it is signed of 7 bits: of 8, pairs of products saturate on some processors."""
    values = whole(dtype, *shape)
    return values // 2 if np.iinfo(dtype).min < 0 else values


def scales(*shape: int, size: float = 0.03) -> Array:
    return ((np.abs(f(*shape)) + 0.3) * size).astype(np.float32)


def zero(dtype: Any, level: int) -> Array:
    """A zero point at this level above the type's lowest."""
    return np.array(np.iinfo(dtype).min + level, dtype)


def case(op: str, dtype: Any, shape: tuple[int, ...], *constants: Array | None, **told: Any) -> Contrib:
    """On quantised values of a type; the result has it too unless ``out`` tells another."""
    fields = {"at": 0, "more": (), "rarely_off": False, "gradient": False, "reference": None}
    fields |= {name: told.pop(name) for name in list(told) if name in fields}
    out = told.pop("out", CODES[np.dtype(dtype).name])
    return Contrib(op, shape, constants, told, x=whole(dtype, *shape), out_type=out, **fields)


def binary(op: str, dtype: Any, other: Array, a: float, b: float, y: float) -> Contrib:
    constants = (scalar(a), zero(dtype, 120), other, scalar(b), zero(dtype, 99), scalar(y), zero(dtype, 131))
    return case(op, dtype, (4, 33, 17), *constants)


def reduced_mean(axes: list[int], keepdims: int) -> Contrib:
    """ONNX Runtime has it on accelerators alone."""
    given = {"s": scalar(0.0337), "z": zero(np.uint8, 100), "t": scalar(0.0151), "u": zero(np.uint8, 90)}
    nodes = [
        helper.make_node("DequantizeLinear", ["x", "s", "z"], ["d"]),
        helper.make_node("ReduceMean", ["d"], ["m"], axes=axes, keepdims=keepdims),
        helper.make_node("QuantizeLinear", ["m", "t", "u"], ["y"]),
    ]
    told = {"axes": axes, "keepdims": keepdims, "reference": (nodes, given), "rarely_off": True}
    return case("QLinearReduceMean", np.uint8, (4, 5, 6), *given.values(), **told)


def elementwise(dtype: Any) -> list[Contrib]:
    x, y = (scalar(0.03), zero(dtype, 120)), (scalar(0.02), zero(dtype, 90))
    share = (scalar(1 / 256), zero(dtype, 0))
    steep = (scalar(0.05), zero(dtype, 120))
    condition = np.random.default_rng(0).random((4, 50)) > 0.5
    return [
        *[
            binary(op, dtype, other, a, b, a * b * 120 if op == "QLinearMul" else total)
            for op in ("QLinearAdd", "QLinearMul")
            for a, b, total in ((0.031, 0.027, 0.045), (0.5, 0.25, 0.5), (0.02, 0.02, 0.02))
            for other in (whole(dtype, 4, 33, 17), whole(dtype, 33, 1))
        ],
        case("QLinearLeakyRelu", dtype, (64, 64), *x, *y, alpha=0.2),
        case("QLinearSigmoid", dtype, (64, 64), *x, *share),
        *[
            case("QLinearSoftmax", dtype, (8, 10, 12), *steep, *share, opset=opset, axis=axis, rarely_off=True)
            for opset, axis in ((13, -1), (13, 1), (12, 1))
        ],
        case(
            *("QLinearConcat", dtype, (4, 5, 6)),
            *(scalar(0.05), zero(dtype, 100), scalar(0.03), zero(dtype, 90), whole(dtype, 4, 7, 6)),
            *(scalar(0.05), zero(dtype, 100)),
            axis=1,
            at=2,
        ),
        case(
            *("QLinearWhere", dtype, (4, 50), condition, *x, whole(dtype, 4, 50), *y),
            *(scalar(0.04), zero(dtype, 110)),
            at=1,
        ),
    ]


def pooled(dtype: Any, last: int) -> list[Contrib]:
    shape = (2, 9, 10, 8) if last else (2, 8, 9, 10)
    given = (scalar(0.0337), zero(dtype, 100), scalar(0.0251), zero(dtype, 90))
    window = {"kernel_shape": [3, 3], "pads": [1, 1, 1, 1], "strides": [2, 2], "channels_last": last}
    weight = weights(np.int8, 6, 8, 3, 3)
    conv = {"kernel_shape": [3, 3], "pads": [1, 1, 1, 1], "channels_last": last}
    bias = np.random.default_rng(0).integers(-900, 900, 6).astype(np.int32)
    tail = (scalar(0.1), zero(dtype, 90), bias)
    return [
        case("QLinearAveragePool", dtype, shape, *given, **window, rarely_off=True),
        case("QLinearAveragePool", dtype, shape, *given, **window, ceil_mode=1, rarely_off=True),
        case("QLinearAveragePool", dtype, shape, *given, **window, ceil_mode=1, count_include_pad=1, rarely_off=True),
        case("QLinearGlobalAveragePool", dtype, shape, *given[:2], scalar(0.011), given[3], channels_last=last),
        case(
            "QLinearConv", dtype, shape, *given[:2], weight, scales(6, size=0.003), np.zeros(6, np.int8), *tail, **conv
        ),
        case("QLinearConv", dtype, shape, *given[:2], weight, scalar(0.003), np.int8(0).reshape(()), *tail, **conv),
    ]


def products(dtype: Any, weight: Any) -> list[Contrib]:
    a, w = (scalar(0.03), zero(dtype, 100)), weights(weight, 20, 6)
    one, columns = (scalar(0.02), np.array(3, weight)), (scales(6), np.zeros(6, weight))
    bias, y = np.random.default_rng(1).integers(-900, 900, 6).astype(np.int32), (scalar(0.4), zero(dtype, 90))
    turned = np.ascontiguousarray(w.T)
    return [
        case("QGemm", dtype, (4, 20), *a, w, *one, bias, *y),
        case("QGemm", dtype, (4, 20), *a, turned, *one, None, *y, transB=1, alpha=0.5),
        case("QGemm", dtype, (4, 20), *a, turned, *columns, bias, *y, transB=1),
        case("QGemm", dtype, (20, 4), *a, w, *one, bias, *y, transA=1),
        case("QGemm", dtype, (4, 20), *a, w, *one, bias, out=FLOAT),
        *[
            case("MatMulIntegerToFloat", dtype, (2, 4, 20), w, scalar(0.03), *rest, out=FLOAT, gradient=True)
            for rest in ((one[0], a[1], one[1], f(6)), (columns[0], a[1], columns[1]), (one[0],))
        ],
    ]


HEADS = {"num_heads": 3, "out": FLOAT, "gradient": True}


def attention(weight: Any) -> list[Contrib]:
    w, bias, x = weights(weight, 6, 36), f(36), scalar(0.02)
    zeros = (zero(np.uint8, 100), np.array(3, weight))
    columns = (scales(36, size=0.01), np.zeros(36, weight))
    return [
        case("QAttention", np.uint8, (2, 4, 6), w, bias, x, scalar(0.01), i32(3, 2), *zeros, **HEADS),
        case(
            *("QAttention", np.uint8, (2, 4, 6), w, bias, x, columns[0], None, zeros[0], columns[1]),
            unidirectional=1,
            **HEADS,
        ),
        case(
            *("QAttention", np.uint8, (2, 4, 6), w, bias, x, scalar(0.01), None, *zeros, f(2, 2, 3, 5, 4)),
            more=(FLOAT,),
            **HEADS,
        ),
    ]


def dynamic(weight: Any) -> list[Contrib]:
    w = weights(weight, 20, 6)
    return [
        Contrib("DynamicQuantizeMatMul", (2, 4, 20), (w, scalar(0.02), np.array(3, weight), f(6)), gradient=False),
        Contrib("DynamicQuantizeMatMul", (2, 4, 20), (w, scales(6), np.zeros(6, weight)), gradient=False),
        Contrib("DynamicQuantizeMatMul", (4, 20), (w, scalar(0.02)), gradient=False),
    ]


def integer(op: str) -> Contrib:
    """Against the same steps on 32-bit integers: ONNX Runtime has these two on accelerators alone."""
    wide = helper.make_node("Cast", ["x"], ["w"], to=INT32)
    if op == "ReduceSumInteger":
        nodes = [wide, helper.make_node("ReduceSum", ["w", "axes"], ["y"], keepdims=0)]
        told = {"axes": [1], "keepdims": 0, "reference": (nodes, {"axes": i64(1)})}
        return case(op, np.uint8, (4, 5, 6), out=INT32, gradient=True, **told)
    other = whole(np.uint8, 5, 6)
    nodes = [
        wide,
        helper.make_node("Sub", ["w", "a"], ["d"]),
        helper.make_node("Mul", ["d", "b"], ["y"]),
    ]
    held = {"a": i32(100).reshape(()), "b": other.astype(np.int32) - 90}
    constants = (zero(np.uint8, 100), other, zero(np.uint8, 90))
    return case(op, np.uint8, (4, 5, 6), *constants, out=INT32, gradient=True, reference=(nodes, held))


def n_bits(bits: int, depth: int, size: int) -> list[Contrib]:
    rng, rows, blocks = np.random.default_rng(bits), 6, -(-depth // size)
    weight = rng.integers(0, 256, (rows, blocks, size * bits // 8)).astype(np.uint8)
    scale = scales(rows, blocks)
    packed_zeros = rng.integers(0, 256, (rows, -(-blocks * bits // 8))).astype(np.uint8)
    told = {"K": depth, "N": rows, "bits": bits, "block_size": size}
    return [
        Contrib("MatMulNBits", (3, depth), (weight, scale), told),
        Contrib("MatMulNBits", (2, 3, depth), (weight, scale.reshape(-1), packed_zeros), told),
        Contrib("MatMulNBits", (3, depth), (weight, scale, None, None, f(rows)), told),
        Contrib("MatMulNBits", (3, depth), (weight, scale), {**told, "accuracy_level": 4}, gradient=False),
    ]


def four_bits() -> list[Contrib]:
    """What ONNX Runtime has for four bits alone."""
    depth, size, blocks, rows = 40, 16, 3, 6
    weight = np.random.default_rng(4).integers(0, 256, (rows, blocks, 8)).astype(np.uint8)
    told = {"K": depth, "N": rows, "bits": 4, "block_size": size}
    groups = np.random.default_rng(5).permutation(np.arange(depth) // size).astype(np.int32)
    return [
        Contrib("MatMulNBits", (3, depth), (weight, scales(rows, blocks), f(rows, blocks) * 3 + 8), told),
        Contrib("MatMulNBits", (3, depth), (weight, scales(rows, blocks), None, groups), told),
    ]


ROWS = i64(0, 3, 1, 4, -1, 2).reshape(2, 3)


def gathered_bytes(bits: int) -> list[Contrib]:
    rng = np.random.default_rng(bits)
    table = rng.integers(0, 256, (5, 64 * bits // 8)).astype(np.uint8)
    zeros = rng.integers(0, 256, (5, 4 * bits // 8)).astype(np.uint8)
    told = {"bits": bits, "block_size": 16}
    return [
        Contrib("GatherBlockQuantized", (5, 4), (table, ROWS), told, at=2),
        Contrib("GatherBlockQuantized", (5, 4), (table, ROWS, zeros), told, at=2),
    ]


def gathered_four_bits(name: str) -> list[Contrib]:
    dtype = helper.tensor_dtype_to_np_dtype(getattr(onnx.TensorProto, name))
    low = -8 if name == "INT4" else 0
    table = np.random.default_rng(1).integers(low, low + 16, (5, 60)).astype(dtype)
    zeros = np.random.default_rng(2).integers(low, low + 16, (5, 4)).astype(dtype)
    told = {"block_size": 16}
    return [
        Contrib("GatherBlockQuantized", (5, 4), (table, ROWS), told, at=2, opset=21),
        Contrib("GatherBlockQuantized", (5, 4), (table, ROWS, zeros), told, at=2, opset=21),
        Contrib("GatherBlockQuantized", (5, 4), (table, ROWS), {**told, "gather_axis": 1}, at=2, opset=21),
        Contrib("GatherBlockQuantized", (1, 60), (table, ROWS), {**told, "quantize_axis": 0}, at=2, opset=21),
    ]


def bnb4(kind: int, rows: int, depth: int, size: int) -> Contrib:
    weight = whole(np.uint8, rows * depth // 2)
    told = {"K": depth, "N": rows, "block_size": size, "quant_type": kind}
    return Contrib("MatMulBnb4", (3, depth), (weight, scales(-(-rows * depth // size))), told)


def embedded(dtype: Any) -> Contrib:
    ids = np.random.default_rng(0).integers(0, 7, (2, 5)).astype(np.int32)
    steps = [scalar(v) for v in (0.01, 0.02, 0.03, 0.01, 0.02)]
    zeros = [zero(dtype, level) for level in (120, 110, 100, 30, 128)]
    tables = (whole(dtype, 9, 8), whole(dtype, 7, 8), whole(dtype, 8), whole(dtype, 8))
    constants = (ids, (ids % 2).astype(np.int32), *tables, (f(2, 5) > 0).astype(np.int32), *steps, *zeros)
    return case("QEmbedLayerNormalization", dtype, (2, 8), *constants, at=4, out=FLOAT, more=(INT32,), gradient=True)


def lstm(direction: str, weight: Any, *, by_column: bool, states: bool) -> Contrib:
    ways, batch, size, hidden = 2 if direction == "bidirectional" else 1, 2, 6, 4
    scale_shape = (ways, 4 * hidden) if by_column else (ways,)
    zeros = np.full(scale_shape, 0 if weight == np.int8 else 128, weight)
    start = (f(ways, batch, hidden), f(ways, batch, hidden) * 0.5) if states else (None, None)
    constants = (
        *(weights(weight, ways, size, 4 * hidden), weights(weight, ways, hidden, 4 * hidden)),
        *(f(ways, 8 * hidden), None),
        *(*start, None, scales(*scale_shape, size=0.01), zeros, scales(*scale_shape, size=0.02), zeros),
    )
    told = {"hidden_size": hidden, "direction": direction}
    return Contrib("DynamicQuantizeLSTM", (5, batch, size), constants, told, more=(FLOAT, FLOAT), gradient=False)


def quantiser(dtype: Any, axis: int | None) -> Contrib:
    step = scalar(0.01) if axis is None else scales(4, size=0.01)
    level = np.array(3, dtype) if axis is None else whole(dtype, 4) // 4
    told = {} if axis is None else {"axis": axis}
    return Contrib("QuantizeLinear", (4, 60), (step, level), told, out_type=CODES[np.dtype(dtype).name], gradient=False)


QUANTISED_CASES = [
    *[c for dtype in (np.uint8, np.int8) for c in elementwise(dtype)],
    *[c for dtype in (np.uint8, np.int8) for last in (0, 1) for c in pooled(dtype, last)],
    *products(np.uint8, np.int8),
    *products(np.uint8, np.uint8),
    *products(np.int8, np.int8),
    *attention(np.int8),
    *attention(np.uint8),
    *dynamic(np.int8),
    *dynamic(np.uint8),
    lstm("forward", np.int8, by_column=False, states=True),
    lstm("reverse", np.uint8, by_column=False, states=False),
    lstm("bidirectional", np.int8, by_column=True, states=True),
    reduced_mean([1, 2], 1),
    reduced_mean([0], 0),
    Contrib("MatMulInteger16", (4, 20), (whole(np.int16, 20, 6),), x=whole(np.int16, 4, 20) // 8, out_type=INT32),
    integer("MulInteger"),
    integer("ReduceSumInteger"),
    *[c for bits in (2, 4, 8) for depth, size in ((40, 16), (64, 32)) for c in n_bits(bits, depth, size)],
    *four_bits(),
    *[c for bits in (2, 4, 8) for c in gathered_bytes(bits)],
    *gathered_four_bits("UINT4"),
    *gathered_four_bits("INT4"),
    *[bnb4(kind, *sizes) for kind in (0, 1) for sizes in ((6, 32, 16), (5, 40, 16), (6, 64, 64))],
    embedded(np.uint8),
    embedded(np.int8),
    *[
        case("DequantizeLinear", dtype, (4, 60), scales(4), zero(dtype, 90).repeat(4), axis=0, out=FLOAT, gradient=True)
        for dtype in (np.uint8, np.int8, np.int16)
    ],
    *[quantiser(dtype, axis) for dtype in (np.uint8, np.int8, np.int16) for axis in (None, 0)],
]
